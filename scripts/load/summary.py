"""PURE: a run's end as a terminal shows it: the verdict, the totals, what was broken."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chat.terminal_text import printable
from scripts.load.record import METRICS, RunRecord, Totals, Violation
from scripts.load.series import server_summary, server_unit, steady, steady_rates
from scripts.load.verdict import Tone, verdicts
from scripts.load.words import clock, count, figure, milliseconds, number, plural, size

STYLES: Final[dict[Tone, str]] = {"good": "bold green", "bad": "bold red", "doubtful": "bold yellow"}
VIOLATIONS_SHOWN: Final = 5
ERRORS_SHOWN: Final = 12
LATENCY_COLUMNS: Final = ("p50", "p90", "p99", "p99.9", "max", "mean", "count")
"""What `latency_rows` has behind the metric."""

_EVIDENCE_SHOWN: Final = 6


def render_summary(record: RunRecord) -> RenderableType:
    """Everything that somebody wants to know at once; the report has the rest."""
    totals = record.totals
    title = Text.assemble((printable(record.name), "bold"), f"  {printable(record.url)}")
    parts: list[RenderableType] = [Text(), title]
    parts += [
        Text.assemble((f"{verdict.word}: ", STYLES[verdict.tone]), printable(verdict.text))
        for verdict in verdicts(record)
    ]
    parts += [Text(), _traffic(record), Text()]
    rows = latency_rows(totals)
    if rows:
        parts += [_latency(rows), Text()]
    server = _server(record)
    if server is not None:
        parts.append(server)
    told = (
        f"{number(totals.cpu_per_delivery_us)} us CPU a delivery",
        f"{size(totals.memory_per_connection_bytes)} a connection",
        f"late p99 {milliseconds(totals.late_ms)}",
    )
    parts.append(Text(f"tester: {', '.join(told)}"))
    if totals.errors:
        parts.append(Text(f"errors: {_errors(totals)}", style="red"))
    parts += _violations(record.violations, totals.violation_count)
    return Group(*parts)


def counted(totals: Totals) -> Mapping[str, int]:
    """What was counted over the whole run, by what."""
    return {
        "sends": totals.sends,
        "oks": totals.oks,
        "deliveries": totals.deliveries,
        "connects": totals.connects,
        "resumes": totals.resumes,
        "errors": sum(totals.errors.values()),
    }


def latency_rows(totals: Totals) -> Sequence[Sequence[str]]:
    """Each metric that was measured: its name, its quantiles in ms, and how many operations they are of."""
    return [
        (
            metric,
            *(
                number(value)
                for value in (found.p50, found.p90, found.p99, found.p999, found.max, found.mean)
            ),
            count(found.count),
        )
        for metric in METRICS
        if (found := totals.latency.get(metric)) is not None and found.count
    ]


def ordered_errors(totals: Totals) -> Sequence[tuple[str, int]]:
    """Codes and how often each came, the most frequent first."""
    return sorted(totals.errors.items(), key=lambda item: (-item[1], item[0]))


def _traffic(record: RunRecord) -> RenderableType:
    totals = record.totals
    told = [f"{plural(totals.users, 'user')}, {clock(totals.duration_s)} steady"]
    rates = steady_rates(record.ticks)
    for name, how_many in counted(totals).items():
        per_second = f" ({number(rates[name])}/s)" if name in rates else ""
        told.append(f"{count(how_many)} {name}{per_second}")
    return Text(", ".join(told))


def _latency(rows: Sequence[Sequence[str]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column("latency, ms", no_wrap=True)
    for name in LATENCY_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _server(record: RunRecord) -> RenderableType | None:
    told = server_summary(steady(record.ticks))
    if not told:
        return None
    parts = [
        f"{name} {figure(value, server_unit(name))}" for name, value in told.items() if "median" not in name
    ]
    return Text(f"server: {', '.join(parts)}")


def _errors(totals: Totals) -> str:
    ordered = ordered_errors(totals)
    told = [f"{printable(code)} {count(times)}" for code, times in ordered[:ERRORS_SHOWN]]
    if len(ordered) > ERRORS_SHOWN:
        told.append(plural(len(ordered) - ERRORS_SHOWN, "other code"))
    return ", ".join(told)


def _violations(violations: Sequence[Violation], how_many: int) -> Sequence[RenderableType]:
    told: list[RenderableType] = []
    for violation in violations[:VIOLATIONS_SHOWN]:
        where = f" in {printable(violation.room)}" if violation.room else ""
        told.append(
            Text.assemble((f"{violation.kind}{where}: ", STYLES["bad"]), (printable(violation.what), "red"))
        )
        lines = [printable(line) for line in violation.evidence[:_EVIDENCE_SHOWN]]
        if len(violation.evidence) > _EVIDENCE_SHOWN:
            lines.append("...")
        if lines:
            told.append(Padding(Text("\n".join(lines)), (0, 0, 0, 4)))
    more = how_many - min(len(violations), VIOLATIONS_SHOWN)
    if told and more > 0:
        told.append(Text(f"and {plural(more, 'violation')} more", style="red"))
    return told
