"""Requests that are no messages, as the server reads them; and what runs of them say."""

from collections.abc import Iterable

import msgspec
import pytest

from chat.codec import JSON, MSGPACK, Codec
from chat.protocol import Edit, Hello, Ping, Presence, Send, Typing, Watch, ok
from chat.transport.frames import parse_masked_frame
from scripts.bench import budgets
from scripts.bench.asking import comers, editors, presence_users, typing_users
from scripts.bench.asking_lines import Cost, Idle, edit_lines, presence_lines, typing_lines, welcome_lines
from scripts.bench.lines import Line
from scripts.bench.scrape import read_value
from scripts.bench.script import NONE, Connection
from tests.scripts.bench.support import measured, shot, times

CODECS = {"msgpack": MSGPACK, "json": JSON}
ENCODINGS = pytest.mark.parametrize("encoding", CODECS)
WELCOME = budgets.WELCOME


def request(codec: Codec, frame: bytes) -> object:
    """What the server reads."""
    taken = parse_masked_frame(frame, 0, 65536)
    assert isinstance(taken, tuple)
    payload, _, is_text = taken
    return codec.decode(payload, is_text=is_text)


def by_what(lines: Iterable[Line]) -> dict[str, Line]:
    """Lines by their words."""
    return {line.what: line for line in lines}


@ENCODINGS
def test_the_last_members_watch_and_all_go_away(encoding: str) -> None:
    """Two hundred watchers, whose last step is the watch; the others' is the join."""
    people = list(presence_users(budgets.PRESENCE, encoding, greeting=b"", prefix="p"))
    assert len(people) == 10_000
    codec = CODECS[encoding]
    watching = [one for one in people if isinstance(request(codec, one.steps[-1].sent), Watch)]
    assert watching == people[-200:]
    away = request(codec, people[0].send.frame)
    assert isinstance(away, Presence)
    assert away.status == "away"
    assert (people[0].send.time_at, people[0].send.cid_at) == (NONE, NONE)


@ENCODINGS
def test_all_members_type(encoding: str) -> None:
    """In the one room that they have joined."""
    people = list(typing_users(budgets.TYPING, encoding, greeting=b"", prefix="p"))
    assert len(people) == 1_000
    typing = request(CODECS[encoding], people[-1].send.frame)
    assert isinstance(typing, Typing)
    assert typing.room == "p-0"


@ENCODINGS
def test_who_edits_has_said_it(encoding: str) -> None:
    """The first half of the connections said the first message of each room, the others the second."""
    codec = CODECS[encoding]
    make = {"greeting": b"", "prefix": "p"}
    people = list(editors(budgets.EDIT, encoding, edits=True, **make))  # type: ignore[arg-type]
    for index, seq in ((0, 1), (249, 1), (250, 2), (499, 2)):
        edit = request(codec, people[index].send.frame)
        assert isinstance(edit, Edit)
        assert (edit.room, edit.seq) == (f"p-{index % 250}", seq)
        said = request(codec, people[index].steps[-1].sent)
        assert isinstance(said, Send)
        assert people[index].steps[-1].mark in codec.encode(ok(said.id, seq=seq, epoch=1))
    plain: list[Connection] = list(editors(budgets.EDIT, encoding, edits=False, **make))  # type: ignore[arg-type]
    assert isinstance(request(codec, plain[0].send.frame), Send)
    assert [one.steps for one in plain] == [one.steps for one in people]


@ENCODINGS
def test_who_comes_in_brings_a_token(encoding: str) -> None:
    """Each user several times, and nobody joins anything."""
    people = list(comers(encoding, greeting=b"", tokens=["a", "b"], connections=5))
    hellos = [request(CODECS[encoding], one.steps[-1].sent) for one in people]
    assert [hello.token for hello in hellos if isinstance(hello, Hello)] == ["a", "b", "a", "b", "a"]
    assert isinstance(request(CODECS[encoding], people[0].send.frame), Ping)


def test_presence_is_judged_by_the_core_and_by_the_diffs_of_a_watcher() -> None:
    """In ten seconds there are forty intervals, and one more that tells of the last."""
    run = measured(shot(0), shot(10, oks=500, ticks=150))
    run = msgspec.structs.replace(run, oks=500, others=200 * 41 + 500)
    lines = by_what(presence_lines("json", run, Idle(load=0.02), sent_s=10.0))
    assert (lines["server CPU"].value, lines["server CPU"].met) == (15.0, True)
    assert (lines["diffs a watcher"].value, lines["diffs a watcher"].met) == (1.0, True)


def test_typing_is_what_is_above_idle() -> None:
    """Only the large room is judged."""
    run = measured(shot(0), shot(10, oks=3_000, ticks=25))
    (line,) = typing_lines("json", run, Idle(load=0.01), is_judged=True)
    assert line.value == pytest.approx(1.5)
    assert line.met is False
    assert "50 us each" in line.remark
    (line,) = typing_lines("json", run, Idle(load=0.01), is_judged=False)
    assert line.met is None


def test_an_edit_is_told_beside_a_message() -> None:
    """As a ratio for the server and one for Postgres."""
    send = Cost(server_us=100, postgres_us=200, ok_p99_ms=5)
    edit = Cost(server_us=90, postgres_us=210, ok_p99_ms=6)
    lines = by_what(edit_lines("json", send, edit, []))
    assert [line.met for line in lines.values()] == [True, False]
    assert lines["server CPU an edit"].remark == "90 us, a message 100 us; ok p99 6.0 and 5.0 ms"


def test_a_welcome_is_timed_and_its_queries_are_counted() -> None:
    """What the counter's noise adds to two queries is none."""
    run = msgspec.structs.replace(measured(shot(0), shot(1)), setup=times(12.0))
    lines = by_what(welcome_lines("json", run, queries_each=2.02))
    assert [line.met for line in lines.values()] == [True, True]


def test_a_metric_is_read_with_all_its_labels() -> None:
    """And no other of a similar name."""
    text = '# HELP x y\nx_total 3.0\nx_total_more 4.0\ny{a="1"} 1.5\ny{a="2"} 2.0\n'
    assert [read_value(text, name) for name in ("x_total", "y", "z")] == [3.0, 3.5, 0.0]
