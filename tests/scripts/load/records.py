"""Records of runs that never were: one that looks like a real one, and any that can be."""

from collections import Counter
from collections.abc import Sequence
from math import exp
from random import Random
from typing import Final, Literal

import msgspec
from hypothesis import strategies as st

from scripts.load.record import (
    FORMAT,
    METRICS,
    Metric,
    Quantiles,
    RunRecord,
    ServerTick,
    Tick,
    Totals,
    Violation,
    ViolationKind,
)

USERS: Final = 1000
ROOM_SIZE: Final = 20
_TYPICAL_MS: Final[dict[Metric, float]] = {
    "delivery": 4.0,
    "ok": 9.0,
    "connect": 25.0,
    "resume": 60.0,
    "history": 12.0,
}
_PERCENTILES: Final = (0.0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0)
_MEBI: Final = 1 << 20

EMPTY_TOTALS: Final = Totals(
    users=0,
    sends=0,
    deliveries=0,
    oks=0,
    connects=0,
    resumes=0,
    errors={},
    latency={},
    curve={},
    duration_s=0.0,
    checked_rooms=0,
    checked_oks=0,
    violation_count=0,
    cpu_per_delivery_us=0.0,
    memory_per_connection_bytes=0,
    late_ms=0.0,
)


def empty_record(*, name: str = "empty") -> RunRecord:
    """A run that ended before its first second."""
    return RunRecord(
        format=FORMAT,
        name=name,
        url="ws://127.0.0.1:8000/ws",
        started_at="2026-03-01T12:00:00+00:00",
        seed=1,
        scenario={},
        machine={},
        processes=1,
        ended="interrupted",
        failure="",
        invalid=(),
        ticks=(),
        totals=EMPTY_TOTALS,
        violations=(),
    )


def second(at_s: float = 1.0, **changes: object) -> Tick:
    """A steady second of ten users in which nothing happened but what is given."""
    return msgspec.structs.replace(Tick(at_s=at_s, phase="steady", users=10, target_users=10), **changes)


def make_record(
    *,
    seed: int = 1,
    seconds: int = 120,
    slower: float = 1.0,
    name: str = "evening",
    invalid: Sequence[str] = (),
    violations: Sequence[Violation] = (),
    with_server: bool = True,
) -> RunRecord:
    """A run of 1,000 users: a ramp, a steady phase with a commit stall and a reconnect wave, a drain.

    Args:
        seed: same seed, same record.
        seconds: of the whole run, 20 at least.
        slower: what all latencies are multiplied by.
        name: the scenario's.
        invalid: see `RunRecord`.
        violations: see `RunRecord`.
        with_server: whether there is a `/metrics`.
    """
    rng = Random(seed)  # noqa: S311  # repeatable, not secret
    ramp, drain = seconds // 6, seconds // 12
    stall, wave = seconds // 2, seconds * 3 // 4
    ticks: list[Tick] = []
    for second in range(1, seconds + 1):
        phase: Literal["ramp", "steady", "drain"] = "steady"
        if second <= ramp:
            phase = "ramp"
        elif second > seconds - drain:
            phase = "drain"
        users = USERS * second // ramp if phase == "ramp" else USERS
        before = USERS * (second - 1) // ramp
        if second == wave:
            users -= USERS // 5
        strain = 1.0 + 14.0 * exp(-((second - stall) ** 2) / 6.0)
        ticks.append(
            _tick(
                rng,
                at_s=float(second),
                phase=phase,
                users=users,
                strain=strain * slower,
                connects=users - before if phase == "ramp" else 0,
                resumes=USERS // 5 if second == wave + 1 else 0,
                with_server=with_server,
            )
        )
    latency: dict[Metric, Quantiles] = {
        metric: quantiles(rng, typical * slower, 50_000) for metric, typical in _TYPICAL_MS.items()
    }
    errors: Counter[str] = Counter()
    for tick in ticks:
        errors.update(tick.errors)
    totals = Totals(
        users=USERS,
        sends=sum(tick.sends for tick in ticks),
        deliveries=sum(tick.deliveries for tick in ticks),
        oks=sum(tick.oks for tick in ticks),
        connects=sum(tick.connects for tick in ticks),
        resumes=sum(tick.resumes for tick in ticks),
        errors=errors,
        latency=latency,
        curve={metric: curve(typical * slower) for metric, typical in _TYPICAL_MS.items()},
        duration_s=float(seconds - ramp - drain),
        checked_rooms=50,
        checked_oks=20_000,
        violation_count=len(violations),
        cpu_per_delivery_us=round(rng.uniform(14, 16), 2),
        memory_per_connection_bytes=rng.randrange(55_000, 65_000),
        late_ms=round(rng.uniform(0.4, 1.2), 3),
    )
    return RunRecord(
        format=FORMAT,
        name=name,
        url="ws://127.0.0.1:8000/ws",
        started_at="2026-03-01T12:00:00+00:00",
        seed=seed,
        scenario={
            "users": USERS,
            "room_size": ROOM_SIZE,
            "sends_per_s": 200.0,
            "groups": [{"name": "quiet"}],
        },
        machine={"cpu": "Model X, 2 cores", "kernel": "Linux 6.1", "python": "CPython 3.11.7"},
        processes=2,
        ended="finished",
        failure="",
        invalid=invalid,
        ticks=ticks,
        totals=totals,
        violations=violations,
    )


