"""PURE: the live view's screen: what happened in the last second, and how it went until now.

24 lines of 80 characters hold all of it; wider ones lengthen the sparklines.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from chat.terminal_text import printable
from scripts.load.record import METRICS, Metric, Quantiles, ServerTick, Tick
from scripts.load.tally import CPU_MAX, LATE_MAX_MS
from scripts.load.words import clock, count, milliseconds, number, percent, plural, size, sparkline

ERRORS_SHOWN: Final = 6

_KEPT_TICKS: Final = 600
"""More than any terminal is wide."""
_LABEL_WIDTH: Final = 13
_CODE_WIDTH: Final = 18
_PHASES: Final = {"ramp": "yellow", "steady": "green", "drain": "blue"}
_BAD: Final = "bold red"
_LABEL: Final = "cyan"
_OLD: Final = "dim"


class Story:
    """What is known of a run while it goes on; holds as much after a day as after ten minutes.

    Attributes:
        name: the scenario's.
        users: that are meant to be there when all are.
        url: the server's.
        ticks: the latest.
        errors: by code, since the start.
        violations: broken promises seen since the start.
        latency: of each metric the latest second's that had any.
    """

    def __init__(self, name: str, users: int, url: str) -> None:
        self.name = name
        self.users = users
        self.url = url
        self.ticks: deque[Tick] = deque(maxlen=_KEPT_TICKS)
        self.errors: Counter[str] = Counter()
        self.violations = 0
        self.deliveries = 0
        self.latency: dict[Metric, Quantiles] = {}

    def add(self, tick: Tick) -> None:
        """The next second."""
        self.ticks.append(tick)
        self.errors.update(tick.errors)
        self.violations += tick.violations
        self.deliveries += tick.deliveries
        for metric, quantiles in tick.latency.items():
            if quantiles.count:
                self.latency[metric] = quantiles


def render(story: Story) -> RenderableType:
    """The whole screen."""
    if not story.ticks:
        return Group(_head(story, None), Text("waiting for the first second ...", style=_OLD))
    tick = story.ticks[-1]
    return Group(
        _head(story, tick),
        *_alarms(story, tick),
        Text(),
        _traffic(story, tick),
        Text(),
        _latencies(story, tick),
        _spark("delivery p99", [_p99(each) for each in story.ticks], "ms"),
        _spark("deliveries/s", [float(each.deliveries) for each in story.ticks], ""),
        Text(),
        _server(tick.server),
        _tester(tick),
        *_errors(story),
    )


class _Spark:
    """A sparkline as wide as the place it is given."""

    def __init__(self, label: str, values: Sequence[float | None], unit: str) -> None:
        self._label = label
        self._values = values
        self._unit = unit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        known = [value for value in self._values if value is not None]
        top = f" max {number(max(known, default=None))} {self._unit}".rstrip()
        width = max(0, options.max_width - _LABEL_WIDTH - len(top))
        bars = sparkline(self._values, width=width, ascii_only=options.ascii_only)
        # The scale is that of what is seen.
        seen = [value for value in self._values[-width:] if value is not None] if width else []
        top = f" max {number(max(seen, default=None))} {self._unit}".rstrip()
        yield Text.assemble(
            (self._label.ljust(_LABEL_WIDTH), _LABEL), (bars, "green"), (top, _OLD), no_wrap=True, end="\n"
        )


def _spark(label: str, values: Sequence[float | None], unit: str) -> RenderableType:
    return _Spark(label, values, unit)


def _head(story: Story, tick: Tick | None) -> RenderableType:
    table = Table.grid(expand=True)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column(justify="right", no_wrap=True)
    phase = Text()
    if tick is not None:
        phase = Text.assemble(
            (f" {tick.phase} ", f"bold reverse {_PHASES[tick.phase]}"), f" {clock(tick.at_s)}"
        )
    title = Text.assemble(
        ("parley load ", "bold"), printable(story.name), (f"  {printable(story.url)}", _OLD)
    )
    table.add_row(title, phase)
    return table


def _traffic(story: Story, tick: Tick) -> RenderableType:
    missing = tick.users < tick.target_users
    errors = sum(tick.errors.values())
    return _grid(
        (
            ("users", f"{count(tick.users)} of {count(tick.target_users)}", "yellow" if missing else "bold"),
            ("sends/s", count(tick.sends), "bold"),
            ("deliveries/s", count(tick.deliveries), "bold"),
        ),
        (
            ("of the run", count(story.users), ""),
            ("oks/s", count(tick.oks), ""),
            ("errors/s", count(errors), _BAD if errors else ""),
        ),
        (
            ("connects/s", count(tick.connects), ""),
            ("resumes/s", count(tick.resumes), ""),
            ("delivered", count(story.deliveries), ""),
        ),
    )


def _latencies(story: Story, tick: Tick) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(width=_LABEL_WIDTH - 1)
    for _ in range(6):
        table.add_column(justify="right", no_wrap=True)
    names = ("p50", "p90", "p99", "p99.9", "max", "count")
    table.add_row(Text("latency, ms", style=_LABEL), *(Text(name, style=_LABEL) for name in names))
    for metric in METRICS:
        quantiles = story.latency.get(metric)
        if quantiles is None:
            table.add_row(Text(metric, style=_OLD), *(Text("-", style=_OLD) for _ in names))
            continue
        now = tick.latency.get(metric)
        style = "" if now is not None and now.count else _OLD
        figures = (quantiles.p50, quantiles.p90, quantiles.p99, quantiles.p999, quantiles.max)
        cells = [*(number(figure) for figure in figures), count(quantiles.count)]
        table.add_row(Text(metric, style=style), *(Text(cell, style=style) for cell in cells))
    return table


def _server(server: ServerTick | None) -> RenderableType:
    if server is None:
        return Text.assemble(("server".ljust(_LABEL_WIDTH), _LABEL), ("no /metrics", _OLD))
    pressed = server.pressure is not None and server.pressure > 0
    return _grid(
        (
            ("server CPU", percent(server.cpu), "bold"),
            ("memory", size(server.memory_bytes), ""),
            ("connections", count(server.connections), ""),
        ),
        (
            ("mailbox wait", _at_most(server.mailbox_wait_ms), ""),
            ("commit", _at_most(server.commit_ms), ""),
            ("commit lag", milliseconds(server.commit_lag_ms), ""),
        ),
        (
            ("loop lag", milliseconds(server.loop_lag_ms), ""),
            ("backlog", count(server.backlog_rows), ""),
            ("pressure", count(server.pressure), "bold yellow" if pressed else ""),
        ),
    )


def _tester(tick: Tick) -> RenderableType:
    return _grid(
        (
            ("tester CPU", percent(tick.tester_cpu), _BAD if tick.tester_cpu >= CPU_MAX else ""),
            ("memory", size(tick.tester_memory_bytes), ""),
            ("late p99", milliseconds(tick.late_ms), _BAD if tick.late_ms >= LATE_MAX_MS else ""),
        )
    )


def _alarms(story: Story, tick: Tick) -> Sequence[RenderableType]:
    """At the top: a terminal that is too low shows them all the same."""
    told: list[RenderableType] = []
    if story.violations:
        told.append(Text(f"VIOLATION: {plural(story.violations, 'promise')} broken", style=_BAD))
    if tick.late_ms >= LATE_MAX_MS or tick.tester_cpu >= CPU_MAX:
        told.append(Text("INVALID if this goes on: the tester itself is late", style=_BAD))
    return told


def _errors(story: Story) -> Sequence[RenderableType]:
    if not story.errors:
        return ()
    common = story.errors.most_common(ERRORS_SHOWN)
    cells = [f"{_short(code)} {count(times)}" for code, times in common]
    others = story.errors.total() - sum(times for _, times in common)
    if others:
        cells[-1] += f" (+{count(others)})"
    table = Table.grid(expand=True)
    table.add_column(width=_LABEL_WIDTH)
    for _ in range(3):
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for start in range(0, len(cells), 3):
        label = Text("errors" if start == 0 else "", style=_LABEL)
        table.add_row(label, *(Text(cell, style="red") for cell in cells[start : start + 3]))
    return (table,)


def _grid(*rows: Sequence[tuple[str, str, str]]) -> Table:
    """Labels and figures, three of them in a row."""
    table = Table.grid(expand=True)
    for _ in range(3):
        table.add_column(width=_LABEL_WIDTH, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        cells: list[Text] = []
        for label, figure, style in row:
            cells += [Text(label, style=_LABEL), Text(figure, style=style)]
        table.add_row(*cells)
    return table


def _p99(tick: Tick) -> float | None:
    quantiles = tick.latency.get("delivery")
    return quantiles.p99 if quantiles is not None and quantiles.count else None


def _at_most(value: float | None) -> str:
    """Of a histogram's bucket only the upper bound is known."""
    return milliseconds(value) if value is None else f"≤ {milliseconds(value)}"


def _short(code: str) -> str:
    shown = printable(code)
    return shown if len(shown) <= _CODE_WIDTH else f"{shown[: _CODE_WIDTH - 1]}…"
