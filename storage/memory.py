"""The store in memory: the same contract as Postgres, checked by the same suite, for tests and simulations.

It forgets everything with the process. Each call is one step: it yields to trio once and then happens whole,
as a transaction does. Faults and delays are not its business, see `storage.testing.FaultyStore`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import trio

from storage import memory_search
from storage.append import describe, escape
from storage.epochs import add_epoch
from storage.errors import Conflict, LogGap
from storage.members import fold_members, outdated_changes
from storage.memory_governance import KINDS as GOVERNING
from storage.memory_governance import govern
from storage.memory_reviews import MemoryReviews
from storage.memory_room import (
    StoredMember,
    StoredRoom,
    check_entry,
    check_numbers,
    erase,
    judge_key,
    known_receipt,
    void_of,
)
from storage.model import (
    COUNTED_MAX,
    Activation,
    AuditKey,
    AuditRow,
    Entry,
    EpochStart,
    Fenced,
    FoldedPage,
    HistoryPage,
    KnownCid,
    LogEntry,
    MemberChange,
    MemberRow,
    Membership,
    MembershipPage,
    MessagePage,
    MessageRange,
    NewRoom,
    PinPage,
    PointerMove,
    Poisoned,
    ReactionRow,
    Receipt,
    RetainedRoom,
    RoomId,
    RoomRow,
    SanctionRow,
    StatePage,
    Stored,
)
from storage.page import NO_BOUND, Bounds, around_limits, make_page
from storage.rooms import membership_page
from storage.search_model import IndexStep, RoomDue, SearchAsk, SearchPage

_STORED = Stored()


class MemoryStore(MemoryReviews):
    """`storage.store.Store` in memory.

    Attributes:
        parked: rows that were put aside, each as its description and the error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parked: list[tuple[str, str]] = []
        self._rooms: dict[RoomId, StoredRoom] = {}
        self._ids: dict[str, RoomId] = {}
        self._rooms_of: dict[str, set[RoomId]] = {}

    async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
        """See `Store.append`."""
        await trio.lowlevel.checkpoint()
        for entry in batch:
            check_entry(entry)
        self._check_gaps(batch)
        outdated = outdated_changes(batch, {room_id: len(room.log) for room_id, room in self._rooms.items()})
        again_at_ms = {
            (member.room_id, member.user_id): member.at_ms
            for member in fold_members(one for one in batch if isinstance(one, MemberChange))[1]
        }
        return [
            self._append(entry, again_at_ms, outdated=place in outdated) for place, entry in enumerate(batch)
        ]

    async def park(self, entry: Entry, error: str) -> Receipt:
        """See `Store.park`."""
        await trio.lowlevel.checkpoint()
        check_numbers(entry)
        room = self._rooms.get(entry.room_id)
        owned = room is not None and room.epoch == entry.epoch
        if room is not None and isinstance(entry, LogEntry) and entry.seq <= len(room.log):
            return known_receipt(room, entry, owned=owned)
        if room is None or not owned:
            return Fenced()
        poisoned = Poisoned(escape(error))
        if isinstance(entry, LogEntry):
            if entry.seq != len(room.log) + 1:
                raise LogGap(f"room {entry.room_id}: seq {entry.seq} after {len(room.log)}")
            room.log.append(void_of(entry))
            room.parked[entry.seq] = poisoned
        self.parked.append((describe(entry), poisoned.error))
        return poisoned

    async def create_room(self, room: NewRoom) -> RoomRow:
        """See `Store.create_room`."""
        await trio.lowlevel.checkpoint()
        if room.name in self._ids:
            raise Conflict(f"a room {room.name!r} exists already")
        room_id = RoomId(len(self._rooms) + 1)
        row = RoomRow(
            room_id=room_id,
            name=room.name,
            kind=room.kind,
            topic=room.topic,
            strict=room.strict,
            slow_s=room.slow_s,
            created_by=room.created_by,
            created_at_ms=room.created_at_ms,
            language=room.language,
        )
        self._ids[room.name] = room_id
        stored = self._rooms[room_id] = StoredRoom(row)
        if room.creator_role is not None:
            user_id = room.created_by
            creator = MemberRow(user_id, room.creator_name, room.creator_role, room.created_at_ms, 0)
            stored.members[user_id] = StoredMember(creator, 0)
            self._index_member(stored, user_id)
        return row

    async def find_room(self, name: str) -> RoomRow | None:
        """See `Store.find_room`."""
        await trio.lowlevel.checkpoint()
        room_id = self._ids.get(name)
        return None if room_id is None else self._rooms[room_id].row

    async def activate(self, name: str, *, tail_events: int, at_ms: int) -> Activation | None:
        """See `Store.activate`."""
        await trio.lowlevel.checkpoint()
        del at_ms  # kept by Postgres for operators; no call reads it
        room_id = self._ids.get(name)
        if room_id is None:
            return None
        room = self._rooms[room_id]
        room.epoch += 1
        room.epochs = add_epoch(room.epochs, EpochStart(room.epoch, len(room.log)))
        head = room.log[-1] if room.log else None
        return Activation(
            room=room.row,
            epoch=room.epoch,
            head_seq=len(room.log),
            head_n=head.n if head else 0,
            head_at_ms=head.at_ms if head else 0,
            tail=room.log[max(0, len(room.log) - tail_events) :],
            epochs=tuple(room.epochs),
            members=[room.members[user_id].row for user_id in sorted(room.members)],
            state=[room.present.state[key] for key in sorted(room.present.state)],
            sanctions=[room.sanctions[key] for key in sorted(room.sanctions)],
            rules=self._present_rules(room_id),
        )

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
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return make_page(Bounds(0, 0, 0, 0), [], lowest=0, highest=0)
        entries = room.log
        if thread is not None:
            entries = [entry for entry in room.log if entry.kind == "message" and entry.thread == thread]
        page = _page(room, entries, before, after, around, limit)
        if fold_for is None:
            return page
        messages = [entry for entry in page.items if entry.kind == "message"]
        return replace(
            page,
            folded={entry.seq: room.present.fold(entry, room.log, fold_for) for entry in messages},
        )

    async def find_cids(self, room_id: RoomId, user_id: str, cids: Sequence[str]) -> Mapping[str, KnownCid]:
        """See `Store.find_cids`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return {}
        found = ((cid, room.cids.get((user_id, cid))) for cid in cids)
        return {
            cid: KnownCid(first.seq, first.epoch, first.at_ms, first.body, first.kind, first.data)
            for cid, first in found
            if first is not None
        }

    async def fold_messages(self, room_id: RoomId, seqs: Sequence[int], *, user_id: str) -> FoldedPage:
        """See `Store.fold_messages`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return FoldedPage(0, {})
        log, present = room.log, room.present
        stored = [log[seq - 1] for seq in seqs if 0 < seq <= len(log)]
        return FoldedPage(len(log), {entry.seq: present.fold(entry, log, user_id) for entry in stored})

    async def list_reactions(
        self, room_id: RoomId, seq: int, *, emoji: str | None, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ReactionRow]:
        """See `Store.list_reactions`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        return [] if room is None else room.present.reactions(seq, emoji, after)[:limit]

    async def list_pins(self, room_id: RoomId, *, user_id: str, before: int | None, limit: int) -> PinPage:
        """See `Store.list_pins`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return PinPage(0, [])
        log, present = room.log, room.present
        pinned = [log[seq - 1] for seq in islice(present.pins(before), limit) if seq <= len(log)]
        return PinPage(len(log), [(entry, present.fold(entry, log, user_id)) for entry in pinned])

    async def read_state(
        self, room_id: RoomId, *, key: str | None, after: str | None, limit: int
    ) -> StatePage:
        """See `Store.read_state`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return StatePage(0, [])
        state = room.present.state
        keys = _after(state, after or "")[:limit] if key is None else [key] if key in state else []
        return StatePage(len(room.log), [state[key] for key in keys])

    async def list_sanctions(self, room_id: RoomId) -> Sequence[SanctionRow]:
        """See `Store.list_sanctions`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        return [] if room is None else [room.sanctions[key] for key in sorted(room.sanctions)]

    async def room_sanctions(
        self, room_id: RoomId, *, at_ms: int, after: tuple[str, str] | None, limit: int
    ) -> Sequence[SanctionRow]:
        """See `Store.room_sanctions`."""
        return [
            row
            for row in await self.list_sanctions(room_id)
            if (after is None or (row.user_id, row.kind) > after)
            and (row.until_ms is None or row.until_ms > at_ms)
        ][:limit]

    async def find_messages(self, room_id: RoomId, wanted: MessageRange, *, limit: int) -> MessagePage:
        """See `Store.find_messages`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return MessagePage([], None)
        found = [
            entry.seq
            for entry in room.log
            if entry.kind == "message"
            and entry.body is not None
            and entry.seq > wanted.after
            and wanted.author in {None, entry.by}
            and (wanted.since_ms is None or entry.at_ms >= wanted.since_ms)
            and (wanted.until_ms is None or entry.at_ms < wanted.until_ms)
            and (wanted.seqs is None or entry.seq in wanted.seqs)
        ]
        return MessagePage(found[:limit], found[limit - 1] if len(found) > limit else None)

    async def list_audit(
        self, *, room_id: RoomId | None, before: AuditKey | None, limit: int
    ) -> Sequence[AuditRow]:
        """See `Store.list_audit`."""
        await trio.lowlevel.checkpoint()
        rows = [row for room in self._rooms.values() for row in room.audit if room_id in {None, row.room_id}]
        rows.sort(key=_audit_key, reverse=True)
        if before is not None:
            rows = [
                row for row in rows if (_audit_key(row) < before if room_id is None else row.seq < before.seq)
            ]
        return rows[:limit]

    async def read_audit(self, room_id: RoomId, *, after: int, limit: int) -> Sequence[AuditRow]:
        """See `Store.read_audit`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        return [] if room is None else [row for row in room.audit if row.seq > after][:limit]

    async def user_sanctions(
        self, user_id: str, *, after: tuple[RoomId, str] | None, limit: int
    ) -> Sequence[tuple[str, RoomId, SanctionRow]]:
        """See `Store.user_sanctions`."""
        await trio.lowlevel.checkpoint()
        found = [
            (room.row.name, room_id, row)
            for room_id, room in sorted(self._rooms.items())
            for (sanctioned, kind), row in sorted(room.sanctions.items())
            if sanctioned == user_id and (after is None or (room_id, kind) > after)
        ]
        return found[:limit]

    async def list_rooms(
        self, *, after: str | None, limit: int, all_kinds: bool = False
    ) -> Sequence[RoomRow]:
        """See `Store.list_rooms`."""
        await trio.lowlevel.checkpoint()
        rows = (room.row for room in self._rooms.values())
        listed = {row.name: row for row in rows if all_kinds or (row.kind == "public" and not row.archived)}
        return [listed[name] for name in _after(listed, after)[:limit]]

    async def rooms_retained(self, *, after: RoomId, limit: int) -> Sequence[RetainedRoom]:
        """See `Store.rooms_retained`."""
        await trio.lowlevel.checkpoint()
        found = [
            RetainedRoom(room_id, room.row.name, room.row.retention_s, room.retained_seq)
            for room_id, room in sorted(self._rooms.items())
            if room_id > after and room.row.retention_s is not None
        ]
        return found[:limit]

    async def note_retained(self, room_id: RoomId, seq: int) -> None:
        """See `Store.note_retained`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is not None:
            room.retained_seq = max(room.retained_seq, seq)

    async def list_members(self, room_id: RoomId, *, after: str | None, limit: int) -> Sequence[MemberRow]:
        """See `Store.list_members`."""
        await trio.lowlevel.checkpoint()
        room = self._rooms.get(room_id)
        if room is None:
            return []
        return [room.members[user_id].row for user_id in _after(room.members, after)[:limit]]

    async def memberships(
        self, user_ids: Sequence[str], *, after: str | None, limit: int
    ) -> Mapping[str, MembershipPage]:
        """See `Store.memberships`."""
        await trio.lowlevel.checkpoint()
        pages: dict[str, MembershipPage] = {}
        for user_id in user_ids:
            rooms = [self._rooms[room_id] for room_id in self._rooms_of.get(user_id, ())]
            by_name = {room.row.name: room for room in rooms}
            names = _after(by_name, after)[: limit + 1]
            pages[user_id] = membership_page([_membership(by_name[name], user_id) for name in names], limit)
        return pages

    async def move_pointers(self, moves: Sequence[PointerMove]) -> Mapping[tuple[RoomId, str], int]:
        """See `Store.move_pointers`."""
        await trio.lowlevel.checkpoint()
        pointers: dict[tuple[RoomId, str], int] = {}
        for room_id, user_id, seq in moves:
            room = self._rooms.get(room_id)
            member = None if room is None else room.members.get(user_id)
            if room is None or member is None:
                continue
            if member.row.read_seq < seq <= len(room.log):
                member.row = member.row._replace(read_seq=seq)
                member.read_n = room.log[seq - 1].n
            pointers[room_id, user_id] = member.row.read_seq
        return pointers

    async def search(self, ask: SearchAsk) -> SearchPage | None:
        """See `Store.search`. Every language is `simple` here."""
        await trio.lowlevel.checkpoint()
        memory_search.check_query(ask.query)
        return memory_search.search(self._rooms, ask)

    async def index_rooms(self, room_ids: Sequence[RoomId], *, max_rows: int) -> IndexStep:
        """See `Store.index_rooms`."""
        await trio.lowlevel.checkpoint()
        return memory_search.index_rooms(self._rooms, room_ids, max_rows)

    async def skip_event(self, room_id: RoomId) -> int | None:
        """See `Store.skip_event`."""
        await trio.lowlevel.checkpoint()
        return memory_search.skip_event(self._rooms, room_id)

    async def rooms_due(self, *, after: RoomId, limit: int) -> Sequence[RoomDue]:
        """See `Store.rooms_due`."""
        await trio.lowlevel.checkpoint()
        return memory_search.rooms_due(self._rooms, after, limit)

    async def settle_rooms(self, rooms: Sequence[RoomDue]) -> None:
        """See `Store.settle_rooms`."""
        await trio.lowlevel.checkpoint()
        memory_search.settle_rooms(self._rooms, rooms)

    async def ping(self) -> None:
        """See `Store.ping`."""
        await trio.lowlevel.checkpoint()

    def _check_gaps(self, batch: Sequence[Entry]) -> None:
        """Refuse a batch that does not continue a log, before anything of it is written."""
        heads: dict[RoomId, int] = {}
        for entry in batch:
            room = self._rooms.get(entry.room_id)
            if room is None or not isinstance(entry, LogEntry):
                continue
            owned = entry.epoch == room.epoch
            if entry.seq <= len(room.log):
                known_receipt(room, entry, owned=owned)
            elif owned:
                head = heads.get(entry.room_id, len(room.log))
                if entry.seq != head + 1:
                    raise LogGap(f"room {entry.room_id}: seq {entry.seq} after {head}")
                heads[entry.room_id] = entry.seq

    def _append(
        self, entry: Entry, again_at_ms: Mapping[tuple[RoomId, str], int], *, outdated: bool
    ) -> Receipt:
        room = self._rooms.get(entry.room_id)
        owned = room is not None and entry.epoch == room.epoch
        if room is not None and isinstance(entry, LogEntry) and entry.seq <= len(room.log):
            return known_receipt(room, entry, owned=owned)
        if room is None or not owned:
            return Fenced()
        if isinstance(entry, MemberChange):
            if not outdated:
                self._change_member(room, entry, again_at_ms.get((entry.room_id, entry.user_id)))
            return _STORED
        if entry.cid is not None:
            first = room.cids.setdefault((entry.by, entry.cid), entry)
            if first is not entry:
                room.log.append(void_of(entry))
                room.lost[entry.seq] = entry
                return judge_key(entry, first)
        room.log.append(entry)
        before = room.members.keys() if entry.kind not in GOVERNING else set(room.members)
        govern(room, entry)
        for user_id in before ^ room.members.keys():
            self._index_member(room, user_id)
        for seq in room.present.project(entry):
            erase(room, seq)
        return _STORED

    def _change_member(self, room: StoredRoom, change: MemberChange, again_at_ms: int | None) -> None:
        """Write one; `again_at_ms`: when the user comes back in this batch, who is kept if that is done."""
        known = room.members.get(change.user_id)
        if change.role is None and known is not None and known.row.joined_at_ms == again_at_ms:
            return
        if change.role is None:
            room.members.pop(change.user_id, None)
        elif known is None:
            row = MemberRow(change.user_id, change.name, change.role, change.at_ms, change.read_seq)
            room.members[change.user_id] = StoredMember(row, change.read_n)
        else:
            known.row = known.row._replace(name=change.name)
        self._index_member(room, change.user_id)

    def _index_member(self, room: StoredRoom, user_id: str) -> None:
        """Keep a user's rooms as the members of the room are."""
        rooms = self._rooms_of.setdefault(user_id, set())
        if user_id in room.members:
            rooms.add(room.row.room_id)
        else:
            rooms.discard(room.row.room_id)
            if not rooms:
                del self._rooms_of[user_id]


