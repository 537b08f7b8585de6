"""PURE: the tags beside a message's words, and how a search goes back in time with them.

Newest first from an index of words has a trap: a word that is in every third message has to be read
everywhere before the newest can be told. So each message carries tags for the spans of time it lies in, five
lengths from a minute to weeks, and a search asks for its words and the latest short span first, then longer
ones, and last for everything: it stops when it has enough. What is frequent is found in a short span, what is
rare costs little anyway; the price of both grows with the page, not with the number of messages.

A tag holds a space, which no parser of words leaves in a word: no text can forge one.
"""

from collections.abc import Iterator, Mapping
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
    """A part of time to look at.

    Attributes:
        tags: a tsquery for it; None: no restriction.
        low_ms: the earliest time in it.
        below_ms: the first time after it, which was looked at before; None: it begins where the search does.
    """

    tags: str | None
    low_ms: int
    below_ms: int | None


def room_tag(room_id: int) -> str:
    """The tsquery for the messages of one room."""
    return f"'r {room_id}'"


def language_tag(language: str) -> str:
    """The tsquery for the messages of rooms of one language."""
    return f"'l {language}'"


def windows(newest_ms: int, *, small: bool = False) -> Iterator[Window]:
    """Where to look, one after another, until there is enough; together all of time, each part once.

    Args:
        newest_ms: nothing after it is looked for.
        small: there is so little that one look is best.
    """
    below_ms: int | None = None
    if not small:
        for name, power in SPANS.items():
            span = newest_ms >> power
            # Two spans: the present one may have begun a moment ago.
            low_ms = max(0, span - 1) << power
            yield Window(f"('{name} {span}' | '{name} {max(0, span - 1)}')", low_ms, below_ms)
            below_ms = low_ms
    yield Window(None, 0, below_ms)
