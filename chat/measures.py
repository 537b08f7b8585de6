"""PURE: what a server counts where it happens: cheap enough for the hot path, ignorant of Prometheus.

A counter is a plain integer in a slotted object, a histogram a list of integers. Nothing here knows a room or
a user: the number of figures is a constant of the program.
"""

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Final

SECONDS: Final = (
    *(0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01),
    *(0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
"""Bounds for durations: a turn takes tens of microseconds, a commit milliseconds, an outage seconds."""
SIZES: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0)
"""Bounds for numbers of things in a batch."""
BYTES: Final = tuple(float(4**n) for n in range(4, 13))
"""Bounds for sizes: 256 bytes to 16 MiB."""


class Histogram:
    """Counts observations by bound. One `observe` costs a quarter of a microsecond."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation, in the unit of the bounds; a value on a bound is within it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self._counts)

    @property
    def total(self) -> float:
        """The sum of all observations."""
        return self._sum

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus has them."""
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


class Counts:
    """Everything that is counted where it happens; callers add to the attributes.

    Attributes:
        accepts_failed: times that a connection could not be accepted for want of descriptors or memory.
        connections_opened: WebSocket connections accepted.
        connections_closed: of those, gone again.
        handshakes_failed: connections that never became a WebSocket (bad request, origin, too slow).
        sessions_msgpack: sessions that are open now, by encoding.
        sessions_json: same.
        hellos: good `hello`s.
        hellos_refused: others.
        frames_in: frames of clients, of any kind.
        bad_frames: of those, undecodable.
        sends: messages taken from clients to be ordered.
        acks: `ok`s to those, which means stored.
        duplicates: `ok`s that repeat an earlier one (`dup`).
        events: events that rooms put in order.
        deliveries: event frames put into outboxes, one for each receiver.
        ephemeral_deliveries: the same for frames outside the log (`typing`, `read`); shed ones do not count.
        expired: messages deleted because their rooms did not keep them any more.
        slow_consumers: connections ended because their outbox was full.
        rewinds: subscribers told `rewind`.
        gaps: subscribers told `gap`.
        history_hits: pages of history that came from the room's memory.
        history_misses: those that storage was asked for.
        room_hits: joins, subscriptions and questions that found their room in memory; messages are not
            counted: somebody there is subscribed, nearly always.
        room_misses: those that had to wait for it to be activated, or to be found missing.
        tail_hits: subscribers whom the room's memory told all that they asked for, without a rewind.
        rooms_activated: rooms that came into memory.
        rooms_passivated: idle rooms that left it.
        logins: tokens given for a name and a password.
        logins_limited: tries of passwords above the limits, for a name or from an address.
        logins_refused: wrong passwords, and names that nobody has.
        logouts: tokens revoked by who had them.
        registrations: accounts that people made for themselves.
        http_requests: requests that were not for a WebSocket, clients' port and operators' port together.
    """

    __slots__ = (
        "accepts_failed",
        "acks",
        "bad_frames",
        "connections_closed",
        "connections_opened",
        "deliveries",
        "duplicates",
        "ephemeral_deliveries",
        "events",
        "expired",
        "frames_in",
        "gaps",
        "handshakes_failed",
        "hellos",
        "hellos_refused",
        "history_hits",
        "history_misses",
        "http_requests",
        "logins",
        "logins_limited",
        "logins_refused",
        "logouts",
        "registrations",
        "rewinds",
        "room_hits",
        "room_misses",
        "rooms_activated",
        "rooms_passivated",
        "sends",
        "sessions_json",
        "sessions_msgpack",
        "slow_consumers",
        "tail_hits",
    )

    def __init__(self) -> None:
        self.accepts_failed = 0
        self.acks = 0
        self.bad_frames = 0
        self.connections_closed = 0
        self.connections_opened = 0
        self.deliveries = 0
        self.duplicates = 0
        self.expired = 0
        self.ephemeral_deliveries = 0
        self.events = 0
        self.frames_in = 0
        self.gaps = 0
        self.handshakes_failed = 0
        self.hellos = 0
        self.hellos_refused = 0
        self.history_hits = 0
        self.history_misses = 0
        self.http_requests = 0
        self.logins = 0
        self.logins_limited = 0
        self.logins_refused = 0
        self.logouts = 0
        self.registrations = 0
        self.rewinds = 0
        self.room_hits = 0
        self.room_misses = 0
        self.rooms_activated = 0
        self.rooms_passivated = 0
        self.sends = 0
        self.sessions_json = 0
        self.sessions_msgpack = 0
        self.slow_consumers = 0
        self.tail_hits = 0

    def look_up_room(self, *, found: bool) -> None:
        """Count a request that a room in memory answers, or one that has to wait for the room."""
        if found:
            self.room_hits += 1
        else:
            self.room_misses += 1


class TurnMetrics:
    """Fulfils `actors.TurnObserver`: batches, waits, turns and crashes by kind of actor."""

    def __init__(self) -> None:
        self.kinds: dict[str, tuple[Histogram, Histogram, Histogram]] = {}
        self.crashes: Counter[str] = Counter()

    def batch(self, kind: str, messages: int, wait_s: float, turn_s: float, /) -> None:
        """One batch of an actor of this kind is done."""
        histograms = self.kinds.get(kind)
        if histograms is None:
            histograms = self.kinds[kind] = (Histogram(SIZES), Histogram(SECONDS), Histogram(SECONDS))
        histograms[0].observe(messages)
        histograms[1].observe(wait_s)
        histograms[2].observe(turn_s)

    def crashed(self, kind: str, exc: Exception, /) -> None:  # noqa: ARG002  the signature is the runtime's
        """An actor of this kind crashed."""
        self.crashes[kind] += 1


class FlushMetrics:
    """Fulfils the flusher's observer: what leaves in one round of sends."""

    __slots__ = ("frames", "seconds", "sizes_bytes")

    def __init__(self) -> None:
        self.frames = Histogram(SIZES)
        self.sizes_bytes = Histogram(BYTES)
        self.seconds = Histogram(SECONDS)

    def flush(self, frames: int, size_bytes: int, seconds: float) -> None:
        """One round is done: so many frames and bytes left, and it took so long."""
        self.frames.observe(frames)
        self.sizes_bytes.observe(size_bytes)
        self.seconds.observe(seconds)


class WriterMetrics:
    """Fulfils `storage.WriterObserver`: batches and commits. What else happens stands in `statistics()`."""

    __slots__ = ("commit_s", "rows", "sizes_bytes")

    def __init__(self) -> None:
        self.rows = Histogram(SIZES)
        self.sizes_bytes = Histogram(BYTES)
        self.commit_s = Histogram(SECONDS)

    def batch_committed(self, *, rows: int, batch_bytes: int, commit_s: float) -> None:
        """See `WriterObserver`."""
        self.rows.observe(rows)
        self.sizes_bytes.observe(batch_bytes)
        self.commit_s.observe(commit_s)

    def batch_failed(self, error: Exception, *, failures: int, retry_s: float) -> None:
        """See `WriterObserver`."""
        # The writer logs and counts them.

    def row_parked(self, error: str) -> None:
        """See `WriterObserver`."""
        # The error is kept with the row, and the writer counts.