VIOLATION: Final = Violation(
    kind="gap",
    room="general-07",
    what="user 17 never saw seq 4,711",
    evidence=("user 17 saw seq 4710 at 61.204 s", "user 17 saw seq 4712 at 61.209 s"),
)


def quantiles(rng: Random, typical_ms: float, count: int) -> Quantiles:
    """A latency's distribution with a tail, of which `typical_ms` is about the median."""
    p50 = typical_ms * rng.uniform(0.9, 1.1)
    p90 = p50 * rng.uniform(1.6, 2.0)
    p99 = p90 * rng.uniform(1.8, 2.6)
    p999 = p99 * rng.uniform(1.3, 2.5)
    shown = [round(value, 3) for value in (p50 * 1.2, p50, p90, p99, p999, p999 * rng.uniform(1.0, 2.0))]
    mean, *rest = shown
    return Quantiles(count=count, mean=mean, p50=rest[0], p90=rest[1], p99=rest[2], p999=rest[3], max=rest[4])


def curve(typical_ms: float) -> Sequence[tuple[float, float]]:
    """Rising points, steeper towards the end."""
    return [
        (percentile, round(typical_ms * (0.4 + 0.6 * (100.0 / max(100.0 - percentile, 2e-4)) ** 0.4), 3))
        for percentile in _PERCENTILES
    ]


def _tick(
    rng: Random,
    *,
    at_s: float,
    phase: Literal["ramp", "steady", "drain"],
    users: int,
    strain: float,
    connects: int,
    resumes: int,
    with_server: bool,
) -> Tick:
    sends = 0 if phase == "drain" else int(users * 0.2 * rng.uniform(0.85, 1.15))
    latency: dict[Metric, Quantiles] = {}
    if sends:
        latency["delivery"] = quantiles(rng, _TYPICAL_MS["delivery"] * strain, sends * (ROOM_SIZE - 1))
        latency["ok"] = quantiles(rng, _TYPICAL_MS["ok"] * strain, sends)
    if phase == "ramp":
        latency["connect"] = quantiles(rng, _TYPICAL_MS["connect"], connects)
    if resumes:
        latency["resume"] = quantiles(rng, _TYPICAL_MS["resume"], resumes)
    if int(at_s) % 5 == 0:
        latency["history"] = quantiles(rng, _TYPICAL_MS["history"], 10)
    errors: dict[str, int] = {}
    if resumes:
        errors = {"close_1012": resumes, "connect_refused": 12}
    elif strain > 8:
        errors = {"busy": int(strain), "timeout": 1}
    server = None
    if with_server:
        load = users / USERS
        server = ServerTick(
            cpu=round(0.75 * load * rng.uniform(0.9, 1.1), 3),
            memory_bytes=int((90 + 60 * load) * _MEBI) + int(at_s) * 20_000,
            mailbox_wait_ms=rng.choice((0.25, 0.5, 1.0)) * (10 if strain > 5 else 1),
            commit_ms=rng.choice((2.5, 5.0)) * (20 if strain > 5 else 1),
            commit_lag_ms=round(3.0 * strain, 2),
            loop_lag_ms=round(rng.uniform(0.3, 1.4) * min(strain, 4), 2),
            backlog_rows=int(5 * strain * strain),
            connections=users,
            pressure=2 if strain > 10 else 0,
        )
    return Tick(
        at_s=at_s,
        phase=phase,
        users=users,
        target_users=users if phase == "ramp" else USERS,
        sends=sends,
        deliveries=sends * (ROOM_SIZE - 1),
        oks=sends,
        connects=connects,
        resumes=resumes,
        errors=errors,
        latency=latency,
        late_ms=round(rng.uniform(0.2, 1.4), 2),
        tester_cpu=round(0.5 * users / USERS * rng.uniform(0.9, 1.1), 3),
        tester_memory_bytes=80 * _MEBI + users * 55_000,
        server=server,
    )


