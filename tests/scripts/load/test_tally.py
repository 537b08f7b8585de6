"""Seconds of workers put together."""

from scripts.load.behaviours import Chat
from scripts.load.record import Tick
from scripts.load.scenario import Scenario
from scripts.load.tally import STALLED_S, Tally
from tests.scripts.load.support import second

SCENARIO = Scenario(users=10, ramp_s=1.0, settle_s=1.0, duration_s=5.0, groups=(Chat(),))


def test_a_tick_is_made_when_the_last_worker_has_told_its_second() -> None:
    """Counts are summed, the busiest worker counts for the CPU, quantiles are of all."""
    tally = Tally(SCENARIO, 2)
    one = second(2, users=4, sends=3, deliveries=30, cpu_s=0.5, errors={"busy": 1}, steady={"ok": {10: 99}})
    two = second(2, users=5, sends=2, cpu_s=0.2, errors={"busy": 2}, other={"ok": {5000: 1}})
    assert tally.add(0, one, None) is None
    tick = tally.add(1, two, None)
    assert tick is not None
    assert (tick.users, tick.sends, tick.deliveries, tick.errors) == (9, 5, 30, {"busy": 3})
    assert (tick.phase, tick.at_s, tick.tester_cpu) == ("steady", 3.0, 0.5)
    assert (tick.latency["ok"].p50, tick.latency["ok"].max) == (1.0, 500.0)


def test_phases_follow_the_plan_and_the_stop() -> None:
    """Only what was due in the steady phase is in the totals."""
    tally = Tally(SCENARIO, 1)
    ticks = [tally.add(0, second(number, steady={"ok": {10: 1}}), None) for number in range(9)]
    phases = [tick.phase for tick in ticks if tick is not None]
    assert phases == ["ramp"] * 2 + ["steady"] * 5 + ["drain"] * 2
    early = Tally(SCENARIO, 1)
    early.stop(3.0)
    tick = early.add(0, second(3), None)
    assert isinstance(tick, Tick)
    assert tick.phase == "drain"


def test_the_costs_are_of_the_steady_phase_and_the_ramps_end() -> None:
    """CPU by deliveries, memory by users."""
    tally = Tally(SCENARIO, 1)
    tally.add(0, second(0, users=10, memory_bytes=100_000, cpu_s=0.9), None)
    for number in range(2, 7):
        tally.add(0, second(number, users=10, deliveries=1000, cpu_s=0.01, memory_bytes=10**9), None)
    totals = tally.totals(checked_rooms=1, checked_oks=2, violation_count=0, more_errors={"unanswered": 3})
    assert totals.cpu_per_delivery_us == 10.0
    assert totals.memory_per_connection_bytes == 10_000
    assert totals.errors == {"unanswered": 3}
    assert totals.duration_s == 5.0


def test_a_late_or_busy_tester_makes_a_run_invalid() -> None:
    """With the reason; one that was in time does not."""
    calm = Tally(SCENARIO, 1)
    calm.add(0, second(3, cpu_s=0.5, steady_late={10: 1000}), None)
    assert calm.invalid() == []
    late = Tally(SCENARIO, 1)
    late.add(0, second(3, cpu_s=0.5, steady_late={10: 90, 900: 10}), None)
    assert "late: 90 ms" in late.invalid()[0]
    busy = Tally(SCENARIO, 2)
    busy.add(0, second(3, cpu_s=0.1), None)
    busy.add(1, second(3, cpu_s=0.97), None)
    assert "97%" in busy.invalid()[0]


def test_lateness_of_the_ramp_does_not_count() -> None:
    """Nothing was measured yet."""
    tally = Tally(SCENARIO, 1)
    tally.add(0, second(0, other_late={9000: 50}), None)
    assert tally.invalid() == []


def test_a_server_that_has_gone_ends_the_run() -> None:
    """After some seconds without any connection; before that it may come back."""
    tally = Tally(SCENARIO, 1)
    tally.add(0, second(0, users=10), None)
    for number in range(1, SCENARIO.gone_s + 1):
        assert tally.verdict() is None
        tally.add(0, second(number, lost=10, errors={"connect_refused": 5} if number % 2 else {}), None)
    assert "has gone" in str(tally.verdict())
    assert "connect_refused" in str(tally.verdict())


def test_a_server_that_stands_still_ends_the_run() -> None:
    """Only while something is awaited."""
    tally = Tally(SCENARIO, 1)
    for number in range(STALLED_S + 1):
        tally.add(0, second(number, users=10), None)
    assert tally.verdict() is None
    for number in range(STALLED_S):
        assert tally.verdict() is None
        tally.add(0, second(100 + number, users=10, pending=3), None)
    assert "stands still: 3 answers" in str(tally.verdict())


def test_a_server_that_throws_everybody_out_ends_the_run() -> None:
    """With what it said."""
    tally = Tally(SCENARIO, 1)
    tally.add(0, second(0, out=10, errors={"close_4504": 10}), None)
    assert "close_4504" in str(tally.verdict())
