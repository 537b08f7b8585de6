"""PURE: where a search goes on: the last hit's place, bound to the query and the room it belongs to."""

import hashlib

from chat.cursors import from_cursor, to_cursor
from chat.errors import ErrorCode, Refused
from chat.names import is_room_name
from storage.search_model import SearchKey

_MARK = "search"
_DIGEST_BYTES = 8
_MAX = 2**63 - 1
_PARTS = 5


def search_cursor(query: str, room: str | None, after: SearchKey) -> str:
    """The cursor for what comes after a hit."""
    return to_cursor(f"{_MARK}:{_digest(query, room)}:{after.at_ms}:{after.seq}:{after.room}")


def read_search_cursor(cursor: str, query: str, room: str | None) -> SearchKey:
    """What `search_cursor` was given.

    Raises:
        Refused: `bad_cursor`: it belongs to another search, or to none.
    """
    parts = from_cursor(cursor).split(":")
    if len(parts) == _PARTS and parts[:2] == [_MARK, _digest(query, room)]:
        at_ms, seq, name = parts[2:]
        if at_ms.isdecimal() and seq.isdecimal() and at_ms.isascii() and seq.isascii() and is_room_name(name):
            key = SearchKey(int(at_ms), name, int(seq))
            if key.at_ms <= _MAX and key.seq <= _MAX and room in {None, name}:
                return key
    raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another search", field="cursor")


def _digest(query: str, room: str | None) -> str:
    # No room has an empty name, and no name has a line end.
    said = f"{room or ''}\n{query}".encode()
    return hashlib.blake2b(said, digest_size=_DIGEST_BYTES).hexdigest()
