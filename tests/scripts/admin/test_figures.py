"""What two looks at a server's metrics come to."""

import io

import pytest
from rich.console import Console

from chat.metrics import Metrics
from scripts.admin.figures import RoomFigures, compare, compare_rooms, read_sample
from scripts.admin.top import as_json
from scripts.admin.top_view import render_top

BEFORE = """
parley_sends_total 10
parley_rooms_active 3
parley_writer_oldest_wait_seconds 0.25
parley_mailbox_wait_seconds_bucket{kind="room",le="0.001"} 5
parley_mailbox_wait_seconds_bucket{kind="room",le="0.01"} 5
parley_mailbox_wait_seconds_bucket{kind="room",le="+Inf"} 5
parley_turn_messages_bucket{kind="room",le="+Inf"} 5
parley_mailbox_wait_seconds_bucket{kind="presence",le="+Inf"} 0
"""
AFTER = """
parley_sends_total 30
parley_rooms_active 4
parley_writer_oldest_wait_seconds 0.5
parley_mailbox_wait_seconds_bucket{kind="room",le="0.001"} 5
parley_mailbox_wait_seconds_bucket{kind="room",le="0.01"} 105
parley_mailbox_wait_seconds_bucket{kind="room",le="+Inf"} 105
parley_turn_messages_bucket{kind="room",le="+Inf"} 25
parley_mailbox_wait_seconds_bucket{kind="presence",le="+Inf"} 7
"""


def test_rates_and_quantiles_are_of_the_time_between_two_looks() -> None:
    """Who waited longest comes first; above the last bound nothing is known."""
    figures = compare(read_sample(BEFORE), read_sample(AFTER), 2.0)

    assert (figures.values["sends_per_s"], figures.values["rooms_active"]) == (10.0, 4.0)
    assert figures.values["commit_lag_ms"] == 500.0
    room, presence = figures.actors
    assert (room.kind, room.wait_p99_ms, room.turns_per_s) == ("room", 10.0, 10.0)
    assert (presence.kind, presence.wait_p99_ms) == ("presence", None)


def test_one_look_tells_only_what_stands() -> None:
    """And so do two when the server was started again in between."""
    for before in (None, read_sample(AFTER)):
        figures = compare(before, read_sample(BEFORE), 1.0)
        assert figures.values["rooms_active"] == 3.0
        assert figures.values["sends_per_s"] is None
        assert figures.actors[-1].wait_p99_ms is None


def test_a_server_s_own_metrics_are_known_by_these_names() -> None:
    """All of what a scrape has without running; the rest is a node's."""
    text = Metrics().render().decode()
    figures = compare(read_sample(text), read_sample(text), 1.0)

    assert figures.values["sends_per_s"] == 0.0
    assert figures.values["connections"] == 0.0
    assert figures.values["cpu_cores"] == 0.0


@pytest.mark.parametrize("width", [80, 200])
def test_the_screen_fits(width: int) -> None:
    """With every figure in it; what is unknown is a dash."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        figures = compare(read_sample(BEFORE), read_sample(AFTER), 2.0)
        rooms = [RoomFigures("r" * 24, 10_000, 1024, 1234.5, 25_000.0, 0.999)] * 8
        console.print(render_top(figures, rooms, "http://x/metrics"))
    text = capture.get()

    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) <= 24
    assert "…" not in text
    for words in (
        "deliveries/s",
        "commit lag",
        "500.0 ms",
        "mailbox wait p99",
        "10.0 ms",
        "presence",
        "1,234.5 ms",
        "99.9 %",
    ):
        assert words in text


def test_scripts_get_every_figure() -> None:
    """Under the same names at every look."""
    first = as_json(compare(None, read_sample(""), 0.0), [], "no token")
    later = as_json(compare(read_sample(BEFORE), read_sample(AFTER), 1.0), [])
    assert first.keys() == later.keys()
    assert (first["actors"], first["rooms"], later["rooms"]) == ([], None, [])


def test_what_a_room_did_is_of_the_time_between_two_looks() -> None:
    """A room that is new among the busiest, or was activated again, did what nobody knows."""
    after = {"subscribers": 2, "waiting": 1, "wait_ms": 3.0, "messages": 30, "turn_ms": 150.0}
    before = {**after, "messages": 10, "turn_ms": 50.0}

    assert compare_rooms({"tea": before}, {"tea": after}, 2.0) == (
        RoomFigures("tea", 2.0, 1.0, 3.0, 10.0, 0.05),
    )
    for known in ({}, {"tea": {**after, "messages": 99, "turn_ms": 999.0}}):
        assert compare_rooms(known, {"tea": after}, 2.0) == (RoomFigures("tea", 2.0, 1.0, 3.0, None, None),)
