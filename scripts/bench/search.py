"""Searches in a million messages: how fast they are indexed, how long somebody waits for a page of hits."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from storage import PostgresStore, SearchAsk, SearchKey, TooSlow, migrate, open_database
from storage.database import Tx
from storage.model import RoomId
from storage.search import search

ROOMS: Final = 1_000
"""Besides the large one, which has half of all messages; every third of them is private."""
PAGE: Final = 20
_LARGE: Final = "bench-search"
_ASKER: Final = "g_asker"
_FILL_S: Final = 600.0
_QUERY_S: Final = 30.0
_FILL_ROWS: Final = 50_000
_INDEX_ROWS: Final = 1_000
_DAYS_MS: Final = 30 * 86_400_000
_BEGIN_MS: Final = 1_700_000_000_000
_VOCABULARY_LN: Final = 10.3

_MAKE_ROOMS: Final = """
INSERT INTO rooms (epoch, created_at_ms, slow_s, strict, kind, name, topic, created_by)
SELECT 1, $2, 0, false, CASE WHEN i % 3 = 2 THEN 'private' ELSE 'public' END, $1 || '-' || i, '', 'g_bench'
FROM generate_series(0, $3::int) AS i
RETURNING id
"""
_MAKE_MEMBERS: Final = """
INSERT INTO members (room_id, joined_at_ms, read_seq, read_n, user_id, name, role, room_name)
SELECT id, 0, 0, 0, $2, 'asker', 'member', name FROM rooms WHERE id = ANY ($1::int8[]) AND id % 10 = 0
"""
# Words as in languages: the n-th most frequent is said 1/n as often as the first (Zipf), which is in every
# second message; ten to eleven words a message, over thirty days. Every second message is in the large room.
_MAKE_MESSAGES: Final = """
INSERT INTO log (room_id, seq, epoch, at_ms, n, kind, author, author_name, cid, body)
SELECT ($1::int8[])[1 + room], seq, 1, $2 + (i * $3::float8)::int8, seq, 'message', 'g_author' || i % 500,
    'author ' || i % 500, 'cid-' || i,
    (
        SELECT string_agg('word' || floor(exp(random() * $4))::int, ' ')
        FROM generate_series(0, 2 + i % 18) AS word
    )
FROM (
    SELECT i, CASE WHEN i % 2 = 0 THEN 0 ELSE 1 + (i / 2) % $7 END AS room,
        CASE WHEN i % 2 = 0 THEN i / 2 + 1 ELSE (i / 2) / $7 + 1 END AS seq
    FROM generate_series($5::int8, $6::int8) AS i
) AS message
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTimes:
    """What was measured.

    Attributes:
        indexed_per_s: rows that one worker indexes in a second, when it does not rest.
        database_ms: of each search, on the database's connection: all its statements.
        round_trip_ms: of `Store.search`, as its caller sees it.
        kinds: the same by kind of query.
        hits: how many searches found something.
    """

    indexed_per_s: float
    database_ms: Sequence[float]
    round_trip_ms: Sequence[float]
    kinds: Mapping[str, Sequence[float]]
    hits: int


async def measure_search(dsn: str, *, rows: int, searches: int, rng: Random) -> SearchTimes:
    """Fill rooms, index them as the server does, and search in one room and in all, first pages and later.

    Args:
        dsn: an empty database, migrated here if it is not.
        rows: messages.
        searches: how many; each is asked twice, once for the database's time and once for the caller's.
        rng: chooses the words, the rooms and the places.
    """
    async with open_database(dsn, max_size=2, statement_timeout_s=_FILL_S) as database:
        await migrate(database)
        store = PostgresStore(database, read_timeout_s=_QUERY_S, write_timeout_s=_FILL_S)

        async def make_rooms(tx: Tx) -> list[RoomId]:
            rooms = await tx.fetch_as(RoomId, _MAKE_ROOMS, _LARGE, _BEGIN_MS, ROOMS)
            await tx.execute(_MAKE_MEMBERS, rooms, _ASKER)
            return rooms

        rooms = await database.run(make_rooms, timeout_s=_FILL_S)

        async def fill(tx: Tx, first: int) -> None:
            last = min(first + _FILL_ROWS, rows) - 1
            await tx.execute(
                _MAKE_MESSAGES, rooms, _BEGIN_MS, _DAYS_MS / rows, _VOCABULARY_LN, first, last, ROOMS
            )

        for first in range(0, rows, _FILL_ROWS):
            await database.run(fill, first, timeout_s=_FILL_S)
        began_s = trio.current_time()
        await _index(store, rooms)
        indexed_per_s = rows / (trio.current_time() - began_s)

        async def analyze(tx: Tx) -> None:
            await tx.execute("VACUUM ANALYZE search_messages, log, rooms, members")

        await database.read(analyze, timeout_s=_FILL_S)

        async def timed(tx: Tx, ask: SearchAsk) -> float:
            began_s = time.perf_counter()
            with suppress(TooSlow):  # it counts with the time that it was given
                await search(tx, ask)
            return (time.perf_counter() - began_s) * 1000

        database_ms: list[float] = []
        trips: list[float] = []
        kinds: dict[str, list[float]] = {}
        hits = 0
        for _ in range(searches):
            kind, ask = _draw(rng)
            database_ms.append(await database.snapshot(timed, ask, timeout_s=_QUERY_S))
            began_s = trio.current_time()
            page = None
            with suppress(TooSlow):
                page = await store.search(ask)
            trip_ms = (trio.current_time() - began_s) * 1000
            trips.append(trip_ms)
            kinds.setdefault(kind, []).append(trip_ms)
            hits += page is not None and bool(page.items)
        return SearchTimes(
            indexed_per_s=indexed_per_s,
            database_ms=database_ms,
            round_trip_ms=trips,
            kinds=kinds,
            hits=hits,
        )


async def _index(store: PostgresStore, rooms: Sequence[RoomId]) -> None:
    """A few rooms at a time, round about: so messages come to the index mixed, as they do in life."""
    left = list(rooms)
    while left:
        step = await store.index_rooms(left[:200], max_rows=_INDEX_ROWS)
        done = set(step.done)
        waiting = [room for room in left[:200] if room not in done]
        left = left[200:] + waiting


def _draw(rng: Random) -> tuple[str, SearchAsk]:
    """Somebody's search."""

    def word(most: int) -> str:
        return f"word{int(most ** rng.random())}"

    kind = rng.choice(["rare word", "any word", "any word", "two words", "two words", "phrase", "exclusion"])
    match kind:
        case "rare word":
            query = f"word{rng.randint(5_000, 29_000)}"
        case "any word":
            query = word(30_000)
        case "two words":
            query = f"{word(3_000)} {word(3_000)}"
        case "phrase":
            query = f'"{word(300)} {word(300)}"'
        case _:
            # Not two times the same word: nobody asks for what cannot be found.
            query = f"word{rng.randint(100, 3_000)} -{word(100)}"
    room = rng.choice(
        [f"{_LARGE}-0", f"{_LARGE}-0", f"{_LARGE}-{rng.randrange(0, ROOMS) // 3 * 3 + 1}", None, None]
    )
    before = None
    if rng.random() < 1 / 3:
        at_ms = _BEGIN_MS + rng.randrange(_DAYS_MS)
        before = SearchKey(at_ms, room or f"{_LARGE}-0", 1)
    where = "all rooms" if room is None else "the large room" if room == f"{_LARGE}-0" else "a small room"
    return f"{kind}, {where}", SearchAsk(
        user_id=_ASKER, query=query, now_ms=0, room=room, before=before, limit=PAGE
    )
