"""Replays against a server in memory: the plan, the play, and a check that finds every kind of difference."""

import json
from pathlib import Path
from random import Random
from typing import cast

import pytest
from trio.testing import MockClock

from chat.outbound import Outgoing
from chat.replay import run_replay
from chat.replay_check import EVIDENCE_MAX, Said, compare
from chat.replay_person import Person
from chat.replay_plan import TranscriptError, display_names, read_transcript, room_name
from chat.replay_report import percentile
from chat.replay_room import ReplayError
from tests.chat.fake_server import Envelope, FakeServer, FakeSession, Refusals, open_fake_server

CHANNEL = [
    {"at": "23:58", "nick": "ada", "kind": "message", "text": "hello"},
    {"at": "23:58", "nick": "bob", "kind": "join", "text": ""},
    {"at": "23:58", "nick": "bob", "kind": "message", "text": "grüße"},
    {"at": "23:59", "nick": "ada", "kind": "action", "text": "waves"},
    {"at": "23:59", "nick": "bob", "kind": "nick", "text": "bobby"},
    {"at": "00:01", "nick": "bobby", "kind": "message", "text": "me again"},
    {"at": "00:01", "nick": "ada", "kind": "part", "text": ""},
    {"at": "00:01", "nick": "eve", "kind": "message", "text": ""},
    {"at": "00:01", "nick": "ada", "kind": "message", "text": "back"},
]
BODIES = ["hello", "grüße", "/me waves", "me again", "back"]


def write_channel(path: Path, lines: list[dict[str, str]] | None = None) -> Path:
    """A transcript file."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (lines or CHANNEL)))
    return path


async def replay(
    server: FakeServer,
    *files: Path,
    json_output: bool = True,
    speed: float | None = None,
    fresh: bool = False,
) -> tuple[int, list[str]]:
    """Play files against the fake server: the exit code and the lines."""
    shown: list[str] = []
    code = await run_replay(
        files,
        url="ws://fake/ws",
        json_output=json_output,
        speed=speed,
        fresh=fresh,
        show=shown.append,
        rng=Random(5),  # noqa: S311  a test repeats itself
        dial=server.dial,
    )
    return code, shown


def answer_room(session: FakeSession, request: Envelope) -> bool:
    """What `room` tells a replay: the head."""
    if request["t"] != "room":
        return False
    session.ok(request, head=len(session.server.room(cast("str", request["room"])).events))
    return True


async def test_plays_a_channel_and_proves_its_history(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Every line is in the room once, in order, by its author; the report says how fast."""
    del autojump_clock
    async with open_fake_server() as server:
        server.intercept = answer_room
        code, shown = await replay(server, write_channel(tmp_path / "Some Day.jsonl"))

        events = server.room("irc-some-day").events
        assert [event["body"] for event in events] == BODIES
        assert [event["name"] for event in events] == ["ada", "bob", "ada", "bobby", "ada"]
        assert events[0]["by"] == events[4]["by"]
        report = json.loads(shown[0])
        assert code == 0
        assert (report["messages"], report["left_out"], report["differences"]) == (5, 1, [])
        assert report["deliveries"] >= 5


async def test_a_second_replay_checks_what_it_adds(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Without `fresh` the same room goes on; with it the replay has a room of its own."""
    del autojump_clock
    async with open_fake_server() as server:
        server.intercept = answer_room
        path = write_channel(tmp_path / "day.jsonl")
        codes = [(await replay(server, path))[0], (await replay(server, path))[0]]
        codes.append((await replay(server, path, fresh=True))[0])

        assert codes == [0, 0, 0]
        assert [event["body"] for event in server.room("irc-day").events] == BODIES * 2
        assert [len(room.events) for room in server.rooms.values()] == [10, 5]


async def test_the_file_is_the_witness_and_not_what_was_sent(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A replay that sends other words than the file's finds that its histories are not its files."""
    del autojump_clock
    say = Person.say

    async def shout(person: Person, body: str) -> Outgoing:
        return await say(person, body.upper())

    monkeypatch.setattr(Person, "say", shout)
    async with open_fake_server() as server:
        server.intercept = answer_room
        code, shown = await replay(server, write_channel(tmp_path / "day.jsonl"))

    assert code == 1
    first, *_ = json.loads(shown[0])["differences"]
    assert first == "day.jsonl:1: #1 body: played 'hello', the history has 'HELLO'"


async def test_a_rate_limit_delays_and_reorders_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A refused message is sent again after its time, and nobody speaks before it."""
    del autojump_clock
    async with open_fake_server() as server:
        refusals = Refusals()
        refusals.add("send", "rate_limited", temporary=True, retry_after=0.7)
        refusals.add("send", "busy", temporary=True)
        refusals.add("history", "rate_limited", temporary=True, retry_after=0.7)
        server.intercept = lambda session, request: (
            refusals(session, request) or answer_room(session, request)
        )
        code, _ = await replay(server, write_channel(tmp_path / "day.jsonl"))

        assert code == 0
        assert [event["body"] for event in server.room("irc-day").events] == BODIES


async def test_the_speed_is_the_channels_times_a_factor(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Three minutes over midnight at sixty times the speed take three seconds."""
    async with open_fake_server() as server:
        server.intercept = answer_room
        began_s = autojump_clock.current_time()
        code, _ = await replay(server, write_channel(tmp_path / "day.jsonl"), speed=60.0)

        assert code == 0
        assert 3.0 <= autojump_clock.current_time() - began_s < 5.0


async def test_a_difference_is_evidence_and_exit_code_one(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A server that keeps another body than it was sent is found out."""
    del autojump_clock
    async with open_fake_server() as server:

        def forge(session: FakeSession, request: Envelope) -> bool:
            if request["t"] == "history":
                server.room("irc-day").events[1]["body"] = "forged"
            return answer_room(session, request)

        server.intercept = forge
        code, shown = await replay(server, write_channel(tmp_path / "day.jsonl"), json_output=False)

        assert code == 1
        assert shown[-1] == "DIFFERENT: day.jsonl:3: #2 body: played 'grüße', the history has 'forged'"


async def test_a_refused_line_is_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A message that the server will not have ends its room's replay with the line's number."""
    del autojump_clock
    async with open_fake_server() as server:
        refusals = Refusals()
        refusals.add("send", "filtered")
        server.intercept = refusals
        code, shown = await replay(server, write_channel(tmp_path / "day.jsonl"), json_output=False)

        assert code == 1
        assert "line 1: ada was refused: filtered" in shown[-1]


async def test_impossible_replays_are_refused_before_they_begin(tmp_path: Path) -> None:
    """Too many connections, two files for one room, no speed: said before anything is sent."""
    path = write_channel(tmp_path / "day.jsonl")
    with pytest.raises(ReplayError, match="3 are allowed"):
        await run_replay([path], url="ws://fake", max_connections=3)
    with pytest.raises(TranscriptError, match="two files"):
        await run_replay([path, path], url="ws://fake")
    with pytest.raises(ReplayError, match="speed"):
        await run_replay([path], url="ws://fake", speed=0.0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "day:2: "),
        (b'{"at": "25:00", "nick": "a", "kind": "join"}', "not HH:MM"),
        (b'{"at": "12:00", "nick": "a", "kind": "dance"}', "kind"),
        (b'{"at": "12:00", "nick": "", "kind": "join"}', "a nickname is missing"),
        (b'{"at": "12:00", "nick": "a", "kind": "nick", "text": ""}', "a nickname is missing"),
        (b'{"at": 12, "nick": "a", "kind": "join"}', "at"),
    ],
)
def test_a_bad_line_is_named(line: bytes, words: str) -> None:
    """What is no transcript says where and why."""
    with pytest.raises(TranscriptError, match=words):
        read_transcript("day", [b'{"at": "12:00", "nick": "a", "kind": "join", "text": ""}\n', line])


