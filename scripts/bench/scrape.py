"""PURE: figures from Prometheus's text format."""

from collections.abc import Mapping
from typing import Final

GC_PAUSE: Final = "parley_gc_pause_seconds"


def read_buckets(text: str, name: str) -> Mapping[float, float]:
    """A histogram's cumulative counts by upper bound, labels other than `le` summed up."""
    buckets: dict[float, float] = {}
    for line in text.splitlines():
        if line.startswith(f"{name}_bucket{{"):
            labels, _, value = line.rpartition("} ")
            bound = labels.partition('le="')[2].partition('"')[0]
            buckets[float(bound)] = buckets.get(float(bound), 0.0) + float(value)
    return buckets


def read_value(text: str, name: str) -> float:
    """A counter's or gauge's value, of all its labels together; 0.0 where there is none."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{name} ", f"{name}{{"))
    )


def longest(before: str, after: str, name: str) -> float | None:
    """The bound that none of a histogram's observations between two scrapes exceeded; None: there were none.

    Infinity when one was above every finite bound.
    """
    earlier, later = read_buckets(before, name), read_buckets(after, name)
    grown = {bound: count - earlier.get(bound, 0.0) for bound, count in sorted(later.items())}
    total = max(grown.values(), default=0.0)
    if not total:
        return None
    return next(bound for bound, count in grown.items() if count >= total)
