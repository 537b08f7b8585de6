"""PURE: whether the wall clock may be believed by whoever deletes for good what it calls old.

A clock that was set forward by mistake makes everything old at once. The monotonic clock tells.
"""

from typing import Final

JUMP_MIN_MS: Final = 60_000
"""Forward, between two looks: more than any clock is slewed."""
DOUBT_S: Final = 86_400.0
"""After a jump: a day, in which somebody notices; then the new time is taken for right."""


class ClockTrust:
    """Follows how far the wall clock is ahead of the monotonic one.

    Args:
        now_ms: the wall clock.
        now_s: the monotonic clock.
    """

    __slots__ = ("_doubted_since_s", "_offset_ms")

    def __init__(self, *, now_ms: int, now_s: float) -> None:
        self._offset_ms = now_ms - now_s * 1000
        self._doubted_since_s: float | None = None

    def is_trusted(self, *, now_ms: int, now_s: float) -> bool:
        """Take a look: whether the wall clock was not set forward, or so long ago that it will be right."""
        offset_ms = now_ms - now_s * 1000
        if offset_ms - self._offset_ms > JUMP_MIN_MS:
            if self._doubted_since_s is None:
                self._doubted_since_s = now_s
            if now_s - self._doubted_since_s < DOUBT_S:
                return False
        # Back is harmless: less is old. Slowly is how clocks are set right.
        self._offset_ms = offset_ms
        self._doubted_since_s = None
        return True
