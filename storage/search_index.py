"""Filling the index of messages from the log: always whole steps, each with the position it has reached.

The only input is the log, the only memory the position of each room; both are read in the transaction that
writes. So a step may be repeated, cut off or run beside another one: the index never skips an event, and
never says that it is further than it is.
"""

from collections.abc import Sequence
from typing import Final

from storage.database import Tx
from storage.model import RoomId
from storage.search_fold import Event, fold_events, step_of
from storage.search_model import IndexStep, RoomDue
from storage.search_tags import TAGS_SQL

# What a crash takes away is read from the log again, for the position goes with it: no wait for the disk.
SETTINGS: Final = "SET LOCAL synchronous_commit = off"
BEGIN_POSITIONS: Final = """
INSERT INTO search_positions (room_id, indexed_seq, at_ms)
SELECT id, 0, 0 FROM rooms WHERE id = ANY ($1::int8[])
ON CONFLICT (room_id) DO NOTHING
"""
# In order, so that two indexers cannot deadlock.
LOCK_POSITIONS: Final = """
SELECT room_id, indexed_seq FROM search_positions WHERE room_id = ANY ($1::int8[]) ORDER BY room_id FOR UPDATE
"""
READ_EVENTS: Final = """
SELECT p.room_id, l.seq, l.at_ms, l.kind, l.data
FROM unnest($1::int8[], $2::int8[]) WITH ORDINALITY AS p (room_id, indexed_seq, i)
CROSS JOIN LATERAL (
    SELECT seq, at_ms, kind, CASE WHEN kind IN ('edit', 'delete', 'purge', 'void') THEN data END AS data
    FROM log WHERE room_id = p.room_id AND seq > p.indexed_seq ORDER BY seq LIMIT $3
) AS l
ORDER BY p.i, l.seq
LIMIT $3
"""
# A text that was erased meanwhile is not indexed; the event that erased it comes later in the log.
WRITE_TEXTS: Final = f"""
INSERT INTO search_messages (room_id, seq, at_ms, text_seq, tsv)
SELECT said.room_id, said.seq, said.at_ms, text.seq,
    to_tsvector(r.language::regconfig, text.body)
        || array_to_tsvector({TAGS_SQL.format(room_id="r.id", language="r.language", at_ms="said.at_ms")})
FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS found (room_id, seq, text_seq)
JOIN rooms r ON r.id = found.room_id
JOIN log said ON said.room_id = found.room_id AND said.seq = found.seq
JOIN log text ON text.room_id = found.room_id AND text.seq = found.text_seq
WHERE said.kind = 'message' AND text.body IS NOT NULL
ON CONFLICT (room_id, seq) DO UPDATE SET text_seq = EXCLUDED.text_seq, tsv = EXCLUDED.tsv
"""  # noqa: S608  constants only
DELETE_TEXTS: Final = """
DELETE FROM search_messages m USING unnest($1::int8[], $2::int8[]) AS gone (room_id, seq)
WHERE m.room_id = gone.room_id AND m.seq = gone.seq
"""
ADVANCE: Final = """
UPDATE search_positions p SET indexed_seq = read.seq, at_ms = read.at_ms
FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS read (room_id, seq, at_ms)
WHERE p.room_id = read.room_id
"""
SKIP: Final = """
UPDATE search_positions p SET indexed_seq = next.seq, at_ms = next.at_ms
FROM (
    SELECT seq, at_ms FROM log
    WHERE room_id = $1 AND seq > (SELECT indexed_seq FROM search_positions WHERE room_id = $1)
    ORDER BY seq LIMIT 1
) AS next
WHERE p.room_id = $1
RETURNING next.seq
"""
ROOMS_DUE: Final = """
SELECT r.id, r.name, r.epoch,
    coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq DESC LIMIT 1), 0)
        - coalesce((SELECT indexed_seq FROM search_positions WHERE room_id = r.id), 0)
FROM rooms r WHERE search_due AND r.id > $1 ORDER BY r.id LIMIT $2
"""
# Whoever activated a room since then has raised its epoch: it stays due.
SETTLE: Final = """
UPDATE rooms r SET search_due = false FROM unnest($1::int8[], $2::int8[]) AS seen (room_id, epoch)
WHERE r.id = seen.room_id AND r.epoch = seen.epoch AND r.search_due
    AND coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq DESC LIMIT 1), 0)
        = coalesce((SELECT indexed_seq FROM search_positions WHERE room_id = r.id), 0)
"""


async def index_rooms(tx: Tx, room_ids: Sequence[RoomId], max_rows: int) -> IndexStep:
    """Index what came after each room's position, in the caller's transaction; see `Store.index_rooms`."""
    rooms = list(room_ids)
    await tx.execute(SETTINGS)
    await tx.execute(BEGIN_POSITIONS, rooms)
    positions = await tx.fetch_as(_pair, LOCK_POSITIONS, rooms)
    if not positions:
        return IndexStep(rows={}, done=rooms, unreadable=[])
    ordered = [room_id for room_id, _ in positions]
    events = await tx.fetch_as(Event, READ_EVENTS, *zip(*positions, strict=True), max_rows)
    changes = fold_events(events)
    if changes.texts:
        await tx.execute(WRITE_TEXTS, *zip(*changes.texts, strict=True))
    if changes.gone:
        await tx.execute(DELETE_TEXTS, *zip(*changes.gone, strict=True))
    if events:
        last_of = {event.room_id: event for event in events}
        ends = zip(*[(end.room_id, end.seq, end.at_ms) for end in last_of.values()], strict=True)
        await tx.execute(ADVANCE, *ends)
    return step_of(rooms, ordered, events, max_rows, changes.unreadable)


async def skip_event(tx: Tx, room_id: RoomId) -> int | None:
    """Pass over the next event of a room, in the caller's transaction; see `Store.skip_event`."""
    await tx.execute(BEGIN_POSITIONS, [room_id])
    return await tx.fetchrow_as(int, SKIP, room_id)


async def rooms_due(tx: Tx, after: RoomId, limit: int) -> Sequence[RoomDue]:
    """Rooms that may be behind, by number; see `Store.rooms_due`."""
    return await tx.fetch_as(RoomDue, ROOMS_DUE, after, limit)


async def settle_rooms(tx: Tx, rooms: Sequence[RoomDue]) -> None:
    """Rooms that nobody has open and that are indexed are due no more; see `Store.settle_rooms`."""
    await tx.execute(SETTLE, *zip(*[(room.room_id, room.epoch) for room in rooms], strict=True))


def _pair(room_id: RoomId, number: int) -> tuple[RoomId, int]:
    return room_id, number
