"""PURE: what a page of a room's log is, wherever its events come from: the database, or a memory of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from storage.model import HistoryPage, LogEntry

NO_BOUND: Final = 2**63 - 1
"""A seq above every other."""


class Bounds(NamedTuple):
    """A room's epoch, the ends of what is paged, and the last seq of the log; 0: there is none."""

    epoch: int
    first_seq: int
    last_seq: int
    durable_seq: int


class PageAsk(NamedTuple):
    """Which page of a log is wanted: by one of the three at most, the latest without; see `Store.history`."""

    before: int | None
    after: int | None
    around: int | None
    limit: int


class Span(NamedTuple):
    """Where a page lies in a log without holes.

    Attributes:
        first, last: the seqs of its events, both included; it is empty where `last` is below `first`.
        lowest, highest: of an empty page: older events are those below the one, newer ones above the other.
    """

    first: int
    last: int
    lowest: int
    highest: int


def around_limits(limit: int) -> tuple[int, int]:
    """How many events below, and how many from the seq itself upwards, make a page around it."""
    return limit // 2, limit - limit // 2


def span_of(ask: PageAsk, last_seq: int) -> Span:
    """Where a page lies in a log from 1 to `last_seq`."""
    if ask.after is not None:
        return Span(ask.after + 1, min(last_seq, ask.after + ask.limit), ask.after + 1, ask.after)
    if ask.around is not None:
        older, newer = around_limits(ask.limit)
        # Below the seq lie as many as there are, also where the log ends before it.
        first = max(1, min(ask.around, last_seq + 1) - older)
        return Span(first, min(last_seq, ask.around + newer - 1), ask.around, ask.around - 1)
    before = NO_BOUND if ask.before is None else ask.before
    last = min(last_seq, before - 1)
    return Span(max(1, last + 1 - ask.limit), last, before, before - 1)


def make_page(bounds: Bounds, items: Sequence[LogEntry], *, lowest: int, highest: int) -> HistoryPage:
    """A page from its events and the room's bounds.

    Args:
        bounds: read before or with the items.
        items: in rising order of seq.
        lowest: for an empty page: older events are those below it.
        highest: for an empty page: newer events are those above it.
    """
    if items:
        lowest, highest = items[0].seq, items[-1].seq
    return HistoryPage(
        items=items,
        more_before=0 < bounds.first_seq < lowest,
        more_after=bounds.last_seq > highest,
        epoch=bounds.epoch,
        durable_seq=bounds.durable_seq,
    )
