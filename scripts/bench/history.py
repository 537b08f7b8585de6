"""A page of history out of a large room: what Postgres needs for it, and what its caller waits for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from storage import PostgresStore, migrate, open_database
from storage.database import Tx
from storage.history import PAGE_AFTER, PAGE_AROUND, PAGE_BEFORE
from storage.model import RoomId
from storage.page import around_limits

_ROOM: Final = "bench-history"
PAGE: Final = 50
_FILL_S: Final = 180.0
_QUERY_S: Final = 30.0
_BODY: Final = "x" * 85

# As the room's writer would leave it: the same columns, sizes and indexes, without three minutes of traffic.
_FILL: Final = """
WITH room AS (
    INSERT INTO rooms (epoch, created_at_ms, slow_s, strict, kind, name, topic, created_by)
    VALUES (1, 1700000000000, 0, false, 'public', $1, '', 'g_bench') RETURNING id
), filled AS (
    INSERT INTO log (room_id, seq, epoch, at_ms, n, kind, author, author_name, cid, body)
    SELECT room.id, i, 1, 1700000000000 + i, i, 'message', 'g_author' || i % 500, 'author ' || i % 500,
        'cid-' || lpad(i::text, 12, '0'), $2
    FROM room, generate_series(1, $3::bigint) AS i
    RETURNING 1
)
SELECT id FROM room
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTimes:
    """Milliseconds of each page, by kind of request.

    Attributes:
        rows: events in the room.
        planning_ms, execution_ms: by Postgres' own account (EXPLAIN ANALYZE).
        round_trip_ms: of `Store.history`, its thread and its rows as objects included.
    """

    rows: int
    planning_ms: Sequence[float]
    execution_ms: Sequence[float]
    round_trip_ms: Sequence[float]


async def fill_room(tx: Tx, room: str, rows: int) -> int:
    """Make a room of so many messages; its number."""
    room_id = await tx.fetchval_as(int, _FILL, room, _BODY, rows)
    await tx.execute("ANALYZE log")
    return room_id


async def measure_history(dsn: str, *, rows: int, pages: int, rng: Random) -> HistoryTimes:
    """Fill a room and read pages at random places of it: before, after and around a seq in turn.

    Args:
        dsn: an empty database, migrated here if it is not.
        rows: events in the room.
        pages: how many pages, of 50 events.
        rng: chooses the places.
    """
    async with open_database(dsn, max_size=2) as database:
        await migrate(database)
        store = PostgresStore(database, read_timeout_s=_QUERY_S)

        async def fill(tx: Tx) -> int:
            return await fill_room(tx, _ROOM, rows)

        room_id = RoomId(await database.run(fill, timeout_s=_FILL_S))
        places = [rng.randint(PAGE + 1, rows) for _ in range(pages)]
        statements = [_statement(index, room_id, place) for index, place in enumerate(places)]

        async def explain(tx: Tx) -> list[tuple[float, float]]:
            times: list[tuple[float, float]] = []
            for sql, arguments in statements:
                plan = await tx.fetchval_as(str, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
                root = json.loads(plan)[0]
                times.append((root["Planning Time"], root["Execution Time"]))
            return times

        explained = await database.read(explain, timeout_s=_FILL_S)
        trips: list[float] = []
        for index, place in enumerate(places):
            began_s = trio.current_time()
            match index % 3:
                case 0:
                    await store.history(room_id, before=place, limit=PAGE)
                case 1:
                    await store.history(room_id, after=place, limit=PAGE)
                case _:
                    await store.history(room_id, around=place, limit=PAGE)
            trips.append((trio.current_time() - began_s) * 1000)
        return HistoryTimes(
            rows=rows,
            planning_ms=[planning for planning, _ in explained],
            execution_ms=[execution for _, execution in explained],
            round_trip_ms=trips,
        )


def _statement(index: int, room_id: RoomId, place: int) -> tuple[str, tuple[int, ...]]:
    match index % 3:
        case 0:
            return PAGE_BEFORE, (room_id, place, PAGE)
        case 1:
            return PAGE_AFTER, (room_id, place, PAGE)
        case _:
            return PAGE_AROUND, (room_id, place, *around_limits(PAGE))
