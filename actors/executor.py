"""The run queue: one task that runs the synchronous turns of all actors of a system.

A task switch costs more than a small turn. So an actor that is to work is put into a queue, as a
process is by the BEAM's schedulers, and one task takes them from there, a turn each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio
from trio.lowlevel import reschedule

ROUND_S: Final = 0.002  # how long sockets and timers may wait for turns; one turn may exceed it
ROUND_TURNS: Final = 512  # the same where a clock stands still, as in tests


class Worker(Protocol):
    """Something that has turns to run."""

    def turn(self, began_at: float, /) -> float:
        """Run one turn that begins now, at `began_at`, and return the time of its end."""
        ...

    def broke(self, exc: BaseException, /) -> None:
        """Deal with what the turn raised."""


class Executor:
    """Runs the turns of those that were submitted, first come first served, one turn a time.

    It gives way to all other tasks when nothing is left and after each round, that is after
    `ROUND_S` seconds or `ROUND_TURNS` turns. The queue holds each worker at most once, if those
    submit themselves again only when their turn has come; so it is bounded by the live actors.

    Args:
        clock: seconds; what the workers get and return.

    Attributes:
        current: whose turn runs now; None between the rounds.
    """

    __slots__ = ("_clock", "_ready", "_sleeper", "current")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._ready: Final[deque[Worker]] = deque()
        self._sleeper: trio.lowlevel.Task | None = None
        self.current: Worker | None = None

    def submit(self, worker: Worker) -> None:
        """Run one turn of `worker` after those of all that wait. After the end: no effect."""
        self._ready.append(worker)
        sleeper = self._sleeper
        if sleeper is not None:
            self._sleeper = None
            reschedule(sleeper)

    async def run(self) -> None:
        """Run turns until cancelled, which finds it between two turns.

        What a turn raises is its worker's business. Raises what `Worker.broke` raises.
        """
        ready = self._ready
        try:
            while True:
                if ready:
                    await trio.lowlevel.checkpoint()
                else:
                    self._sleeper = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._stop_sleeping)
                self._round()
        finally:
            # Also when a KeyboardInterrupt came in between: whoever waits must not wait for this turn.
            self.current = None

    def _round(self) -> None:
        take = self._ready.popleft
        clock = self._clock
        now = clock()
        until = now + ROUND_S
        for _ in range(ROUND_TURNS):
            if now > until or not self._ready:
                break
            self.current = worker = take()
            try:
                now = worker.turn(now)
            except BaseException as exc:  # noqa: BLE001  the worker decides; it raises what nobody may keep
                worker.broke(exc)
                now = clock()
        self.current = None

    def _stop_sleeping(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED
