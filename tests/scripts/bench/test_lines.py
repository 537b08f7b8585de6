"""The judgement of a run."""

from dataclasses import replace

import pytest

from scripts.bench.budgets import CROWD, FANOUT, FANOUT_FULL, PAIRS, Budget, Workload
from scripts.bench.history import HistoryTimes
from scripts.bench.lines import (
    Line,
    RunLines,
    history_lines,
    limit_line,
    quantile,
    search_lines,
    start_lines,
    sustained,
)
from scripts.bench.measured import Measured
from scripts.bench.search import SearchTimes
from scripts.bench.starting import StartTimes
from tests.scripts.bench.support import measured, shot, times


def _lines(workload: Workload, run: Measured, *, limit_us: float | None = None) -> dict[str, Line]:
    found = RunLines(workload, "json", run, gc_pause_s=0.02, limit_us=limit_us).lines()
    return {line.what: line for line in found}


def _line(value: float, budget: Budget | None) -> Line:
    return Line(name="n", what="w", value=value, unit="u", budget=budget)


@pytest.mark.parametrize(
    ("value", "budget", "met"),
    [
        (8.0, Budget(limit=8), True),
        (8.1, Budget(limit=8), False),
        (990, Budget(limit=1000, at_least=True), True),
        (989, Budget(limit=1000, at_least=True), False),
        (5, None, None),
    ],
)
def test_a_line_is_judged_by_its_budget(value: float, budget: Budget | None, met: bool | None) -> None:
    """At most means at most; a rate is reached with one percent for the ends of the measured time."""
    assert _line(value, budget).met is met


def test_a_figure_in_doubt_is_not_judged() -> None:
    """Neither met nor missed: measure again."""
    assert replace(_line(1, Budget(limit=8)), doubtful=True).met is None


def test_the_fan_out_is_told_as_a_ratio_to_the_limit() -> None:
    """Twice the CPU of the loop in C, on the same machine a moment ago."""
    run = measured(shot(0), shot(1, events=1000, ticks=1))
    line = _lines(FANOUT, run, limit_us=5.0)["CPU a delivery"]
    assert line.value == 10
    assert line.met is False
    assert line.remark.startswith("2.00 times the C limit")


def test_the_full_fan_out_has_a_rate_and_a_latency_to_reach() -> None:
    """Both are budgets; the CPU is told for itself."""
    run = measured(shot(0), shot(1, events=450_000), delivery=times(61))
    found = _lines(FANOUT_FULL, run)
    assert {what: line.met for what, line in found.items()} == {
        "deliveries": True,
        "p99 delivery": False,
        "CPU a delivery": None,
    }


def test_a_rate_that_a_client_in_python_saw_is_in_doubt() -> None:
    """It may be the client's own; the CPU of the server is the server's."""
    run = measured(shot(0), shot(1, oks=8000, ticks=50), client="Python")
    found = _lines(PAIRS, run)
    assert found["durable sends"].met is None
    assert found["CPU a send"].met is True


def test_the_crowd_is_judged_by_memory_joins_pauses_and_latency() -> None:
    """Ten thousand connections of 20 KB, let in within eight seconds."""
    run = measured(
        shot(0),
        shot(1, events=20_000),
        live=10_000,
        connected_ns=8_000_000_000,
        settled=shot(rss=10_000 * 20 * 1024),
        delivery=times(3),
    )
    found = _lines(CROWD, run)
    assert {what: line.value for what, line in found.items()} == {
        "memory a connection": 20,
        "hello+join": 1250,
        "longest GC pause": 20,
        "p99 delivery": 3,
    }
    assert all(line.met for line in found.values())


def test_a_run_in_which_nobody_came_in_still_has_its_figures_of_connecting() -> None:
    """Nothing was sent: there is no latency to tell."""
    assert "p99 delivery" not in _lines(CROWD, measured(live=0))


@pytest.mark.parametrize(("oks", "held"), [(8000, True), (7950, True), (7000, False)])
def test_a_rate_is_sustained_when_it_is_answered_as_it_comes(oks: int, held: bool) -> None:
    """Within the same one percent."""
    assert sustained(measured(shot(0), shot(1, oks=oks)), 8000) is held


def test_a_run_without_sends_sustains_nothing() -> None:
    """It must not look like success."""
    assert not sustained(measured(), 8000)


def test_the_limit_has_no_budget() -> None:
    """It is what the others are compared with."""
    line = limit_line(measured(shot(0), shot(1, events=20_000, ticks=10), answers=False))
    assert (line.value, line.met) == (5, None)


def test_history_counts_planning_and_execution_together() -> None:
    """The budget is what Postgres needs; the round trip is told beside it."""
    database, trip = history_lines(
        HistoryTimes(rows=10, planning_ms=[1.0, 4.5], execution_ms=[1.0, 1.0], round_trip_ms=[9.0, 9.0])
    )
    assert (database.value, database.met) == (5.5, False)
    assert (trip.value, trip.met) == (9.0, None)


def test_starts_are_judged_by_their_median() -> None:
    """One slow start of a busy machine decides nothing, and is told."""
    first, warm = start_lines(StartTimes(first_s=[0.6, 3.0, 0.7], warm_s=[0.4, 0.05, 0.5]))

    assert (first.value, first.met) == (0.7, True)
    assert "3.00" in first.remark
    assert (warm.value, warm.met) == (0.4, False)


def test_search_is_judged_in_the_database_and_as_its_caller_sees_it() -> None:
    """The slowest kind of query is named, and how fast the index is filled is told beside it."""
    database, trip, slowest, indexed = search_lines(
        SearchTimes(
            indexed_per_s=5000.0,
            database_ms=[1.0, 30.0],
            round_trip_ms=[2.0, 31.0],
            kinds={"rare": [2.0], "phrase": [31.0]},
            hits=1,
        )
    )
    assert (database.value, database.met) == (30.0, True)
    assert (trip.value, trip.met) == (31.0, False)
    assert (slowest.value, slowest.met) == (31.0, None)
    assert "phrase" in slowest.remark
    assert (indexed.value, indexed.unit) == (5000.0, "rows/s")


@pytest.mark.parametrize(
    ("values", "q", "expected"), [([], 0.5, 0.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0], 0.99, 1.0)]
)
def test_a_quantile_is_a_value_that_was_measured(values: list[float], q: float, expected: float) -> None:
    """The smallest that covers that part."""
    assert quantile(values, q) == expected
