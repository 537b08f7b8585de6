"""Calls when they are due."""

from functools import partial
from time import monotonic_ns

import trio
import trio.testing

from scripts.load.wheel import CALLS_PER_TURN, Wheel

BOUND_S = 10.0


async def test_calls_come_in_the_order_of_their_times() -> None:
    """What was due already comes at once; what becomes due by a call comes after it."""
    wheel = Wheel()
    called: list[int] = []
    done = trio.Event()
    now_ns = monotonic_ns()

    def last() -> None:
        wheel.at(0, done.set)

    wheel.at(now_ns, last)
    for number in reversed(range(3 * CALLS_PER_TURN)):
        wheel.at(number, partial(called.append, number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        with trio.fail_after(BOUND_S):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert called == list(range(3 * CALLS_PER_TURN))


async def test_a_sleeping_wheel_wakes_for_what_becomes_due_sooner() -> None:
    """It slept towards a time far off."""
    wheel = Wheel()
    done = trio.Event()
    wheel.at(monotonic_ns() + 3_600_000_000_000, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        await trio.testing.wait_all_tasks_blocked()
        wheel.at(monotonic_ns(), done.set)
        with trio.fail_after(BOUND_S):
            await done.wait()
        nursery.cancel_scope.cancel()
