"""PURE: plots as plotly.js takes them, each with the same figures in words and as a table.

Only what a plot says stands here; colours of text, grid and paper are the page's, which knows whether it is
shown dark, light or on paper. Curves differ in colour and dashes; the colours are near those of Okabe and
Ito, which the colour-blind can tell apart.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, log10
from typing import Final, Literal, TypeAlias

import msgspec

from chat.terminal_text import printable
from scripts.load.record import METRICS, Metric, Quantiles
from scripts.load.series import Bin, Timeline
from scripts.load.words import clock, milliseconds, number, plural

BLUE: Final = "#1F86C9"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
RED: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"
YELLOW: Final = "#B3A700"
GREY: Final = "#8A8A8A"
COLOURS: Final = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY)

_PHASE_COLOURS: Final = {"ramp": "rgba(230,159,0,0.10)", "drain": "rgba(86,180,233,0.10)"}
_CURVE_TICKS: Final = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)
_DECADES_FINE: Final = 1.5
"""Up to there 2 and 5 have a line of their own."""
_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

Scale: TypeAlias = Literal["linear", "log"]
Read: TypeAlias = Callable[[Bin], float | None]


class Table(msgspec.Struct, frozen=True):
    """Text by column, figures included; with `words` most of it is read, not compared."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """One plot.

    Attributes:
        key: an identifier for the page, unique in it.
        title: what is shown, with its unit.
        summary: what somebody who does not see it should know: each curve's range and end.
        traces: plotly's `data`.
        layout: plotly's `layout`, without what depends on the page.
        table: the figures, fewer of them.
        wide: whether it deserves the page's whole width.
    """

    key: str
    title: str
    summary: str
    traces: Sequence[Mapping[str, object]]
    layout: Mapping[str, object]
    table: Table
    wide: bool = False


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over time."""

    name: str
    read: Read
    colour: str
    dash: str = "solid"


def over_time(
    key: str,
    title: str,
    run: Timeline,
    lines: Sequence[Line],
    *,
    unit: str,
    scale: Scale = "linear",
    stacked: bool = False,
    steps: bool = False,
    wide: bool = False,
) -> Plot | None:
    """Figures by second of the run; None when none of the lines has any.

    Args:
        key: see `Plot`.
        title: see `Plot`.
        run: whose seconds are shown.
        lines: those without a figure are left out.
        unit: of all of them.
        scale: of the figures; what is 0 has no place on a logarithmic one.
        stacked: bars on each other, their sum being what matters.
        steps: the figure stays until it changes.
        wide: see `Plot`.
    """
    points = run.points
    known = [(line, [_finite(line.read(point)) for point in points]) for line in lines]
    drawn = [(line, values) for line, values in known if any(value is not None for value in values)]
    if not drawn:
        return None
    at_s = [point.tick.at_s for point in points]
    traces: list[Mapping[str, object]] = []
    for line, values in drawn:
        shown = [None if scale == "log" and not value else value for value in values]
        trace: dict[str, object] = {"x": at_s, "y": shown, "name": _plain(line.name)}
        if stacked:
            trace |= {"type": "bar", "marker": {"color": line.colour}}
        else:
            shape = "hv" if steps else "linear"
            sparse = sum(value is not None for value in shown) * 2 < len(shown)
            trace |= {
                "type": "scatter",
                "mode": "lines+markers" if sparse or len(shown) == 1 else "lines",
                "connectgaps": sparse,
                "marker": {"size": 4},
                "line": {"color": line.colour, "dash": line.dash, "width": 1.8, "shape": shape},
            }
        traces.append({**trace, "hovertemplate": f"%{{y:,.4~g}} {unit}".rstrip()})
    layout: dict[str, object] = {
        "xaxis": {"title": {"text": "seconds since the start"}, "range": [0, max(*at_s, 1.0)]},
        "yaxis": _axis(scale, unit, [value for _, values in drawn for value in values]),
        "shapes": _phases(points),
        "hovermode": "x unified",
    }
    if stacked:
        layout |= {"barmode": "stack", "bargap": 0}
    return Plot(
        key=key,
        title=title,
        summary=". ".join(_told(line.name, values, unit) for line, values in drawn) + ".",
        traces=traces,
        layout=layout,
        table=Table(
            ("time", *(f"{line.name}, {unit}" if unit else line.name for line, _ in drawn)),
            [
                (clock(row.tick.at_s), *(number(_finite(line.read(row))) for line, _ in drawn))
                for row in run.rows
            ],
        ),
        wide=wide,
    )


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution.

    Attributes:
        points: (percentile 0 to 100, ms), rising.
        how_many: were measured: what the largest is one of.
    """

    name: str
    points: Sequence[tuple[float, float]]
    how_many: int
    colour: str
    dash: str = "solid"


def percentiles(key: str, title: str, curves: Sequence[Curve]) -> Plot | None:
    """Distributions with spread tails: a step to the right is ten times as rare; None without any."""
    drawn = [(curve, _spread(curve)) for curve in curves]
    drawn = [(curve, points) for curve, points in drawn if points]
    if not drawn:
        return None
    furthest = max(rarity for _, points in drawn for rarity, _, _ in points)
    ticks = [tick for tick in _CURVE_TICKS if _rarity(tick) <= furthest * 2] or [_CURVE_TICKS[0]]
    values = [value for _, points in drawn for _, _, value in points]
    told = sorted({*_CURVE_TICKS[:4], 100.0})
    return Plot(
        key=key,
        title=title,
        summary=". ".join(_told_curve(curve, points) for curve, points in drawn) + ".",
        traces=[
            {
                "type": "scatter",
                "mode": "lines",
                "name": _plain(curve.name),
                "x": [rarity for rarity, _, _ in points],
                "y": [value or None for _, _, value in points],
                "text": [f"{percentile:.6g} %" for _, percentile, _ in points],
                "line": {"color": curve.colour, "dash": curve.dash, "width": 1.8},
                "hovertemplate": "%{text}: %{y:,.4~g} ms",
            }
            for curve, points in drawn
        ],
        layout={
            "xaxis": {
                "type": "log",
                "title": {"text": "percentile"},
                "tickvals": [_rarity(tick) for tick in ticks],
                "ticktext": [f"{tick:g} %" for tick in ticks],
            },
            "yaxis": _axis("log", "ms", values),
            "hovermode": "closest",
        },
        table=Table(
            ("metric", *(f"{percentile:g} %" for percentile in told)),
            [
                (curve.name, *(milliseconds(_value_at(points, percentile)) for percentile in told))
                for curve, points in drawn
            ],
        ),
        wide=True,
    )


def latency_line(
    metric: Metric, name: str, get: Callable[[Quantiles], float], colour: str, dash: str
) -> Line:
    """A metric's quantile over time."""

    def read(point: Bin) -> float | None:
        found = point.tick.latency.get(metric)
        return get(found) if found is not None and found.count else None

    return Line(name=name, read=read, colour=colour, dash=dash)


