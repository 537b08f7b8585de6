"""How operators read what a server counts: Prometheus metrics, on a registry of the server's own.

Nothing is ever labelled by room or user. The figures are plain integers (`chat.measures`); Prometheus's own
types (locks, label look-ups) are built from those only when somebody scrapes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from chat.errors import CloseCode, ErrorCode
from chat.measures import SECONDS, Counts, FlushMetrics, Histogram, TurnMetrics, WriterMetrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

S = TypeVar("S")
Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Figure(Generic[S]):
    """One number out of a part's statistics.

    Attributes:
        kind: a counter never falls.
        name: without the prefix `parley_`, with its unit: `outbox_bytes`; a counter's without `_total`.
        documentation: one sentence.
        get: finds it in the statistics.
    """

    kind: Kind
    name: str
    documentation: str
    get: Callable[[S], float]


class Metrics:
    """One server's metrics.

    Attributes:
        counts: plain integers for the hot path.
        turns: for the actor system.
        flushes: for the flusher.
        writers: for the storage writers.
        ok_s: from a send's arrival to its `ok`, in seconds.
        gc_pause_s: stops of the whole process for garbage collection, in seconds.
        refused: answers that are errors, by code.
        closed: connections ended by the server, by close code.
        registry: what is scraped.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.turns = TurnMetrics()
        self.flushes = FlushMetrics()
        self.writers = WriterMetrics()
        self.ok_s = Histogram(SECONDS)
        self.gc_pause_s = Histogram(SECONDS)
        self.refused: Counter[ErrorCode] = Counter()
        self.closed: Counter[CloseCode] = Counter()
        self.registry = CollectorRegistry(auto_describe=False)
        self._names: set[str] = set()
        self._sources: list[Callable[[], Iterator[Metric]]] = []
        self.registry.register(_ServerCollector(self))
        ProcessCollector(registry=self.registry)

    def add_caches(self, caches: Mapping[str, Callable[[], tuple[int, int]]]) -> None:
        """Publish how often things were found in memory; once, with every cache there is.

        Args:
            caches: for each, by what it is called, its hits and misses so far; read at every scrape.
        """

        def look() -> Iterator[Metric]:
            family = CounterMetricFamily(
                "parley_cache_lookups", "Look-ups in what is kept in memory.", labels=["cache", "result"]
            )
            for cache, read in caches.items():
                for result, count in zip(("hit", "miss"), read(), strict=True):
                    family.add_metric([cache, result], count)
            yield family

        self._sources.append(look)

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Publish a number that something else knows; it is read at every scrape.

        Args:
            name: without the prefix `parley_`, with its unit: `outbox_bytes`.
            documentation: one sentence.
            read: quick, does not block, does not raise.

        Raises:
            ValueError: the name is taken.
        """
        self.add_source(read, [Figure("gauge", name, documentation, float)])

    def add_source(self, read: Callable[[], S], figures: Sequence[Figure[S]]) -> None:
        """Publish numbers that a part of the server keeps; it is looked at once at every scrape.

        Args:
            read: takes one look; quick, does not block, does not raise.
            figures: what to publish of it.

        Raises:
            ValueError: a name is taken.
        """
        for figure in figures:
            if figure.name in self._names:
                raise ValueError(f"there is a figure {figure.name} already")
            self._names.add(figure.name)

        def look() -> Iterator[Metric]:
            statistics = read()
            for figure in figures:
                make = _counter if figure.kind == "counter" else _gauge
                yield make(figure.name, figure.documentation, figure.get(statistics))

        self._sources.append(look)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format, as `CONTENT_TYPE` says."""
        return generate_latest(self.registry)

    def looks(self) -> Iterator[Metric]:
        """The figures of every source, as of now."""
        for look in self._sources:
            yield from look()


