"""Finds the actors that nothing came for, at no cost per message."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import Protocol

import trio


class Sleeper(Protocol):
    """Something that may have been idle since a while."""

    def check_idle(self, now: float) -> float | None:
        """Act when idle at `now`; return the time of the next look, or None for none."""
        ...


class IdleSweeper:
    """One task that looks at each watched actor when it may have become idle, and not before.

    An actor that was busy meanwhile says when to look again, so a busy one costs one heap operation
    per idle period and nothing per message. The heap holds at most one entry per live actor, plus
    those that ended within their last period.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._order = count()
        self._scope = trio.CancelScope()

    def watch(self, sleeper: Sleeper, at: float) -> None:
        """Look at `sleeper` at trio time `at`."""
        heappush(self._heap, (at, next(self._order), sleeper))
        if self._heap[0][0] == at:
            self._scope.cancel()

    async def run(self) -> None:
        """Look until cancelled."""
        heap = self._heap
        while True:
            now = trio.current_time()
            while heap and heap[0][0] <= now:
                _, _, sleeper = heappop(heap)
                again_at = sleeper.check_idle(now)
                if again_at is not None:
                    heappush(heap, (again_at, next(self._order), sleeper))
            self._scope = trio.CancelScope()
            with self._scope:
                if heap:
                    await trio.sleep_until(heap[0][0])
                else:
                    await trio.sleep_forever()
