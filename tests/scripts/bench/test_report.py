"""The table, as it is printed."""

import msgspec

from scripts.bench.budgets import Budget
from scripts.bench.lines import Line
from scripts.bench.report import render_doubts, render_json, render_line, render_summary
from tests.scripts.bench.support import measured, shot

MET = Line(name="a", what="rate", value=9000, unit="/s", budget=Budget(limit=8000, at_least=True))
MISSED = Line(name="b", what="p99 ok", value=60.4, unit="ms", budget=Budget(limit=50), remark="why")
UNSURE = Line(name="c", what="CPU", value=1, unit="us", budget=Budget(limit=8), doubtful=True)
TOLD = Line(name="d", what="CPU", value=1.234, unit="us")


def test_a_line_says_what_was_measured_what_was_wanted_and_the_verdict() -> None:
    """In that order, the remark last."""
    assert render_line(MET).split() == ["rate", "9,000", "/s", ">=", "8,000", "/s", "met"]
    assert render_line(MISSED).split() == ["p99", "ok", "60.4", "ms", "<=", "50.0", "ms", "MISSED", "why"]
    assert render_line(UNSURE).split() == ["CPU", "1.00", "us", "<=", "8.00", "us", "unsure"]
    assert render_line(TOLD).split() == ["CPU", "1.23", "us"]


def test_the_summary_counts_and_names_what_was_missed() -> None:
    """What could not be judged is neither."""
    told = render_summary([MET, MISSED, UNSURE, TOLD])
    assert told == "1 of 2 budgets met, 1 not judged; missed: b p99 ok"


def test_the_summary_names_the_runs_that_were_not_measured() -> None:
    """Otherwise "1 of 1 met" could mean that nothing else worked."""
    assert render_summary([MET], ["pairs json"]) == "1 of 1 budgets met; NOT MEASURED: pairs json"


def test_broken_promises_stand_out() -> None:
    """They matter more than any figure."""
    told = render_doubts(measured(shot(0), shot(1), gaps=1))
    assert "VIOLATION" in told[0]
    assert "client" in told[-1]


def test_programs_read_lines_with_their_verdicts_and_the_runs() -> None:
    """As JSON, with date and machine."""
    run = measured(shot(0), shot(1))
    document = msgspec.json.decode(render_json({"cpu": "x"}, "today", [MET, MISSED], {"a": run}))
    assert [line["met"] for line in document["lines"]] == [True, False]
    assert (document["date"], document["machine"]) == ("today", {"cpu": "x"})
    assert document["runs"]["a"]["connections"] == run.connections
