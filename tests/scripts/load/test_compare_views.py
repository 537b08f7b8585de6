"""A comparison as people see it."""

import io

from hypothesis import given, settings
from rich.console import Console

from scripts.load.compare import compare
from scripts.load.compare_views import render_comparison_html, render_terminal
from scripts.load.record import RunRecord
from tests.scripts.load.pages import Page
from tests.scripts.load.records import empty_record, make_record, records


def shown(before: RunRecord, after: RunRecord) -> str:
    """As a terminal of 80 columns shows it."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(render_terminal(compare(before, after)))
    return capture.get()


def test_the_table_has_both_figures_and_their_ratio() -> None:
    """One line a figure, the worse in capitals."""
    before, after = make_record(), make_record(slower=2.0)
    lines = [line.split() for line in shown(before, after).splitlines()]
    one, two = before.totals.latency["delivery"].p99, after.totals.latency["delivery"].p99

    assert ["p99", f"{one:.1f}", "ms", f"{two:.1f}", "ms", "2.00", "WORSE"] in lines


def test_warnings_come_before_figures_and_what_moved_at_the_end() -> None:
    """Nobody reads figures first and warnings later."""
    text = shown(make_record(), make_record(slower=2.0, invalid=["the tester was late"]))

    assert text.index("WARNING: the later run is invalid") < text.index("delivery") < text.index("WORSE: ")


def test_two_runs_alike_are_called_so() -> None:
    """In words, too."""
    assert "SAME: no figure moved by more than 10%" in shown(make_record(), make_record())


def test_the_table_fits_a_terminal() -> None:
    """Of 80 columns."""
    text = shown(make_record(), make_record(slower=3.0))

    assert max(map(len, text.splitlines())) <= 80


def test_names_cannot_write_to_the_terminal() -> None:
    """Neither the scenario's nor a code."""
    assert "\x1b" not in shown(make_record(name="\x1b[2J"), make_record(name="[red]x"))


def test_the_page_has_both_runs_and_overlays_their_distributions() -> None:
    """In one file, as the report is."""
    page = Page(render_comparison_html(compare(make_record(), make_record(slower=2.0, invalid=["late <b>"]))))

    assert "the later run is invalid: late <b>" in page.text
    assert "Delivery by percentile" in page.text
    assert "WORSE" in page.text
    assert len(page.charts) >= 10
    assert (page.fetched, page.handlers, len(page.scripts)) == ([], [], 2)


def test_runs_without_a_second_have_a_page() -> None:
    """There is nothing to plot."""
    page = Page(render_comparison_html(compare(empty_record(), empty_record())))

    assert page.charts == []


@settings(max_examples=10)
@given(records, records)
def test_any_two_runs_can_be_shown(before: RunRecord, after: RunRecord) -> None:
    """On a terminal and on a page."""
    assert "\x1b" not in shown(before, after)
    assert len(Page(render_comparison_html(compare(before, after))).scripts) == 2
