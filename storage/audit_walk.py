"""Reads all of the audit and what it should say, a stretch of a room at a time: for a check offline."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from storage.audit import read_audit
from storage.audit_check import Finding, Governing, judge
from storage.database import Database, Tx
from storage.model import AuditRow, RoomId

STRETCH: Final = 5000
"""Seqs of a room that are compared at a time: some megabytes at most."""
ROOMS_PAGE: Final = 500
READ_S: Final = 60.0

ROOMS: Final = "SELECT id, name FROM rooms WHERE id > $1 ORDER BY id LIMIT $2"
HEAD: Final = "SELECT seq FROM log WHERE room_id = $1 ORDER BY seq DESC LIMIT 1"
GOVERNING: Final = """
SELECT l.seq, l.at_ms, l.kind, l.author, l.author_name, l.data, (
    SELECT author FROM log AS m WHERE m.room_id = l.room_id AND m.seq = CASE
        WHEN l.kind = 'delete' AND left(l.data, 1) = '{' THEN (l.data::json ->> 'of')::bigint END
)
FROM log AS l
WHERE l.room_id = $1 AND l.seq > $2 AND l.seq <= $3
    AND l.kind IN ('member', 'role', 'sanction', 'room', 'delete', 'purge', 'announce', 'act')
ORDER BY l.seq
"""


class Walked(NamedTuple):
    """What came of a check.

    Attributes:
        rooms: that were looked at.
        rows: of the audit that were.
        findings: the first row that is not in order, of each room that has one.
    """

    rooms: int
    rows: int
    findings: Sequence[Finding]


async def walk_audit(database: Database, on_room: Callable[[int], None]) -> Walked:
    """Check the audit of every room; the server may be running.

    Args:
        database: migrated.
        on_room: called after each room with how many there were.

    Raises:
        StorageError: it cannot be read.
    """
    rooms = rows = after = 0
    findings: list[Finding] = []
    while page := await database.read(_rooms, after, timeout_s=READ_S):
        for room_id, name in page:
            found, count = await _walk_room(database, room_id, name)
            rooms, rows = rooms + 1, rows + count
            if found is not None:
                findings.append(found)
            on_room(rooms)
        after = page[-1][0]
    return Walked(rooms, rows, findings)


async def _walk_room(database: Database, room_id: RoomId, name: str) -> tuple[Finding | None, int]:
    head = await database.read(_head, room_id, timeout_s=READ_S)
    last_hash, count = b"", 0
    for after in range(0, head, STRETCH):
        until = min(after + STRETCH, head)
        events, rows = await database.read(_stretch, room_id, after, until, timeout_s=READ_S)
        count += len(rows)
        problem, last_hash = judge(last_hash, events, rows)
        if problem is not None:
            return Finding(name, *problem), count
    # Whatever was stored since has raised the head as well.
    beyond = await database.read(read_audit, room_id, head, 1, timeout_s=READ_S)
    if beyond and beyond[0].seq > await database.read(_head, room_id, timeout_s=READ_S):
        return Finding(name, beyond[0].seq, "the log does not say so"), count
    return None, count


async def _rooms(tx: Tx, after: int) -> Sequence[tuple[RoomId, str]]:
    return await tx.fetch_as(_room, ROOMS, after, ROOMS_PAGE)


async def _head(tx: Tx, room_id: RoomId) -> int:
    return await tx.fetchrow_as(int, HEAD, room_id) or 0


async def _stretch(
    tx: Tx, room_id: RoomId, after: int, until: int
) -> tuple[Sequence[Governing], Sequence[AuditRow]]:
    events = await tx.fetch_as(Governing, GOVERNING, room_id, after, until)
    rows = await read_audit(tx, room_id, after, until - after)
    return events, [row for row in rows if row.seq <= until]


def _room(room_id: RoomId, name: str) -> tuple[RoomId, str]:
    return room_id, name
