"""Frames between the processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.presence_check import Picture
from scripts.load.reports import (
    Assignment,
    Command,
    FrameError,
    Frames,
    Heads,
    PresenceReport,
    Report,
    RoomReport,
    Start,
    frame,
    parse_command,
    parse_report,
)
from scripts.load.witness import Sight
from tests.scripts.load.support import second

REPORTS: list[Report] = [
    second(1, errors={"busy": 2}, steady={"ok": {3: 4}}),
    RoomReport(room=1, sights={1: Sight(2, 3)}, fates={"a": 1, "b": -1}),
    PresenceReport(
        statuses={"a": "online"},
        members={0: ["a"]},
        pictures=[(0, "w", Picture(version=2, shown={"a": "b"}))],
    ),
]
COMMANDS: list[Command] = [
    Assignment(scenario={"users": 2}, url="ws://h", run="r", worker=0, workers=1, tokens=["t"]),
    Start(at_ns=2**60),
    Heads(heads={0: 5}, wait_s=1.0),
]


@given(cuts=st.lists(st.integers(1, 50), min_size=1))
def test_reports_arrive_whole_in_whatever_pieces(cuts: list[int]) -> None:
    """A pipe knows no frames."""
    data = b"".join(map(frame, REPORTS))
    frames, got, position, turn = Frames(), list[Report](), 0, 0
    while position < len(data):
        piece = data[position : position + cuts[turn % len(cuts)]]
        got += map(parse_report, frames.take(piece))
        position += len(piece)
        turn += 1
    assert repr(got) == repr(REPORTS)


def test_commands_arrive_as_they_were() -> None:
    """The other way round."""
    assert [parse_command(each) for each in Frames().take(b"".join(map(frame, COMMANDS)))] == COMMANDS


def test_what_is_no_frame_of_ours_is_an_error() -> None:
    """A worker that prints, for example."""
    with pytest.raises(FrameError):
        list(Frames().take(b"hello, I am a print() that nobody expected"))
    for parse in (parse_report, parse_command):
        with pytest.raises(FrameError):
            parse(b"\xc1")
