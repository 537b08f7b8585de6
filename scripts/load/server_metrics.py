"""PURE: what Prometheus's text format says of a server, and of the time between two looks at it.

Names are those of docs/operations.md and, for the process, those that every Prometheus client library has. A
server that lacks them, or has something else under them, leaves the figure unknown.
"""

from collections.abc import Mapping
from math import inf, isfinite
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from scripts.load.record import ServerTick

_CPU: Final = "process_cpu_seconds_total"
_MEMORY: Final = "process_resident_memory_bytes"
_LAG: Final = "parley_writer_oldest_wait_seconds"
_LOOP: Final = "parley_loop_lag_p99_seconds"
_BACKLOG: Final = "parley_writer_backlog_rows"
_CONNECTIONS: Final = "parley_connections"
_PRESSURE: Final = "parley_pressure_level"
_VALUES: Final = frozenset({_CPU, _MEMORY, _LAG, _LOOP, _BACKLOG, _CONNECTIONS, _PRESSURE})

_MAILBOX: Final = "parley_mailbox_wait_seconds"
_COMMIT: Final = "parley_commit_seconds"
_BUCKETS: Final = {f"{name}_bucket": name for name in (_MAILBOX, _COMMIT)}

_INT_MAX: Final = 2**63 - 1
_MS: Final = 1000.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look.

    Attributes:
        values: by name; finite.
        buckets: by histogram, its cumulative counts by upper bound, summed over all other labels.
    """

    values: Mapping[str, float] = {}
    buckets: Mapping[str, Mapping[float, float]] = {}


def parse_metrics(text: str) -> Sample:
    """What is needed of a scrape; lines that cannot be read are passed over, as are foreign ones."""
    values: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for line in text.splitlines():
        # Most lines are of no interest, and parsing one costs ten times as much as looking at it.
        name = line.partition("{")[0].partition(" ")[0]
        if name not in _VALUES and name not in _BUCKETS:
            continue
        for labels, value in _read(line):
            if name in _VALUES:
                values[name] = value
                continue
            bound = _bound(labels)
            if bound is not None:
                histogram = buckets.setdefault(_BUCKETS[name], {})
                histogram[bound] = histogram.get(bound, 0.0) + value
    return Sample(values=values, buckets=buckets)


def server_tick(before: Sample | None, after: Sample, elapsed_s: float) -> ServerTick:
    """What happened between two looks.

    Args:
        before: None when there was none: what only a difference tells is unknown then.
        after: the later one.
        elapsed_s: between them.
    """
    values = after.values
    return ServerTick(
        cpu=_rate(before, after, _CPU, elapsed_s),
        memory_bytes=_whole(values.get(_MEMORY)),
        mailbox_wait_ms=_p99_ms(before, after, _MAILBOX),
        commit_ms=_p99_ms(before, after, _COMMIT),
        commit_lag_ms=_scaled(values.get(_LAG)),
        loop_lag_ms=_scaled(values.get(_LOOP)),
        backlog_rows=_whole(values.get(_BACKLOG)),
        connections=_whole(values.get(_CONNECTIONS)),
        pressure=_whole(values.get(_PRESSURE)),
    )


def _read(line: str) -> list[tuple[Mapping[str, str], float]]:
    try:
        return [
            (sample.labels, float(sample.value))
            for family in text_string_to_metric_families(line)
            for sample in family.samples
            if isfinite(sample.value)
        ]
    except (ValueError, IndexError, KeyError):  # the parser's ways to say that it is no line of a metric
        return []


def _bound(labels: Mapping[str, str]) -> float | None:
    try:
        bound = float(labels.get("le", ""))
    except ValueError:
        return None
    return bound if bound == bound else None  # noqa: PLR0124  # NaN is no bound


def _rate(before: Sample | None, after: Sample, name: str, elapsed_s: float) -> float | None:
    earlier = before.values.get(name) if before is not None else None
    later = after.values.get(name)
    if earlier is None or later is None or elapsed_s <= 0 or later < earlier:
        return None  # fallen: the server is another one than before
    return (later - earlier) / elapsed_s


def _p99_ms(before: Sample | None, after: Sample, name: str) -> float | None:
    """The upper bound of the bucket with the 99th percentile, the largest finite one for those above it."""
    if before is None:
        return None
    earlier, later = before.buckets.get(name, {}), after.buckets.get(name, {})
    grown = {bound: number - earlier.get(bound, 0.0) for bound, number in sorted(later.items())}
    total = max(grown.values(), default=0.0)
    if total <= 0 or min(grown.values()) < 0:
        return None
    reached = next(bound for bound, number in grown.items() if number >= total * 0.99)
    if reached == inf:
        reached = max((bound for bound in grown if bound != inf), default=inf)
    return reached * _MS if isfinite(reached) else None


def _scaled(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * _MS


def _whole(value: float | None) -> int | None:
    return None if value is None or abs(value) > _INT_MAX else int(value)
