"""When a room's memory gives a page, and when it leaves it to storage; machines/test_pages.py has more."""

import pytest

from chat.room_page import page_of
from chat.room_state import RoomState
from storage.model import HistoryPage, LogEntry
from storage.page import PageAsk
from tests.chat.room_kit import AT_MS, entry, room_row, state_of, void_entry

LATEST = PageAsk(None, None, None, 3)


def say(state: RoomState, count: int = 1) -> list[LogEntry]:
    """New messages, in order and not stored."""
    made: list[LogEntry] = []
    for _ in range(count):
        cid = f"new-{state.head_seq + 1}"
        ordered = state.order_message(
            by="u_ann", name="ann", cid=cid, body="new", reply_to=None, thread=None, now_ms=AT_MS
        )
        assert isinstance(ordered, LogEntry)
        made.append(ordered)
    return made


def change(state: RoomState, kind: str, of: int, body: str | None = None) -> int:
    """A change of a message, in order and not stored; its seq."""
    data = f'{{"of":{of},"version":2}}'
    return state.order_change(kind, by="u_ann", name="ann", cid=None, body=body, data=data, now_ms=AT_MS).seq


def test_the_latest_page_ends_with_what_is_stored() -> None:
    """What is in order and not stored is not in it, and is no reason to ask for more."""
    log = [entry(seq) for seq in range(1, 6)]
    state = state_of(log, epoch=7, epochs=[(7, 5)])
    say(state, 2)
    assert page_of(state, LATEST) == HistoryPage(
        items=log[2:], more_before=True, more_after=False, epoch=7, durable_seq=5
    )
    state.progress.durable_seq = 6
    page = page_of(state, LATEST)
    assert page is not None
    assert [item.seq for item in page.items] == [4, 5, 6]


def test_a_page_that_begins_before_the_memory_does_is_storages() -> None:
    """One event too far back is too far."""
    state = state_of([entry(seq) for seq in range(11, 16)])
    inside = page_of(state, PageAsk(14, None, None, 3))
    assert inside is not None
    assert [item.seq for item in inside.items] == [11, 12, 13]
    assert inside.more_before
    assert page_of(state, PageAsk(13, None, None, 3)) is None
    assert page_of(state, PageAsk(None, 9, None, 3)) is None
    assert page_of(state, PageAsk(None, None, 11, 3)) is None
    assert page_of(state, PageAsk(None, None, None, 6)) is None


def test_an_empty_page_needs_no_memory() -> None:
    """Of an empty log, and after its end."""
    empty = HistoryPage(items=[], more_before=False, more_after=False, epoch=1, durable_seq=0)
    assert page_of(state_of([]), LATEST) == empty
    page = page_of(state_of([entry(11)]), PageAsk(None, 11, None, 3))
    assert page == HistoryPage(items=[], more_before=True, more_after=False, epoch=1, durable_seq=11)


def test_what_became_of_an_event_must_be_known() -> None:
    """While the room has not heard of a receipt only storage tells what stands there."""
    state = state_of([entry(1)])
    say(state, 2)
    state.progress.durable_seq = 3
    state.progress.unsettled.add(2)
    assert page_of(state, LATEST) is None
    state.void(2)
    state.progress.unsettled.clear()
    page = page_of(state, LATEST)
    assert page is not None
    assert page.items[1] == void_entry(2)._replace(at_ms=page.items[1].at_ms, n=2)


def test_a_strict_room_gives_pages_of_what_it_has_shown() -> None:
    """In the moment between the commit and the showing storage has more."""
    state = state_of([entry(1)], row=room_row(strict=True))
    say(state)
    state.progress.durable_seq = 2
    assert page_of(state, LATEST) is None
    state.show(2)
    page = page_of(state, LATEST)
    assert page is not None
    assert [item.seq for item in page.items] == [1, 2]


@pytest.mark.parametrize("is_stored", [False, True])
def test_texts_are_erased_when_their_deletion_is_stored(*, is_stored: bool) -> None:
    """Not before: it may turn out void. Of an edit as of the message."""
    state = state_of([entry(1)])
    change(state, "edit", 1, "edited")
    seq = change(state, "delete", 1)
    state.progress.durable_seq = seq if is_stored else seq - 1
    page = page_of(state, LATEST)
    assert page is not None
    texts = [None, None] if is_stored else ["body 1", "edited"]
    assert [item.body for item in page.items[:2]] == texts
