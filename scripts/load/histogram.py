"""PURE: latencies: counted cheaply where they happen, put together into distributions where there is time.

A worker counts in steps of 0.1 ms in a dict, which takes 0.1 us; a `Histogram` (HdrHistogram) takes 1.6 us a
value and is filled from those counts once a second.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias, cast

from hdrh.histogram import HdrHistogram

from scripts.load.record import Quantiles

STEP_NS: Final = 100_000
STEPS_A_MS: Final = 10
MAX_MS: Final = 3_600_000
DIGITS: Final = 3
"""Of every value's precision."""

Counts: TypeAlias = Mapping[int, int]
"""How many operations took so many steps of `STEP_NS`."""
_CURVE: Final = (*range(0, 100, 5), 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100)


class _Hdr(Protocol):
    """What is used of the library, which has no types."""

    def record_value(self, value: int, count: int) -> bool: ...
    def get_percentile_to_value_dict(self, percentile_list: Sequence[float]) -> dict[float, int]: ...
    def get_total_count(self) -> int: ...


class Histogram:
    """A distribution of milliseconds, exact to three digits; longer than an hour counts as an hour."""

    def __init__(self) -> None:
        self._hdr = cast("_Hdr", HdrHistogram(1, MAX_MS * STEPS_A_MS, DIGITS))
        self._max_steps = 0
        self._sum_steps = 0

    def add(self, counts: Counts) -> None:
        """Add what was counted."""
        for steps, count in counts.items():
            kept = min(max(steps, 1), MAX_MS * STEPS_A_MS)
            self._hdr.record_value(kept, count)
            self._max_steps = max(self._max_steps, kept)
            self._sum_steps += kept * count

    @property
    def count(self) -> int:
        """How many values there are."""
        return self._hdr.get_total_count()

    def percentile_ms(self, percent: float) -> float:
        """The value that so many percent do not exceed; 0 of nothing."""
        return self._percentiles_ms([percent])[0]

    def quantiles(self) -> Quantiles:
        """The usual ones."""
        if not self.count:
            return Quantiles()
        p50, p90, p99, p999 = self._percentiles_ms([50, 90, 99, 99.9])
        return Quantiles(
            count=self.count,
            mean=round(self._sum_steps / self.count / STEPS_A_MS, 3),
            p50=p50,
            p90=p90,
            p99=p99,
            p999=p999,
            max=self._max_steps / STEPS_A_MS,
        )

    def curve(self) -> Sequence[tuple[float, float]]:
        """Points for a plot: percentile, milliseconds."""
        if not self.count:
            return []
        return list(zip(map(float, _CURVE), self._percentiles_ms(_CURVE), strict=True))

    def _percentiles_ms(self, percents: Sequence[float]) -> list[float]:
        """For each of them; all in one walk, for the library looks at every bucket there is."""
        if not self.count:
            return [0.0] * len(percents)
        found = self._hdr.get_percentile_to_value_dict(percents)
        return [min(found[percent], self._max_steps) / STEPS_A_MS for percent in percents]


def sum_counts(parts: Iterable[Counts]) -> dict[int, int]:
    """All counts together."""
    total: dict[int, int] = {}
    for part in parts:
        for steps, count in part.items():
            total[steps] = total.get(steps, 0) + count
    return total
