"""The lines in which watches of large rooms wait."""

import pytest

from chat.errors import ErrorCode, Refused
from chat.presence_messages import WatchRoom
from chat.presence_waiting import WAITING_MAX, WaitingWatches
from tests.chat.presence_kit import FakePeer
from tests.chat.presence_model import Row


def watch(request_id: int, room: str = "lobby", *, session_id: int = 1, user: str = "a") -> WatchRoom:
    """A watch."""
    return WatchRoom(
        peer=FakePeer(session_id, user),
        request_id=request_id,
        room=room,
        epoch=1,
        roster=[Row("u_a", "A")],
        cursor=None,
        limit=1,
    )


def drain(waiting: WaitingWatches) -> list[int]:
    """Answer all that may be answered."""
    got: list[int] = []
    while (message := waiting.next) is not None:
        got.append(message.request_id)
        waiting.pop()
    return got


def test_a_room_lets_its_own_line_go_in_order() -> None:
    """Others wait on; a line that is held again waits again."""
    waiting = WaitingWatches()
    for request_id, room in enumerate(["lobby", "attic", "lobby", "cellar"]):
        waiting.add(watch(request_id, room))
    assert drain(waiting) == []
    waiting.open("attic")
    waiting.open("lobby")
    waiting.open("nobody waits here")
    waiting.hold("attic")

    assert drain(waiting) == [0, 2]
    assert ("lobby" in waiting, "attic" in waiting, len(waiting)) == (False, True, 2)


def test_who_waits_holds_no_roster() -> None:
    """The room's actor makes a new one with every change, and many wait."""
    waiting = WaitingWatches()
    waiting.add(watch(1))
    (message,) = waiting.clear()

    assert (message.request_id, message.roster, len(waiting)) == (1, (), 0)


def test_watches_are_withdrawn_by_session_or_by_user() -> None:
    """Those of that room only; the rest keeps its place."""
    waiting = WaitingWatches()
    waiting.add(watch(1, session_id=1, user="a"))
    waiting.add(watch(2, session_id=2, user="a"))
    waiting.add(watch(3, session_id=3, user="b"))
    waiting.add(watch(4, "attic", session_id=1, user="a"))
    waiting.open("lobby")

    assert [one.request_id for one in waiting.withdraw("lobby", session_id=2)] == [2]
    assert [one.request_id for one in waiting.withdraw("lobby", user_id="u_a")] == [1]
    assert waiting.withdraw("lobby", user_id="u_a") == []
    assert drain(waiting) == [3]
    waiting.open("attic")
    assert [one.request_id for one in waiting.withdraw("attic", session_id=1)] == [4]
    assert (waiting.next, len(waiting), waiting.withdraw("attic", session_id=1)) == (None, 0, [])


def test_the_line_has_a_bound() -> None:
    """Who comes above it is told to come again; who leaves makes room."""
    waiting = WaitingWatches()
    for request_id in range(WAITING_MAX):
        waiting.add(watch(request_id))
    with pytest.raises(Refused) as caught:
        waiting.add(watch(-1))
    assert caught.value.code is ErrorCode.BUSY
    waiting.open("lobby")
    waiting.pop()

    waiting.add(watch(-1))
    assert len(waiting) == WAITING_MAX
