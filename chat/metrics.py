"""How operators read what a server counts: Prometheus metrics, on a registry of the server's own.

Nothing is ever labelled by room or user. The figures are plain integers (`chat.measures`); Prometheus's own
types (locks, label look-ups) are built from those only when somebody scrapes.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chat.errors import CloseCode, ErrorCode
from chat.measures import SECONDS, Counts, FlushMetrics, Histogram, TurnMetrics, WriterMetrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.registry.register(_ServerCollector(self))

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Publish a number that something else knows; it is read at every scrape.

        Args:
            name: without the prefix `parley_`, with its unit: `outbox_bytes`.
            documentation: one sentence.
            read: quick, does not block, does not raise.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._gauges:
            raise ValueError(f"there is a gauge {name} already")
        self._gauges[name] = (documentation, read)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format, as `CONTENT_TYPE` says."""
        return generate_latest(self.registry)

    def gauges(self) -> Iterator[tuple[str, str, float]]:
        """Every gauge with its documentation and its present value."""
        for name, (documentation, read) in self._gauges.items():
            yield name, documentation, read()


_COUNTERS: Final = (
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
    ("shed_frames", "Ephemeral frames dropped for slow connections."),
    ("slow_consumers", "Connections ended for a full outbox."),
    ("rewinds", "Subscribers told to rewind."),
    ("gaps", "Subscribers told of a gap."),
    ("rooms_activated", "Rooms that came into memory."),
    ("rooms_passivated", "Idle rooms that left memory."),
    ("http_requests", "Plain HTTP requests."),
    ("logs_dropped", "Repeated warnings counted instead of logged."),
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
        for name, documentation, value in metrics.gauges():
            yield GaugeMetricFamily(f"parley_{name}", documentation, value=value)
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
        yield _counter("sent_bytes", "Bytes handed to sockets.", flushes.sent_bytes)
        yield _counter("writer_retries", "Batches that had to be written again.", writers.retries)
        yield _counter("writer_parked", "Rows that the database refuses for ever.", writers.parked)
        for name, documentation, histogram in (
            ("flush_frames", "Frames in one round of sends.", flushes.frames),
            ("flush_bytes", "Bytes in one round of sends.", flushes.sizes_bytes),
            ("flush_seconds", "Duration of one round of sends.", flushes.seconds),
            ("commit_rows", "Rows in one transaction.", writers.rows),
            ("commit_bytes", "Size of the rows in one transaction.", writers.sizes_bytes),
            ("commit_seconds", "Duration of one transaction.", writers.commit_s),
            ("ok_seconds", "From a send's arrival to its ok.", metrics.ok_s),
            ("gc_pause_seconds", "Stops for garbage collection.", metrics.gc_pause_s),
        ):
            yield HistogramMetricFamily(
                f"parley_{name}", documentation, buckets=histogram.buckets(), sum_value=histogram.total
            )


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(f"parley_{name}", documentation, value=value)
