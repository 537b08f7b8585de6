"""One timer for an actor that keeps its own deadlines: it sleeps until the earliest, and rings."""

from collections.abc import Callable
from typing import NoReturn

import trio


class Alarm:
    """Rings once at the time it is set to. Setting is free of tasks; nothing wakes while it is not set."""

    __slots__ = ("_at", "_moved", "_sleeps_until")

    def __init__(self) -> None:
        self._at: float | None = None
        self._sleeps_until: float | None = None
        self._moved = trio.Event()

    def set(self, at: float | None) -> None:
        """Ring at a time of trio's clock, instead of the time set before; None: not at all."""
        self._at = at
        # A later time needs no wake-up: who wakes too early looks, and goes on sleeping.
        if at is not None and (self._sleeps_until is None or at < self._sleeps_until):
            self._sleeps_until = at
            self._moved.set()

    async def run(
        self, ring: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Call `ring` whenever the time comes, until cancelled; one at a time.

        Args:
            ring: never blocks. What it raises ends this.
            task_status: started at once.

        Cancellation: leaves the alarm set; it rings when run again.
        """
        task_status.started()
        while True:
            at = self._at
            if at is not None and at <= trio.current_time():
                self._at = None
                ring()
                continue
            self._sleeps_until = at
            self._moved = trio.Event()
            with trio.move_on_at(float("inf") if at is None else at):
                await self._moved.wait()
