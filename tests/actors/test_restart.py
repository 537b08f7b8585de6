"""Restart decisions are pure: every rule is an example with its time written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Crashed, Normal, Restart, Shutdown
from actors.restart import (
    GiveUp,
    RestartAfter,
    RestartPlan,
    RestartPolicy,
    Strategy,
    Times,
    decide,
    plan,
    should_restart,
)

STEADY = RestartPolicy(intensity=3, period_s=10, backoff_s=1, backoff_max_s=3, jitter=0)
ABC = [("a", Restart.PERMANENT), ("b", Restart.PERMANENT), ("c", Restart.PERMANENT)]


def test_delays_double_up_to_the_cap_and_then_it_gives_up() -> None:
    """Three restarts are allowed, after 1, 2 and 3 seconds; the fourth crash is final."""
    history: Times = ()
    delays: list[float] = []
    for now in (0.0, 1.0, 2.0):
        decision = decide(STEADY, history, now=now, chance=0.5)
        assert isinstance(decision, RestartAfter)
        history = decision.history
        delays.append(decision.delay_s)
    assert delays == [1.0, 2.0, 3.0]
    assert decide(STEADY, history, now=3.0, chance=0.5) == GiveUp()


def test_a_restart_older_than_the_period_is_forgotten() -> None:
    """A crash exactly one period later starts counting anew."""
    assert decide(STEADY, (0.0, -1.0, -2.0), now=10.0, chance=0) == RestartAfter(1.0, (10.0,))


def test_a_restart_within_the_period_still_counts() -> None:
    """Just inside the period the history is kept and the delay doubled."""
    assert decide(STEADY, (0.1,), now=10.0, chance=0) == RestartAfter(2.0, (10.0, 0.1))


def test_intensity_zero_makes_the_first_crash_final() -> None:
    """No restart is allowed at all."""
    assert decide(RestartPolicy(intensity=0), (), now=0.0, chance=0) == GiveUp()


def test_jitter_only_shortens_the_delay() -> None:
    """Half of the delay is up to chance."""
    policy = RestartPolicy(backoff_s=2, jitter=0.5)
    assert decide(policy, (), now=0.0, chance=0.0) == RestartAfter(2.0, (0.0,))
    assert decide(policy, (), now=0.0, chance=0.5) == RestartAfter(1.5, (0.0,))


@given(
    gaps=st.lists(st.floats(0, 20), max_size=40),
    intensity=st.integers(0, 5),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_no_period_ever_holds_more_restarts_than_the_intensity(
    gaps: list[float], intensity: int, chance: float
) -> None:
    """Whatever the crashes, restarts within any one period stay within the limit."""
    policy = RestartPolicy(intensity=intensity, period_s=10, jitter=1)
    history: Times = ()
    now = 0.0
    restarts: list[float] = []
    for gap in gaps:
        now += gap
        decision = decide(policy, history, now=now, chance=chance)
        if isinstance(decision, RestartAfter):
            history = decision.history
            restarts.append(now)
            assert 0 <= decision.delay_s <= policy.backoff_max_s
        assert len([t for t in restarts if t > now - 10]) <= intensity


def test_a_huge_history_does_not_overflow_the_delay() -> None:
    """Doubling stops long before floats do."""
    policy = RestartPolicy(intensity=10_000, period_s=10, backoff_s=0.1, jitter=0)
    decision = decide(policy, (0.0,) * 5000, now=1.0, chance=0)
    assert isinstance(decision, RestartAfter)
    assert decision.delay_s == policy.backoff_max_s


@pytest.mark.parametrize(
    ("field", "policy"),
    [
        ("intensity", lambda: RestartPolicy(intensity=-1)),
        ("period_s", lambda: RestartPolicy(period_s=0)),
        ("period_s", lambda: RestartPolicy(period_s=float("inf"))),
        ("backoff_s", lambda: RestartPolicy(backoff_s=-1)),
        ("backoff_max_s", lambda: RestartPolicy(backoff_s=2, backoff_max_s=1)),
        ("jitter", lambda: RestartPolicy(jitter=1.1)),
    ],
)
def test_a_policy_that_cannot_work_is_refused(field: str, policy: type[RestartPolicy]) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=field):
        policy()


@pytest.mark.parametrize(
    ("restart", "after_normal", "after_crash"),
    [
        (Restart.PERMANENT, True, True),
        (Restart.TRANSIENT, False, True),
        (Restart.TEMPORARY, False, False),
    ],
)
def test_the_exit_reason_decides_with_the_kind(
    restart: Restart, *, after_normal: bool, after_crash: bool
) -> None:
    """As in OTP: permanent always, transient after a crash, temporary never."""
    assert should_restart(restart, Normal()) is after_normal
    assert should_restart(restart, Shutdown()) is after_normal
    assert should_restart(restart, Crashed(ValueError())) is after_crash


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, RestartPlan(stop=(), start=("b",))),
        (Strategy.REST_FOR_ONE, RestartPlan(stop=("c",), start=("b", "c"))),
        (Strategy.ONE_FOR_ALL, RestartPlan(stop=("c", "a"), start=("a", "b", "c"))),
    ],
)
def test_a_strategy_stops_in_reverse_and_starts_in_order(strategy: Strategy, expected: RestartPlan) -> None:
    """Of a, b, c the middle one failed."""
    assert plan(strategy, ABC, "b") == expected


def test_a_temporary_sibling_does_not_come_back() -> None:
    """It is stopped with the others and stays away."""
    children = [("a", Restart.PERMANENT), ("b", Restart.TEMPORARY)]
    assert plan(Strategy.ONE_FOR_ALL, children, "a") == RestartPlan(stop=("b",), start=("a",))