def _membership(room: StoredRoom, user_id: str) -> Membership:
    head = room.log[-1] if room.log else None
    member = room.members[user_id]
    read_seq = member.row.read_seq
    following = room.log[read_seq : read_seq + COUNTED_MAX]
    own = sum(entry.kind == "message" and entry.by == user_id for entry in following)
    return Membership(
        room.row.name,
        room.epoch,
        head.seq if head else 0,
        member.row.role,
        read_seq,
        max(0, (head.n if head else 0) - member.read_n - own),
        room.present.count_mentions(user_id, read_seq),
    )


def _page(
    room: StoredRoom,
    entries: Sequence[LogEntry],
    before: int | None,
    after: int | None,
    around: int | None,
    limit: int,
) -> HistoryPage:
    """A page of a room's log, or of those of its entries that make a thread."""
    if after is not None:
        lowest, highest = after + 1, after
        start = bisect_right(entries, after, key=_seq)
        end = start + limit
    elif around is not None:
        lowest, highest = around, around - 1
        place = bisect_left(entries, around, key=_seq)
        older, newer = around_limits(limit)
        start, end = place - older, place + newer
    else:
        before = NO_BOUND if before is None else before
        lowest, highest = before, before - 1
        end = bisect_left(entries, before, key=_seq)
        start = end - limit
    ends = (entries[0].seq, entries[-1].seq) if entries else (0, 0)
    bounds = Bounds(room.epoch, *ends, len(room.log))
    return make_page(bounds, entries[max(0, start) : end], lowest=lowest, highest=highest)


def _audit_key(row: AuditRow) -> AuditKey:
    return AuditKey(row.at_ms, row.room_id, row.seq)


def _seq(entry: LogEntry) -> int:
    return entry.seq


def _after(names: Iterable[str], after: str | None) -> list[str]:
    """The names by code point, without those up to `after`."""
    ordered = sorted(names)
    return ordered if after is None else ordered[bisect_right(ordered, after) :]
