"""A log that was exported is the same log when it is imported."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.room_news import as_event
from scripts.admin.entries import BadEvent, Entries
from storage.model import LogEntry, RoomId

ROOM = RoomId(7)
texts = st.text(max_size=8)
bodies = st.none() | texts
data = st.none() | st.dictionaries(
    st.sampled_from(["of", "user", "reason", "until"]), texts | st.integers(0, 9), min_size=1
)


@st.composite
def logs(draw: st.DrawFn) -> list[LogEntry]:
    """A room's log, as a room orders it."""
    entries: list[LogEntry] = []
    n = 0
    for seq in range(1, draw(st.integers(0, 8)) + 1):
        kind = draw(st.sampled_from(["message", "edit", "sanction", "void", "state"]))
        is_message = kind == "message"
        n += is_message
        extra = draw(data)
        entries.append(
            LogEntry(
                room_id=ROOM,
                seq=seq,
                epoch=3,
                at_ms=seq * 10,
                kind=kind,
                by=draw(st.sampled_from(["u_a", "u_b", ""])),
                name="",
                n=n,
                cid=draw(texts) if is_message else None,
                body=draw(bodies) if kind in {"message", "edit"} else None,
                reply_to=draw(st.none() | st.just(1)) if is_message else None,
                thread=draw(st.none() | st.just(1)) if is_message else None,
                data=None if extra is None else json.dumps(extra, ensure_ascii=False),
            )
        )
    return entries


@given(logs())
def test_an_event_comes_back_as_the_row_that_it_was(log: list[LogEntry]) -> None:
    """Whatever it is, but for its epoch and, of what is no message, the author's name."""
    entries = Entries(ROOM, 3)
    made = [entries.take(json.dumps(dict(as_event("tea", entry)))) for entry in log]

    assert [entry._replace(name="") for entry in made] == log


def test_names_are_those_of_the_last_message() -> None:
    """Of who wrote none, the id."""
    entries = Entries(ROOM, 1)
    lines = [
        {"seq": 1, "at": 1, "by": "u_a", "kind": "room", "topic": "x"},
        {
            "seq": 2,
            "at": 1,
            "by": "u_a",
            "kind": "message",
            "n": 1,
            "name": "Ann",
            "body": "hello",
            "cid": "1",
        },
        {"seq": 3, "at": 1, "by": "u_a", "kind": "sanction", "name": "Bob", "user": "u_b", "action": "ban"},
    ]

    assert [entries.take(json.dumps(line)).name for line in lines] == ["u_a", "Ann", "Ann"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no event"),
        ('{"seq": 1, "at": 1, "by": "u_a"}', "no kind"),
        ('{"seq": 2, "at": 1, "kind": "room"}', "#2 stands where #1 should"),
        ('{"seq": true, "at": 1, "kind": "room"}', "its seq is no number"),
        ('{"seq": 1, "at": -1, "kind": "room"}', "its at is no number"),
        ('{"seq": 1, "at": 1, "kind": 5}', "its kind is no text"),
        ('{"seq": 1, "at": 1, "kind": "message"}', "its n is no number"),
    ],
)
def test_what_is_no_next_event_says_why(line: str, why: str) -> None:
    """And nothing is made of it."""
    with pytest.raises(BadEvent, match=why):
        Entries(ROOM, 1).take(line)


def test_time_does_not_go_back() -> None:
    """As in every log."""
    entries = Entries(ROOM, 1)
    entries.take('{"seq": 1, "at": 5, "kind": "void"}')
    with pytest.raises(BadEvent, match="older than"):
        entries.take('{"seq": 2, "at": 4, "kind": "void"}')