_counts = st.integers(min_value=0, max_value=2**53)
_figures = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
_words = st.text(max_size=30)
_codes = st.dictionaries(_words, _counts, max_size=8)
_quantiles = st.builds(
    Quantiles,
    count=_counts,
    mean=_figures,
    p50=_figures,
    p90=_figures,
    p99=_figures,
    p999=_figures,
    max=_figures,
)
_latency = st.dictionaries(st.sampled_from(METRICS), _quantiles)
_maybe_counts = st.none() | _counts
_maybe_figures = st.none() | _figures
_servers = st.builds(
    ServerTick,
    cpu=_maybe_figures,
    memory_bytes=_maybe_counts,
    mailbox_wait_ms=_maybe_figures,
    commit_ms=_maybe_figures,
    commit_lag_ms=_maybe_figures,
    loop_lag_ms=_maybe_figures,
    backlog_rows=_maybe_counts,
    connections=_maybe_counts,
    pressure=_maybe_counts,
)
ticks: Final = st.builds(
    Tick,
    at_s=_figures,
    phase=st.sampled_from(("ramp", "steady", "drain")),
    users=_counts,
    target_users=_counts,
    sends=_counts,
    deliveries=_counts,
    oks=_counts,
    connects=_counts,
    resumes=_counts,
    errors=_codes,
    violations=_counts,
    latency=_latency,
    late_ms=_figures,
    tester_cpu=_figures,
    tester_memory_bytes=_counts,
    server=st.none() | _servers,
)
_totals = st.builds(
    Totals,
    users=_counts,
    sends=_counts,
    deliveries=_counts,
    oks=_counts,
    connects=_counts,
    resumes=_counts,
    errors=_codes,
    latency=_latency,
    curve=st.dictionaries(
        st.sampled_from(METRICS),
        st.lists(st.tuples(st.floats(min_value=0, max_value=100), _figures), max_size=6),
    ),
    duration_s=_figures,
    checked_rooms=_counts,
    checked_oks=_counts,
    violation_count=_counts,
    cpu_per_delivery_us=_figures,
    memory_per_connection_bytes=_counts,
    late_ms=_figures,
)
_kinds: st.SearchStrategy[ViolationKind] = st.sampled_from(
    ("gap", "order", "differs", "lost", "doubled", "leaked", "presence")
)
_violations = st.builds(
    Violation, kind=_kinds, room=_words, what=_words, evidence=st.lists(_words, max_size=3)
)
records: Final = st.builds(
    RunRecord,
    format=st.just(FORMAT),
    name=_words,
    url=_words,
    started_at=_words,
    seed=_counts,
    scenario=st.dictionaries(
        _words, st.none() | st.booleans() | _counts | _words | st.lists(_words, max_size=2), max_size=4
    ),
    machine=st.dictionaries(_words, _words, max_size=4),
    processes=_counts,
    ended=st.sampled_from(("finished", "interrupted", "failed")),
    failure=_words,
    invalid=st.lists(_words, max_size=3),
    ticks=st.lists(ticks, max_size=8),
    totals=_totals,
    violations=st.lists(_violations, max_size=3),
)
"""Every record that a JSON file can hold, plausible or not."""
