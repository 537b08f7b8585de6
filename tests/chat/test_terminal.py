"""The line-mode client: what it shows for what happens, and what its exit code says."""

from datetime import UTC

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from chat.client import ClientOptions
from chat.client_errors import ConnectFailed, RequestRefused
from chat.client_state import Envelope
from chat.terminal import run_terminal
from chat.terminal_text import Command, format_event, parse_line, printable, quote
from tests.chat.fake_server import FakeSession, Refusals, open_fake_server
from tests.chat.talk_kit import Script, Step, settle, talk


async def test_a_piped_talk_is_stored_and_marked(autojump_clock: MockClock) -> None:
    """Every line is shown as sent and as stored, and the exit code is 0 at the end of the input."""
    del autojump_clock
    async with open_fake_server() as server:
        done = await talk(server, ["hello", "", "//slash", "/me waves"])

        assert done.code == 0
        assert [event["body"] for event in server.room("lobby").events] == ["hello", "/slash", "/me waves"]
        assert sorted(done.shown) == sorted(
            ["-- you talk in lobby; /help lists what you can type"]
            + [mark + body for body in ("hello", "/slash", "/me waves") for mark in ("→ ",)]
            + ["✓ #1 hello", "✓ #2 /slash", "✓ #3 /me waves"]
        )


async def test_others_are_shown_with_their_escapes_made_visible(autojump_clock: MockClock) -> None:
    """A message, name or room cannot move the cursor, whoever wrote it."""
    del autojump_clock
    async with open_fake_server() as server:

        async def speak() -> None:
            server.speak("lobby", "\x1b]0;pwned\x07 \u202etxt", name="mal\x1b[2Jlory")
            await settle()

        done = await talk(server, [speak])

        assert done.shown[1] == "22:13 #1 mal␛[2Jlory: ␛]0;pwned␇ <U+202E>txt"
        assert not any("\x1b" in line or "\x07" in line for line in done.shown)


async def test_a_refused_message_is_shown_and_fails_the_exit_code(autojump_clock: MockClock) -> None:
    """What was refused for good is told with the reason; what was delayed is told too, and stored."""
    del autojump_clock
    async with open_fake_server() as server:
        refusals = Refusals()
        refusals.add("send", "filtered")
        refusals.add("send", "slow_mode", temporary=True, retry_after=3.0)
        server.intercept = refusals
        done = await talk(server, ["rude", settle, "polite"])

        assert done.code == 1
        assert "✗ rude: filtered: scripted" in done.shown
        assert "… polite (again after slow_mode)" in done.shown
        assert done.shown[-1] == "✓ #1 polite"


async def test_a_broken_connection_is_told_in_one_line_and_survived(autojump_clock: MockClock) -> None:
    """The terminal says that it lost the server, comes back, and shows what was missed."""
    del autojump_clock
    async with open_fake_server() as server:

        async def break_it() -> None:
            server.cut()
            server.speak("lobby", "meanwhile")
            await settle()

        done = await talk(server, [break_it, "after"])

        assert done.code == 0
        assert done.shown[1].startswith("-- the connection broke (1006): again in ")
        assert done.shown[2:4] == ["-- connected again", "22:13 #1 other: meanwhile"]
        assert done.shown[-1] == "✓ #2 after"


async def test_what_is_said_without_a_connection_is_told_to_wait(autojump_clock: MockClock) -> None:
    """Nobody wonders where a line went: it waits, the end of the input waits for it, and it is stored."""
    del autojump_clock
    async with open_fake_server() as server:

        async def break_it() -> None:
            server.cut()
            server.refusing_dials = 1
            await trio.testing.wait_all_tasks_blocked()

        done = await talk(server, [break_it, "meanwhile"])

        assert done.code == 0
        assert done.shown[2:4] == [
            "… meanwhile (when connected)",
            "-- waiting for 1 to be stored, 60 s at most",
        ]
        assert done.shown[-1] == "✓ #1 meanwhile"


@pytest.mark.parametrize("number", ["some", "0", "-1", "1.5", "2 3"])
async def test_a_history_of_no_number_is_told(number: str, autojump_clock: MockClock) -> None:
    """What is no number of messages is not taken for another one."""
    del autojump_clock
    async with open_fake_server() as server:
        server.speak("lobby", "one")
        done = await talk(server, [f"/history {number}"])

        assert done.shown[-1] == "-- how many? /history takes a number, such as 20"


async def test_a_history_of_absurd_length_is_cut_to_what_there_is(autojump_clock: MockClock) -> None:
    """Any number of digits is a number."""
    del autojump_clock
    async with open_fake_server() as server:
        server.speak("lobby", "one")
        done = await talk(server, [f"/history {'9' * 5000}", f"/history {'0' * 5000}1"])

        assert done.code == 0
        assert done.shown.count("-- 1 of lobby's log") == 2


