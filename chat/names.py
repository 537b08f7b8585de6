"""PURE: names and ids of people and rooms: what is allowed, and how the allowed form is reached.

Ids are made of random bytes that the caller brings.
"""

import re
import unicodedata
from base64 import b32encode
from typing import Final

from chat.errors import ErrorCode, Refused

NAME_MAX_CHARACTERS: Final = 32
ROOM_NAME_MAX_CHARACTERS: Final = 64

_RAW_MAX_CHARACTERS: Final = 256
"""Looked at in a name at all: normalising costs time with the length, and marks may compose to fewer."""

_JOINERS: Final = frozenset("\u200c\u200d")
"""Format characters that spelling needs: Persian and Indic words, and emoji of several parts."""

_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, format characters (bidi overrides, tags, zero widths), halves of surrogate pairs, line ends."""

_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Hangul fillers and the empty Braille pattern: letters and symbols by category, nothing to the eye."""

_NOT_IN_ROOM_NAME: Final = re.compile(r"[^a-z0-9._-]+")
_ROOM_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ROOM_NAME_EDGE: Final = "._-"


def display_name(raw: str, *, field: str = "guest", request_id: int | None = None) -> str:
    """The name that everyone sees, as it is stored: NFC, without white space at its ends.

    Args:
        raw: what the person typed.
        field: the request's field that it came in, for the refusal.
        request_id: of the request, for the refusal.

    Raises:
        Refused: `bad_request`; nothing to see in it, longer than 32 characters, or with characters that
            show nothing or turn the text around them (protocol.md 2).
    """
    name = unicodedata.normalize("NFC", raw[: _RAW_MAX_CHARACTERS + 1]).strip()
    problem = None
    if len(raw) > _RAW_MAX_CHARACTERS or len(name) > NAME_MAX_CHARACTERS:
        problem = f"the name is longer than {NAME_MAX_CHARACTERS} characters"
    elif any(unicodedata.category(c) in _FORBIDDEN_CATEGORIES and c not in _JOINERS for c in name):
        problem = "the name holds a character that cannot be shown"
    elif not any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK_LETTERS for c in name):
        problem = "the name shows nothing"
    if problem is not None:
        raise Refused(ErrorCode.BAD_REQUEST, problem, field=field, request_id=request_id)
    return name


def name_key(name: str) -> str:
    """What display names are compared by: two registered users never have the same.

    Compatibility forms and capitals make no difference (Unicode's toNFKC_Casefold, without dropping joiners).
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def is_room_name(name: str) -> bool:
    """Whether a room may be called so (protocol.md 2)."""
    return _ROOM_NAME.fullmatch(name) is not None


def suggest_room_name(raw: str) -> str | None:
    """The allowed room name nearest to what somebody typed, or None where nothing of it can be kept.

    Letters lose their marks and capitals, everything else between them becomes one hyphen. A name that is
    allowed comes back as it is.
    """
    if is_room_name(raw):
        return raw
    flat = unicodedata.normalize("NFKD", raw[:_RAW_MAX_CHARACTERS]).casefold()
    kept = "".join(c for c in flat if not unicodedata.combining(c))
    name = _NOT_IN_ROOM_NAME.sub("-", kept).lstrip(_ROOM_NAME_EDGE)[:ROOM_NAME_MAX_CHARACTERS]
    return name.rstrip(_ROOM_NAME_EDGE) or None


def registered_id(entropy: bytes) -> str:
    """A registered user's id: `u_` and the bytes in lower-case base32 (RFC 4648) without padding.

    Args:
        entropy: random bytes, 10 to 40 of them; 16 make collisions impossible in practice.
    """
    return "u_" + _base32(entropy)


def guest_id(entropy: bytes) -> str:
    """A guest's id: as `registered_id`, beginning with `g_`."""
    return "g_" + _base32(entropy)


def _base32(entropy: bytes) -> str:
    if not 10 <= len(entropy) <= 40:  # noqa: PLR2004  80 bits at least; 64 characters at most (protocol.md 2)
        raise ValueError(f"an id is made of 10 to 40 bytes, not {len(entropy)}")
    return b32encode(entropy).decode("ascii").rstrip("=").lower()
