"""How a worker behind the commits goes on after failures: later each time, and without filling the log."""

from random import Random
from typing import Final

from storage import retry_delay_s

_MIN_LOG_GAP_S: Final = 5.0


class BackOff:
    """The failures in a row of one worker; it has no clock, and the worker waits and logs itself.

    Args:
        base_s: the first wait at most.
        cap_s: the longest wait.
        rng: for the jitter.
    """

    def __init__(self, *, base_s: float, cap_s: float, rng: Random) -> None:
        self.failures = 0
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng
        self._logged_s = float("-inf")

    def failed(self) -> float:
        """Count one more failure; the seconds to wait, as `retry_delay_s`."""
        self.failures += 1
        return retry_delay_s(self.failures, base_s=self._base_s, cap_s=self._cap_s, jitter=self._rng.random())

    def claim_log(self, now_s: float) -> bool:
        """Take the turn to log, if there is one: not within 5 s of the last, whichever run it was of."""
        if now_s < self._logged_s + _MIN_LOG_GAP_S:
            return False
        self._logged_s = now_s
        return True

    def succeeded(self) -> None:
        """End the run of failures."""
        self.failures = 0
