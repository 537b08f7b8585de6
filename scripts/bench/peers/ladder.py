"""PURE: the search for the highest rate that a server bears."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scripts.bench.measured import BUSY_MAX, Measured

FOREIGN_MAX: Final = 0.15
"""More than this of the server's core taken by others: the machine was not the server's."""

P99_MAX_MS: Final = 100.0
"""A rate is borne while 99 of 100 deliveries, and answers, come within this time of when they were due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rate that was tried.

    Attributes:
        rate: sends a second.
        borne: whether it was.
        doubtful: it was not, and the client, or what else ran on the machine, may be why.
        p99_ms: of deliveries.
        deliveries_per_s: that the rate comes to.
    """

    rate: float
    borne: bool
    doubtful: bool
    p99_ms: float
    deliveries_per_s: float


class Ladder:
    """A bisection over rates; ends after about log2 of their number.

    Args:
        rates: ascending, at least one.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        self._rates = rates
        self._borne, self._too_high = -1, len(rates)
        self.trials: list[Trial] = []

    @property
    def next_rate(self) -> float | None:
        """What to try next; None: the search is over."""
        if self._too_high - self._borne <= 1:
            return None
        return self._rates[(self._borne + self._too_high) // 2]

    def record(self, trial: Trial) -> None:
        """What became of `next_rate`."""
        self.trials.append(trial)
        at = self._rates.index(trial.rate)
        if trial.borne:
            self._borne = at
        else:
            self._too_high = at

    @property
    def best(self) -> Trial | None:
        """The highest rate that was borne; None: none was."""
        return max(
            (trial for trial in self.trials if trial.borne), key=lambda trial: trial.rate, default=None
        )

    @property
    def at_least(self) -> bool:
        """Whether it may bear more: it bore the highest rate, or was perhaps not what gave out above."""
        best = self.best
        if best is None:
            return False
        above = [trial for trial in self.trials if trial.rate > best.rate]
        return not above or min(above, key=lambda trial: trial.rate).doubtful


def geometric(low: float, high: float, steps: int) -> Sequence[float]:
    """Whole rates from one to another, each higher than the one before by about the same part."""
    return [float(round(low * (high / low) ** (step / steps))) for step in range(steps + 1)]


def judge(measured: Measured, rate: float) -> Trial:
    """Whether a run shows that a rate is borne: everything delivered and answered, p99 within the bound."""
    slowest_ns = max(measured.delivery.p99_ns, measured.ok.p99_ns)
    bound_ns = P99_MAX_MS * 1e6
    borne = bool(measured.shots) and not measured.violations() and slowest_ns <= bound_ns
    # The client is why when it had no time left, or when all was well but for its own delay.
    late = not measured.violations() and slowest_ns - measured.lateness.p99_ns <= bound_ns
    busy = bool(measured.shots) and (measured.client_load > BUSY_MAX or measured.foreign_load > FOREIGN_MAX)
    return Trial(
        rate=rate,
        borne=borne,
        doubtful=not borne and (late or busy),
        p99_ms=measured.delivery.p99_ns / 1e6,
        deliveries_per_s=rate * measured.expected_events / max(1, measured.sent),
    )
