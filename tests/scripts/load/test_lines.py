"""A run as lines."""

from io import StringIO

from scripts.load.lines import Lines
from scripts.load.record import Quantiles, Tick, Violation
from tests.scripts.load.support import record


def test_a_run_is_told_line_by_line() -> None:
    """Its beginning, every second, its sum."""
    out = StringIO()
    lines = Lines(out)
    lines.started("steady", 100, "ws://h/ws")
    lines.tick(
        Tick(
            at_s=3.0,
            phase="steady",
            users=100,
            target_users=100,
            sends=5,
            deliveries=500,
            errors={"busy": 2},
            violations=1,
            latency={"delivery": Quantiles(count=500, p50=1.5, p99=9.0)},
        )
    )
    lines.finished(record(checked_oks=1000))
    told = out.getvalue().splitlines()
    assert told[0] == "steady: 100 users against ws://h/ws"
    for words in ("500 deliveries/s", "p50/p99 1.5/9.0", "ok -", "errors: 2 busy", "1 VIOLATIONS"):
        assert words in told[1]
    assert "steady finished" in told
    assert any("1,000 sends answered ok; 0 violations" in line for line in told)


def test_what_was_broken_and_what_is_invalid_is_told_with_its_evidence() -> None:
    """And why a run failed."""
    out = StringIO()
    Lines(out).finished(
        record(
            ended="failed",
            failure="the server has gone",
            invalid=["the tester was late"],
            violations=[Violation(kind="gap", room="r", what="a gap", evidence=["after #1 comes #3"])],
            errors={"timeout": 3},
        )
    )
    told = out.getvalue()
    for words in (
        "failed: the server has gone",
        "INVALID: the tester was late",
        "VIOLATION gap r: a gap",
        "after #1 comes #3",
        "error timeout: 3",
    ):
        assert words in told
