"""Supervision: order, strategies, back-off, escalation, and stopping in the middle of each."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import trio
import trio.testing

from actors import (
    ChildSpec,
    Crashed,
    Normal,
    Restart,
    RestartLimit,
    RestartPolicy,
    Shutdown,
    StartFailed,
    StopRequest,
    Strategy,
    Supervisor,
)
from tests.actors.support import Boom

STEADY: Final = RestartPolicy(intensity=3, period_s=60, backoff_s=1, backoff_max_s=4, jitter=0)


class Stage:
    """Children that write down what they do and crash when told."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._orders: dict[str, trio.Event] = {}
        self.broken_starts: dict[str, int] = {}

    def note(self, text: str) -> None:
        """Write down, with the virtual time."""
        self.log.append(f"{text} {trio.current_time():g}")

    def crash(self, name: str) -> None:
        """Make the running child raise."""
        self._orders[name].set()

    def child(
        self,
        name: str,
        *,
        restart: Restart = Restart.PERMANENT,
        returns: bool = False,
        cleanup_s: float = 0,
    ) -> ChildSpec:
        """Make a child that is ready at once, or fails as often as `broken_starts` says."""

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            order = self._orders[name] = trio.Event()
            if self.broken_starts.get(name, 0):
                self.broken_starts[name] -= 1
                self.note(f"{name}?")
                raise Boom(name)
            self.note(f"{name}+")
            task_status.started()
            try:
                await order.wait()
            finally:
                with trio.move_on_after(cleanup_s, shield=True):
                    await trio.sleep_forever()
                self.note(f"{name}-")
            if not returns:
                raise Boom(name)

        return ChildSpec(id=name, start=run, restart=restart)


async def settle() -> None:
    """Let everything run that needs no time."""
    await trio.testing.wait_all_tasks_blocked()


async def test_children_start_left_to_right_and_stop_in_reverse(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The supervisor is ready when all are, and hands out how to stop it."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child(name) for name in "abc"])
    async with trio.open_nursery() as nursery:
        stop: StopRequest = await nursery.start(supervisor.run)
        assert stage.log == ["a+ 0", "b+ 0", "c+ 0"]
        stop()
    assert stage.log[3:] == ["c- 0", "b- 0", "a- 0"]
    assert [child.reason for child in supervisor.statistics()] == [Shutdown()] * 3


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["b- 0", "b+ 1"]),
        (Strategy.REST_FOR_ONE, ["b- 0", "c- 0", "b+ 1", "c+ 1"]),
        (Strategy.ONE_FOR_ALL, ["b- 0", "c- 0", "a- 0", "a+ 1", "b+ 1", "c+ 1"]),
    ],
)
async def test_a_strategy_decides_who_shares_the_fate_of_a_crash(
    autojump_clock: trio.testing.MockClock, strategy: Strategy, expected: list[str]
) -> None:
    """Siblings are stopped at once in reverse and start in order after the back-off."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child(n) for n in "abc"], strategy=strategy, policy=STEADY)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.crash("b")
        await trio.sleep(5)
        assert stage.log[3:] == expected
        supervisor.stop()


async def test_back_off_doubles_and_the_intensity_ends_it_with_all_crashes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The fourth crash within the period stops all children and is raised with its history."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child("a"), stage.child("b")], policy=STEADY, name="root")

    async def crash_on() -> None:
        while True:
            stage.crash("a")
            await trio.sleep(10)

    with pytest.raises(RestartLimit) as caught:
        await _run_beside(supervisor, crash_on)
    assert [line for line in stage.log if line[0] == "a"] == [
        "a+ 0",
        "a- 0",
        "a+ 1",
        "a- 10",
        "a+ 12",
        "a- 20",
        "a+ 24",
        "a- 30",
    ]
    assert stage.log[-1] == "b- 30"
    assert caught.value.child_id == "a"
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [type(exc) for exc in cause.exceptions] == [Boom] * 4


async def _run_beside(supervisor: Supervisor, work: Callable[[], Awaitable[None]]) -> None:
    """Run the supervisor as the one who owns it would, with something else going on."""
    async with trio.open_nursery() as nursery:
        failed: list[Exception] = []

        async def run() -> None:
            try:
                await supervisor.run()
            except RestartLimit as error:
                failed.append(error)
            nursery.cancel_scope.cancel()

        nursery.start_soon(run)
        await settle()
        nursery.start_soon(work)
    raise failed[0]


async def test_stopping_in_the_middle_of_a_back_off_does_not_wait_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And starts nothing any more."""
    del autojump_clock
    stage = Stage()
    policy = RestartPolicy(backoff_s=100, backoff_max_s=100)
    supervisor = Supervisor([stage.child("a"), stage.child("b")], policy=policy)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.crash("a")
        await trio.sleep(1)
        supervisor.stop()
    assert stage.log == ["a+ 0", "b+ 0", "a- 0", "b- 1"]
    assert trio.current_time() == 1


