"""Readiness and the lateness of the event loop."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chat.health import LAG_TICK_S, LoopLag, Readiness


def test_a_server_is_not_ready_before_it_has_started() -> None:
    """Starting answers 503."""
    readiness = Readiness()

    assert readiness.answer() == (503, {"state": "starting"})
    readiness.started()
    assert readiness.answer() == (200, {"state": "ready"})


def test_a_draining_server_stays_so() -> None:
    """Whatever comes after the drain has begun, no new client is sent here."""
    readiness = Readiness()
    readiness.drain()
    readiness.started()

    assert readiness.answer() == (503, {"state": "draining"})


def test_overload_has_reasons_and_passes() -> None:
    """Ready again when the last reason is gone; each source speaks for itself."""
    readiness = Readiness()
    readiness.started()
    readiness.overload("backlog", "40000 rows wait")
    readiness.overload("loop_lag", "the event loop is 700 ms late")
    readiness.relieve("loop_lag")

    assert readiness.answer() == (503, {"state": "overloaded", "reasons": {"backlog": "40000 rows wait"}})
    readiness.relieve("backlog")
    readiness.relieve("backlog")
    assert readiness.is_ready


def test_draining_outranks_overload() -> None:
    """Who drains under load says that it drains."""
    readiness = Readiness()
    readiness.started()
    readiness.overload("backlog", "full")
    readiness.drain()

    assert readiness.state == "draining"


@given(st.lists(st.floats(min_value=0, max_value=10), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_latest_measurements(late_s: list[float]) -> None:
    """At least the given part of the window is at or below a percentile, and it was measured."""
    lag = LoopLag(window=100)
    for measurement in late_s:
        lag.note(measurement)
    window = late_s[-100:]

    for fraction in (0.5, 0.99, 1.0):
        value = lag.percentile_s(fraction)
        assert value in window
        assert sum(late <= value for late in window) >= fraction * len(window)
        assert sum(late < value for late in window) < fraction * len(window)
    assert lag.p50_s() <= lag.p99_s() <= lag.max_s()


def test_nothing_measured_is_no_lag() -> None:
    """Before the first measurement the lag is zero, not an error."""
    assert LoopLag().p99_s() == 0.0


async def test_an_idle_loop_is_not_late(autojump_clock: MockClock) -> None:
    """Ten measurements a second, all of them zero on a clock that does nothing else."""
    lag = LoopLag()
    with trio.move_on_after(LAG_TICK_S * 10.5):
        await lag.run()

    assert autojump_clock.current_time() == pytest.approx(LAG_TICK_S * 10.5)
    assert lag.max_s() == pytest.approx(0.0, abs=1e-9)


async def test_a_blocked_loop_is_late(mock_clock: MockClock) -> None:
    """A task that holds the loop for longer than a tick shows as that much lateness."""
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        await nursery.start(lag.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(LAG_TICK_S + 0.7)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert lag.max_s() == pytest.approx(0.7)
