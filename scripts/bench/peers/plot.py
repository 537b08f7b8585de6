"""The comparison as a picture: one panel of bars a figure, in SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib import rc_context
from matplotlib.figure import Figure as Picture

from scripts.bench.peers.page import ranked
from scripts.bench.peers.results import LIMIT, PARLEY, Figure, Result

_COLOURS: Final = {LIMIT: "#777777", **dict.fromkeys(PARLEY, "#1b7837")}
_PEER_COLOUR: Final = "#9ecae1"
_COLUMNS: Final = 2
_PANEL_INCHES: Final = (6.0, 2.6)


def write_plot(results: Sequence[Result], path: Path, *, title: str) -> bool:
    """Write every figure that somebody has, the best on top; whether there was any.

    Raises:
        OSError: the file cannot be written.
    """
    panels = [(figure, rows) for figure in Figure if (rows := ranked(results, figure))]
    if not panels:
        return False
    lines = -(-len(panels) // _COLUMNS)
    picture = Picture(figsize=(_PANEL_INCHES[0] * _COLUMNS, _PANEL_INCHES[1] * lines), layout="constrained")
    picture.suptitle(title)
    for place, (figure, rows) in enumerate(panels, 1):
        axes = picture.add_subplot(lines, _COLUMNS, place)
        bars = axes.barh(
            [result.title for result, _ in rows],
            [value.number for _, value in rows],
            color=[_COLOURS.get(result.name, _PEER_COLOUR) for result, _ in rows],
        )
        labels = [
            f"{'>= ' if value.at_least else ''}{value.number:,.{_digits(value.number)}f}" for _, value in rows
        ]
        axes.bar_label(bars, labels=labels, padding=3, fontsize="small")
        axes.invert_yaxis()
        axes.margins(x=0.18)
        better = "more" if figure.more_is_better else "less"
        axes.set_title(f"{figure.title} ({better} is better)", fontsize="medium", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    # Text stays text, so that the file is small and searchable; the same figures make the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "parley"}):
        picture.savefig(path, format="svg", metadata={"Date": None})
    return True


def _digits(number: float) -> int:
    return 0 if number >= 100 else 2  # noqa: PLR2004  three digits at least