def test_nicknames_become_distinct_display_names() -> None:
    """What the server takes stays; the rest is made valid, and nobody becomes somebody else."""
    names = display_names(["ada", "a\x07da", "x" * 40, "x" * 41, "\x01", "nobody"])
    assert names["ada"] == "ada"
    assert names["a\x07da"] == "ada~2"
    assert names["x" * 40] == "x" * 32
    assert names["x" * 41] == "x" * 30 + "~2"
    assert names["\x01"] == "nobody~2"
    assert len(set(names.values())) == 6


def test_file_names_become_room_names() -> None:
    """Valid, and short enough with their suffix."""
    assert room_name("2004-12-25.train-c") == "irc-2004-12-25.train-c"
    assert room_name("Ünï cödé", "x7") == "irc-uni-code-x7"
    assert len(room_name("y" * 90, "abc")) == 64


def said(line: int, body: str, name: str = "ada") -> Said:
    """A message that was played."""
    return Said(line, f"g_{name}", name, f"c{line}", body)


def kept(seq: int, of: Said, **changes: object) -> Envelope:
    """The same in the history."""
    event: Envelope = {"seq": seq, "n": seq, "kind": "message", "by": of.by, "name": of.name}
    return {**event, "cid": of.cid, "body": of.body, **changes}


ONE, TWO = said(1, "one"), said(2, "two", "bob")


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([kept(1, ONE)], "'two' is not in the history"),
        ([kept(1, ONE), kept(2, TWO), kept(3, said(3, "x"))], "was not played"),
        ([kept(1, TWO), kept(2, ONE)], "body: played 'one'"),
        ([kept(1, ONE), kept(2, TWO, by="g_eve")], "by: played 'g_bob'"),
        ([kept(1, ONE), kept(2, TWO, name="eve")], "name: played 'bob'"),
        ([kept(1, ONE), kept(3, TWO)], "after #1 comes #3"),
        ([kept(1, ONE), kept(2, ONE), kept(3, TWO)], "for a second time"),
        ([kept(1, ONE), kept(2, TWO, n=7)], "ordinal 7 after 1"),
        ([{"seq": 1, "kind": "pin"}, kept(2, ONE), kept(3, TWO)], "is a 'pin'"),
    ],
)
def test_every_kind_of_difference_is_found(history: list[Envelope], words: str) -> None:
    """Missing, added, swapped, altered, renamed, skipped, doubled: each is told."""
    assert any(words in found for found in compare("day", [ONE, TWO], 0, history))


def test_an_equal_history_has_no_differences() -> None:
    """Voids carry nothing, and what was there before is not looked at."""
    history: list[Envelope] = [kept(8, ONE, n=4), {"seq": 9, "kind": "void"}, kept(10, TWO, n=5)]
    assert compare("day", [ONE, TWO], 7, history) == []


def test_evidence_is_bounded() -> None:
    """One shift in a thousand lines does not print a thousand differences."""
    found = compare("day", [said(number, "x") for number in range(100)], 0, [])
    assert len(found) == EVIDENCE_MAX + 1
    assert found[-1] == "day: and 91 more"


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of nothing: zero."""
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([], 50)) == (50.0, 99.0, 0.0)
