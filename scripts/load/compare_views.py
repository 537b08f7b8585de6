"""A comparison as a table on a terminal, and as a page."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

from chat.terminal_text import printable
from scripts.load.compare import NOISE, Comparison, Judgement, Row
from scripts.load.page import render_page
from scripts.load.plots import BLUE, RED, Curve, Line, Plot, Table, latency_line, over_time, percentiles
from scripts.load.record import METRICS, Metric, RunRecord
from scripts.load.series import Bin, timeline
from scripts.load.summary import STYLES
from scripts.load.verdict import Verdict
from scripts.load.words import NONE, clock, count, figure, plural

_TOLD: Final[Mapping[Judgement, str]] = {
    "better": "better",
    "worse": "WORSE",
    "same": "same",
    "unsure": "too few",
    "none": "",
}
_STYLES: Final[Mapping[Judgement, str]] = {"better": "green", "worse": "bold red", "unsure": "dim"}
_NAMES_SHOWN: Final = 8


class PageRow(msgspec.Struct, frozen=True):
    """A row as text."""

    what: str
    before: str
    after: str
    ratio: str
    judgement: Judgement
    told: str


class PageGroup(msgspec.Struct, frozen=True):
    """A group as text."""

    name: str
    rows: Sequence[PageRow]


def render_terminal(comparison: Comparison) -> RenderableType:
    """Warnings first, then every figure, then what moved."""
    parts: list[RenderableType] = [
        Text.assemble(("before: ", "cyan"), _title(comparison.before)),
        Text.assemble(("after:  ", "cyan"), _title(comparison.after)),
    ]
    parts += [Text(f"WARNING: {printable(warning)}", style="bold red") for warning in comparison.warnings]
    table = TerminalTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for name in ("before", "after", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for group in comparison.groups:
        table.add_row(Text(group.name, style="bold"))
        for row in group.rows:
            shown = page_row(row)
            cells = (f"  {shown.what}", shown.before, shown.after, shown.ratio, shown.told)
            style = _STYLES.get(row.judgement, "")
            table.add_row(*(Text(cell, style=style) for cell in cells))
    parts += [Text(), table, Text()]
    parts += [
        Text.assemble((f"{verdict.word}: ", STYLES[verdict.tone]), verdict.text)
        for verdict in _moves(comparison)
    ]
    return Group(*parts)


def render_comparison_html(comparison: Comparison) -> str:
    """The page, as self-contained as a run's report."""
    before, after = comparison.before, comparison.after
    names = before.name if before.name == after.name else f"{before.name} and {after.name}"
    return render_page(
        "compare.html",
        f"{names}: before and after",
        {
            "verdicts": [
                *(Verdict("bad", "WARNING", warning) for warning in comparison.warnings),
                *_moves(comparison),
            ],
            "runs": _runs(before, after),
            "groups": [
                PageGroup(group.name.capitalize(), [page_row(row) for row in group.rows])
                for group in comparison.groups
            ],
            "plots_shown": _plots(before, after),
        },
    )


def page_row(row: Row) -> PageRow:
    """A row's figures as people read them."""
    ratio = NONE if row.ratio is None else f"{row.ratio:.2f}"
    return PageRow(
        what=printable(row.what),
        before=figure(row.before, row.unit),
        after=figure(row.after, row.unit),
        ratio=ratio,
        judgement=row.judgement,
        told=_TOLD[row.judgement],
    )


def _title(run: RunRecord) -> str:
    return printable(f"{run.name}, {run.started_at}, {plural(run.totals.users, 'user')}, {run.url}")


def _moves(comparison: Comparison) -> Sequence[Verdict]:
    told: list[Verdict] = []
    worse, better = comparison.judged("worse"), comparison.judged("better")
    if worse:
        told.append(Verdict("bad", "WORSE", _some(worse)))
    if better:
        told.append(Verdict("good", "BETTER", _some(better)))
    if not told:
        told.append(Verdict("good", "SAME", f"no figure moved by more than {NOISE:.0%}"))
    return told


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_NAMES_SHOWN])
    hidden = len(names) - _NAMES_SHOWN
    return f"{shown} and {plural(hidden, 'other')}" if hidden > 0 else shown


def _runs(before: RunRecord, after: RunRecord) -> Table:
    runs = (before, after)
    return Table(
        ("", "before", "after"),
        [
            ("scenario", *(run.name for run in runs)),
            ("started", *(run.started_at for run in runs)),
            ("server", *(run.url for run in runs)),
            ("users", *(count(run.totals.users) for run in runs)),
            ("steady", *(clock(run.totals.duration_s) for run in runs)),
            ("ended", *(run.ended for run in runs)),
        ],
        words=True,
    )


def _plots(before: RunRecord, after: RunRecord) -> Sequence[Plot]:
    made: list[Plot | None] = []
    for metric in METRICS:
        curves = [
            Curve(
                name=name,
                points=run.totals.curve[metric],
                how_many=run.totals.latency[metric].count if metric in run.totals.latency else 0,
                colour=colour,
                dash=dash,
            )
            for name, run, colour, dash in (("before", before, BLUE, "dash"), ("after", after, RED, "solid"))
            if metric in run.totals.curve
        ]
        made.append(percentiles(f"curve-{metric}", f"{metric.capitalize()} by percentile", curves))
    return [plot for plot in (*made, *_over_time(before, after)) if plot is not None]


def _over_time(before: RunRecord, after: RunRecord) -> Sequence[Plot | None]:
    """Each run's p99 of what people feel, and its deliveries: one plot a run, for their times differ."""
    metrics: Sequence[Metric] = ("delivery", "ok")
    runs = (("before", timeline(before.ticks), BLUE), ("after", timeline(after.ticks), RED))
    made: list[Plot | None] = []
    for metric in metrics:
        for name, run, colour in runs:
            lines = [
                latency_line(metric, "p99", lambda found: found.p99, colour, "solid"),
                latency_line(metric, "p50", lambda found: found.p50, colour, "dot"),
            ]
            title = f"{metric.capitalize()} over time, {name}"
            made.append(over_time(f"{metric}-{name}", title, run, lines, unit="ms", scale="log"))
    for name, run, colour in runs:
        line = Line(name="deliveries", read=_deliveries, colour=colour)
        title = f"Deliveries per second, {name}"
        made.append(over_time(f"deliveries-{name}", title, run, [line], unit="/s"))
    return made


def _deliveries(point: Bin) -> float:
    return point.rate(point.tick.deliveries)
