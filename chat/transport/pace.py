"""PURE: how long the flusher waits before the next flush.

The rule. Flushing at once is right until it costs too much, and waiting is right only where it
saves system calls. So two questions are asked after every flush:

1. Does flushing take more than its share? A leaky bucket of busy seconds: each flush adds its busy
   time divided by `SHARE` (an eighth of a core), passing time drains it. Up to `BURST_S` in the
   bucket nothing waits: 500 subscribers at 40 sends a second never reach it, nor does any idle
   server.
2. Would waiting save anything? Only frames for the same connection leave together. A send to a
   connection that had another one within the longest interval counts as a repeat; waiting pays
   when three in four sends were repeats, or already carried two frames each. A thousand busy rooms
   of two members are never delayed: there is nothing to merge.

When both say yes the next flush comes after what is in the bucket above `BURST_S`, at most
`MAX_INTERVAL_S`. The wait runs from the end of the last flush, so a frame that comes later than
that leaves at once.
"""

from typing import Final

MAX_INTERVAL_S: Final = 0.02
MIN_INTERVAL_S: Final = 0.001  # a shorter sleep costs more than it merges
SHARE: Final = 0.125
BURST_S: Final = 0.05


class Pace:
    """One flusher's leaky bucket. Mutable, synchronous; times are arguments, in seconds."""

    __slots__ = ("_bucket_s", "_drained_at_s", "_pays")

    def __init__(self) -> None:
        self._bucket_s = 0.0
        self._drained_at_s = 0.0
        self._pays = False

    def after_flush(self, now_s: float, *, busy_s: float, sends: int, frames: int, repeats: int) -> None:
        """Record a flush that ended at `now_s`.

        Args:
            now_s: Any clock that does not go back.
            busy_s: Time spent sending, without the pauses in which other tasks ran.
            sends: Connections sent to; `frames` left in those sends.
            frames: Whole frames handed over.
            repeats: Sends to a connection sent to within `MAX_INTERVAL_S` before.
        """
        self._drain(now_s)
        self._bucket_s = min(self._bucket_s + busy_s / SHARE, BURST_S + MAX_INTERVAL_S)
        if sends:
            self._pays = repeats * 4 >= sends * 3 or frames >= sends * 2

    def wait_s(self, now_s: float) -> float:
        """Return the seconds to wait at `now_s` before flushing, 0 to `MAX_INTERVAL_S`."""
        if not self._pays:
            return 0.0
        self._drain(now_s)
        wait_s = min(self._bucket_s - BURST_S, MAX_INTERVAL_S)
        return wait_s if wait_s >= MIN_INTERVAL_S else 0.0

    def _drain(self, now_s: float) -> None:
        self._bucket_s = max(0.0, self._bucket_s - max(0.0, now_s - self._drained_at_s))
        self._drained_at_s = now_s
