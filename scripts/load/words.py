"""PURE: figures and settings as people read them."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

Unit: TypeAlias = Literal["", "/s", "ms", "us", "bytes", "share"]
"""Of a figure; without one it is a whole number, `share` is a part of 1."""

NONE: Final = "-"
"""In the place of a figure that there is not."""

_WHOLE_FROM: Final = 100
_ONE_DIGIT_FROM: Final = 10
_SCIENTIFIC_FROM: Final = 1e12
_BYTES_STEP: Final = 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.:-=+*#"


def number(value: float | None) -> str:
    """Three significant digits at least: `1,234`, `12.3`, `1.23`, `0`."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    size = abs(value)
    if size >= _SCIENTIFIC_FROM:
        return f"{value:.2e}"
    if size >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= _ONE_DIGIT_FROM else f"{value:.2f}"


def count(value: float | None) -> str:
    """A whole number: `1,234`."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) < _SCIENTIFIC_FROM else f"{value:.2e}"


def milliseconds(value: float | None) -> str:
    """With its unit."""
    return NONE if value is None else f"{number(value)} ms"


def percent(value: float | None) -> str:
    """Of a share: `0.97` is `97 %`."""
    return NONE if value is None else f"{count(value * 100)} %"


def size(value: float | None) -> str:
    """Of bytes: `12.3 MiB`."""
    if value is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < _BYTES_STEP:
            return f"{count(value) if unit == 'B' else number(value)} {unit}"
        value /= _BYTES_STEP
    return f"{number(value)} TiB"


def figure(value: float | None, unit: Unit) -> str:
    """With its unit."""
    match unit:
        case "ms":
            return milliseconds(value)
        case "us":
            return NONE if value is None else f"{number(value)} us"
        case "bytes":
            return size(value)
        case "share":
            return percent(value)
        case "/s":
            return NONE if value is None else f"{number(value)}/s"
        case "":
            return count(value)


def setting(value: object, most: int) -> str:
    """On one line, text as it is and everything else as JSON; cut behind so many characters."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else f"{text[:most]} ..."


def clock(seconds: float) -> str:
    """A duration as a stop-watch shows it: `01:05`, `1:00:05`."""
    whole = int(seconds)
    minutes, rest = whole // _MINUTE_S, whole % _MINUTE_S
    if whole >= _HOUR_S:
        return f"{whole // _HOUR_S}:{minutes % _MINUTE_S:02}:{rest:02}"
    return f"{minutes:02}:{rest:02}"


def plural(how_many: int, one: str, many: str = "") -> str:
    """`1 room`, `2 rooms`."""
    return f"{count(how_many)} {one if how_many == 1 else many or one + 's'}"


def sparkline(values: Sequence[float | None], *, width: int, ascii_only: bool = False) -> str:
    """The last `width` values as bars between 0 and their largest; a blank where there is none."""
    bars = _ASCII_BARS if ascii_only else _BARS
    shown = values[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0.0)
    if top <= 0:
        return "".join(" " if value is None else bars[0] for value in shown)
    last = len(bars) - 1
    return "".join(
        " " if value is None else bars[min(last, int(value / top * last + 0.5))] for value in shown
    )
