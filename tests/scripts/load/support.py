"""What the load tester's tests share."""

from random import Random

from scripts.load.behaviours import Span
from scripts.load.operations import Operation
from scripts.load.plan import Layout, operations, seed_of
from scripts.load.record import Metric, Quantiles, RunRecord, Tick, Totals
from scripts.load.reports import Second
from scripts.load.scenario import Scenario


def chance(seed: int | str) -> Random:
    """A test's choices."""
    return Random(seed)  # noqa: S311  no secret


def plan_of(scenario: Scenario, worker: int = 0, workers: int = 1) -> dict[int, list[Operation]]:
    """What one worker's users are to do."""
    layout = Layout(scenario, chance(scenario.seed))
    span = Span(steady_s=scenario.steady_s, end_s=scenario.end_s)
    return {
        user: list(operations(scenario, layout.seat(user), span, chance(seed_of(scenario, user))))
        for user in range(worker, scenario.users, workers)
    }


def event(seq: int, *, epoch: int = 1, kind: str = "message", **fields: object) -> dict[str, object]:
    """An event of a room, as a server tells it."""
    made: dict[str, object] = {
        "t": "event",
        "room": "r",
        "seq": seq,
        "epoch": epoch,
        "at": 1000 + seq,
        "by": "u_a",
        "kind": kind,
    }
    if kind == "message":
        made.update({"cid": f"c{seq}", "body": f"body {seq}", "n": seq, "name": "a"})
    return {**made, **fields}


def second(number: int, **fields: object) -> Second:
    """A worker's second in which nothing happened but what is told."""
    quiet: dict[str, object] = {
        "users": 0,
        "pending": 0,
        "lost": 0,
        "out": 0,
        "violations": 0,
        "sends": 0,
        "deliveries": 0,
        "oks": 0,
        "connects": 0,
        "resumes": 0,
        "errors": {},
        "steady": {},
        "other": {},
        "steady_late": {},
        "other_late": {},
        "cpu_s": 0.0,
        "memory_bytes": 0,
        "all_memory_bytes": 0,
    }
    return Second(number=number, **{**quiet, **fields})  # type: ignore[arg-type]  # each test names the fields it means


def record(**fields: object) -> RunRecord:
    """A run in which all was well but what is told; fields of its totals too."""
    latency: dict[Metric, Quantiles] = {"delivery": Quantiles(count=10, p50=1, p99=10, max=20)}
    totals: dict[str, object] = {
        "users": 100,
        "sends": 1000,
        "deliveries": 10_000,
        "oks": 1000,
        "connects": 100,
        "resumes": 0,
        "errors": {},
        "latency": latency,
        "curve": {},
        "duration_s": 10.0,
        "checked_rooms": 1,
        "checked_oks": 1000,
        "violation_count": 0,
        "cpu_per_delivery_us": 5.0,
        "memory_per_connection_bytes": 10_000,
        "late_ms": 1.0,
    }
    of_totals = {name: fields.pop(name) for name in list(fields) if name in totals}
    whole: dict[str, object] = {
        "format": 1,
        "name": "steady",
        "url": "ws://127.0.0.1:1/ws",
        "started_at": "2026-11-24T12:00:00+00:00",
        "seed": 1,
        "scenario": {},
        "machine": {},
        "processes": 1,
        "ended": "finished",
        "failure": "",
        "invalid": (),
        "ticks": (Tick(at_s=1.0, phase="steady", users=100, target_users=100),),
        "totals": Totals(**{**totals, **of_totals}),  # type: ignore[arg-type]  # as in `second`
        "violations": (),
    }
    return RunRecord(**{**whole, **fields})  # type: ignore[arg-type]  # as in `second`
