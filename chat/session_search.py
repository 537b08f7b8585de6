"""Searches: few at a time, the others wait for their turn, and who would wait too long is told so at once."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import trio

from chat.answer_size import fitting
from chat.errors import ErrorCode, Refused
from chat.pressure_state import UNSEARCHED_LEVEL
from chat.protocol import Search, check_no_nul, ok
from chat.search_cursor import read_search_cursor, search_cursor
from chat.session import Session
from chat.session_requests import oversees
from storage import TooSlow
from storage.search_model import SearchAsk, SearchHit, SearchKey, SearchPage
from storage.store import Store

AT_ONCE: Final = 2
"""Searches that the database works on: it has other things to do, and other connections for them."""
WAITING_MAX: Final = 32
RETRY_S: Final = 5.0


class Index(Protocol):
    """What a search must know of the index (`chat.search_index.SearchIndexer`)."""

    @property
    def behind(self) -> int:
        """Stored events that are known and not indexed."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether everything that was answered `ok` so far is indexed."""
        ...


class Found(NamedTuple):
    """What a search found, and what it may have missed.

    Attributes:
        behind: stored events that were not searched, at least.
        is_complete: whether everything that was answered `ok` before it began was searched.
    """

    page: SearchPage
    behind: int
    is_complete: bool


class SearchDesk:
    """Answers the searches of every session.

    Args:
        store: what is searched.
        index: how complete the answer can be.
        pressure: how hard the server is pressed, 0 to 4.
        page_max: items in an answer.
        now_ms: the wall clock.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        *,
        pressure: Callable[[], int],
        page_max: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._index = index
        self._pressure = pressure
        self._page_max = page_max
        self._now_ms = now_ms
        self._turns = trio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def search(self, session: Session, request: Search) -> None:
        """Find, and answer.

        Raises:
            Refused: `overloaded` under pressure or when too many wait, `bad_request`, `bad_cursor`,
                `room_not_found`, `timeout`.
            StorageError: as of every call of the store.

        Cancellation: the query is cancelled.
        """
        check_no_nul(request.id, query=request.query)
        before = None
        if request.cursor is not None:
            before = read_search_cursor(request.cursor, request.query, request.room)
        found = await self.find(
            session,
            query=request.query,
            room=request.room,
            before=before,
            limit=min(request.limit, self._page_max),
        )
        await session.wait_uncrowded()
        _answer(session, request, found)

    async def find(
        self, session: Session, *, query: str, room: str | None, before: SearchKey | None, limit: int
    ) -> Found:
        """Find messages that a session's user may read; the server's people read every room that they name.

        Raises:
            Refused: `overloaded` under pressure or when too many wait, `bad_request`, `room_not_found`,
                `timeout`.
            StorageError: as of every call of the store.

        Cancellation: the query is cancelled.
        """
        if self._pressure() >= UNSEARCHED_LEVEL:
            raise Refused(
                ErrorCode.OVERLOADED, "nothing is searched under this pressure", retry_after_s=RETRY_S
            )
        ask = SearchAsk(
            user_id=session.user_id,
            query=query,
            now_ms=self._now_ms(),
            room=room,
            before=before,
            limit=limit,
            oversees=room is not None and oversees(session),
        )
        # As of before the search: what was answered `ok` by now is searched, or said to be missing.
        page, behind, is_complete = await self._take_turn(ask)
        if page is None:
            raise Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room")
        if not page.searchable:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                "the query has no word to look for (alone, too common words and exclusions find nothing)",
                field="query",
            )
        if page.indexed_seq is not None and page.durable_seq is not None:
            # Of one room the database knows it exactly, whoever wrote there.
            behind, is_complete = page.durable_seq - page.indexed_seq, page.durable_seq <= page.indexed_seq
        return Found(page, behind, is_complete)

    async def _take_turn(self, ask: SearchAsk) -> tuple[SearchPage | None, int, bool]:
        try:
            self._turns.acquire_nowait()
        except trio.WouldBlock:
            await self._wait_turn()
        try:
            behind, is_complete = self._index.behind, self._index.is_complete
            return await self._store.search(ask), behind, is_complete
        except TooSlow:
            raise Refused(
                ErrorCode.TIMEOUT,
                "the search takes too long: more words, rarer ones or one room make it faster",
                retry_after_s=1.0,
            ) from None
        finally:
            self._turns.release()

    async def _wait_turn(self) -> None:
        if self._waiting >= WAITING_MAX:
            raise Refused(ErrorCode.OVERLOADED, "too many searches are waiting", retry_after_s=1.0)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1


def _answer(session: Session, request: Search, found: Found) -> None:
    page = found.page
    fields: dict[str, object] = {}
    if page.indexed_seq is not None:
        fields["indexed"] = page.indexed_seq
    fields["fresh"] = found.is_complete
    if not found.is_complete:
        fields["behind"] = found.behind
    following = page.next
    items = [session.encode(_item(hit)) for hit in page.items]
    if items:
        fits = fitting(items, 0, session.answer_max_bytes)
        if fits.stop < len(items):
            following = page.items[fits.stop - 1].key
        items = items[: fits.stop]
    if following is not None:
        fields["next"] = search_cursor(request.query, request.room, following)
    session.reply_listing(ok(request.id, **fields), "items", items)


def _item(hit: SearchHit) -> dict[str, object]:
    return {
        "room": hit.room,
        "seq": hit.seq,
        "at": hit.at_ms,
        "by": hit.by,
        "name": hit.name,
        "fragment": hit.fragment,
    }
