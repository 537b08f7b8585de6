"""The governor: measures, acts by degrees, and tells everybody when the level changes."""

from typing import cast

import pytest
import structlog
import trio
import trio.testing

from chat.health import Readiness
from chat.presence_port import PresencePort
from chat.pressure import PressureGovernor
from chat.pressure_state import CALM_S, LEVEL_MAX, Change, Measures, PressureState
from tests.chat.session_kit import Kit, said

CALM = Measures(lag_s=0.0, commit_wait_s=0.0, backlog=0.0)


@pytest.mark.parametrize(
    ("measures", "level", "reason"),
    [
        (CALM._replace(lag_s=0.05), 1, "loop"),
        (CALM._replace(lag_s=0.15), 2, "loop"),
        (CALM._replace(lag_s=0.4), 3, "loop"),
        (CALM._replace(lag_s=9.0), 4, "loop"),
        (CALM._replace(commit_wait_s=0.5), 1, "storage"),
        (CALM._replace(commit_wait_s=5.0), 3, "storage"),
        (CALM._replace(commit_wait_s=60.0), 4, "storage"),
        (CALM._replace(backlog=0.1), 1, "backlog"),
        (CALM._replace(backlog=0.25), 2, "backlog"),
        (CALM._replace(backlog=1.0), 4, "backlog"),
        (Measures(lag_s=0.06, commit_wait_s=3.0, backlog=0.2), 2, "storage"),
    ],
)
def test_the_worst_measure_sets_the_level_at_once(measures: Measures, level: int, reason: str) -> None:
    """From nothing to the highest level in one step, with the measure that asks for it."""
    state = PressureState()
    assert state.update(measures, now_s=0.0) == Change(level, reason)
    assert state.update(measures, now_s=0.5) is None
    assert state.level == level


def test_just_below_every_step_there_is_no_pressure() -> None:
    """A busy server is no pressed server."""
    state = PressureState()
    assert state.update(Measures(lag_s=0.049, commit_wait_s=0.49, backlog=0.099), now_s=0.0) is None


def test_the_level_falls_one_step_at_a_time_and_only_after_calm() -> None:
    """Five seconds without the cause for each step; a relapse begins the calm anew."""
    state = PressureState()
    state.update(CALM._replace(lag_s=2.0), now_s=0.0)
    assert state.update(CALM, now_s=1.0) is None
    assert state.update(CALM, now_s=1.0 + CALM_S - 0.1) is None
    assert state.update(CALM._replace(lag_s=2.0), now_s=5.9) is None
    assert state.update(CALM, now_s=6.0) is None
    changes = [state.update(CALM, now_s=6.0 + CALM_S * step) for step in range(1, 5)]
    assert changes == [Change(3, "calm"), Change(2, "calm"), Change(1, "calm"), Change(0, "calm")]
    assert state.update(CALM, now_s=100.0) is None


def test_falling_to_a_level_that_has_its_cause_names_it() -> None:
    """Less pressure is not calm."""
    state = PressureState()
    state.update(CALM._replace(backlog=0.9), now_s=0.0)
    state.update(CALM._replace(backlog=0.6), now_s=1.0)
    assert state.update(CALM._replace(backlog=0.6), now_s=1.0 + CALM_S) == Change(3, "backlog")


class Governed:
    """A governor with everything around it."""

    def __init__(self) -> None:
        self.kit = Kit()
        self.measures = CALM
        self.readiness = Readiness()
        self.readiness.started()
        self.welcomed = self.kit.session()
        self.stranger = self.kit.session(welcomed=False)
        self.governor = PressureGovernor(
            measure=lambda: self.measures,
            sessions=lambda: [self.welcomed, self.stranger],
            presence=cast("PresencePort", self.kit.presence),
            readiness=self.readiness,
        )


async def test_a_new_level_is_told_to_those_who_are_welcomed_and_acted_on() -> None:
    """Clients hear level, reason and when to try again; presence slows down; the highest closes the door."""
    governed = Governed()
    governor = governed.governor
    with structlog.testing.capture_logs() as logged:
        for level in (1, 2, 3, 4, 3, 0):
            governor.apply(Change(level, "storage"))
            assert governed.readiness.is_ready is (level < LEVEL_MAX)
    told = said(governed.welcomed)
    assert [(envelope["t"], envelope["level"], envelope.get("retry_after")) for envelope in told] == [
        ("pressure", 1, None),
        ("pressure", 2, 1.0),
        ("pressure", 3, 2.0),
        ("pressure", 4, 5.0),
        ("pressure", 3, 2.0),
        ("pressure", 0, None),
    ]
    assert {envelope["reason"] for envelope in told} == {"storage"}
    assert said(governed.stranger) == []
    assert [args for name, args, _ in governed.kit.presence.calls if name == "set_pressure"] == [
        (1,),
        (2,),
        (3,),
        (4,),
        (3,),
        (0,),
    ]
    assert [(entry["event"], entry["pressure"]) for entry in logged] == [
        ("pressure.changed", level) for level in (1, 2, 3, 4, 3, 0)
    ]


async def test_who_comes_later_is_told_the_present_level_and_nothing_while_all_is_calm() -> None:
    """A session that was not here for the change hears of it; after the calm there is no news."""
    governed = Governed()
    late = governed.kit.session()
    governed.governor.tell(late)
    with structlog.testing.capture_logs():
        governed.governor.apply(Change(3, "storage"))
        governed.governor.tell(late)
        governed.governor.apply(Change(0, "calm"))
        governed.governor.tell(late)
    assert said(late) == [{"t": "pressure", "level": 3, "reason": "storage", "retry_after": 2.0}]


async def test_the_governor_measures_twice_a_second(autojump_clock: trio.testing.MockClock) -> None:
    """Up within half a second, and down again when it has been calm long enough."""
    del autojump_clock
    governed = Governed()
    with structlog.testing.capture_logs():
        async with trio.open_nursery() as nursery:
            await nursery.start(governed.governor.run)
            seen: list[tuple[int, bool]] = []
            for measures, for_s in (
                (CALM._replace(commit_wait_s=20.0), 0.6),
                (CALM, 0.6 + CALM_S),
                (CALM, 3 * CALM_S),
            ):
                governed.measures = measures
                await trio.sleep(for_s)
                seen.append((governed.governor.level, governed.readiness.is_ready))
            assert seen == [(4, False), (3, True), (0, True)]
            nursery.cancel_scope.cancel()
