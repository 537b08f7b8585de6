"""PURE: how long something is to last, as people type it."""

import re
from typing import Final

UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
MAX_S: Final = 10 * 366 * 86_400.0
"""The protocol's longest; longer is for ever, which is said by saying nothing."""

_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw])")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds in `90s`, `10m`, `2h`, `7d`, `1w` or several of them, as `1h30m`.

    Raises:
        ValueError: it is none, with words for whoever typed it.
    """
    wanted = text.strip().lower()
    if not _WHOLE.fullmatch(wanted):
        raise ValueError(f"{text!r} is no duration: type a number and s, m, h, d or w, as 90s, 10m, 2h, 7d")
    duration_s = sum(float(number) * UNITS_S[unit] for number, unit in _PART.findall(wanted))
    if not 0 < duration_s <= MAX_S:
        raise ValueError(f"{text!r} is not between a moment and ten years; leave it out for ever")
    return duration_s


def format_duration(duration_s: float) -> str:
    """The same in words of that kind, down to the second."""
    left = max(0, round(duration_s))
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        size = int(UNITS_S[unit])
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