async def test_the_end_of_the_server_ends_the_terminal(autojump_clock: MockClock) -> None:
    """A terminal close code is told and ends the wait for input, with exit code 1."""
    del autojump_clock
    async with open_fake_server() as server:

        async def ban() -> None:
            server.sessions[0].close(4504, "banned")
            await trio.sleep(10_000)
            pytest.fail("the wait for input went on")

        done = await talk(server, [ban])

        assert done.code == 1
        assert done.shown[-1] == "-- ended: the server ended the connection: 4504 banned"


async def test_rewinds_holes_and_pressure_are_told(autojump_clock: MockClock) -> None:
    """Nothing that concerns the reader happens silently."""
    del autojump_clock
    async with open_fake_server() as server:

        async def trouble() -> None:
            server.speak("lobby", "kept")
            server.speak("lobby", "lost")
            await settle()
            server.room("lobby").rewind(1)
            server.cut()
            await settle()
            session = server.sessions[0]
            session.say({"t": "pressure", "level": 1, "reason": "calm"})
            session.say({"t": "pressure", "level": 3, "reason": "storage"})
            await settle()

        done = await talk(server, [trouble])

        assert "-- lobby: the room's server died: what came after #1 did not survive" in done.shown
        assert [line for line in done.shown if "pressure" in line] == [
            "-- the server is under pressure: level 3 of 4 storage"
        ]


async def test_the_commands_do_what_help_says(autojump_clock: MockClock) -> None:
    """Rooms are joined, listed and left; members and history are shown; a wrong command is told."""
    del autojump_clock
    async with open_fake_server() as server:
        for number in range(130):
            server.speak("lobby", f"m{number}")
        script: list[Step] = [
            "/who",
            "/rooms",
            "/history 2",
            "/join tea",
            "hi",
            settle,
            "/leave",
            "/nope",
            "/help",
        ]
        done = await talk(server, [*script, "/leave", "lost", "/quit", "never"])

        shown = done.shown
        assert "-- 1 in lobby: ada" in shown
        assert "-- 1 rooms: lobby" in shown
        assert "-- 2 of lobby's log" in shown
        assert "-- you talk in tea" in shown
        assert "-- you left tea, you talk in lobby" in shown
        assert "-- no such command: /nope; try /help" in shown
        assert "-- you left lobby" in shown
        assert any("/history [N]" in line for line in shown)
        assert shown[-1] == "-- /join a room first"
        assert done.code == 1
        assert [event["body"] for event in server.room("tea").events] == ["hi"]


async def test_a_search_shows_what_was_found_and_what_it_did_not_see(autojump_clock: MockClock) -> None:
    """Oldest first as in a history, hits between asterisks; an index that is behind is told."""
    del autojump_clock
    hit = {"room": "lobby", "at": 1_700_000_000_000, "by": "g_a", "name": "mal\x1blory"}
    async with open_fake_server() as server:

        def answer(session: FakeSession, request: Envelope) -> bool:
            if request["t"] != "search":
                return False
            items = [
                {**hit, "seq": 9, "fragment": ["", "tea", " again"]},
                {**hit, "seq": 2, "fragment": ["a cup of ", "tea"]},
            ]
            session.ok(request, items=items, next="n", fresh=False, behind=3)
            return True

        server.intercept = answer
        done = await talk(server, ["/search tea -milk", "/search"])

        assert done.shown[-5:] == [
            "2023-11-14 22:13 #2 mal␛lory: a cup of *tea*",
            "2023-11-14 22:13 #9 mal␛lory: *tea* again",
            "-- 2 found in lobby, the latest; there are more",
            "-- the latest 3 events of the room are not searched yet",
            "-- what for? /search takes words",
        ]
        (asked,) = [request for request in server.requests if request["t"] == "search"]
        assert (asked["query"], asked["room"]) == ("tea -milk", "lobby")


async def test_a_refused_command_ends_nothing(autojump_clock: MockClock) -> None:
    """A refusal of a command is shown, and the talk goes on."""
    del autojump_clock
    async with open_fake_server() as server:
        refusals = Refusals()
        refusals.add("members", "forbidden")
        server.intercept = refusals
        done = await talk(server, ["/who", "still here"])

        assert done.code == 0
        assert "-- forbidden: scripted" in done.shown


async def test_more_lines_than_may_wait_are_all_stored(autojump_clock: MockClock) -> None:
    """A long pipe waits for room in the queue instead of losing lines."""
    del autojump_clock
    async with open_fake_server() as server:
        lines = [f"line {number}" for number in range(50)]
        done = await talk(server, lines, options=ClientOptions(queued_max=3))

        assert done.code == 0
        assert [event["body"] for event in server.room("lobby").events] == lines


