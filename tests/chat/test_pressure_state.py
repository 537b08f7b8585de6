"""How hard the server is pressed: up at once, down step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.pressure_state import CALM_S, LEVEL_MAX, Change, Measures, PressureState

CALM = Measures(0.0, 0.0, 0.0)
LEVELS = [CALM, *(Measures(lag_s, 0.0, 0.0) for lag_s in (0.05, 0.15, 0.4, 1.0))]
"""By level: what brings it about."""


@pytest.mark.parametrize(
    ("measures", "change"),
    [
        (Measures(0.05, 0.0, 0.0), Change(1, "loop")),
        (Measures(0.15, 0.0, 0.0), Change(2, "loop")),
        (Measures(0.4, 0.0, 0.0), Change(3, "loop")),
        (Measures(99.0, 0.0, 0.0), Change(4, "loop")),
        (Measures(0.0, 0.5, 0.0), Change(1, "storage")),
        (Measures(0.0, 2.0, 0.0), Change(2, "storage")),
        (Measures(0.0, 5.0, 0.0), Change(3, "storage")),
        (Measures(0.0, 15.0, 0.0), Change(4, "storage")),
        (Measures(0.0, 0.0, 0.1), Change(1, "backlog")),
        (Measures(0.0, 0.0, 0.25), Change(2, "backlog")),
        (Measures(0.0, 0.0, 0.5), Change(3, "backlog")),
        (Measures(0.0, 0.0, 0.85), Change(4, "backlog")),
        (Measures(0.06, 2.5, 0.2), Change(2, "storage")),
        (Measures(0.06, 2.5, 0.9), Change(4, "backlog")),
    ],
)
def test_the_worst_measure_makes_the_level_and_names_it(measures: Measures, change: Change) -> None:
    """At once, from calm, as the table in `pressure_state` has it."""
    state = PressureState()
    assert state.update(measures, now_s=0.0) == change
    assert state.level == change.level


def test_just_below_the_first_step_nothing_happens() -> None:
    """Level 0 is told to nobody."""
    state = PressureState()
    assert state.update(Measures(0.0499, 0.499, 0.0999), now_s=0.0) is None
    assert state.level == 0


def test_the_same_level_is_told_once() -> None:
    """Whatever its cause."""
    state = PressureState()
    assert state.update(LEVELS[2], now_s=0.0) == Change(2, "loop")
    assert state.update(Measures(0.0, 2.0, 0.0), now_s=1.0) is None


def test_it_falls_one_level_after_each_calm_time() -> None:
    """So that clients hear of it step by step."""
    state = PressureState()
    state.update(LEVELS[3], now_s=0.0)
    told = [(now_s, state.update(CALM, now_s=now_s)) for now_s in range(1, 20)]
    assert [(now_s, change) for now_s, change in told if change] == [
        (1 + CALM_S, Change(2, "calm")),
        (1 + 2 * CALM_S, Change(1, "calm")),
        (1 + 3 * CALM_S, Change(0, "calm")),
    ]


def test_it_falls_no_further_than_the_cause() -> None:
    """And says what still presses."""
    state = PressureState()
    state.update(LEVELS[3], now_s=0.0)
    told = [state.update(LEVELS[2], now_s=float(now_s)) for now_s in range(1, 30)]
    assert [change for change in told if change] == [Change(2, "loop")]


def test_a_relapse_starts_the_calm_time_anew() -> None:
    """It must have been calm without a break."""
    state = PressureState()
    state.update(LEVELS[1], now_s=0.0)
    assert state.update(CALM, now_s=1.0) is None
    assert state.update(LEVELS[1], now_s=5.0) is None
    assert state.update(CALM, now_s=6.5) is None
    assert state.update(CALM, now_s=6.4 + CALM_S) is None
    assert state.update(CALM, now_s=6.5 + CALM_S) == Change(0, "calm")


@given(st.lists(st.tuples(st.integers(0, LEVEL_MAX), st.floats(0.1, 7.0)), max_size=50))
def test_it_is_never_below_the_cause_and_never_falls_early(steps: list[tuple[int, float]]) -> None:
    """And every change, and only a change, is told."""
    state = PressureState()
    now_s = pressed_s = fell_s = 0.0
    for found, pause_s in steps:
        now_s += pause_s
        before = state.level
        change = state.update(LEVELS[found], now_s=now_s)
        assert state.level >= found
        assert (change is None) == (state.level == before)
        if change is not None:
            assert change.level == state.level
        if state.level < before:
            assert state.level == before - 1
            assert now_s - max(pressed_s, fell_s) >= CALM_S
            fell_s = now_s
        if found >= before:
            pressed_s = now_s
