"""The worker that stores read pointers: what it writes together, how often, and what becomes of who waits."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import Final

import pytest
import trio
from structlog.testing import capture_logs

from chat.errors import ErrorCode, Refused
from chat.protocol import Envelope
from chat.read_pointers import BATCH_MAX, MIN_INTERVAL_S, WAITING_MAX, ReadPointers
from chat.room_state import Progress
from storage import MemoryStore, PointerMove, StoreClosed, Unavailable
from storage.model import RoomId
from tests.chat.room_kit import virtual_time

TEA: Final = RoomId(1)


class Store(MemoryStore):
    """Takes notes of batches, and has any member.

    Attributes:
        batches: when each came, and of what.
        took_s: how long each takes.
        raises: what the next ones raise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[float, list[PointerMove]]] = []
        self.took_s = 0.0
        self.raises: list[Exception] = []

    async def move_pointers(self, moves: Sequence[PointerMove]) -> Mapping[tuple[RoomId, str], int]:
        """Note it."""
        self.batches.append((trio.current_time(), list(moves)))
        await trio.sleep(self.took_s)
        if self.raises:
            raise self.raises.pop(0)
        return {(room_id, user_id): seq for room_id, user_id, seq in moves}


class Reader:
    """Keeps its answers."""

    def __init__(self, user_id: str = "u_ann") -> None:
        self.user_id = user_id
        self.answers: list[object] = []

    def reply(self, envelope: Envelope) -> None:
        """Keep it."""
        self.answers.append(envelope["read"])

    def refuse(self, refused: Refused) -> None:
        """Keep it."""
        self.answers.append(refused.code)


class Desk:
    """A running worker, and somebody who reads."""

    def __init__(self) -> None:
        self.store = Store()
        self.reads = ReadPointers(self.store, rng=Random(1))  # noqa: S311  jitter is no secret
        self.progress = Progress(10, strict=False)

    def read(self, reader: Reader, seq: int) -> None:
        """Have a pointer stored."""
        self.reads.submit("tea", TEA, seq, self.progress, reader, 1)


@asynccontextmanager
async def open_desk() -> AsyncGenerator[Desk]:
    """Run the worker for the time of the body."""
    desk = Desk()
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reads.run)
        yield desk
        nursery.cancel_scope.cancel()


@virtual_time
async def test_the_first_goes_out_at_once_and_the_next_batch_takes_all_that_came() -> None:
    """Of each pointer the highest; a batch begins a while after the one before, and when that is done."""
    async with open_desk() as desk:
        ann, bob = Reader("u_ann"), Reader("u_bob")
        for took_s, begins_s in ((0.0, MIN_INTERVAL_S), (0.3, 0.3)):
            desk.store.took_s = took_s
            desk.store.batches.clear()
            ann.answers.clear()
            began_s = trio.current_time()
            desk.read(ann, 1)
            await trio.sleep(0.01)
            for reader, seq in ((ann, 2), (bob, 3), (ann, 5), (ann, 4)):
                desk.read(reader, seq)
            await trio.sleep(1.0)
            assert [(round(at_s - began_s, 3), moves) for at_s, moves in desk.store.batches] == [
                (0.0, [PointerMove(TEA, "u_ann", 1)]),
                (begins_s, [PointerMove(TEA, "u_ann", 5), PointerMove(TEA, "u_bob", 3)]),
            ]
            assert ann.answers == [1, 5, 5, 5]


@virtual_time
async def test_a_batch_is_bounded() -> None:
    """What does not fit goes into the next one, in the order of coming."""
    async with open_desk() as desk:
        readers = [Reader(f"u_{number}") for number in range(BATCH_MAX + 1)]
        for reader in readers:
            desk.read(reader, 1)
        await trio.sleep(1.0)
        assert [len(moves) for _, moves in desk.store.batches] == [BATCH_MAX, 1]
        assert desk.store.batches[1][1] == [PointerMove(TEA, f"u_{BATCH_MAX}", 1)]
        assert all(reader.answers == [1] for reader in readers)


