"""Finds the messages that somebody wants deleted, and has their room delete them, a page by one event."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from chat.cursors import from_cursor, is_seq, to_cursor
from chat.errors import ErrorCode, Refused
from chat.message_desk import MessageDesk
from chat.protocol import PURGED_MAX, Envelope, Mod, check_no_nul
from chat.room_governance import Expire
from chat.room_rules import Person
from chat.search_cursor import read_search_cursor, search_cursor
from chat.session import Session
from chat.session_requests import govern, moderates
from chat.session_search import SearchDesk
from storage.model import MessageRange, RoomRow
from storage.store import Store

FOUND_MAX: Final = 100
"""Messages of a page that is found by words: each is looked at."""


class _Page(NamedTuple):
    """What is to be deleted, and what the answer says besides."""

    seqs: Sequence[int]
    fields: Envelope


class PurgeDesk:
    """Finishes the requests to delete many messages, for every session.

    Args:
        store: where messages are found.
        searches: finds them by words.
        messages: asks a room.
        now_ms: the wall clock.
    """

    def __init__(
        self, store: Store, searches: SearchDesk, messages: MessageDesk, *, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._searches = searches
        self._messages = messages
        self._now_ms = now_ms

    async def purge(self, session: Session, request: Mod, target: Person | None) -> None:
        """Find a page, and ask the room; the room answers.

        Raises:
            Refused: `bad_request`, `bad_cursor`, `forbidden`, `room_not_found`, or as of a search or a room.
            StorageError: as of every call of the store.
        """
        _require_one_way(request)
        check_no_nul(request.id, query=request.query)
        if not moderates(session, request.room):
            # Nobody makes the database search who will be refused.
            await self._messages.inspect(request.room, session.user_id)
            if not moderates(session, request.room):
                raise Refused(ErrorCode.FORBIDDEN, "it takes the rank of a moderator to do this (purge)")
        row = await self._store.find_room(request.room)
        if row is None:
            raise Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room")
        if request.query is not None:
            page = await self._search(session, request, request.query)
            govern(session, request, target, seqs=page.seqs, fields=page.fields)
        elif request.expired:
            if row.retention_s is None:
                raise Refused(ErrorCode.BAD_REQUEST, "the room keeps everything", field="expired")
            page = await self._find(request, row, until_ms=self._now_ms() - row.retention_s * 1000)
            # The room deletes them by the policy that it has in its turn, if it is this one.
            expire = Expire(
                request.id, row.retention_s, request.room, dry_run=request.dry_run, reason=request.reason
            )
            govern(session, expire, target, seqs=page.seqs, fields=page.fields)
        else:
            page = await self._find(request, row, until_ms=request.until_ms)
            govern(session, request, target, seqs=page.seqs, fields=page.fields)

    async def _find(self, request: Mod, row: RoomRow, *, until_ms: int | None) -> _Page:
        after = 0
        if request.cursor is not None:
            room, _, seq = from_cursor(request.cursor).partition("~")
            if room != request.room or not is_seq(seq):
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
            after = int(seq)
        wanted = MessageRange(request.target, request.since_ms, until_ms, request.seqs, after)
        page = await self._store.find_messages(row.room_id, wanted, limit=PURGED_MAX)
        last = page.next_after
        return _Page(page.seqs, {} if last is None else {"next": to_cursor(f"{request.room}~{last}")})

    async def _search(self, session: Session, request: Mod, query: str) -> _Page:
        before = None
        if request.cursor is not None:
            before = read_search_cursor(request.cursor, query, request.room)
        found = await self._searches.find(
            session, query=query, room=request.room, before=before, limit=FOUND_MAX
        )
        since_ms, until_ms = request.since_ms or 0, request.until_ms
        seqs = sorted(
            hit.seq
            for hit in found.page.items
            if request.target in {None, hit.by}
            and hit.at_ms >= since_ms
            and (until_ms is None or hit.at_ms < until_ms)
        )
        fields: dict[str, object] = {"fresh": found.is_complete}
        if not found.is_complete:
            fields["behind"] = found.behind
        if found.page.next is not None:
            fields["next"] = search_cursor(query, request.room, found.page.next)
        return _Page(seqs, fields)


def _require_one_way(request: Mod) -> None:
    """Let through what says in one way which messages are meant."""
    by_time = request.since_ms is not None or request.until_ms is not None
    if request.seqs is not None and (by_time or request.query is not None):
        raise Refused(ErrorCode.BAD_REQUEST, "give seqs, or times and words", field="seqs")
    others = (request.target, request.seqs, request.query)
    if request.expired and (by_time or any(other is not None for other in others)):
        raise Refused(ErrorCode.BAD_REQUEST, "what is expired is said by nothing else", field="expired")
