"""PURE: from a text with marks in it to pieces that say what was found, bounded in size."""

from collections.abc import Sequence
from typing import Final

START: Final = "\x01"
STOP: Final = "\x02"
"""Marks around what was found. They are taken out of a text before it is marked: nobody can forge them."""

FRAGMENT_CHARACTERS: Final = 240
_LEAD_CHARACTERS: Final = 80
"""Kept before the first hit when a fragment has to be cut."""


def unmarked(text: str) -> str:
    """The text without what could be taken for a mark."""
    return text.replace(START, "").replace(STOP, "")


def pieces(marked: str) -> Sequence[str]:
    """Split a marked text: plain, found, plain, found, ...; the first and the last may be empty.

    They have `FRAGMENT_CHARACTERS` together at most; what is cut away shows as an ellipsis.

    Args:
        marked: with `START` and `STOP` around each hit.
    """
    split: list[str] = []
    for part in marked.split(START):
        found, stop, plain = part.partition(STOP)
        if stop:
            split += [found, plain]
        elif split:
            split[-1] += found
        else:
            split.append(found)
    if sum(map(len, split)) <= FRAGMENT_CHARACTERS:
        return split
    lead = split[0]
    if len(lead) > _LEAD_CHARACTERS and len(split) > 1:
        split[0] = "…" + lead[-(_LEAD_CHARACTERS - 1) :]
    left = FRAGMENT_CHARACTERS - 1
    kept: list[str] = []
    for piece in split:
        if len(piece) > left:
            kept.append(piece[:left] + "…")
            break
        kept.append(piece)
        left -= len(piece)
    return kept
