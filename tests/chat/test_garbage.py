"""When old garbage is collected, and what is never looked at again."""

import gc
import weakref
from collections.abc import Generator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chat.garbage import (
    NEVER,
    STEP_BLOCKS,
    STEP_MIN_BLOCKS,
    STEP_PAUSE_S,
    THAW_CLOSED,
    TICK_S,
    GcKeeper,
    gc_tune,
    gc_watch,
)


@pytest.fixture(autouse=True)
def collector_as_before() -> Generator[None]:
    """Leave the process's collector as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Process:
    """A process whose size and connections a test decides."""

    def __init__(self) -> None:
        self.blocks = 1_000_000
        self.open = 0
        self.closed = 0

    def keeper(self) -> GcKeeper:
        """A keeper of this process's garbage."""
        return GcKeeper(lambda: (self.open, self.closed), blocks=lambda: self.blocks)


class Knot:
    """Something that only the cyclic collector can free."""

    def __init__(self) -> None:
        self.me = self


def test_a_heap_that_does_not_grow_is_left_alone() -> None:
    """Nothing is due while the heap stays below a step of growth."""
    process = Process()
    keeper = process.keeper()
    process.blocks += STEP_BLOCKS - 1

    assert keeper.plan() == "rest"


def test_growth_by_a_step_is_collected_once() -> None:
    """At a step of growth a collection is due; from there the next step counts."""
    process = Process()
    keeper = process.keeper()
    process.blocks += STEP_BLOCKS

    assert keeper.plan() == "collect"
    keeper.done("collect", 0.001)
    assert keeper.plan() == "rest"


def test_growth_counts_from_the_lowest_point() -> None:
    """Memory that was freed and comes again is growth."""
    process = Process()
    keeper = process.keeper()
    process.blocks -= 500_000
    assert keeper.plan() == "rest"
    process.blocks += STEP_BLOCKS

    assert keeper.plan() == "collect"


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=30))
def test_long_pauses_make_shorter_steps(pauses_s: list[float]) -> None:
    """Each pause above the aim halves the step, down to a bound; shorter ones leave it."""
    keeper = Process().keeper()
    for pause_s in pauses_s:
        keeper.done("collect", pause_s)

    halvings = sum(pause_s > STEP_PAUSE_S for pause_s in pauses_s)
    assert keeper.step_blocks == max(STEP_MIN_BLOCKS, STEP_BLOCKS >> halvings)


def test_everything_is_thawed_after_many_connections_have_ended() -> None:
    """A thaw is due when far more connections have ended since the last one than are open."""
    process = Process()
    keeper = process.keeper()
    process.open, process.closed = 100, THAW_CLOSED - 1
    assert keeper.plan() == "rest"
    process.closed += 1
    assert keeper.plan() == "thaw"
    keeper.done("thaw", 0.4)
    assert keeper.plan() == "rest"
    assert keeper.step_blocks == STEP_BLOCKS

    process.open = THAW_CLOSED
    process.closed += 2 * THAW_CLOSED
    assert keeper.plan() == "rest"
    process.closed += 2 * THAW_CLOSED
    assert keeper.plan() == "thaw"


def test_old_collections_are_manual_while_tuned() -> None:
    """Inside the block only the youngest generation is due by itself; afterwards all is as before."""
    before = gc.get_threshold()
    with gc_tune():
        assert gc.get_threshold()[1:] == (NEVER, NEVER)
        assert gc.get_freeze_count() > 0

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_the_keeper_frees_what_the_collector_would(autojump_clock: MockClock) -> None:
    """Old garbage that grew by a step is freed at the next tick, and what lives is frozen."""
    process = Process()
    with gc_tune():
        knot = weakref.ref(Knot())
        frozen = gc.get_freeze_count()
        process.blocks += STEP_BLOCKS
        keeper = process.keeper()
        process.blocks += STEP_BLOCKS
        survivors = [[n] for n in range(10_000)]
        with trio.move_on_after(TICK_S * 1.5):
            await keeper.run()

        assert knot() is None
        assert gc.get_freeze_count() >= frozen + len(survivors)
    assert autojump_clock.current_time() == pytest.approx(TICK_S * 1.5)


async def test_a_thaw_frees_what_was_frozen(autojump_clock: MockClock) -> None:
    """A cycle that became garbage after it was frozen is freed by the thaw."""
    process = Process()
    knot = Knot()
    gone = weakref.ref(knot)
    with gc_tune():
        del knot
        gc.collect()
        assert gone() is not None
        keeper = process.keeper()
        process.closed = THAW_CLOSED
        with trio.move_on_after(TICK_S * 1.5):
            await keeper.run()

        assert gone() is None
    assert autojump_clock.current_time() > 0


def test_every_pause_is_reported() -> None:
    """Each collection within the block is one pause; after the block nobody is told."""
    pauses_s: list[float] = []
    gc.disable()  # so that only the collections below are counted
    try:
        with gc_watch(pauses_s.append):
            gc.collect()
            gc.collect(0)
        gc.collect()
    finally:
        gc.enable()

    assert len(pauses_s) == 2
    assert all(pause_s >= 0 for pause_s in pauses_s)
