"""The store in Postgres: which call runs in which kind of transaction. The SQL is filed by noun."""

from collections.abc import Mapping, Sequence
from typing import cast

import trio

from storage import audit, messages, projections, retention, rooms, search_index
from storage.append import append_carefully, append_regular, park
from storage.database import Database, DatabaseStatistics, Tx
from storage.errors import Conflict, Unavailable
from storage.history import find_cids, read_history
from storage.model import (
    Activation,
    AuditKey,
    AuditRow,
    Entry,
    FoldedPage,
    HistoryPage,
    KnownCid,
    LogEntry,
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
    Stored,
)
from storage.postgres_reviews import PostgresReviews
from storage.search import search
from storage.search_model import IndexStep, RoomDue, SearchAsk, SearchPage

_STORED = Stored()


class PostgresStore(PostgresReviews):
    """`storage.store.Store` on a database that was opened and migrated.

    Args:
        database: where to; stays the caller's, to close after the last call.
        writes: for `append` and `park` alone, with a connection for each writer, so that no number of other
            calls keeps a writer waiting, nor refuses it; by default the same as `database`.
        max_activations: so many rooms are activated at a time; the others wait for their turn, in order, for
            `write_timeout_s` at most, and leave the database's connections and queue to other calls.
        write_timeout_s: bounds each write.
        read_timeout_s: bounds each read.
    """

    def __init__(
        self,
        database: Database,
        *,
        writes: Database | None = None,
        max_activations: int = 64,
        write_timeout_s: float = 10.0,
        read_timeout_s: float = 5.0,
    ) -> None:
        super().__init__(database, write_timeout_s=write_timeout_s, read_timeout_s=read_timeout_s)
        self._writes = database if writes is None else writes
        self._activations = trio.Semaphore(max_activations)

    def statistics(self) -> DatabaseStatistics:
        """The figures of this moment, of both databases together."""
        own = self._database.statistics()
        return own if self._writes is self._database else own.plus(self._writes.statistics())

    async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
        """See `Store.append`."""
        if set(map(type, batch)) == {LogEntry}:
            entries = cast("Sequence[LogEntry]", batch)
            # Without a transaction of ours: the statement is one, at a third of the round trips.
            try:
                if await self._writes.read(append_regular, entries, timeout_s=self._write_s):
                    return [_STORED] * len(entries)
            except Conflict:
                pass  # the careful way finds out what was there before
        return await self._writes.run(append_carefully, batch, timeout_s=self._write_s)

    async def park(self, entry: Entry, error: str) -> Receipt:
        """See `Store.park`."""
        return await self._writes.run(park, entry, error, timeout_s=self._write_s)

    async def create_room(self, room: NewRoom) -> RoomRow:
        """See `Store.create_room`."""
        return await self._database.run(rooms.create_room, room, timeout_s=self._write_s)

    async def find_room(self, name: str) -> RoomRow | None:
        """See `Store.find_room`."""
        return await self._database.read(rooms.find_room, name, timeout_s=self._read_s)

    async def activate(self, name: str, *, tail_events: int, at_ms: int) -> Activation | None:
        """See `Store.activate`. An unknown name costs one read.

        Raises:
            Unavailable: as of every call, or no turn came in time.
        """
        try:
            with trio.fail_after(self._write_s):
                await self._activations.acquire()
        except trio.TooSlowError:
            raise Unavailable(f"no turn to activate a room within {self._write_s} s") from None
        try:
            if await self._database.read(rooms.find_room, name, timeout_s=self._read_s) is None:
                return None
            return await self._database.run(rooms.activate, name, tail_events, at_ms, timeout_s=self._write_s)
        finally:
            self._activations.release()

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
        """See `Store.history`."""
        read = (room_id, before, after, around, thread, limit)
        if fold_for is None:
            return await self._database.read(read_history, *read, timeout_s=self._read_s)
        return await self._database.snapshot(projections.read_folded, read, fold_for, timeout_s=self._read_s)

    async def fold_messages(self, room_id: RoomId, seqs: Sequence[int], *, user_id: str) -> FoldedPage:
        """See `Store.fold_messages`."""
        return await self._database.read(
            projections.fold_messages, room_id, seqs, user_id, timeout_s=self._read_s
        )

    async def list_reactions(
        self, room_id: RoomId, seq: int, *, emoji: str | None, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ReactionRow]:
        """See `Store.list_reactions`."""
        return await self._database.read(
            projections.list_reactions, room_id, seq, emoji, after, limit, timeout_s=self._read_s
        )

    async def list_pins(self, room_id: RoomId, *, user_id: str, before: int | None, limit: int) -> PinPage:
        """See `Store.list_pins`."""
        return await self._database.snapshot(
            projections.list_pins, room_id, user_id, before, limit, timeout_s=self._read_s
        )

    async def read_state(
        self, room_id: RoomId, *, key: str | None, after: str | None, limit: int
    ) -> StatePage:
        """See `Store.read_state`."""
        return await self._database.read(
            projections.read_state, room_id, key, after, limit, timeout_s=self._read_s
        )

    async def find_cids(self, room_id: RoomId, user_id: str, cids: Sequence[str]) -> Mapping[str, KnownCid]:
        """See `Store.find_cids`."""
        return await self._database.read(find_cids, room_id, user_id, cids, timeout_s=self._read_s)

    async def list_sanctions(self, room_id: RoomId) -> Sequence[SanctionRow]:
        """See `Store.list_sanctions`."""
        return await self._database.read(rooms.list_sanctions, room_id, timeout_s=self._read_s)

    async def room_sanctions(
        self, room_id: RoomId, *, at_ms: int, after: tuple[str, str] | None, limit: int
    ) -> Sequence[SanctionRow]:
        """See `Store.room_sanctions`."""
        return await self._database.read(
            rooms.room_sanctions, room_id, at_ms, after, limit, timeout_s=self._read_s
        )

    async def find_messages(self, room_id: RoomId, wanted: MessageRange, *, limit: int) -> MessagePage:
        """See `Store.find_messages`."""
        return await self._database.read(
            messages.find_messages, room_id, wanted, limit, timeout_s=self._read_s
        )

    async def list_audit(
        self, *, room_id: RoomId | None, before: AuditKey | None, limit: int
    ) -> Sequence[AuditRow]:
        """See `Store.list_audit`."""
        return await self._database.read(audit.list_audit, room_id, before, limit, timeout_s=self._read_s)

    async def read_audit(self, room_id: RoomId, *, after: int, limit: int) -> Sequence[AuditRow]:
        """See `Store.read_audit`."""
        return await self._database.read(audit.read_audit, room_id, after, limit, timeout_s=self._read_s)

    async def user_sanctions(
        self, user_id: str, *, after: tuple[RoomId, str] | None, limit: int
    ) -> Sequence[tuple[str, RoomId, SanctionRow]]:
        """See `Store.user_sanctions`."""
        return await self._database.read(rooms.user_sanctions, user_id, after, limit, timeout_s=self._read_s)

    async def list_rooms(
        self, *, after: str | None, limit: int, all_kinds: bool = False
    ) -> Sequence[RoomRow]:
        """See `Store.list_rooms`."""
        return await self._database.read(rooms.list_rooms, after, limit, all_kinds, timeout_s=self._read_s)

    async def rooms_retained(self, *, after: RoomId, limit: int) -> Sequence[RetainedRoom]:
        """See `Store.rooms_retained`."""
        return await self._database.read(retention.rooms_retained, after, limit, timeout_s=self._read_s)

    async def note_retained(self, room_id: RoomId, seq: int) -> None:
        """See `Store.note_retained`."""
        await self._database.read(retention.note_retained, room_id, seq, timeout_s=self._write_s)

    async def list_members(self, room_id: RoomId, *, after: str | None, limit: int) -> Sequence[MemberRow]:
        """See `Store.list_members`."""
        return await self._database.read(rooms.list_members, room_id, after, limit, timeout_s=self._read_s)

    async def memberships(
        self, user_ids: Sequence[str], *, after: str | None, limit: int
    ) -> Mapping[str, MembershipPage]:
        """See `Store.memberships`."""
        return await self._database.read(rooms.memberships, user_ids, after, limit, timeout_s=self._read_s)

    async def move_pointers(self, moves: Sequence[PointerMove]) -> Mapping[tuple[RoomId, str], int]:
        """See `Store.move_pointers`."""
        if not moves:
            return {}
        return await self._database.read(rooms.move_pointers, moves, timeout_s=self._write_s)

    async def search(self, ask: SearchAsk) -> SearchPage | None:
        """See `Store.search`."""
        return await self._database.snapshot(search, ask, timeout_s=self._read_s)

    async def index_rooms(self, room_ids: Sequence[RoomId], *, max_rows: int) -> IndexStep:
        """See `Store.index_rooms`."""
        return await self._database.run(search_index.index_rooms, room_ids, max_rows, timeout_s=self._write_s)

    async def skip_event(self, room_id: RoomId) -> int | None:
        """See `Store.skip_event`."""
        return await self._database.run(search_index.skip_event, room_id, timeout_s=self._write_s)

    async def rooms_due(self, *, after: RoomId, limit: int) -> Sequence[RoomDue]:
        """See `Store.rooms_due`."""
        return await self._database.read(search_index.rooms_due, after, limit, timeout_s=self._read_s)

    async def settle_rooms(self, rooms: Sequence[RoomDue]) -> None:
        """See `Store.settle_rooms`."""
        if rooms:
            await self._database.read(search_index.settle_rooms, rooms, timeout_s=self._write_s)

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._database.read(_ping, timeout_s=self._read_s)


async def _ping(tx: Tx) -> None:
    await tx.fetchval("SELECT 1")
