"""PURE: what a server's metrics say of the time between two looks at them."""

from collections.abc import Mapping
from math import inf, isfinite
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

_P99: Final = 0.99
_MS: Final = 1000.0
_MAILBOX: Final = "parley_mailbox_wait_seconds"
_TURN: Final = "parley_turn_seconds"
_TURN_MESSAGES: Final = "parley_turn_messages"

GAUGES: Final[Mapping[str, str]] = {
    "connections": "parley_connections",
    "users": "parley_users",
    "rooms_active": "parley_rooms_active",
    "rooms_waiting": "parley_room_mailbox_depth",
    "writer_backlog_rows": "parley_writer_backlog_rows",
    "outbox_bytes": "parley_outbox_bytes",
    "pressure": "parley_pressure_level",
    "memory_bytes": "process_resident_memory_bytes",
}
GAUGES_MS: Final[Mapping[str, str]] = {
    "room_wait_ms": "parley_room_mailbox_oldest_wait_seconds",
    "commit_lag_ms": "parley_writer_oldest_wait_seconds",
    "loop_lag_p99_ms": "parley_loop_lag_p99_seconds",
}
RATES: Final[Mapping[str, str]] = {
    "sends_per_s": "parley_sends_total",
    "acks_per_s": "parley_acks_total",
    "events_per_s": "parley_events_total",
    "deliveries_per_s": "parley_deliveries_total",
    "frames_in_per_s": "parley_frames_in_total",
    "cpu_cores": "process_cpu_seconds_total",
}
P99S_MS: Final[Mapping[str, str]] = {
    "commit_p99_ms": "parley_commit_seconds",
    "ok_p99_ms": "parley_ok_seconds",
    "flush_p99_ms": "parley_flush_seconds",
    "gc_pause_p99_ms": "parley_gc_pause_seconds",
}

Load = Mapping[str, object]
"""An item of `busiest` (docs/protocol.md 4)."""

Buckets = Mapping[float, float]
"""Cumulative counts by upper bound."""


class Sample(NamedTuple):
    """One look.

    Attributes:
        values: those without labels, by name.
        buckets: of each histogram and kind of actor (empty where there is none).
    """

    values: Mapping[str, float]
    buckets: Mapping[tuple[str, str], Buckets]


class ActorFigures(NamedTuple):
    """One kind of actor; None: nothing happened."""

    kind: str
    wait_p99_ms: float | None
    turn_p99_ms: float | None
    turns_per_s: float | None


class RoomFigures(NamedTuple):
    """One room, as the server says of it now, and what it did since the last look; None: not known.

    Attributes:
        busy: the part of the time in which it worked.
    """

    room: str
    subscribers: float
    waiting: float
    wait_ms: float
    messages_per_s: float | None
    busy: float | None


class Figures(NamedTuple):
    """What happened between two looks.

    Attributes:
        values: by the names above; None: not known.
        actors: each kind, the one that waited longest first.
    """

    values: Mapping[str, float | None]
    actors: tuple[ActorFigures, ...]


def read_sample(text: str) -> Sample:
    """What is needed of a scrape.

    Raises:
        ValueError: it is no text of metrics.
    """
    values: dict[str, float] = {}
    buckets: dict[tuple[str, str], dict[float, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                key = (sample.name.removesuffix("_bucket"), sample.labels.get("kind", ""))
                buckets.setdefault(key, {})[float(sample.labels["le"])] = sample.value
            elif not sample.labels:
                values[sample.name] = sample.value
    return Sample(values, buckets)


def compare(before: Sample | None, after: Sample, elapsed_s: float) -> Figures:
    """What happened between two looks; before the second one only what stands is known."""
    found: dict[str, float | None] = {}
    for name, metric in GAUGES.items():
        found[name] = after.values.get(metric)
    for name, metric in GAUGES_MS.items():
        value = after.values.get(metric)
        found[name] = None if value is None else value * _MS
    for name, metric in RATES.items():
        found[name] = _rate(before, after, metric, elapsed_s)
    for name, metric in P99S_MS.items():
        found[name] = _p99_ms(_grown(before, after, (metric, "")))
    kinds = sorted({kind for metric, kind in after.buckets if metric == _MAILBOX})
    actors = [
        ActorFigures(
            kind,
            _p99_ms(_grown(before, after, (_MAILBOX, kind))),
            _p99_ms(_grown(before, after, (_TURN, kind))),
            _turns(_grown(before, after, (_TURN_MESSAGES, kind)), elapsed_s),
        )
        for kind in kinds
    ]
    actors.sort(key=lambda actor: -(actor.wait_p99_ms or 0.0))
    return Figures(found, tuple(actors))


def compare_rooms(
    before: Mapping[str, Load], after: Mapping[str, Load], elapsed_s: float
) -> tuple[RoomFigures, ...]:
    """What rooms did between two looks at the busiest, in the order of the later one."""
    return tuple(
        RoomFigures(
            room,
            _number(load, "subscribers"),
            _number(load, "waiting"),
            _number(load, "wait_ms"),
            _grown_rate(before.get(room), load, "messages", elapsed_s),
            _grown_rate(before.get(room), load, "turn_ms", elapsed_s * _MS),
        )
        for room, load in after.items()
    )


def _grown_rate(before: Load | None, after: Load, name: str, elapsed: float) -> float | None:
    if before is None or elapsed <= 0 or _number(after, name) < _number(before, name):
        return None
    return (_number(after, name) - _number(before, name)) / elapsed


def _number(load: Load, name: str) -> float:
    value = load.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _rate(before: Sample | None, after: Sample, metric: str, elapsed_s: float) -> float | None:
    earlier = None if before is None else before.values.get(metric)
    later = after.values.get(metric)
    if earlier is None or later is None or elapsed_s <= 0 or later < earlier:
        return None  # fallen: it is another server than before
    return (later - earlier) / elapsed_s


def _grown(before: Sample | None, after: Sample, key: tuple[str, str]) -> Buckets | None:
    if before is None or key not in after.buckets:
        return None
    earlier = before.buckets.get(key, {})
    grown = {bound: count - earlier.get(bound, 0.0) for bound, count in sorted(after.buckets[key].items())}
    return None if min(grown.values()) < 0 else grown


def _turns(grown: Buckets | None, elapsed_s: float) -> float | None:
    return None if grown is None or elapsed_s <= 0 else max(grown.values()) / elapsed_s


def _p99_ms(grown: Buckets | None) -> float | None:
    """The upper bound of the bucket with the 99th percentile, the largest finite one for those above it."""
    if grown is None or max(grown.values()) <= 0:
        return None
    wanted = max(grown.values()) * _P99
    reached = next(bound for bound, count in grown.items() if count >= wanted)
    if reached == inf:
        reached = max((bound for bound in grown if bound != inf), default=inf)
    return reached * _MS if isfinite(reached) else None
