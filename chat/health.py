"""Whether the process can serve: its phase, what overloads it, and how late its event loop runs."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Final, Literal, NoReturn

import trio

Phase = Literal["starting", "ready", "draining"]
State = Literal["starting", "ready", "draining", "overloaded"]

LAG_TICK_S: Final = 0.1
LAG_WINDOW: Final = 100
"""Measurements looked back on: ten seconds of them."""


class Readiness:
    """What `/readyz` answers: ready, or why not. It starts as `starting`.

    The phase goes one way, from starting over ready to draining. Overload comes and goes, by reason: each
    part of the server that knows one reports it under its own name.
    """

    __slots__ = ("_phase", "_reasons")

    def __init__(self) -> None:
        self._phase: Phase = "starting"
        self._reasons: dict[str, str] = {}

    @property
    def state(self) -> State:
        """The phase, or `overloaded` when that is the only thing in the way."""
        return "overloaded" if self._phase == "ready" and self._reasons else self._phase

    @property
    def is_ready(self) -> bool:
        """Whether new clients should come here."""
        return self.state == "ready"

    @property
    def reasons(self) -> Mapping[str, str]:
        """What overloads the server now: by source, in words."""
        return self._reasons

    def started(self) -> None:
        """Everything is up. A server that drains already stays so."""
        if self._phase == "starting":
            self._phase = "ready"

    def drain(self) -> None:
        """The server is on its way out."""
        self._phase = "draining"

    def overload(self, source: str, reason: str) -> None:
        """Report overload: `source` is a constant of the program, the last `reason` counts."""
        self._reasons[source] = reason

    def relieve(self, source: str) -> None:
        """Report that `source` sees no overload (any more)."""
        self._reasons.pop(source, None)

    def answer(self) -> tuple[int, Mapping[str, object]]:
        """The HTTP status and the JSON object that `/readyz` answers with."""
        body: dict[str, object] = {"state": self.state}
        if self._reasons:
            body["reasons"] = dict(self._reasons)
        return (200 if self.is_ready else 503), body


class LoopLag:
    """Measures how late the event loop wakes a task that asked to be woken at a given time.

    What follows from it is the pressure governor's business (`chat.pressure`).

    Args:
        window: how many measurements count.
    """

    def __init__(self, *, window: int = LAG_WINDOW) -> None:
        self._late_s: deque[float] = deque(maxlen=window)

    def percentile_s(self, fraction: float) -> float:
        """The lateness that this fraction of the latest measurements does not exceed; 0.0 before the first.

        Args:
            fraction: above 0, up to 1.
        """
        if not self._late_s:
            return 0.0
        ranked = sorted(self._late_s)
        return ranked[math.ceil(fraction * len(ranked)) - 1]

    def p50_s(self) -> float:
        """The median lateness."""
        return self.percentile_s(0.5)

    def p99_s(self) -> float:
        """The lateness that one measurement in a hundred exceeds."""
        return self.percentile_s(0.99)

    def max_s(self) -> float:
        """The worst lateness of the window."""
        return self.percentile_s(1.0)

    def note(self, late_s: float) -> None:
        """Take one measurement in."""
        self._late_s.append(late_s)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Measure ten times a second until cancelled."""
        task_status.started()
        while True:
            due_s = trio.current_time() + LAG_TICK_S
            await trio.sleep_until(due_s)
            self.note(trio.current_time() - due_s)
