"""PURE: how long to wait before the next connection (docs/protocol.md 6): full jitter, doubling, capped."""

from typing import Final

FIRST_CEILING_S: Final = 5.0
MAX_CEILING_S: Final = 30.0


class Backoff:
    """A growing ceiling; every wait is a random part of it, so that a crowd does not come back at once.

    Args:
        first_s: the first ceiling.
        max_s: where doubling ends.
    """

    __slots__ = ("_ceiling_s", "_first_s", "_max_s")

    def __init__(self, *, first_s: float = FIRST_CEILING_S, max_s: float = MAX_CEILING_S) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._ceiling_s = first_s

    def next_s(self, roll: float, retry_after_s: float | None = None) -> float:
        """Seconds to wait now; the ceiling doubles for the next time, up to `max_s`.

        Args:
            roll: a random number in [0, 1).
            retry_after_s: what the server asked for: it spreads its clients itself.
        """
        wait_s = self._ceiling_s * roll if retry_after_s is None else max(retry_after_s, 0.0)
        self._ceiling_s = min(self._ceiling_s * 2, self._max_s)
        return wait_s

    def reset(self) -> None:
        """Forget the past: a connection has held."""
        self._ceiling_s = self._first_s
