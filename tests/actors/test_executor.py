"""The run queue is fair to those in it and to every other task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from actors.executor import ROUND_S, ROUND_TURNS, Executor


class Boom(Exception):
    """What a worker raises."""


class Clock:
    """Stands still unless a turn takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Worker:
    """Writes its name into `log` each turn and comes again as often as wanted."""

    def __init__(
        self,
        executor: Executor,
        log: list[str],
        name: str,
        *,
        turns: int = 1,
        work: Callable[[], None] | None = None,
    ) -> None:
        self._executor = executor
        self._log = log
        self._name = name
        self._left = turns
        self._work = work
        self.errors: list[BaseException] = []

    def turn(self, began_at: float) -> float:
        """Work, and come again."""
        assert self._executor.current is self
        self._log.append(self._name)
        self._left -= 1
        if self._left:
            self._executor.submit(self)
        if self._work is not None:
            self._work()
        return began_at

    def broke(self, exc: BaseException) -> None:
        """Keep it."""
        self.errors.append(exc)


@asynccontextmanager
async def running(clock: Callable[[], float] | None = None) -> AsyncGenerator[Executor]:
    """Run an executor for as long as the body."""
    executor = Executor(clock or Clock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(executor.run)
        await trio.testing.wait_all_tasks_blocked()
        yield executor
        nursery.cancel_scope.cancel()


async def test_workers_run_a_turn_each_in_the_order_of_coming() -> None:
    """One that has more to do goes behind the others."""
    log: list[str] = []
    async with running() as executor:
        for name, turns in [("a", 3), ("b", 1), ("c", 2)]:
            executor.submit(Worker(executor, log, name, turns=turns))
        assert log == []
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["a", "b", "c", "a", "c", "a"]
        assert executor.current is None


async def test_one_that_comes_while_it_sleeps_wakes_it_again() -> None:
    """It sleeps whenever nothing is left."""
    log: list[str] = []
    async with running() as executor:
        for name in "ab":
            executor.submit(Worker(executor, log, name))
            await trio.testing.wait_all_tasks_blocked()
    assert log == ["a", "b"]


async def test_what_a_turn_raises_goes_to_its_worker_and_the_others_go_on() -> None:
    """Whatever it is, even what is no Exception."""
    log: list[str] = []

    def fail(error: BaseException) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    async with running() as executor:
        errors = [Boom(), SystemExit()]
        broken = [Worker(executor, log, "x", work=fail(error)) for error in errors]
        for worker in (*broken, Worker(executor, log, "a")):
            executor.submit(worker)
        await trio.testing.wait_all_tasks_blocked()
        assert [worker.errors for worker in broken] == [[error] for error in errors]
    assert log == ["x", "x", "a"]


async def test_others_get_their_turn_although_workers_never_end_and_the_clock_stands_still() -> None:
    """After a number of turns it gives way."""
    log: list[str] = []
    async with running() as executor:
        executor.submit(Worker(executor, log, "a", turns=-1))
        for rounds in range(3):
            await _next_pass()
            assert rounds * ROUND_TURNS <= len(log) <= (rounds + 2) * ROUND_TURNS


async def test_a_round_ends_when_its_time_is_over() -> None:
    """Long turns are fewer turns; the one in hand is finished."""
    log: list[str] = []
    clock = Clock()

    class Slow(Worker):
        def turn(self, began_at: float) -> float:
            assert clock.now == began_at
            clock.now = super().turn(began_at) + 0.4 * ROUND_S
            return clock.now

    async with running(clock) as executor:
        executor.submit(Slow(executor, log, "a", turns=-1))
        await _two_passes()
        assert 3 <= len(log) <= 6


async def test_the_time_of_a_turn_that_raised_counts_too() -> None:
    """Otherwise a chain of crashes could hold everybody up."""
    log: list[str] = []
    clock = Clock()

    def fail() -> None:
        clock.now += 2 * ROUND_S
        raise Boom

    async with running(clock) as executor:
        executor.submit(Worker(executor, log, "a", turns=-1, work=fail))
        await _two_passes()
        assert 1 <= len(log) <= 2


async def test_after_its_end_a_submission_does_nothing() -> None:
    """A message told in the last moment hurts nobody."""
    log: list[str] = []
    async with running() as executor:
        pass
    executor.submit(Worker(executor, log, "late"))
    assert log == []


async def _next_pass() -> None:
    """Let every task that is ready run once."""
    await trio.lowlevel.cancel_shielded_checkpoint()


async def _two_passes() -> None:
    """Let an executor that was woken run one round or two: trio may wake this task before it."""
    await _next_pass()
    await _next_pass()
