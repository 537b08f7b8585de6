"""The one contract of storage, fulfilled by Postgres and by the in-memory double alike.

`tests/storage/contract.py` runs unchanged on both. Every method may raise `StoreClosed` and `Unavailable`
(see there what may have been written). Cancelling a call cancels its query; a write that was cancelled
may or may not have been committed, all of it or none.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.model import (
    Activation,
    Entry,
    FoldedPage,
    HistoryPage,
    KnownCid,
    MemberRow,
    MembershipPage,
    NewRoom,
    PinPage,
    ReactionRow,
    Receipt,
    RoomId,
    RoomRow,
    StatePage,
    TokenRow,
    UserRow,
)


class Store(Protocol):
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
        """Create a room with its owner.

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

    async def list_rooms(self, *, after: str | None, limit: int) -> Sequence[RoomRow]:
        """Public rooms by name, those after `after`."""
        ...

    async def list_members(self, room_id: RoomId, *, after: str | None, limit: int) -> Sequence[MemberRow]:
        """A room's members by user id, those after `after`."""
        ...

    async def memberships(
        self, user_ids: Sequence[str], *, after: str | None, limit: int
    ) -> Mapping[str, MembershipPage]:
        """The rooms of each user by name, at most `limit` a user, in one query for all of them."""
        ...

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """The tokens that are known, neither revoked nor expired, in one query."""
        ...

    async def create_user(self, user: UserRow, *, at_ms: int) -> UserRow:
        """Create a registered user, or return the one who has this name already.

        Raises:
            Conflict: the user id is taken by another name.
        """
        ...

    async def create_token(
        self, user_id: str, token_hash: bytes, *, at_ms: int, expires_at_ms: int | None
    ) -> None:
        """Remember a token of a user by its hash.

        Raises:
            Conflict: the hash is known already.
            BadData: there is no such user.
        """
        ...

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The secret of this name; `candidate` becomes it when there is none yet."""
        ...

    async def ping(self) -> None:
        """Return when the database answers a trivial query."""
        ...
