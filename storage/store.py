"""The one contract of storage, fulfilled by Postgres and by the in-memory double alike.

`tests/storage/contract.py` runs unchanged on both. Every method may raise `StoreClosed` and `Unavailable`
(see there what may have been written). Cancelling a call cancels its query; a write that was cancelled
may or may not have been committed, all of it or none.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.account_store import AccountStore
from storage.model import (
    Activation,
    AuditKey,
    AuditRow,
    Entry,
    FoldedPage,
    HistoryPage,
    KnownCid,
    MemberRow,
    MembershipPage,
    MessagePage,
    MessageRange,
    NewRoom,
    PinPage,
    PointerMove,
    ReactionRow,
    Receipt,
    RetainedRoom,
    RoomId,
    RoomRow,
    SanctionRow,
    StatePage,
)
from storage.review_store import ReviewStore
from storage.search_model import IndexStep, RoomDue, SearchAsk, SearchPage


class Store(AccountStore, ReviewStore, Protocol):
    """Rooms, their logs, members and users."""

    async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
        """Write a batch in one transaction and say of each entry what became of it, in order.

        Entries of a room stand in order of seq, without holes. Rooms whose epoch is no longer the
        entries' get `Fenced` for all of theirs and write nothing; the rest of the batch is written.
        A known (room, by, cid) is never stored twice: see `Duplicate` and `CidConflict`. An entry whose
        (room, seq) is already stored with the same epoch, author and cid gets the receipt it got then, be
        it from the present owner or a former one: a batch may be retried after a lost commit reply.

        Raises:
            BadData: some row can never be stored; nothing of the batch was written. The writer
                bisects, and parks the row with `park`.
            LogGap: a room's entries do not continue its log (a hole, or a seq that holds another
                event); nothing of the batch was written.
        """
        ...

    async def park(self, entry: Entry, error: str) -> Receipt:
        """Put aside a row that can never be stored: keep it with `error`, its seq becomes `void`.

        May be retried after a lost commit reply. The receipt is `Poisoned`, or `Fenced` when the room has a
        newer owner, or `Stored` when the row turns out to have been stored.

        Raises:
            BadData: not even its room, seq, epoch and time can be stored.
            LogGap: it does not continue its room's log.
        """
        ...

    async def create_room(self, room: NewRoom) -> RoomRow:
        """Create a room with its first member.

        Raises:
            Conflict: the name is taken.
        """
        ...

    async def find_room(self, name: str) -> RoomRow | None:
        """A room's settings, or None."""
        ...

    async def activate(self, name: str, *, tail_events: int, at_ms: int) -> Activation | None:
        """Take a room over: raise its epoch, then read what its new owner needs. None: no such room.

        An append of the former owner is either in what is read here, or fenced for ever. `at_ms` is kept
        as the time at which the epoch began.
        """
        ...

    async def history(
        self,
        room_id: RoomId,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        thread: int | None = None,
        fold_for: str | None = None,
        limit: int,
    ) -> HistoryPage:
        """At most `limit` events below, above or around a seq; with none of the three, the latest.

        With `thread` only the messages of the thread that begins at that seq, which is not one of them. With
        `fold_for` the page has the present of its messages, too, as that user sees them.

        `before` and `after` are exclusive; `around` is included, with about half of the page on
        either side. Items are always in rising order of seq. An unknown room has an empty page.
        """
        ...

    async def find_cids(self, room_id: RoomId, user_id: str, cids: Sequence[str]) -> Mapping[str, KnownCid]:
        """Which of these idempotency keys the sender has used in the room."""
        ...

    async def fold_messages(self, room_id: RoomId, seqs: Sequence[int], *, user_id: str) -> FoldedPage:
        """The present of the events at these seqs, those that are stored, as `user_id` sees them."""
        ...

    async def list_reactions(
        self, room_id: RoomId, seq: int, *, emoji: str | None, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ReactionRow]:
        """Who reacted to a message, by emoji and user id, those after `after` = (emoji, user id).

        With `emoji` only that one's.
        """
        ...

    async def list_pins(self, room_id: RoomId, *, user_id: str, before: int | None, limit: int) -> PinPage:
        """Pinned messages as a user sees them, the latest pin first, those of pins before `before`."""
        ...

    async def read_state(
        self, room_id: RoomId, *, key: str | None, after: str | None, limit: int
    ) -> StatePage:
        """The shared state by key, those after `after`, or one key."""
        ...

    async def list_sanctions(self, room_id: RoomId) -> Sequence[SanctionRow]:
        """All that is imposed in a room, ended ones included, by user."""
        ...

    async def room_sanctions(
        self, room_id: RoomId, *, at_ms: int, after: tuple[str, str] | None, limit: int
    ) -> Sequence[SanctionRow]:
        """What is imposed in a room and has not ended at `at_ms`, by user and kind, those after `after`."""
        ...

    async def find_messages(self, room_id: RoomId, wanted: MessageRange, *, limit: int) -> MessagePage:
        """Seqs of a room's messages that were not deleted, in order: `limit` of them at most.

        A page may hold few or none and still have another after it: so many events are looked at for one.
        """
        ...

    async def list_audit(
        self, *, room_id: RoomId | None, before: AuditKey | None, limit: int
    ) -> Sequence[AuditRow]:
        """What was done to others and to rooms, the latest first: in one room, or in all.

        Of one room those below the `seq` of `before`, whatever the rest of it says.
        """
        ...

    async def read_audit(self, room_id: RoomId, *, after: int, limit: int) -> Sequence[AuditRow]:
        """The same of one room, the oldest first, those after a seq: to follow the chain of hashes."""
        ...

    async def user_sanctions(
        self, user_id: str, *, after: tuple[RoomId, str] | None, limit: int
    ) -> Sequence[tuple[str, RoomId, SanctionRow]]:
        """What a user may not do, with the rooms' names, by room and kind, those after `after`.

        Those that are stored, ended ones included.
        """
        ...

    async def list_rooms(
        self, *, after: str | None, limit: int, all_kinds: bool = False
    ) -> Sequence[RoomRow]:
        """Public rooms by name but archived ones, or rooms of all kinds, those after `after`."""
        ...

    async def rooms_retained(self, *, after: RoomId, limit: int) -> Sequence[RetainedRoom]:
        """Rooms by number, those after `after`, that do not keep for ever what is said in them."""
        ...

    async def note_retained(self, room_id: RoomId, seq: int) -> None:
        """Note that up to `seq` a room has nothing left that it does not keep; never goes back."""
        ...

    async def list_members(self, room_id: RoomId, *, after: str | None, limit: int) -> Sequence[MemberRow]:
        """A room's members by user id, those after `after`."""
        ...

    async def memberships(
        self, user_ids: Sequence[str], *, after: str | None, limit: int
    ) -> Mapping[str, MembershipPage]:
        """The rooms of each user by name, at most `limit` a user, in one query for all of them."""
        ...

    async def move_pointers(self, moves: Sequence[PointerMove]) -> Mapping[tuple[RoomId, str], int]:
        """Move read pointers forward, never back, all of them or none; where they are now, by room and user.

        A pointer that is there or further stays. A seq that is not stored moves nothing. Who is no member, or
        whose membership is being changed at this moment, is left out. May be repeated.

        Args:
            moves: one at most for each room and user.
        """
        ...

    async def search(self, ask: SearchAsk) -> SearchPage | None:
        """Messages with these words, newest first, as far as they are indexed; None: no such room.

        What may be read: public rooms, and rooms whose member the user is.

        Raises:
            Unavailable: as of every call, or this search takes longer than it may.
        """
        ...

    async def index_rooms(self, room_ids: Sequence[RoomId], *, max_rows: int) -> IndexStep:
        """Index the stored events after these rooms' positions, `max_rows` of them at most, all or none.

        May be repeated, and run by several at once. Rooms that do not exist are done.

        Raises:
            BadData: some event cannot be indexed; nothing was written. Fewer at a time find out which, and
                `skip_event` passes over it.
        """
        ...

    async def skip_event(self, room_id: RoomId) -> int | None:
        """Move a room's position over one event without indexing it; its seq, None at the end of the log."""
        ...

    async def rooms_due(self, *, after: RoomId, limit: int) -> Sequence[RoomDue]:
        """Rooms by number, those after `after`, that were activated and have not been settled since."""
        ...

    async def settle_rooms(self, rooms: Sequence[RoomDue]) -> None:
        """Note that nobody has these rooms open, as of the look they come from: nothing more can be written.

        Those that are indexed to their ends and were not activated since that look are due no more.
        """
        ...

    async def ping(self) -> None:
        """Return when the database answers a trivial query."""
        ...
