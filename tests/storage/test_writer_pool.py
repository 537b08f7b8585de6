# ruff: noqa: ARG001  a test asks for the virtual clock by naming it
"""Several writers as one, in virtual time on the in-memory store."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from storage import Entry, MemoryStore, Receipt, Unavailable, WriterPool
from tests.storage.rows import message, owned_room, read_log
from tests.storage.writers import RNG, Heard, running


async def test_a_pool_keeps_every_room_at_one_writer(autojump_clock: MockClock) -> None:
    """Rooms are spread, each in order, and the pool flushes and counts as one."""
    store, heard = MemoryStore(), Heard()
    rooms = [await owned_room(store, f"r{number}") for number in range(6)]
    pool = WriterPool(3, store, on_receipts=heard.on_receipts, rng=RNG, observer=heard)
    assert len({id(pool.writer_for(room)) for room in rooms}) == 3
    async with running(pool):
        assert pool.accepts()
        for seq in range(1, 5):
            for room in rooms:
                pool.submit(message(room, seq), seq)
        assert [pool.pending(room) for room in rooms] == [4] * 6
        await pool.wait_flushed(rooms[0])
        assert await pool.flush(timeout_s=1) == 0
        pool.stop_accepting()
        assert not pool.accepts()
        pool.submit(message(rooms[0], 5), 5, beyond_bound=True)
        assert await pool.flush(timeout_s=1) == 0

    for room in rooms:
        last = 5 if room == rooms[0] else 4
        assert await read_log(store, room) == [message(room, seq) for seq in range(1, last + 1)]
    statistics = pool.statistics()
    assert (statistics.submitted, statistics.written, statistics.batches) == (25, 25, 4)
    assert (statistics.backlog_rows, statistics.backlog_bytes, statistics.oldest_wait_s) == (0, 0, 0)


async def test_a_pool_tells_the_worst_of_its_writers(autojump_clock: MockClock) -> None:
    """One writer without a database shows in the whole, and a flush is bounded for all together."""
    inner, heard = MemoryStore(), Heard()
    first, second = await owned_room(inner, "a"), await owned_room(inner, "b")

    class HalfAway(MemoryStore):
        async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
            if batch[0].room_id == first:
                raise Unavailable("gone")
            return await inner.append(batch)

    pool = WriterPool(2, HalfAway(), on_receipts=heard.on_receipts, rng=RNG)
    async with running(pool):
        begun_s = trio.current_time()
        pool.submit(message(first, 1), 1)
        pool.submit(message(second, 1), 2)
        assert await pool.flush(timeout_s=3) == 1
        assert trio.current_time() == begun_s + 3

    assert heard.tickets == [2]
    assert pool.statistics().unavailable_since_s == begun_s
    assert pool.statistics().oldest_wait_s == 3
    with pytest.raises(ValueError, match="needs a writer"):
        WriterPool(0, inner, on_receipts=heard.on_receipts, rng=RNG)