def metric_curves(
    curves: Mapping[Metric, Sequence[tuple[float, float]]], latency: Mapping[Metric, Quantiles]
) -> Sequence[Curve]:
    """One for each metric that was measured."""
    return [
        Curve(
            name=metric,
            points=curves[metric],
            how_many=latency[metric].count if metric in latency else 0,
            colour=COLOURS[index],
            dash=_DASHES[index],
        )
        for index, metric in enumerate(METRICS)
        if metric in curves
    ]


def _axis(scale: Scale, unit: str, values: Sequence[float | None]) -> Mapping[str, object]:
    axis: dict[str, object] = {"title": {"text": unit}, "type": scale}
    if scale == "linear":
        axis["rangemode"] = "tozero"
        if max((value for value in values if value is not None), default=0.0) <= 0:
            axis["range"] = [0, 1]  # nothing happened: the line belongs to the bottom
        return axis
    known = [value for value in values if value]
    if known:
        # A decade at least, so that a steady figure is seen to be steady.
        low, high = log10(min(known)), log10(max(known))
        axis |= {
            "range": [low - 0.1, max(high + 0.1, low + 0.9)],
            "dtick": "D2" if high - low < _DECADES_FINE else 1,
        }
    return axis


def _phases(points: Sequence[Bin]) -> Sequence[Mapping[str, object]]:
    """Ramp and drain as tinted grounds, each with its name."""
    shapes: list[Mapping[str, object]] = []
    start_s = 0.0
    for index, point in enumerate(points):
        phase = point.tick.phase
        if index + 1 < len(points) and points[index + 1].tick.phase == phase:
            continue
        if phase in _PHASE_COLOURS:
            shapes.append(
                {
                    "type": "rect",
                    "xref": "x",
                    "yref": "paper",
                    "x0": start_s,
                    "x1": point.tick.at_s,
                    "y0": 0,
                    "y1": 1,
                    "line": {"width": 0},
                    "fillcolor": _PHASE_COLOURS[phase],
                    "layer": "below",
                    "label": {"text": phase, "textposition": "top center", "font": {"size": 10}},
                }
            )
        start_s = point.tick.at_s
    return shapes


def _told(name: str, values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    low, high = number(min(known)), number(max(known))
    if low == high:
        return f"{name}: {low} {unit}".rstrip() + " throughout"
    return f"{name}: {low} to {high} {unit}".rstrip() + f", at the end {number(known[-1])}"


def _told_curve(curve: Curve, points: Sequence[tuple[float, float, float]]) -> str:
    parts = [
        f"{milliseconds(_value_at(points, percentile))} at {percentile:g} %" for percentile in (50.0, 99.0)
    ]
    measured = f" of {plural(curve.how_many, 'operation')}" if curve.how_many else ""
    return f"{curve.name}{measured}: {', '.join(parts)}, {milliseconds(points[-1][2])} at the most"


def _spread(curve: Curve) -> Sequence[tuple[float, float, float]]:
    """(rarity, percentile, ms): the last is as rare as one in all that were measured."""
    last = max(float(curve.how_many), 1.0)
    points: list[tuple[float, float, float]] = []
    for percentile, value in curve.points:
        rarity = _rarity(percentile)
        points.append((min(rarity, max(last, points[-1][0] if points else 1.0)), percentile, value))
    return points


def _rarity(percentile: float) -> float:
    rest = 1.0 - percentile / 100.0
    return 1.0 / rest if rest > 0 else float("inf")


def _value_at(points: Sequence[tuple[float, float, float]], percentile: float) -> float | None:
    """The first that is at or above it."""
    return next((value for _, reached, value in points if reached >= percentile - 1e-9), None)


def _plain(name: str) -> str:
    """A name as plotly.js shows it letter by letter: it takes tags in it for its own."""
    return printable(name).replace("&", "&amp;").replace("<", "&lt;")


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
