"""The search for the highest rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scripts.bench.measured import Measured
from scripts.bench.peers.ladder import Ladder, Trial, geometric, judge
from tests.scripts.bench.support import measured, shot, times

RATES = geometric(10, 1000, 20)


def _trial(rate: float, *, borne: bool, doubtful: bool = False) -> Trial:
    return Trial(rate=rate, borne=borne, doubtful=doubtful, p99_ms=1.0, deliveries_per_s=rate)


def _climb(bears: float, *, doubtful: bool = False) -> Ladder:
    ladder = Ladder(RATES)
    while (rate := ladder.next_rate) is not None:
        ladder.record(_trial(rate, borne=rate <= bears, doubtful=doubtful and rate > bears))
    return ladder


@given(st.floats(min_value=1, max_value=2000))
def test_the_highest_rate_that_is_borne_is_found_in_few_trials(bears: float) -> None:
    """Wherever it is; none where even the lowest is too high."""
    ladder = _climb(bears)
    expected = max((rate for rate in RATES if rate <= bears), default=None)
    assert (None if ladder.best is None else ladder.best.rate) == expected
    assert len(ladder.trials) <= 5


def test_a_server_that_bears_the_highest_rate_may_bear_more() -> None:
    """The search cannot tell."""
    assert _climb(2000).at_least
    assert not _climb(500).at_least


def test_a_server_whose_client_gave_out_may_bear_more() -> None:
    """What stopped it was not the server."""
    assert _climb(500, doubtful=True).at_least


def test_a_server_that_bears_nothing_is_not_said_to_bear_more() -> None:
    """There is no rate to be more than."""
    ladder = _climb(1)
    assert ladder.best is None
    assert not ladder.at_least


def test_rates_rise_by_the_same_part_and_are_whole() -> None:
    """From the lowest to the highest, both included."""
    assert geometric(1, 100, 2) == [1, 10, 100]
    assert all(rate == int(rate) for rate in RATES)
    assert list(RATES) == sorted(set(RATES))


def _run(**changes: object) -> Measured:
    run = measured(shot(0), shot(1, own_s=0.1), sent=10, events=5000, expected_events=5000, oks=10)
    return replace(run, **changes)


def test_a_rate_is_borne_when_all_is_delivered_in_time() -> None:
    """Its deliveries are counted from what everybody in a room should have got."""
    trial = judge(_run(delivery=times(99)), 40)
    assert (trial.borne, trial.p99_ms, trial.deliveries_per_s) == (True, 99, 20_000)


@pytest.mark.parametrize(
    ("changes", "doubtful"),
    [
        ({"delivery": times(101)}, False),
        ({"ok": times(101)}, False),
        ({"incomplete": 1}, False),
        ({"lost": 1, "lateness": times(50)}, False),
        ({"delivery": times(120), "lateness": times(30)}, True),
        ({"delivery": times(300), "lateness": times(30)}, False),
        ({"incomplete": 1, "shots": (shot(0), shot(1, own_s=0.95))}, True),
        ({"incomplete": 1, "shots": (shot(0), shot(1, busy=(20, 0)))}, True),
    ],
)
def test_a_rate_is_not_borne_otherwise(changes: dict[str, object], doubtful: bool) -> None:
    """And something else is only suspected where it was too busy, or where all was well but for its delay."""
    trial = judge(_run(**changes), 40)
    assert (trial.borne, trial.doubtful) == (False, doubtful)


def test_a_run_without_sends_bears_nothing() -> None:
    """It must not look like success."""
    assert not judge(measured(), 40).borne
