"""One task that calls everything that becomes due, in the order of its time."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import monotonic_ns
from typing import Final, NoReturn

import trio

QUANTUM_NS: Final = 1_000_000
"""Between two rounds at least: what falls due in between is at most so late. Waking for each costs 50 us."""
CALLS_PER_TURN: Final = 64
"""Between two checkpoints."""


class Wheel:
    """Calls by the machine's monotonic clock, in nanoseconds, which all processes share."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = count()
        self._scope = trio.CancelScope()
        self._next_ns = 0

    def at(self, due_ns: int, call: Callable[[], None]) -> None:
        """Have `call()` called then, or as soon as possible; a raise ends the wheel."""
        heappush(self._heap, (due_ns, next(self._serial), call))
        if due_ns < self._next_ns:
            self._next_ns = due_ns
            self._scope.deadline = trio.current_time() + _until_s(due_ns)

    async def run(self) -> NoReturn:
        """Call what is due, until cancelled."""
        heap = self._heap
        while True:
            calls = 0
            while heap and heap[0][0] <= monotonic_ns():
                heappop(heap)[2]()
                calls += 1
                if calls % CALLS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()
            self._next_ns = heap[0][0] if heap else monotonic_ns() + 3_600_000_000_000
            self._scope = trio.CancelScope(deadline=trio.current_time() + _until_s(self._next_ns))
            with self._scope:
                await trio.sleep_forever()


def _until_s(due_ns: int) -> float:
    return max(due_ns - monotonic_ns(), QUANTUM_NS) / 1e9
