"""PURE: what one run of the measuring client saw, and the figures that follow from it."""

from collections.abc import Callable
from typing import Final

import msgspec

C_CLIENT: Final = "C"
"""The name of the client that is never the bottleneck."""
LATE_MAX_MS: Final = 5.0
"""A client whose sends are later than this (p99) measures itself."""
BUSY_MAX: Final = 0.9
"""So does one that needs more of its core than this."""


class Quantiles(msgspec.Struct, frozen=True):
    """A histogram's ends, in nanoseconds; at most 1.6 % above the truth."""

    count: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class Snapshot(msgspec.Struct, frozen=True):
    """Counters at one moment.

    Attributes:
        server_ticks: the server process's CPU, user and system, all its threads.
        own_us: the client's own CPU.
        core_total: ticks of the server's core and of the client's, of which `core_busy` were not idle.
    """

    at_ns: int
    events: int
    oks: int
    sent: int
    server_ticks: int
    rss_bytes: int
    own_us: int
    core_total: tuple[int, int]
    core_busy: tuple[int, int]


class Measured(msgspec.Struct, frozen=True):
    """One run. The names are those of client.c's output; counts are of the whole run.

    Attributes:
        closes: close frames from the server.
        connected_ns: from the first connect to the last welcome and join.
        answers: whether sends are answered in this workload.
        others: frames that are neither an event, an ok nor an error.
        gaps: events whose seq was not the one before plus one.
        uneven: connections whose first or last seq differ from those of their room.
        incomplete: connections that did not receive each send of their room once.
        blocked: writes that the server was too slow to take at once.
        prompt: whether the client ran at a raised priority.
        setup, delivery, ok, lateness: of a connection's steps; of the sends that were due while measuring:
            from the due time to each receiver and to the ok, and from the due time to the send.
        shots: the ends of the slices of the measured time.
        client: which client it was.
    """

    connections: int
    live: int
    setup_failed: int
    lost: int
    closes: int
    connected_ns: int
    sent: int
    events: int
    expected_events: int
    oks: int
    answers: bool
    duplicate_oks: int
    errors: int
    others: int
    gaps: int
    uneven: int
    incomplete: int
    unknown_ids: int
    pings: int
    blocked: int
    source_addresses: int
    prompt: bool
    ticks_per_s: int
    first_error: str
    setup: Quantiles
    delivery: Quantiles
    ok: Quantiles
    lateness: Quantiles
    before: Snapshot
    connected: Snapshot
    settled: Snapshot
    shots: tuple[Snapshot, ...]
    client: str = C_CLIENT

    @property
    def seconds(self) -> float:
        """How long sends were measured."""
        return (self.shots[-1].at_ns - self.shots[0].at_ns) / 1e9

    def per_second(self, count: Callable[[Snapshot], int]) -> float:
        """How fast a counter rose while measuring."""
        return (count(self.shots[-1]) - count(self.shots[0])) / self.seconds

    def cpu_per(self, count: Callable[[Snapshot], int]) -> tuple[float, float, float]:
        """The server's CPU for one of what is counted, in microseconds: all in all, and the slices' range."""
        per_tick_us = 1e6 / self.ticks_per_s
        slices = [
            (later.server_ticks - earlier.server_ticks) * per_tick_us / max(1, count(later) - count(earlier))
            for earlier, later in zip(self.shots, self.shots[1:], strict=False)
        ]
        whole = self.shots[-1].server_ticks - self.shots[0].server_ticks
        units = max(1, count(self.shots[-1]) - count(self.shots[0]))
        return whole * per_tick_us / units, min(slices), max(slices)

    @property
    def server_load(self) -> float:
        """The server's share of one core while measuring."""
        ticks = self.shots[-1].server_ticks - self.shots[0].server_ticks
        return ticks / self.ticks_per_s / self.seconds

    @property
    def client_load(self) -> float:
        """The client's own share of one core while measuring."""
        return (self.shots[-1].own_us - self.shots[0].own_us) / 1e6 / self.seconds

    def core_load(self, core: int) -> float:
        """How busy the server's core (0) or the client's (1) was while measuring, whoever it was."""
        first, last = self.shots[0], self.shots[-1]
        total = last.core_total[core] - first.core_total[core]
        return (last.core_busy[core] - first.core_busy[core]) / max(1, total)

    @property
    def foreign_load(self) -> float:
        """What others, not the server, took of the server's core while measuring: the noise."""
        return max(0.0, self.core_load(0) - self.server_load)

    @property
    def bytes_each(self) -> float:
        """The server's growth by one connection that is welcomed and has joined."""
        return (self.settled.rss_bytes - self.before.rss_bytes) / max(1, self.live)

    @property
    def setups_per_s(self) -> float:
        """Connections that were made, welcomed and joined, a second."""
        return self.live / (self.connected_ns / 1e9)

    def violations(self) -> list[str]:
        """Promises that were broken during the run, in words; none is the rule."""
        found = (
            (self.setup_failed, "connections were not let in"),
            (self.lost, "connections were lost"),
            (self.errors, "requests were answered with an error"),
            (self.gaps, "events did not follow the seq before"),
            (self.uneven, "connections saw another range of seq than their room"),
            (self.incomplete, "connections did not receive each message once"),
            (self.sent - self.oks if self.answers else 0, "sends were not answered in time"),
            (self.duplicate_oks, "sends were answered twice"),
            (self.unknown_ids, "answers had an unknown id"),
        )
        told = [f"{count:,} {what}" for count, what in found if count]
        if told and self.first_error:
            told.append(f"the first: {self.first_error}")
        return told

    def doubts(self) -> list[str]:
        """Why the figures may be the client's and not the server's."""
        told: list[str] = []
        if self.shots:
            late_ms = self.lateness.p99_ns / 1e6
            if late_ms > LATE_MAX_MS:
                told.append(f"the client sent late: p99 {late_ms:.1f} ms")
            if self.client_load > BUSY_MAX:
                told.append(f"the client was busy: {self.client_load:.0%} of its core")
        return told


def parse_measured(output: bytes) -> Measured:
    """The client's output.

    Raises:
        msgspec.DecodeError: it is not what a client prints.
    """
    return msgspec.json.decode(output, type=Measured)
