"""Measurements made by hand, and what measures on real sockets."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from scripts.bench.driver import Client, make_client
from scripts.bench.measured import Measured, Quantiles, Snapshot

CORES = (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))
NOTHING = Quantiles(count=0, p50_ns=0, p90_ns=0, p99_ns=0, p999_ns=0, max_ns=0)
MS = 1_000_000

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="without a compiler there is no C"
)


def shot(
    at_s: float = 0.0,
    *,
    events: int = 0,
    oks: int = 0,
    ticks: int = 0,
    rss: int = 0,
    own_s: float = 0.0,
    busy: tuple[int, int] = (0, 0),
) -> Snapshot:
    """Counters at one moment; both cores have 100 ticks a second."""
    return Snapshot(
        at_ns=int(at_s * 1e9),
        events=events,
        oks=oks,
        sent=oks,
        server_ticks=ticks,
        rss_bytes=rss,
        own_us=int(own_s * 1e6),
        core_total=(int(at_s * 100), int(at_s * 100)),
        core_busy=busy,
    )


def times(p99_ms: float) -> Quantiles:
    """A histogram whose p99 is this."""
    return replace(NOTHING, count=100, p99_ns=int(p99_ms * MS), max_ns=int(p99_ms * MS))


def measured(*shots: Snapshot, **changes: object) -> Measured:
    """A run without a fault, and what was different about it."""
    plain = Measured(
        connections=10,
        live=10,
        setup_failed=0,
        lost=0,
        closes=0,
        connected_ns=1_000_000_000,
        sent=100,
        events=1000,
        expected_events=1000,
        oks=100,
        answers=True,
        duplicate_oks=0,
        errors=0,
        others=0,
        gaps=0,
        uneven=0,
        incomplete=0,
        unknown_ids=0,
        pings=0,
        blocked=0,
        source_addresses=1,
        prompt=True,
        ticks_per_s=100,
        first_error="",
        setup=NOTHING,
        delivery=NOTHING,
        ok=NOTHING,
        lateness=NOTHING,
        before=shot(),
        connected=shot(),
        settled=shot(),
        shots=shots,
    )
    return replace(plain, **changes)


def client_of(name: str, directory: Path) -> Client:
    """The measuring client of this name."""
    if name == "C":
        return make_client(directory)
    return Client([sys.executable, "-m", "scripts.bench.slow_client"], name=name, directory=directory)