@virtual_time
async def test_what_is_not_stored_yet_holds_up_nothing() -> None:
    """A pointer at the head waits for it; those behind it, its own reader's too, do not."""
    async with open_desk() as desk:
        ann, bob = Reader("u_ann"), Reader("u_bob")
        desk.read(ann, 12)
        desk.read(ann, 11)
        desk.read(bob, 10)
        desk.read(ann, 9)
        await trio.sleep(1.0)
        assert (ann.answers, bob.answers) == ([9], [10])
        desk.progress.durable_seq = 11
        desk.reads.committed()
        await trio.sleep(1.0)
        assert ann.answers == [9, 11]
        desk.progress.durable_seq = 12
        desk.reads.committed()
        await trio.sleep(1.0)
        assert ann.answers == [9, 11, 12]


@virtual_time
async def test_an_activation_that_ends_takes_along_what_it_had_not_stored() -> None:
    """Nothing else; another activation's pointers wait on."""
    async with open_desk() as desk:
        ann, bob = Reader("u_ann"), Reader("u_bob")
        desk.read(ann, 11)
        desk.read(ann, 10)
        ended, desk.progress = desk.progress, Progress(10, strict=False)
        desk.read(bob, 11)
        desk.reads.end(ended)
        await trio.sleep(1.0)
        assert (ann.answers, bob.answers) == ([ErrorCode.UNAVAILABLE, 10], [])
        assert desk.reads.statistics().waiting == 1
        desk.reads.end(ended)


@virtual_time
async def test_a_batch_that_fails_is_written_again() -> None:
    """Later and later, until it is stored; the log tells of it now and then."""
    async with open_desk() as desk:
        desk.store.raises = [Unavailable("away")] * 5
        ann = Reader()
        with capture_logs() as logs:
            desk.read(ann, 1)
            await trio.sleep(10.0)
        assert ann.answers == [1]
        times = [at_s for at_s, _ in desk.store.batches]
        waits = [after - before for before, after in pairwise(times)]
        assert len(waits) == 5
        assert waits[0] < waits[2] < waits[4] <= 2.0
        assert [line["event"] for line in logs] == ["reads.not_stored"]
        assert desk.reads.statistics().failures == 5


@virtual_time
async def test_a_cancelled_worker_holds_what_it_held() -> None:
    """A later `run` writes it, the batch under way first."""
    desk = Desk()
    desk.store.took_s = 1.0
    ann = Reader()
    for timeout_s in (0.5, 1.5):
        desk.read(ann, 1)
        with trio.move_on_after(timeout_s):
            await desk.reads.run()
    assert [len(moves) for _, moves in desk.store.batches] == [1, 1, 1]
    assert ann.answers == [1]
    assert desk.reads.statistics().waiting == 1


@virtual_time
async def test_a_closed_store_ends_the_worker() -> None:
    """What waits is still held: nobody was told anything."""
    desk = Desk()
    desk.store.raises = [StoreClosed("closed")]
    ann = Reader()
    desk.read(ann, 1)
    with pytest.raises(StoreClosed):
        await desk.reads.run()
    assert (ann.answers, desk.reads.statistics().waiting) == ([], 1)


@virtual_time
async def test_a_flush_waits_for_all_and_not_for_ever() -> None:
    """It tells how many requests have no answer in the end."""
    async with open_desk() as desk:
        assert await desk.reads.flush(timeout_s=1.0) == 0
        desk.store.took_s = 0.5
        desk.read(Reader(), 1)
        assert await desk.reads.flush(timeout_s=0.2) == 1
        began_s = trio.current_time()
        assert await desk.reads.flush(timeout_s=9.0) == 0
        assert trio.current_time() - began_s == pytest.approx(0.3)
        desk.read(Reader(), 11)
        assert await desk.reads.flush(timeout_s=1.0) == 1


@virtual_time
async def test_requests_that_wait_are_bounded_over_all_pointers() -> None:
    """Above it everybody is busy, until some are answered."""
    desk = Desk()
    for number in range(WAITING_MAX):
        desk.reads.require_place(TEA, f"u_{number}")
        desk.read(Reader(f"u_{number}"), 11)
    with pytest.raises(Refused) as caught:
        desk.reads.require_place(TEA, "u_new")
    assert caught.value.code is ErrorCode.BUSY
    desk.reads.end(desk.progress)
    desk.reads.require_place(TEA, "u_new")
