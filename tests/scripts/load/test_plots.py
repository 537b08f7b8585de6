"""Plots, and their words and tables."""

import math

import msgspec
import pytest
from hypothesis import given, settings

from scripts.load import report_plots
from scripts.load.plots import Curve, Line, over_time, percentiles
from scripts.load.record import RunRecord
from scripts.load.series import POINTS_MAX, ROWS_MAX, timeline
from tests.scripts.load.records import make_record, records, second

SENDS = Line(name="sends", read=lambda point: point.rate(point.tick.sends), colour="#000")
NEVER = Line(name="never", read=lambda _: None, colour="#000")


def test_a_plot_says_the_same_in_words_and_in_a_table() -> None:
    """For those who do not see it."""
    plot = over_time(
        "k", "Sends", timeline([second(1, sends=2), second(2, sends=30)]), [SENDS, NEVER], unit="/s"
    )

    assert plot is not None
    assert plot.summary == "sends: 2.00 to 30.0 /s, at the end 30.0."
    assert plot.table.columns == ("time", "sends, /s")
    assert plot.table.rows == [("00:01", "2.00"), ("00:02", "30.0")]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in plot.traces] == [
        ("sends", [1, 2], [2.0, 30.0])
    ]


def test_a_plot_without_figures_is_none() -> None:
    """An empty frame would look like a defect."""
    assert over_time("k", "t", timeline([second(1)]), [NEVER], unit="") is None
    assert over_time("k", "t", timeline([]), [SENDS], unit="") is None


def test_zero_is_left_out_where_a_scale_has_none() -> None:
    """A logarithm of 0 would draw the line off the paper."""
    plot = over_time("k", "t", timeline([second(1), second(2, sends=10)]), [SENDS], unit="/s", scale="log")

    assert plot is not None
    assert plot.traces[0]["y"] == [None, 10.0]


def test_a_long_run_is_thinned() -> None:
    """A day has 86,400 seconds: no browser wants them all."""
    plot = over_time("k", "t", timeline([second(at, sends=1) for at in range(1, 5001)]), [SENDS], unit="/s")

    assert plot is not None
    x = plot.traces[0]["x"]
    assert isinstance(x, list)
    assert len(x) <= POINTS_MAX
    assert len(plot.table.rows) <= ROWS_MAX


def test_the_phases_are_marked() -> None:
    """What is measured in the ramp is no steady figure."""
    plot = over_time("k", "t", timeline(make_record(seconds=120).ticks), [SENDS], unit="/s")

    assert plot is not None
    shapes = msgspec.json.decode(msgspec.json.encode(plot.layout["shapes"]))
    assert [(shape["label"]["text"], shape["x0"], shape["x1"]) for shape in shapes] == [
        ("ramp", 0.0, 20.0),
        ("drain", 110.0, 120.0),
    ]


def test_a_distribution_spreads_its_tail() -> None:
    """Each nine takes as much room as the one before; the largest stands at one in all."""
    curve = Curve(
        name="ok", points=[(50.0, 1.0), (99.0, 5.0), (99.9, 9.0), (100.0, 20.0)], how_many=5000, colour="#000"
    )
    plot = percentiles("k", "t", [curve])

    assert plot is not None
    assert plot.traces[0]["x"] == pytest.approx([2.0, 100.0, 1000.0, 5000.0])
    assert plot.summary == "ok of 5,000 operations: 1.00 ms at 50 %, 5.00 ms at 99 %, 20.0 ms at the most."
    assert plot.table.rows == [("ok", "1.00 ms", "5.00 ms", "5.00 ms", "9.00 ms", "20.0 ms")]


def test_errors_are_stacked_by_code_and_the_rare_ones_are_one() -> None:
    """As many colours as can be told apart."""
    codes = {f"code_{number}": number for number in range(1, 12)}
    plot = report_plots.error_plots(timeline([second(1, errors=codes)]))[0]

    assert [trace["name"] for trace in plot.traces] == [*(f"code_{n}" for n in range(11, 4, -1)), "others"]
    assert plot.traces[-1]["y"] == [1 + 2 + 3 + 4]
    assert plot.layout["barmode"] == "stack"


def test_a_code_is_no_markup_for_the_script() -> None:
    """Plotly.js takes tags in names for its own."""
    plot = report_plots.error_plots(timeline([second(1, errors={"<a href='http://evil'>": 1})]))[0]

    assert plot.traces[0]["name"] == "&lt;a href='http://evil'>"


def test_a_run_without_errors_or_metrics_has_no_such_plots() -> None:
    """The report says so in words."""
    assert report_plots.error_plots(timeline([second(1)])) == []
    assert report_plots.server_plots(timeline([second(1)])) == []


@settings(max_examples=50)
@given(records)
def test_any_record_can_be_plotted(record: RunRecord) -> None:
    """Every plot is JSON, has as many figures as times, and a key of its own."""
    run = timeline(record.ticks)
    plots = [
        *report_plots.latency_plots(record, run),
        *report_plots.traffic_plots(run),
        *report_plots.error_plots(run),
        *report_plots.server_plots(run),
        *report_plots.tester_plots(run),
    ]

    assert len({plot.key for plot in plots}) == len(plots)
    for plot in plots:
        assert plot.summary
        for trace in plot.traces:
            x, y = trace["x"], trace["y"]
            assert isinstance(x, list)
            assert isinstance(y, list)
            assert len(x) == len(y)
            assert all(value is None or math.isfinite(value) for value in y)
            assert all(math.isfinite(value) for value in x)
        msgspec.json.encode(plot.layout)