async def test_two_back_offs_of_one_for_one_run_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    """The second crash does not wait for the first one's restart."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child("a"), stage.child("b")], policy=STEADY)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.crash("a")
        await trio.sleep(0.5)
        stage.crash("b")
        await trio.sleep(5)
        assert stage.log[2:] == ["a- 0", "b- 0.5", "a+ 1", "b+ 2.5"]
        supervisor.stop()


async def test_a_restart_that_fails_is_tried_again_before_its_right_hand_siblings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A child never starts before the one that it stands on is ready."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor(
        [stage.child("a"), stage.child("b")], strategy=Strategy.REST_FOR_ONE, policy=STEADY
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.broken_starts["a"] = 1
        stage.crash("a")
        await trio.sleep(10)
        assert stage.log[2:] == ["a- 0", "b- 0", "a? 1", "a+ 3", "b+ 3"]
        assert [child.restarts for child in supervisor.statistics()] == [2, 1]
        supervisor.stop()


async def test_a_first_start_that_fails_stops_what_runs_and_is_raised_with_its_cause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The operator sees the real error at once; nothing is retried."""
    del autojump_clock
    stage = Stage()
    stage.broken_starts["b"] = 1
    with pytest.raises(StartFailed, match="b") as caught:
        await Supervisor([stage.child(name) for name in "abc"]).run()
    assert isinstance(caught.value.__cause__, Boom)
    assert stage.log == ["a+ 0", "b? 0", "a- 0"]


