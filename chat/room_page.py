"""PURE: pages of history from a room's memory: reading what was just said costs the database nothing."""

from chat.room_state import RoomState
from storage.model import HistoryPage
from storage.page import Bounds, PageAsk, make_page, span_of


def page_of(state: RoomState, ask: PageAsk) -> HistoryPage | None:
    """The page that storage would give at this moment; None where the room's memory cannot tell.

    It can where it holds the whole page, knows what became of everything that is stored, and has shown it.
    """
    progress = state.progress
    durable_seq = progress.durable_seq
    if progress.unsettled or durable_seq > state.visible_seq:
        return None
    span = span_of(ask, durable_seq)
    is_empty = span.last < span.first
    if not is_empty and span.first <= state.head_seq - len(state.tail):
        return None
    return make_page(
        Bounds(state.epoch, min(1, durable_seq), durable_seq, durable_seq),
        [] if is_empty else state.between(span.first - 1, span.last),
        lowest=span.lowest,
        highest=span.highest,
    )
