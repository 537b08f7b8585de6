"""A run as one HTML file that opens anywhere, without a network."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from scripts.load.page import render_page
from scripts.load.plots import Plot, Table
from scripts.load.record import RunRecord, Totals, Violation
from scripts.load.report_plots import (
    error_plots,
    latency_plots,
    server_plots,
    tester_plots,
    traffic_plots,
)
from scripts.load.series import (
    POINTS_MAX,
    Timeline,
    server_summary,
    server_unit,
    steady,
    steady_rates,
    timeline,
)
from scripts.load.summary import LATENCY_COLUMNS, counted, latency_rows, ordered_errors
from scripts.load.verdict import verdicts
from scripts.load.words import (
    NONE,
    clock,
    count,
    figure,
    milliseconds,
    number,
    percent,
    plural,
    setting,
    size,
)

_DUE: Final = (
    "All latencies count from the time at which an operation was due, so that waiting for a slow server, "
    "or a late tester, is part of them."
)
_VALUE_MAX: Final = 2000
"""Characters of a setting: a list of ten thousand names is cut."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the page.

    Attributes:
        key: what its address ends with.
        heading: its title.
        paragraphs: before everything else.
        violations: with their evidence.
        table: None for none.
        plots: at its end.
    """

    key: str
    heading: str
    paragraphs: Sequence[str] = ()
    violations: Sequence[Violation] = ()
    table: Table | None = None
    plots: Sequence[Plot] = ()


class Card(msgspec.Struct, frozen=True):
    """A figure that people look for first."""

    label: str
    figure: str
    remark: str


def render_html(record: RunRecord) -> str:
    """The report. It has all that the record holds but the single seconds of long runs."""
    return render_page(
        "report.html",
        f"{record.name} - Parley load report",
        {
            "record": record,
            "verdicts": verdicts(record),
            "cards": _cards(record),
            "sections": _sections(record),
        },
    )


def _cards(record: RunRecord) -> Sequence[Card]:
    totals, rates = record.totals, steady_rates(record.ticks)
    errors = sum(totals.errors.values())
    cards = [Card("Users", count(totals.users), f"{clock(totals.duration_s)} steady")]
    for metric in ("delivery", "ok"):
        found = totals.latency.get(metric)
        if found is not None and found.count:
            remark = f"p50 {number(found.p50)}, p99.9 {number(found.p999)}"
            cards.append(Card(f"{metric.capitalize()} p99", milliseconds(found.p99), remark))
    cards.append(
        Card("Deliveries/s", number(rates.get("deliveries")), f"{count(totals.deliveries)} in the whole run")
    )
    cards.append(Card("Sends/s", number(rates.get("sends")), f"{count(totals.sends)} in the whole run"))
    cards.append(Card("Errors", count(errors), plural(len(totals.errors), "code")))
    server = server_summary(steady(record.ticks))
    if "cpu mean" in server:
        memory = f"{size(server['memory max'])} memory" if "memory max" in server else ""
        cards.append(Card("Server CPU", percent(server["cpu mean"]), memory or "mean"))
    return cards


def _sections(record: RunRecord) -> Sequence[Section]:
    totals, run = record.totals, timeline(record.ticks)
    return [
        _promises(record),
        Section(
            key="latency",
            heading="Latency",
            paragraphs=[_DUE, *_thinned(record)],
            table=_latency(totals),
            plots=latency_plots(record, run),
        ),
        Section(key="traffic", heading="Traffic", table=_traffic(record), plots=traffic_plots(run)),
        Section(
            key="errors",
            heading="Errors",
            paragraphs=() if totals.errors else ("There were none.",),
            table=_errors(totals),
            plots=error_plots(run),
        ),
        _server(record, run),
        Section(key="tester", heading="Tester", table=_tester(record), plots=tester_plots(run)),
        Section(key="settings", heading="Settings", table=_words({"seed": record.seed, **record.scenario})),
        Section(key="machine", heading="Machine", table=_words(record.machine)),
    ]


def _promises(record: RunRecord) -> Section:
    totals = record.totals
    told = (
        f"{plural(totals.checked_rooms, 'room')} compared between clients and with history, "
        f"{plural(totals.checked_oks, 'ok')} looked up in history."
    )
    hidden = totals.violation_count - len(record.violations)
    broken = f"{plural(totals.violation_count, 'promise')} broken."
    more = f"Of these, {plural(hidden, 'one is', f'{count(hidden)} are')} not kept in the record."
    paragraphs = [told, broken if totals.violation_count else "No promise was broken."]
    return Section(
        key="promises",
        heading="Promises",
        paragraphs=[*paragraphs, more] if hidden > 0 else paragraphs,
        violations=record.violations,
    )


def _thinned(record: RunRecord) -> Sequence[str]:
    each = -(-len(record.ticks) // POINTS_MAX)
    if each <= 1:
        return ()
    told = (
        f"The run is long: each point of a plot stands for {each} seconds, of which latencies and waits are "
        "the worst, rates the mean."
    )
    return (told,)


def _latency(totals: Totals) -> Table | None:
    rows = latency_rows(totals)
    return Table(("ms", *LATENCY_COLUMNS), rows) if rows else None


def _traffic(record: RunRecord) -> Table:
    rates = steady_rates(record.ticks)
    rows = [
        (name, count(how_many), number(rates[name]) if name in rates else NONE)
        for name, how_many in counted(record.totals).items()
    ]
    return Table(("what", "whole run", "per second, steady"), rows)


def _errors(totals: Totals) -> Table | None:
    rows = [(code, count(times)) for code, times in ordered_errors(totals)]
    return Table(("code", "times"), rows) if rows else None


def _server(record: RunRecord, run: Timeline) -> Section:
    told = server_summary(steady(record.ticks))
    plots = server_plots(run)
    return Section(
        key="server",
        heading="Server",
        paragraphs=() if told or plots else ("The server's /metrics were not read.",),
        table=Table(
            ("steady phase", "figure"),
            [(name, figure(value, server_unit(name))) for name, value in told.items()],
        )
        if told
        else None,
        plots=plots,
    )


def _tester(record: RunRecord) -> Table:
    totals = record.totals
    return Table(
        ("what", "figure"),
        [
            ("late by, p99", milliseconds(totals.late_ms)),
            ("CPU a delivery", f"{number(totals.cpu_per_delivery_us)} us"),
            ("memory a connection", size(totals.memory_per_connection_bytes)),
            ("processes", count(record.processes)),
        ],
    )


def _words(values: Mapping[str, object]) -> Table | None:
    if not values:
        return None
    rows = [(name, setting(value, _VALUE_MAX)) for name, value in values.items()]
    return Table(("name", "value"), rows, words=True)