async def test_no_server_is_an_error_at_once(autojump_clock: MockClock) -> None:
    """Without a server the reason is raised, for the command to print, and nothing is shown before."""
    async with open_fake_server() as server:
        server.refusing_dials = 1000
        with pytest.raises(ConnectFailed, match="no server answers at fake:80; start one: parley serve"):
            await talk(server, ["hello"])

    assert autojump_clock.current_time() == 0


async def test_what_is_raised_is_not_shown_as_well(autojump_clock: MockClock) -> None:
    """A refusal at the door is the command's to tell, once."""
    del autojump_clock
    async with open_fake_server() as server:
        refusals = Refusals()
        refusals.add("hello", "unauthenticated")
        server.intercept = refusals
        shown: list[str] = []
        with pytest.raises(RequestRefused):
            await run_terminal(
                "ws://fake/ws", name="ada", lines=Script([]), show=shown.append, dial=server.dial
            )

    assert shown == []


async def test_a_room_that_cannot_be_called_so_is_told_with_one_that_can(autojump_clock: MockClock) -> None:
    """The server is not asked, and the talk goes on where it was."""
    del autojump_clock
    async with open_fake_server() as server:
        done = await talk(server, ["/join Tea Room", "/join ***", "still here"])

        assert done.code == 0
        rule = "(a-z, 0-9, then . _ - as well; 64 characters at most)"
        assert f'-- a room cannot be called "Tea Room" {rule}; try tea-room' in done.shown
        assert f'-- a room cannot be called "***" {rule}' in done.shown
        assert [event["body"] for event in server.room("lobby").events] == ["still here"]


def test_hidden_characters_become_visible() -> None:
    """Controls, C1, bidi overrides and line ends are shown; text and emoji stay as they are."""
    assert printable("plain") == "plain"
    assert printable("grüße 👩\u200d💻") == "grüße 👩\u200d💻"
    assert printable("a\nb\r\t\x00\x7f") == "a␊b␍␉␀␡"
    assert printable("\x9b31m\u2028\u2066") == "<U+009B>31m<U+2028><U+2066>"


def test_long_messages_are_quoted_short() -> None:
    """A telling line stays one line."""
    assert quote("x" * 100) == "x" * 59 + "…"


def test_lines_are_understood() -> None:
    """Words, commands, escaped slashes and nothing."""
    assert parse_line("  \n") is None
    assert parse_line(" hi \n") == Command("say", " hi ")
    assert parse_line("/JOIN  tea \n") == Command("join", "tea")
    assert parse_line("//x\n") == Command("say", "/x")
    assert parse_line("/me bows\n") == Command("say", "/me bows")


def test_events_without_words_are_told_or_hidden() -> None:
    """A void shows nothing; an unknown kind is named; an action reads as one."""
    at = {"t": "event", "room": "r", "seq": 4, "at": 0, "by": "u_a", "name": "ada"}
    assert format_event({**at, "kind": "void"}, tz=UTC, with_room=False) is None
    assert format_event({**at, "kind": "pin"}, tz=UTC, with_room=True) == "00:00 r #4 -- pin by ada"
    by = {"seq": 4, "at": 0, "by": "u_a", "name": "bo\x1b"}
    for governing, told in (
        ({"kind": "sanction", "action": "ban", "reason": "spam"}, "bo␛: ban (spam), by u_a"),
        ({"kind": "member", "action": "invite", "role": "member"}, "bo␛: invite, by u_a"),
        ({"kind": "role", "role": "owner"}, "bo␛ is owner, by u_a"),
        ({"kind": "room", "topic": "tea", "locked": True}, "room: topic tea, locked True, by u_a"),
    ):
        assert format_event({**by, **governing}, tz=UTC, with_room=False) == f"00:00 #4 -- {told}"
    gone = {**at, "kind": "message", "body": None}
    assert format_event(gone, tz=UTC, with_room=False) == "00:00 #4 ada (deleted)"
    edit = {**at, "kind": "edit", "of": 2, "body": "so\x1b"}
    assert format_event(edit, tz=UTC, with_room=False) == "00:00 #4 -- #2 is now: so␛"
    assert format_event({**edit, "body": None}, tz=UTC, with_room=False) is None
    assert format_event({**at, "kind": "delete", "of": 2}, tz=UTC, with_room=False) == (
        "00:00 #4 -- #2 was deleted"
    )
    action = {**at, "kind": "message", "body": "/me bows"}
    assert format_event(action, tz=UTC, with_room=False) == "00:00 #4 * ada bows"
