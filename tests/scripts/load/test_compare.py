"""Two runs side by side."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings

from scripts.load.compare import Comparison, Row, compare
from scripts.load.record import Quantiles, RunRecord, Totals
from tests.scripts.load.records import VIOLATION, empty_record, make_record, records


def find(comparison: Comparison, group: str, what: str) -> Row:
    """One row."""
    return next(
        row for each in comparison.groups if each.name == group for row in each.rows if row.what == what
    )


def with_totals(record: RunRecord, **changes: object) -> RunRecord:
    """The record with other totals."""
    return msgspec.structs.replace(record, totals=msgspec.structs.replace(record.totals, **changes))


def with_ok(**figures: float) -> RunRecord:
    """A run of 100,000 oks with this latency."""
    return with_totals(
        make_record(), latency={"ok": msgspec.structs.replace(Quantiles(count=100_000), **figures)}
    )


def test_a_run_is_the_same_as_itself() -> None:
    """Every ratio is 1.0, nothing is judged, nothing is warned of."""
    comparison = compare(make_record(), make_record())

    assert {row.ratio for group in comparison.groups for row in group.rows} == {1.0}
    assert comparison.judged("better") == comparison.judged("worse") == comparison.judged("unsure") == []
    assert comparison.warnings == []


@pytest.mark.parametrize(
    ("before", "after", "judgement"),
    [
        (10.0, 10.9, "same"),
        (10.0, 11.5, "worse"),
        (10.0, 8.5, "better"),
        (0.01, 0.05, "same"),
        (0.0, 5.0, "worse"),
    ],
)
def test_a_latency_is_judged_beyond_noise(before: float, after: float, judgement: str) -> None:
    """By a tenth, and by what the clock can tell."""
    row = find(compare(with_ok(p99=before), with_ok(p99=after)), "ok", "p99")

    assert row.judgement == judgement


def test_a_ratio_to_nothing_is_not_told() -> None:
    """There is no such number."""
    assert find(compare(with_ok(p99=0.0), with_ok(p99=5.0)), "ok", "p99").ratio is None
    assert find(compare(with_ok(p99=4.0), with_ok(p99=0.0)), "ok", "p99").ratio == 0.0


def test_quantiles_of_few_operations_are_not_judged() -> None:
    """A p99.9 of a thousand is one of them; the largest is always chance."""
    few = {"ok": Quantiles(count=1000, p50=1.0, p99=5.0, p999=9.0, max=9.0)}
    slow = {"ok": Quantiles(count=1000, p50=2.0, p99=10.0, p999=90.0, max=90.0)}
    comparison = compare(with_totals(make_record(), latency=few), with_totals(make_record(), latency=slow))

    assert [find(comparison, "ok", what).judgement for what in ("p50", "p99", "p99.9", "max")] == [
        "worse",
        "worse",
        "unsure",
        "unsure",
    ]


def test_more_deliveries_are_better_and_more_users_are_neither() -> None:
    """The scenario chooses users, the server manages deliveries."""
    fast = make_record()
    slow = msgspec.structs.replace(
        fast, ticks=[msgspec.structs.replace(tick, deliveries=tick.deliveries // 2) for tick in fast.ticks]
    )

    assert find(compare(slow, fast), "traffic", "deliveries a second").judgement == "better"
    assert find(compare(fast, slow), "traffic", "deliveries a second").judgement == "worse"
    assert find(compare(fast, slow), "traffic", "deliveries a second").ratio == pytest.approx(0.5, abs=0.01)
    more = compare(fast, with_totals(fast, users=5000))
    assert find(more, "traffic", "users").judgement == "none"
    assert any("users differ: 1,000 and 5,000" in warning for warning in more.warnings)


def test_errors_are_compared_by_code() -> None:
    """One that is new is worse; a few more of what happens by chance are not."""
    before = with_totals(make_record(), errors={"busy": 50})
    after = with_totals(make_record(), errors={"busy": 60, "timeout": 40})
    comparison = compare(before, after)

    assert find(comparison, "errors", "busy").judgement == "unsure"
    assert find(comparison, "errors", "timeout").judgement == "worse"
    assert find(comparison, "errors", "timeout").ratio is None


def test_one_broken_promise_is_worse() -> None:
    """There is no noise in it."""
    comparison = compare(make_record(), make_record(violations=[VIOLATION]))

    assert find(comparison, "promises", "violations").judgement == "worse"
    assert any("broke promises" in warning for warning in comparison.warnings)


def test_a_metric_that_only_one_run_has_is_shown_and_not_judged() -> None:
    """Resumes need lost connections."""
    comparison = compare(with_totals(make_record(), latency={}), make_record())
    row = find(comparison, "resume", "p50")

    assert (row.before, row.ratio, row.judgement) == (None, None, "none")
    assert row.after is not None


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"name": "night"}, "the scenarios differ: evening and night"),
        ({"scenario": {"users": 5}}, "the scenario's room_size differs: 20 and none"),
        ({"machine": {"cpu": "Y"}}, "the machine's cpu differs: Model X, 2 cores and Y"),
        ({"processes": 9}, "the tester's processes differ: 2 and 9"),
        ({"seed": 99}, "the seeds differ: 1 and 99"),
        ({"invalid": ["late"]}, "the later run is invalid: late"),
        ({"ended": "failed", "failure": "no server"}, "the later run was failed: no server"),
        ({"ended": "interrupted"}, "the later run was interrupted"),
    ],
)
def test_what_makes_runs_incomparable_is_warned_of(changes: dict[str, object], warning: str) -> None:
    """Loudly, and by name."""
    assert warning in compare(make_record(), msgspec.structs.replace(make_record(), **changes)).warnings


def test_a_shorter_run_is_warned_of() -> None:
    """Its tail has fewer operations."""
    told = compare(make_record(seconds=120), make_record(seconds=240)).warnings

    assert any(warning.startswith("the steady phases differ") for warning in told)


def test_runs_without_a_second_can_be_compared() -> None:
    """There is nothing to judge."""
    comparison = compare(empty_record(), empty_record())

    assert comparison.judged("worse") == []


@settings(max_examples=50)
@given(records)
def test_any_run_is_the_same_as_itself(record: RunRecord) -> None:
    """Figures that there are not are no difference either."""
    comparison = compare(record, record)

    assert {row.ratio for group in comparison.groups for row in group.rows} <= {1.0, None}
    assert comparison.judged("better") == comparison.judged("worse") == comparison.judged("unsure") == []


@settings(max_examples=50)
@given(records, records)
def test_better_one_way_is_worse_the_other(before: RunRecord, after: RunRecord) -> None:
    """Except close to the threshold, which is a share of the earlier figure: nothing is better both ways."""
    there, back = compare(before, after), compare(after, before)

    assert not set(there.judged("better")) & set(back.judged("better"))
    assert not set(there.judged("worse")) & set(back.judged("worse"))


@pytest.mark.parametrize("field", sorted(set(Totals.__struct_fields__) - {"curve"}))
def test_no_total_is_forgotten(field: str) -> None:
    """Whichever differs, the comparison shows it; the curve is in its plots."""
    before = make_record()
    value = getattr(before.totals, field)
    other: object = {} if isinstance(value, Mapping) else value * 3 + 1
    comparison = compare(before, with_totals(before, **{field: other}))
    same = compare(before, before)

    assert (comparison.groups, comparison.warnings) != (same.groups, same.warnings)
