"""PURE: whether, when and what to start again after a crash. No clock, no chance, no tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from actors.messages import Crashed, ExitReason, Restart

Times: TypeAlias = tuple[float, ...]  # of recent restarts, newest first, trio seconds

_MAX_DOUBLINGS = 30  # 2**30 times any sensible first delay is past any sensible cap


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How many restarts within how long, and how long to wait before each.

    Attributes:
        intensity: restarts allowed within `period_s`; 0 means that the first crash is final.
        period_s: seconds that a restart is remembered; positive and finite.
        backoff_s: delay before the first restart, doubled for each further one that is still
            remembered; 0 restarts at once.
        backoff_max_s: the longest delay; at least `backoff_s`.
        jitter: share of each delay, 0 to 1, that chance may take off, so that actors which fell
            together do not come back together.

    Delays that add up to more than `period_s` let old restarts be forgotten before the intensity
    is met: such a policy retries for ever, at `backoff_max_s`.
    """

    intensity: int = 5
    period_s: float = 30.0
    backoff_s: float = 0.05
    backoff_max_s: float = 5.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Check each field.

        Raises:
            ValueError: naming the field.
        """
        if self.intensity < 0:
            raise ValueError("intensity must not be negative")
        if not (math.isfinite(self.period_s) and self.period_s > 0):
            raise ValueError("period_s must be positive and finite")
        if not (math.isfinite(self.backoff_s) and self.backoff_s >= 0):
            raise ValueError("backoff_s must be finite and not negative")
        if not (math.isfinite(self.backoff_max_s) and self.backoff_max_s >= self.backoff_s):
            raise ValueError("backoff_max_s must be finite and at least backoff_s")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must be between 0 and 1")


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Start again in `delay_s` seconds and remember `history` for the next decision."""

    delay_s: float
    history: Times


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The intensity is exceeded: do not start again."""


Decision: TypeAlias = RestartAfter | GiveUp


def decide(policy: RestartPolicy, history: Times, *, now: float, chance: float) -> Decision:
    """Say whether one more restart is allowed at `now`, and after which delay.

    Args:
        policy: the limits.
        history: what the previous decision returned; empty at first.
        now: the time of the crash, in the same seconds as the history.
        chance: a random number in [0, 1) for the jitter.
    """
    recent = (now, *(t for t in history if t > now - policy.period_s))
    if len(recent) > policy.intensity:
        return GiveUp()
    doublings = min(len(recent) - 1, _MAX_DOUBLINGS)
    delay_s = min(policy.backoff_s * 2.0**doublings, policy.backoff_max_s)
    return RestartAfter(delay_s * (1.0 - policy.jitter * chance), recent)


def should_restart(restart: Restart, reason: ExitReason) -> bool:
    """Say whether a child that ended for `reason` is one to start again."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return isinstance(reason, Crashed)
        case Restart.TEMPORARY:
            return False


class Strategy(Enum):
    """Which siblings share the fate of a child that is started again."""

    ONE_FOR_ONE = "one_for_one"  # none
    REST_FOR_ONE = "rest_for_one"  # those started after it
    ONE_FOR_ALL = "one_for_all"  # all


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """Children to stop, in this order, and then children to start, in this order."""

    stop: tuple[str, ...]
    start: tuple[str, ...]


def plan(strategy: Strategy, children: Sequence[tuple[str, Restart]], failed: str) -> RestartPlan:
    """Say what to stop and start when the child `failed` has ended and is to come back.

    Args:
        strategy: who shares its fate.
        children: every child's id and restart kind, in the order of starting.
        failed: the id of the child that ended; it is started but need not be stopped.

    A temporary sibling that is stopped here is not started again.
    """
    ids = [child_id for child_id, _ in children]
    at = ids.index(failed)
    match strategy:
        case Strategy.ONE_FOR_ONE:
            affected = children[at : at + 1]
        case Strategy.REST_FOR_ONE:
            affected = children[at:]
        case Strategy.ONE_FOR_ALL:
            affected = children
    return RestartPlan(
        stop=tuple(child_id for child_id, _ in reversed(affected) if child_id != failed),
        start=tuple(
            child_id
            for child_id, restart in affected
            if child_id == failed or restart is not Restart.TEMPORARY
        ),
    )
