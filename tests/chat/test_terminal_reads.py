"""What the terminal tells the server that was read, and what it tells people that is not."""

from collections.abc import Mapping, Sequence

import pytest
import trio
from trio.testing import MockClock

from chat.terminal_reads import REST_S
from chat.terminal_text import format_unread
from tests.chat.fake_server import FakeServer, FakeSession, open_fake_server
from tests.chat.talk_kit import settle, talk


def read(server: FakeServer) -> list[tuple[object, object]]:
    """The pointers that were moved, in order."""
    return [(request["room"], request["seq"]) for request in server.asked("read")]


async def test_what_was_shown_is_read_once_a_second(autojump_clock: MockClock) -> None:
    """What came with the room, what others say and what is said here; a burst moves the pointer once."""
    del autojump_clock
    async with open_fake_server() as server:
        server.speak("lobby", "before")

        async def burst() -> None:
            await settle()
            for number in range(20):
                server.speak("lobby", f"{number}")
                await trio.sleep(REST_S / 10)

        await talk(server, [burst, settle, "hello", settle])

        assert read(server) == [("lobby", 1), ("lobby", 11), ("lobby", 21), ("lobby", 22)]


async def test_a_room_that_was_left_is_not_read(autojump_clock: MockClock) -> None:
    """Others are."""
    del autojump_clock
    async with open_fake_server() as server:
        for room in ("lobby", "den"):
            server.speak(room, "before")

        await talk(server, ["/join den", "/leave lobby", settle])

        assert read(server) == [("den", 1)]


async def test_a_pointer_that_is_refused_is_moved_with_the_next_event(autojump_clock: MockClock) -> None:
    """Nobody at the keyboard is told: nobody there asked for it."""
    del autojump_clock
    async with open_fake_server() as server:

        def refuse(session: FakeSession, request: Mapping[str, object]) -> bool:
            if request["t"] != "read" or server.intercept is None:
                return False
            server.intercept = None
            session.error(dict(request), "not_member")
            return True

        server.intercept = refuse

        async def speak() -> None:
            server.speak("lobby", "more")
            await settle()

        done = await talk(server, [speak, speak])

        assert read(server) == [("lobby", 1), ("lobby", 2)]
        assert not any("not_member" in line for line in done.shown)


@pytest.mark.parametrize(
    ("rooms", "line"),
    [
        ([], None),
        ([{"room": "tea", "unread": 0, "mentions": 0}], None),
        ([{"room": "tea"}], None),
        (
            [
                {"room": "tea", "unread": 3, "mentions": 1},
                {"room": "den", "unread": 0, "mentions": 0},
                {"room": "inn", "unread": 12, "mentions": 0},
            ],
            "unread: tea 3 (1 of you), inn 12",
        ),
    ],
)
def test_unread_rooms_are_told_in_one_line(rooms: Sequence[Mapping[str, object]], line: str | None) -> None:
    """Those in which nothing was said since are left out."""
    assert format_unread(rooms) == line