_COUNTERS: Final = (
    ("accepts_failed", "Times that the system gave no descriptor or memory for a connection."),
    ("connections_opened", "WebSocket connections accepted."),
    ("connections_closed", "WebSocket connections gone again."),
    ("handshakes_failed", "Connections that never became a WebSocket."),
    ("hellos", "Good hellos."),
    ("hellos_refused", "Hellos refused."),
    ("frames_in", "Frames received from clients."),
    ("bad_frames", "Frames received that could not be decoded."),
    ("sends", "Messages taken from clients."),
    ("acks", "Messages answered ok: stored."),
    ("duplicates", "Messages answered ok as known before."),
    ("events", "Events ordered by rooms."),
    ("deliveries", "Event frames put into outboxes."),
    ("ephemeral_deliveries", "Typing and read frames put into outboxes."),
    ("expired", "Messages deleted because their rooms keep none so old."),
    ("slow_consumers", "Connections ended for a full outbox."),
    ("rewinds", "Subscribers told to rewind."),
    ("gaps", "Subscribers told of a gap."),
    ("rooms_activated", "Rooms that came into memory."),
    ("rooms_passivated", "Idle rooms that left memory."),
    ("http_requests", "Plain HTTP requests."),
    ("logins", "Logins by password that were good."),
    ("logins_limited", "Tries of passwords that came too often."),
    ("logins_refused", "Logins with a wrong name or password."),
    ("logouts", "Tokens revoked by those who had them."),
    ("registrations", "Accounts that people made for themselves."),
)


class _ServerCollector(Collector):
    """Builds Prometheus's view of a server when somebody scrapes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        counts = metrics.counts
        for name, documentation in _COUNTERS:
            yield _counter(name, documentation, float(getattr(counts, name)))
        yield from metrics.looks()
        yield GaugeMetricFamily(
            "parley_connections",
            "WebSocket connections open now.",
            value=counts.connections_opened - counts.connections_closed,
        )
        sessions = GaugeMetricFamily("parley_sessions", "Sessions open now.", labels=["encoding"])
        sessions.add_metric(["msgpack"], counts.sessions_msgpack)
        sessions.add_metric(["json"], counts.sessions_json)
        yield sessions
        yield from self._labelled()
        yield from self._turns()
        yield from self._batches()

    def _labelled(self) -> Iterator[Metric]:
        refused = CounterMetricFamily("parley_refused", "Requests answered with an error.", labels=["code"])
        for code in ErrorCode:
            refused.add_metric([code.value], self._metrics.refused[code])
        yield refused
        closed = CounterMetricFamily("parley_closed", "Connections ended by the server.", labels=["code"])
        for close_code in CloseCode:
            closed.add_metric([str(int(close_code))], self._metrics.closed[close_code])
        yield closed

    def _turns(self) -> Iterator[Metric]:
        turns = self._metrics.turns
        families = (
            HistogramMetricFamily("parley_turn_messages", "Messages in an actor's batch.", labels=["kind"]),
            HistogramMetricFamily("parley_mailbox_wait_seconds", "Wait in a mailbox.", labels=["kind"]),
            HistogramMetricFamily("parley_turn_seconds", "An actor's work on a batch.", labels=["kind"]),
        )
        for kind, histograms in turns.kinds.items():
            for family, histogram in zip(families, histograms, strict=True):
                family.add_metric([kind], histogram.buckets(), histogram.total)
        yield from families
        crashes = CounterMetricFamily("parley_actor_crashes", "Actors that crashed.", labels=["kind"])
        for kind in turns.kinds.keys() | turns.crashes.keys():
            crashes.add_metric([kind], turns.crashes[kind])
        yield crashes

    def _batches(self) -> Iterator[Metric]:
        metrics = self._metrics
        flushes, writers = metrics.flushes, metrics.writers
        for name, documentation, histogram in (
            ("flush_frames", "Frames in one round of sends.", flushes.frames),
            ("flush_bytes", "Bytes in one round of sends.", flushes.sizes_bytes),
            ("flush_seconds", "Duration of one round of sends.", flushes.seconds),
            ("commit_rows", "Rows in one transaction.", writers.rows),
            ("commit_bytes", "Size of the rows in one transaction.", writers.sizes_bytes),
            ("commit_seconds", "Duration of one transaction.", writers.commit_s),
            ("ok_seconds", "From a send's arrival to its ok, of one message in eight.", metrics.ok_s),
            ("gc_pause_seconds", "Stops for garbage collection.", metrics.gc_pause_s),
        ):
            yield HistogramMetricFamily(
                f"parley_{name}", documentation, buckets=histogram.buckets(), sum_value=histogram.total
            )


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(f"parley_{name}", documentation, value=value)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"parley_{name}", documentation, value=value)
