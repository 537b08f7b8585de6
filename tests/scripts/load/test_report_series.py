"""Seconds put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.record import Quantiles, ServerTick, Tick
from scripts.load.series import bins, server_summary, steady, steady_rates
from tests.scripts.load.records import make_record, second, ticks


def test_a_bin_sums_counts_and_keeps_the_worst_of_the_rest() -> None:
    """Quantiles of quantiles do not exist."""
    made = bins(
        [
            second(1, sends=3, errors={"busy": 1}, late_ms=5.0, server=ServerTick(cpu=0.5, backlog_rows=9)),
            second(2, sends=5, errors={"busy": 2}, server=ServerTick(cpu=0.7), users=4),
            second(3, sends=1),
        ],
        at_most=2,
    )

    assert [part.span_s for part in made] == [2.0, 1.0]
    first = made[0].tick
    assert (first.sends, first.errors, first.late_ms, first.users) == (8, {"busy": 3}, 5.0, 4)
    assert first.server == ServerTick(cpu=0.7, backlog_rows=9)
    assert made[0].rate(first.sends) == 4.0


def test_latencies_of_a_bin_are_the_worst_second_and_the_mean_of_all() -> None:
    """The mean is the one figure that adds up."""
    quick = {"ok": Quantiles(count=3, mean=1.0, p50=1.0, p90=1.0, p99=2.0, p999=2.0, max=2.0)}
    slow = {"ok": Quantiles(count=1, mean=9.0, p50=9.0, p90=9.0, p99=9.0, p999=9.0, max=9.0)}
    merged = bins([second(1, latency=quick), second(2, latency=slow)], at_most=1)[0].tick.latency["ok"]

    assert merged == Quantiles(count=4, mean=3.0, p50=9.0, p90=9.0, p99=9.0, p999=9.0, max=9.0)


@given(st.lists(ticks, max_size=12), st.integers(1, 15))
def test_nothing_is_lost_in_bins(seconds: list[Tick], at_most: int) -> None:
    """Every send is in one of them, and they are no more than asked for."""
    made = bins(seconds, at_most=at_most)

    assert len(made) <= at_most
    assert sum(part.tick.sends for part in made) == sum(tick.sends for tick in seconds)
    assert all(part.span_s > 0 for part in made)


def test_rates_are_those_of_the_steady_phase() -> None:
    """Also where a tick is longer than a second."""
    seconds = [second(1, phase="ramp", sends=99), second(2, sends=10), second(4, sends=50)]

    assert steady_rates(seconds)["sends"] == pytest.approx(20.0)
    assert steady_rates(seconds[:1]) == {}
    assert steady(seconds) == seconds[1:]


def test_the_servers_summary_has_what_is_known() -> None:
    """Nothing stands for what is unknown."""
    told = server_summary(
        [second(1, server=ServerTick(cpu=0.5)), second(2, server=ServerTick(cpu=1.0)), second(3)]
    )

    assert told == {"cpu mean": 0.75, "cpu max": 1.0}
    assert "commit lag median" in server_summary(make_record().ticks)
