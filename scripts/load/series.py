"""PURE: a run's seconds put together into fewer, for plots and tables that stay readable.

Distributions cannot be added up from their quantiles: of latencies a bin has the worst second's, and likewise
of the server's figures and the tester's. Counts are sums, so that rates are means.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from scripts.load.record import METRICS, Metric, Quantiles, ServerTick, Tick
from scripts.load.words import Unit

POINTS_MAX: Final = 600
ROWS_MAX: Final = 30
"""Of a plot, and of the table below it."""

_SHORTEST_S: Final = 1e-3
"""A bin's span is this at least: a record that was written by hand may hold two ticks of one time."""


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Some ticks that follow each other.

    Attributes:
        span_s: how long they took together, above 0.
        tick: all of them as one.
    """

    span_s: float
    tick: Tick

    def rate(self, how_many: float) -> float:
        """Per second."""
        return how_many / self.span_s


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run as plots and tables want it.

    Attributes:
        points: enough to draw.
        rows: few enough to read.
    """

    points: Sequence[Bin]
    rows: Sequence[Bin]


def timeline(ticks: Sequence[Tick]) -> Timeline:
    """The run of these ticks; made once for all of its plots, for a day has many ticks."""
    return Timeline(points=bins(ticks, at_most=POINTS_MAX), rows=bins(ticks, at_most=ROWS_MAX))


def bins(ticks: Sequence[Tick], *, at_most: int) -> Sequence[Bin]:
    """All ticks in order, in bins of equally many, `at_most` of them."""
    each = -(-len(ticks) // at_most) or 1
    groups = [ticks[start : start + each] for start in range(0, len(ticks), each)]
    ends = [0.0, *(group[-1].at_s for group in groups)]
    return [
        Bin(span_s=max(end - start, _SHORTEST_S), tick=_merge(group))
        for group, (start, end) in zip(groups, pairwise(ends), strict=True)
    ]


def steady(ticks: Iterable[Tick]) -> Sequence[Tick]:
    """Those of the steady phase."""
    return [tick for tick in ticks if tick.phase == "steady"]


def steady_rates(ticks: Sequence[Tick]) -> Mapping[str, float]:
    """What happened a second in the steady phase, by what; empty when there was none."""
    each = [part for part in bins(ticks, at_most=len(ticks) or 1) if part.tick.phase == "steady"]
    span_s = sum(part.span_s for part in each)
    if not each:
        return {}
    return {
        "sends": sum(part.tick.sends for part in each) / span_s,
        "oks": sum(part.tick.oks for part in each) / span_s,
        "deliveries": sum(part.tick.deliveries for part in each) / span_s,
        "errors": sum(sum(part.tick.errors.values()) for part in each) / span_s,
    }


def server_summary(ticks: Sequence[Tick]) -> Mapping[str, float]:
    """What the server's own figures were over these ticks, by what they are of; only those that are known."""
    seen = [tick.server for tick in ticks if tick.server is not None]
    cpu = [server.cpu for server in seen if server.cpu is not None]
    told: dict[str, float] = {}
    if cpu:
        told["cpu mean"] = sum(cpu) / len(cpu)
        told["cpu max"] = max(cpu)
    for name, values in (
        ("mailbox wait p99", [server.mailbox_wait_ms for server in seen]),
        ("commit p99", [server.commit_ms for server in seen]),
        ("commit lag", [server.commit_lag_ms for server in seen]),
        ("loop lag p99", [server.loop_lag_ms for server in seen]),
    ):
        known = [value for value in values if value is not None]
        if known:
            told[f"{name} median"] = median(known)
            told[f"{name} max"] = max(known)
    for name, counts in (
        ("memory", [server.memory_bytes for server in seen]),
        ("backlog", [server.backlog_rows for server in seen]),
        ("connections", [server.connections for server in seen]),
        ("pressure", [server.pressure for server in seen]),
    ):
        reached = [value for value in counts if value is not None]
        if reached:
            told[f"{name} max"] = float(max(reached))
    return told


def server_unit(name: str) -> Unit:
    """Of a figure of `server_summary`."""
    units: Mapping[str, Unit] = {
        "cpu": "share",
        "memory": "bytes",
        "backlog": "",
        "connections": "",
        "pressure": "",
    }
    return units.get(name.partition(" ")[0], "ms")


def _merge(ticks: Sequence[Tick]) -> Tick:
    if len(ticks) == 1:
        return ticks[0]
    last = ticks[-1]
    errors: Counter[str] = Counter()
    for tick in ticks:
        errors.update(tick.errors)
    servers = [tick.server for tick in ticks if tick.server is not None]
    return Tick(
        at_s=last.at_s,
        phase=last.phase,
        users=last.users,
        target_users=last.target_users,
        sends=sum(tick.sends for tick in ticks),
        deliveries=sum(tick.deliveries for tick in ticks),
        oks=sum(tick.oks for tick in ticks),
        connects=sum(tick.connects for tick in ticks),
        resumes=sum(tick.resumes for tick in ticks),
        errors=errors,
        violations=sum(tick.violations for tick in ticks),
        latency=_worst_latency(ticks),
        late_ms=max(tick.late_ms for tick in ticks),
        tester_cpu=max(tick.tester_cpu for tick in ticks),
        tester_memory_bytes=max(tick.tester_memory_bytes for tick in ticks),
        server=_worst_server(servers),
    )


def _worst_latency(ticks: Sequence[Tick]) -> Mapping[Metric, Quantiles]:
    merged: dict[Metric, Quantiles] = {}
    for metric in METRICS:
        parts = [tick.latency[metric] for tick in ticks if metric in tick.latency]
        if not parts:
            continue
        how_many = sum(part.count for part in parts)
        merged[metric] = Quantiles(
            count=how_many,
            mean=sum(part.mean * part.count for part in parts) / (how_many or 1),
            p50=max(part.p50 for part in parts),
            p90=max(part.p90 for part in parts),
            p99=max(part.p99 for part in parts),
            p999=max(part.p999 for part in parts),
            max=max(part.max for part in parts),
        )
    return merged


def _worst_server(servers: Sequence[ServerTick]) -> ServerTick | None:
    if not servers:
        return None
    worst: dict[str, float] = {}
    for server in servers:
        for name, value in msgspec.structs.asdict(server).items():
            if value is not None:
                worst[name] = max(worst.get(name, value), value)
    return msgspec.convert(worst, ServerTick)