@pytest.mark.parametrize(
    ("restart", "returns", "comes_back"),
    [
        (Restart.PERMANENT, True, True),
        (Restart.TRANSIENT, True, False),
        (Restart.TRANSIENT, False, True),
        (Restart.TEMPORARY, False, False),
    ],
)
async def test_the_end_of_a_child_and_its_kind_decide_the_restart(
    autojump_clock: trio.testing.MockClock, restart: Restart, *, returns: bool, comes_back: bool
) -> None:
    """As in OTP."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child("a", restart=restart, returns=returns)], policy=STEADY)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.crash("a")
        await trio.sleep(5)
        assert ("a+ 1" in stage.log) is comes_back
        (child,) = supervisor.statistics()
        assert child.running is comes_back
        assert isinstance(child.reason, Normal if returns else Crashed)
        supervisor.stop()


async def test_a_transient_sibling_that_was_done_is_not_started_by_another_ones_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One for all brings back what ran, not what had finished."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor(
        [stage.child("a"), stage.child("job", restart=Restart.TRANSIENT, returns=True)],
        strategy=Strategy.ONE_FOR_ALL,
        policy=STEADY,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.crash("job")
        await settle()
        stage.crash("a")
        await trio.sleep(5)
        assert stage.log[2:] == ["job- 0", "a- 0", "a+ 1"]
        supervisor.stop()


async def test_a_stopped_sibling_that_ran_comes_back_after_each_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Having been stopped by a plan is no wish to be gone."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor(
        [stage.child("a"), stage.child("b", restart=Restart.TRANSIENT)],
        strategy=Strategy.ONE_FOR_ALL,
        policy=STEADY,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        for _ in range(2):
            stage.crash("a")
            await trio.sleep(5)
        assert [line for line in stage.log if line[0] == "b"] == [
            "b+ 0",
            "b- 0",
            "b+ 1",
            "b- 5",
            "b+ 7",
        ]
        supervisor.stop()


async def test_a_soft_stop_is_asked_for_first_and_cancelling_comes_after_shutdown_s(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One child ends by itself, the other one takes too long."""
    del autojump_clock
    log: list[str] = []

    async def polite(*, task_status: trio.TaskStatus[StopRequest]) -> None:
        asked = trio.Event()
        task_status.started(asked.set)
        await asked.wait()
        await trio.sleep(1)
        log.append(f"polite done {trio.current_time():g}")

    async def deaf(*, task_status: trio.TaskStatus[StopRequest]) -> None:
        task_status.started(lambda: None)
        try:
            await trio.sleep_forever()
        finally:
            log.append(f"deaf cancelled {trio.current_time():g}")

    supervisor = Supervisor(
        [
            ChildSpec(id="polite", start=polite, shutdown_s=3),
            ChildSpec(id="deaf", start=deaf, shutdown_s=3),
        ]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.stop()
    assert log == ["deaf cancelled 3", "polite done 4"]
    assert [child.reason for child in supervisor.statistics()] == [Normal(), Shutdown()]


async def test_cancelling_the_scope_around_it_still_stops_in_reverse(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each child cleans up before the one that it stands on is ended."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child("a"), stage.child("b", cleanup_s=2)])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.cancel_scope.cancel()
    assert stage.log == ["a+ 0", "b+ 0", "b- 2", "a- 2"]


async def test_a_supervisor_can_be_a_child_and_its_failure_is_a_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The inner one gives up, the outer one builds it anew."""
    del autojump_clock
    stage = Stage()
    policy = RestartPolicy(intensity=0)

    async def inner(*, task_status: trio.TaskStatus[StopRequest]) -> None:
        await Supervisor([stage.child("leaf")], policy=policy).run(task_status=task_status)

    outer = Supervisor(
        [ChildSpec(id="inner", start=inner)],
        policy=STEADY,
        rng=random.Random(0),  # noqa: S311
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(outer.run)
        stage.crash("leaf")
        await trio.sleep(5)
        assert stage.log == ["leaf+ 0", "leaf- 0", "leaf+ 1"]
        outer.stop()
    assert stage.log[-1] == "leaf- 5"


async def test_a_permanent_child_that_only_returns_is_beyond_the_intensity_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without a crash the cause says what happened instead."""
    del autojump_clock
    stage = Stage()
    supervisor = Supervisor([stage.child("a", returns=True)], policy=RestartPolicy(intensity=0))

    async def end() -> None:
        stage.crash("a")
        await trio.sleep_forever()

    with pytest.raises(RestartLimit) as caught:
        await _run_beside(supervisor, end)
    assert "permanent" in str(caught.value.__cause__)


async def test_a_child_that_says_ready_twice_has_crashed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As trio's own nursery would say."""
    del autojump_clock

    async def hasty(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        task_status.started()

    supervisor = Supervisor([ChildSpec(id="hasty", start=hasty)], policy=RestartPolicy(intensity=0))
    with pytest.raises(RestartLimit):
        await supervisor.run()


async def test_a_supervisor_runs_once_and_its_children_have_different_ids(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both are mistakes of the caller, told at once."""
    del autojump_clock
    stage = Stage()
    with pytest.raises(ValueError, match="different ids"):
        Supervisor([stage.child("a"), stage.child("a")])
    supervisor = Supervisor([])
    supervisor.stop()
    await supervisor.run()
    with pytest.raises(RuntimeError, match="once"):
        await supervisor.run()


@pytest.mark.parametrize(
    ("field", "child_id", "shutdown_s"),
    [("id", "", 1.0), ("shutdown_s", "a", 0.0), ("shutdown_s", "a", float("inf"))],
)
def test_a_child_spec_checks_itself(field: str, child_id: str, shutdown_s: float) -> None:
    """The error names the field."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        raise AssertionError(task_status)

    with pytest.raises(ValueError, match=field):
        ChildSpec(id=child_id, start=run, shutdown_s=shutdown_s)


async def test_a_child_that_lingers_is_left_behind_and_waited_for_at_the_very_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its siblings do not wait longer than its shutdown_s, and no task is ever abandoned."""
    del autojump_clock
    stage = Stage()
    slow = stage.child("slow", cleanup_s=60)
    supervisor = Supervisor([stage.child("a"), ChildSpec(id=slow.id, start=slow.start, shutdown_s=5)])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.stop()
    assert stage.log == ["a+ 0", "slow+ 0", "a- 5", "slow- 60"]


async def test_a_crash_while_being_stopped_is_data_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The others are still stopped in their turn, and the reason says what happened."""
    del autojump_clock
    stage = Stage()

    async def fragile(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise Boom

    supervisor = Supervisor([stage.child("a"), ChildSpec(id="fragile", start=fragile)])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.stop()
    assert stage.log == ["a+ 0", "a- 0"]
    assert isinstance(supervisor.statistics()[1].reason, Crashed)
