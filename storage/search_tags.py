"""PURE: the tags beside a message's words, and how a search goes back in time with them.

Newest first from an index of words has a trap: a word that is in every third message has to be read
everywhere before the newest can be told. So each message carries tags for the spans of time it lies in, five
lengths from a minute to weeks, and a search asks for its words and the latest short span first, then longer
ones, and last for everything: it stops when it has enough. What is frequent is found in a short span, what is
rare costs little anyway; the price of both grows with the page, not with the number of messages.

A tag holds a space, which no parser of words leaves in a word: no text can forge one.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

SPANS: Final[Mapping[str, int]] = {"a": 16, "b": 20, "c": 24, "d": 28, "e": 32}
"""Names of the spans, and lengths as powers of two of milliseconds: 66 s, 17 min, 4.7 h, 3.1 and 50 days."""

SMALL_ROOM_EVENTS: Final = 2000
"""A room with no more is searched at once: every step has a price."""

TAGS_SQL: Final = "ARRAY['r ' || {room_id}, 'l ' || {language}, {spans}]".replace(
    "{spans}", ", ".join(f"'{name} ' || ({{at_ms}} >> {power})" for name, power in SPANS.items())
)
"""A message's tags as an SQL expression over `room_id`, `language` and `at_ms`."""


class Window(NamedTuple):
    """A part of time to look at, from `low_ms` on.

    Attributes:
        tags: a tsquery for it; None: no restriction.
        low_ms: the earliest time in it.
    """

    tags: str | None
    low_ms: int


def room_tag(room_id: int) -> str:
    """The tsquery for the messages of one room."""
    return f"'r {room_id}'"


def language_tag(language: str) -> str:
    """The tsquery for the messages of rooms of one language."""
    return f"'l {language}'"


def windows(newest_ms: int, *, small: bool = False) -> Sequence[Window]:
    """Where to look until there is enough: each window reaches further back, the last one to the beginning.

    Args:
        newest_ms: nothing after it is looked for.
        small: there is so little that one look is best.
    """
    looks: list[Window] = []
    if not small:
        for name, power in SPANS.items():
            span = newest_ms >> power
            # Two spans: the present one may have begun a moment ago.
            before = max(0, span - 1)
            looks.append(Window(f"('{name} {span}' | '{name} {before}')", before << power))
    looks.append(Window(None, 0))
    return looks


def next_window(place: int, found: int, last: int) -> int:
    """Which window to look at after one that gave `found` hits, too few.

    What is not there at all in one is rare in the one after the next as well: that saves a look.
    """
    return place + 1 if found else min(place + 2, last)
