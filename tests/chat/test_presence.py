"""The presence actor on a virtual clock: what goes over the wire, when, and what a failure leaves behind."""

from collections.abc import Iterator, MutableMapping

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors import MailboxSpec
from chat.presence import TURN_STEPS
from chat.presence_limits import PresenceLimits
from tests.chat.presence_kit import Bench, FakePeer, FakeTopic, Wire, open_bench
from tests.chat.presence_model import Row, Unreadable


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, object]]]:
    """What is logged is kept, not printed."""
    with capture_logs() as entries:
        yield entries


def diffs(got: list[Wire]) -> list[Wire]:
    """Only the presence messages."""
    return [envelope for envelope in got if envelope["t"] == "presence"]


async def test_a_watcher_gets_a_snapshot_and_then_diffs(autojump_clock: MockClock) -> None:
    """`ok` to `watch` carries the members, counts and a version; the next diff has the next version."""
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(ada, "abc", request_id=7)
        await trio.sleep(0.1)
        began = ada.take()
        bench.port.set_status(bob, 8, "dnd", "busy")
        await trio.sleep(1.0)

        assert began == [
            {
                "t": "ok",
                "id": 7,
                "room": "lobby",
                "presence": [
                    {"user": "u_a", "name": "A", "status": "online"},
                    {"user": "u_b", "name": "B", "status": "online"},
                    {"user": "u_c", "name": "C", "status": "offline"},
                ],
                "counts": {"online": 2, "away": 0, "dnd": 0, "total": 3},
                "version": 1,
            }
        ]
        assert ada.take() == [
            {
                "t": "presence",
                "room": "lobby",
                "changes": [{"user": "u_b", "name": "B", "status": "dnd", "text": "busy", "since": 100}],
                "counts": {"online": 1, "away": 0, "dnd": 1, "total": 3},
                "version": 2,
            }
        ]
        assert bob.take()[0] == {"t": "ok", "id": 8}
        assert autojump_clock.current_time() < 2.0


async def test_all_watchers_of_a_page_share_one_frame_an_encoding(autojump_clock: MockClock) -> None:
    """The same bytes go to everybody who reads the same encoding, and mean the same in both."""
    del autojump_clock
    async with open_bench() as bench:
        peers = [bench.open(number, "a", encoding_index=number % 2) for number in range(6)]
        bob = bench.open(9, "b")
        for peer in peers:
            bench.watch(peer, "ab")
        bench.port.set_status(bob, 1, "away", None)
        await trio.sleep(1.0)

        assert len({id(peer.frames[0]) for peer in peers}) == 2
        assert len({str(diffs(peer.take())) for peer in peers}) == 1


async def test_a_lost_connection_is_told_after_the_grace(autojump_clock: MockClock) -> None:
    """The others hear of a lost connection 15 seconds later, of a closed one at once."""
    async with open_bench() as bench:
        ada, bob, cid = bench.open(1, "a"), bench.open(2, "b"), bench.open(3, "c")
        bench.watch(ada, "abc")
        await trio.sleep(1.0)
        ada.take()
        bench.close(bob, clean=False)
        bench.close(cid)
        await trio.sleep(1.0)
        at_once = ada.take()
        await trio.sleep(13.9)
        assert ada.take() == []
        await trio.sleep(1.0)

        assert [envelope["changes"] for envelope in at_once] == [
            [{"user": "u_c", "name": "C", "status": "offline"}]
        ]
        assert [envelope["changes"] for envelope in ada.take()] == [
            [{"user": "u_b", "name": "B", "status": "offline"}]
        ]
        assert autojump_clock.current_time() < 20.0


async def test_joins_and_leaves_reach_the_watchers(autojump_clock: MockClock) -> None:
    """Who joins a watched room is in the next diff, and so is who leaves it."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(ada, "ac")
        await trio.sleep(1.0)
        ada.take()
        bench.port.members_changed("lobby", joined=[bob], left=["u_c"])
        await trio.sleep(1.0)

        assert [envelope["changes"] for envelope in ada.take()] == [
            [
                {"user": "u_c", "left": True},
                {"user": "u_b", "name": "B", "status": "online", "joined": True},
            ]
        ]


async def test_a_full_page_tells_where_the_next_begins(autojump_clock: MockClock) -> None:
    """In a large room `ok` and diffs carry `next`; the last page carries none."""
    del autojump_clock
    async with open_bench(limits=PresenceLimits(full_list_max=2)) as bench:
        ada = bench.open(1, "a")
        bench.watch(ada, "acd", request_id=1)
        bench.port.members_changed("lobby", joined=[FakePeer(2, "b")], left=[])
        await trio.sleep(1.0)
        bench.watch(ada, "", request_id=2, cursor="u_b")
        await trio.sleep(1.0)

        first, diff, last = ada.take()
        assert (first["next"], diff["next"]) == ("u_c", "u_b")
        assert "next" not in last


# -- large rooms ----------------------------------------------------------------------------------------


def large(members: int = 5000) -> list[Row]:
    """A roster of many, the users A and B among them."""
    return [Row("u_a", "A"), Row("u_b", "B"), *(Row(f"u_x{number:05}", "X") for number in range(members - 2))]


async def test_a_large_room_is_answered_when_it_was_read(autojump_clock: MockClock) -> None:
    """The reading takes many turns, in which others are served, and then everybody who waited is answered."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        before = bench.ref.statistics().batches
        bench.watch_rows(ada, large(), request_id=1)
        bench.watch_rows(bob, large(), request_id=1)
        await wait_for_turns(bench, 2)
        assert (ada.take(), bob.take()) == ([], [])
        bench.port.watch_users(bob, 2, ["u_a"])
        bench.port.members_changed("lobby", joined=(), left=["u_x00001", "u_x04997"])
        await trio.sleep(1.0)

        (shown,) = ada.take()
        assert bench.ref.statistics().batches - before >= 5
        assert (shown["id"], shown["counts"]) == (1, {"online": 2, "away": 0, "dnd": 0, "total": 4998})
        assert [answer["id"] for answer in bob.take()] == [2, 1]


async def wait_for_turns(bench: Bench, turns: int) -> None:
    """Let presence have so many turns, and no more than a few."""
    until = bench.ref.statistics().batches + turns
    while bench.ref.statistics().batches < until:
        await trio.lowlevel.checkpoint()


async def test_the_later_page_counts_also_where_the_first_had_to_wait(autojump_clock: MockClock) -> None:
    """Two watches of a session in one breath are answered in order."""
    del autojump_clock
    async with open_bench(limits=PresenceLimits(full_list_max=2)) as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch_rows(ada, large(), request_id=1)
        bench.watch_rows(ada, large(), request_id=2, cursor="u_x")
        await trio.sleep(1.0)
        assert [answer["id"] for answer in ada.take()] == [1, 2]
        bench.port.set_status(bob, 3, "away", None)
        await trio.sleep(1.0)

        (diff,) = diffs(ada.take())
        assert diff["changes"] == []


async def test_who_waits_and_watches_no_more_is_told_so(autojump_clock: MockClock) -> None:
    """An `unwatch` behind a `watch` that waits answers both; nothing is watched."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch_rows(ada, large(), request_id=1)
        bench.port.unwatch(ada, 2, room="lobby")
        await trio.sleep(1.0)
        bench.port.set_status(bob, 3, "away", None)
        await trio.sleep(1.0)

        assert [(answer["id"], answer.get("code")) for answer in ada.take()] == [(1, "conflict"), (2, None)]


async def test_who_leaves_a_room_is_shown_nothing_of_it_any_more(autojump_clock: MockClock) -> None:
    """The watches of all devices end silently, and a watch that waits gets `not_member`."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        waiting = bench.open(3, "b")
        bench.watch(ada, "ab")
        bench.watch(bob, "ab")
        bench.port.watch_room(waiting, 7, "large", epoch=1, roster=large(), cursor=None, limit=1)
        bench.port.end_watch("lobby", "u_b")
        bench.port.end_watch("large", "u_b")
        await trio.sleep(1.0)
        bob.take()
        bench.port.set_status(ada, 1, "away", None)
        await trio.sleep(1.0)

        assert bob.take() == []
        assert [(answer["id"], answer["code"]) for answer in waiting.take()] == [(7, "not_member")]
        assert [diff["room"] for diff in diffs(ada.take()) if "room" in diff] == ["lobby"]


async def test_who_comes_back_to_a_room_may_watch_again(autojump_clock: MockClock) -> None:
    """The end of a watch counts for what came before it."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(bob, "ab")
        bench.port.end_watch("lobby", "u_b")
        bench.watch(bob, "ab", request_id=2)
        bench.port.set_status(ada, 1, "away", None)
        await trio.sleep(1.0)

        assert [envelope.get("id") for envelope in bob.take()] == [1, 2, None]


async def test_a_crash_answers_those_who_wait(autojump_clock: MockClock) -> None:
    """A life that ends in the middle of the reading leaves nobody waiting, and the next one reads anew."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch_rows(ada, large(), request_id=1)
        bench.port.watch_room(bob, 1, "broken", epoch=1, roster=Unreadable(), cursor=None, limit=1)
        await trio.sleep(10.0)
        assert [answer.get("code") for answer in (*ada.take(), *bob.take()) if "code" in answer] == [
            "unavailable",
            "unavailable",
        ]
        bench.watch_rows(ada, large(), request_id=2)
        await trio.sleep(1.0)

        assert ada.take()[-1]["id"] == 2


async def test_a_session_that_ends_while_it_waits_is_not_in_the_way(autojump_clock: MockClock) -> None:
    """Its room is read all the same, and those behind it are answered."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch_rows(bob, large(), request_id=1)
        bench.close(bob)
        bench.watch_rows(ada, large(), request_id=1)
        await trio.sleep(1.0)

        (shown,) = ada.take()
        assert shown["counts"] == {"online": 1, "away": 0, "dnd": 0, "total": 5000}


async def test_watches_of_large_pages_are_answered_over_turns(autojump_clock: MockClock) -> None:
    """A page has its price: a turn answers a few of them."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        bench.watch_rows(ada, large(200), request_id=0)
        await trio.sleep(1.0)
        before = bench.ref.statistics().batches
        for request_id in range(1, 101):
            bench.watch_rows(ada, large(200), request_id=request_id)
        await trio.sleep(1.0)

        assert [answer["id"] for answer in ada.take()] == list(range(101))
        assert bench.ref.statistics().batches - before >= 100 * 200 // TURN_STEPS


async def test_users_are_watched_by_id(autojump_clock: MockClock) -> None:
    """`watch{users}` answers with their presence, and diffs without a room follow; `unwatch` ends them."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.port.watch_users(ada, 3, ["u_b"])
        bench.port.set_status(bob, 1, "away", None)
        await trio.sleep(1.0)
        answer, diff = ada.take()
        bench.port.unwatch(ada, 4, users=["u_b"])
        bench.port.set_status(bob, 2, "online", None)
        await trio.sleep(1.0)

        assert answer == {
            "t": "ok",
            "id": 3,
            "presence": [{"user": "u_b", "name": "B", "status": "online"}],
            "version": 1,
        }
        assert ("room" in diff, diff["version"]) == (False, 2)
        assert ada.take() == [{"t": "ok", "id": 4}]


async def test_a_room_is_watched_no_more(autojump_clock: MockClock) -> None:
    """After `unwatch`, and after one without an answer, nothing comes."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(ada, "ab")
        bench.port.unwatch(ada, 2, room="lobby")
        bench.watch(ada, "ab")
        bench.port.unwatch(ada, None, room="lobby")
        bench.port.set_status(bob, 1, "away", None)
        await trio.sleep(1.0)

        assert [envelope["t"] for envelope in ada.take()] == ["ok", "ok", "ok"]


async def test_a_refusal_names_its_request(autojump_clock: MockClock) -> None:
    """What the rules refuse is answered with an error that carries the request's id."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        bench.watch(ada, "ab", request_id=5, cursor="nonsense")
        bench.port.set_status(FakePeer(9, "z"), 1, "away", None)
        await trio.sleep(1.0)

        (answer,) = ada.take()
        assert (answer["t"], answer["id"], answer["code"]) == ("error", 5, "bad_cursor")
        assert answer["field"] == "cursor"


async def test_a_shed_diff_is_not_silent(autojump_clock: MockClock) -> None:
    """A watcher whose outbox sheds is told once, with version 0, and sees the gap in its next diff."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(ada, "ab")
        await trio.sleep(1.0)
        ada.take()
        ada.sheds = True
        for status in ("away", "dnd"):
            bench.port.set_status(bob, 1, status, None)
            await trio.sleep(1.0)
        assert ada.take() == [{"t": "presence", "room": "lobby", "changes": [], "version": 0}]
        ada.sheds = False
        bench.port.set_status(bob, 1, "online", None)
        await trio.sleep(1.0)

        assert [envelope["version"] for envelope in ada.take()] == [4]
        statistics = bench.services.statistics
        assert (statistics.shed, statistics.typing) == (2, 0)
        ada.sheds = True
        bench.port.set_status(bob, 1, "away", None)
        await trio.sleep(1.0)
        assert [envelope["version"] for envelope in ada.take()] == [0]
        bench.close(ada)
        await trio.sleep(1.0)


async def test_a_shed_diff_of_users_watched_by_id_is_not_silent(autojump_clock: MockClock) -> None:
    """Without a room, version 0 says that a diff of the users watched by id was lost."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.port.watch_users(ada, 1, ["u_b"])
        await trio.sleep(1.0)
        ada.take()
        ada.sheds = True
        bench.port.set_status(bob, 1, "away", None)
        await trio.sleep(1.0)

        assert ada.take() == [{"t": "presence", "changes": [], "version": 0}]


async def test_a_session_that_is_closed_twice_ends_once(autojump_clock: MockClock) -> None:
    """Later words of a session that is over change nothing, and are told to come again."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(ada, "ab")
        await trio.sleep(1.0)
        ada.take()
        bench.close(bob)
        bench.port.session_closed(bob, clean=False)
        bench.port.set_status(bob, 4, "away", None)
        await trio.sleep(60.0)

        assert len(ada.take()) == 1
        assert [envelope["code"] for envelope in bob.take()] == ["unavailable"]


async def test_nothing_wakes_an_idle_node(autojump_clock: MockClock) -> None:
    """With watchers and nobody changing, an hour passes without a turn."""
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        bench.watch(ada, "ab")
        await trio.sleep(10.0)
        before = bench.ref.statistics().batches
        await trio.sleep(3600.0)

        assert bench.ref.statistics().batches == before
        assert autojump_clock.current_time() >= 3600.0


async def test_pressure_widens_the_interval(autojump_clock: MockClock) -> None:
    """At level 4 a change is told after four seconds."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b")
        bench.watch(ada, "ab")
        bench.port.set_pressure(4)
        bench.port.set_status(bob, 1, "away", None)
        await trio.sleep(3.9)
        assert diffs(ada.take()) == []
        await trio.sleep(0.2)

        assert len(diffs(ada.take())) == 1


# -- typing ---------------------------------------------------------------------------------------------


async def test_typing_reaches_the_rooms_subscribers(autojump_clock: MockClock) -> None:
    """Who types is named to the room half a second later, and ends by itself."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        bench.port.typing(ada, 3, "lobby", stop=False)
        await trio.sleep(10.0)

        assert ada.take() == [{"t": "ok", "id": 3}]
        assert bench.topics["lobby"].got == [
            {"t": "typing", "room": "lobby", "users": [{"user": "u_a", "name": "A"}], "count": 1},
            {"t": "typing", "room": "lobby", "users": [], "count": 0},
        ]
        assert bench.services.typing_rooms == set()


@pytest.mark.parametrize("how", ["stop", "sent", "close", "lose", "hide"])
async def test_typing_ends_at_once(autojump_clock: MockClock, how: str) -> None:
    """A stop, a message, the end of the session and becoming invisible all end it within an interval."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        bench.port.typing(ada, None, "lobby", stop=False)
        await trio.sleep(1.0)
        match how:
            case "stop":
                bench.port.typing(ada, None, "lobby", stop=True)
            case "sent":
                bench.port.sent("lobby", "u_a")
            case "hide":
                bench.port.set_status(ada, 1, "invisible", None)
            case _:
                bench.close(ada, clean=how == "close")
        await trio.sleep(1.0)

        assert [envelope["count"] for envelope in bench.topics["lobby"].got] == [1, 0]


async def test_a_message_right_behind_the_typing_ends_it(autojump_clock: MockClock) -> None:
    """A message that is told before the actor had its turn still ends the typing before it."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        await trio.sleep(1.0)
        bench.port.typing(ada, None, "lobby", stop=False)
        bench.port.sent("lobby", "u_a")
        await trio.sleep(10.0)

        assert bench.topics["lobby"].got == []


async def test_a_message_where_nobody_types_is_not_told(autojump_clock: MockClock) -> None:
    """The port drops what is of no use, so that chatting costs presence nothing."""
    del autojump_clock
    async with open_bench() as bench:
        bench.open(1, "a")
        await trio.sleep(1.0)
        before = bench.ref.statistics().messages
        bench.port.sent("lobby", "u_a")
        await trio.sleep(1.0)

        assert bench.ref.statistics().messages == before


async def test_the_invisible_are_not_shown_typing(autojump_clock: MockClock) -> None:
    """A notice of an invisible user is answered like any other, and told to nobody."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a", "invisible")
        bench.port.typing(ada, 3, "lobby", stop=False)
        await trio.sleep(10.0)

        assert ada.take() == [{"t": "ok", "id": 3}]
        assert bench.topics["lobby"].got == []
        assert bench.services.typing_rooms == set()


async def test_typing_is_off_in_large_rooms_and_unknown_ones(autojump_clock: MockClock) -> None:
    """Above a hundred subscribers, or where no room is active, a notice is answered and forgotten."""
    del autojump_clock
    async with open_bench() as bench:
        bench.topics["hall"] = FakeTopic(101)
        ada = bench.open(1, "a")
        bench.port.typing(ada, 1, "hall", stop=False)
        # At once: the actor has not had a turn.
        assert ada.take() == [{"t": "ok", "id": 1, "quiet": 120.0}]
        bench.port.typing(ada, 2, "nowhere", stop=False)
        await trio.sleep(10.0)

        assert [envelope["t"] for envelope in ada.take()] == ["ok"]
        assert bench.topics["hall"].got == []
        assert bench.services.typing_rooms == set()


async def test_a_room_that_went_away_is_told_nothing(autojump_clock: MockClock) -> None:
    """When a room leaves memory while somebody types, its typing ends without anybody to tell."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        bench.port.typing(ada, None, "lobby", stop=False)
        await trio.sleep(0.1)
        topic = bench.topics.pop("lobby")
        await trio.sleep(10.0)

        assert topic.got == []
        assert bench.services.typing_rooms == set()


# -- failure --------------------------------------------------------------------------------------------


async def test_a_crash_is_told_to_those_who_watched(autojump_clock: MockClock) -> None:
    """After a crash every session is told that its watches ended, and a new watch shows who is here."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob = bench.open(1, "a"), bench.open(2, "b", "dnd")
        bench.watch(bob, "ab")
        await trio.sleep(1.0)
        bob.breaks = True
        bench.port.set_status(ada, 1, "away", None)
        await trio.sleep(10.0)
        bob.breaks = False
        bench.watch(ada, "ab", request_id=2)
        await trio.sleep(1.0)

        reset = {"t": "presence", "all": True, "changes": [], "version": 0}
        got = ada.take()
        assert reset in got
        assert reset in bob.take()
        shown = got[-1]["presence"]
        assert isinstance(shown, list)
        # The registry of sessions is what counts: here it still says what the hello said.
        assert [item["status"] for item in shown] == ["online", "dnd"]
        assert bench.services.statistics.lives == 2


async def test_a_crash_reveals_nobody(autojump_clock: MockClock) -> None:
    """Who hid on a device that is closed since stays hidden through a crash."""
    del autojump_clock
    async with open_bench() as bench:
        ada, bob, phone = bench.open(1, "a"), bench.open(2, "b"), bench.open(3, "b")
        bench.port.set_status(phone, 1, "invisible", None)
        bench.close(phone)
        await trio.sleep(1.0)
        bench.services.overflowed = True
        bench.port.tick()
        await trio.sleep(10.0)
        ada.take()
        bench.watch(ada, "ab")
        bench.port.watch_users(bob, 2, ["u_b"])
        await trio.sleep(1.0)

        assert [envelope["counts"] for envelope in ada.take()] == [
            {"online": 1, "away": 0, "dnd": 0, "total": 2}
        ]
        assert "'invisible'" in str(bob.take()[-1])


async def test_a_request_that_crashes_presence_is_answered(autojump_clock: MockClock) -> None:
    """The request in whose turn presence crashed gets `unavailable`, those behind it their answer."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        await trio.sleep(1.0)
        bench.port.watch_room(ada, 1, "lobby", epoch=1, roster=Unreadable(), cursor=None, limit=1)
        bench.port.typing(ada, 2, "lobby", stop=False)
        await trio.sleep(10.0)

        answers = {envelope.get("id"): envelope for envelope in ada.take()}
        assert answers[1]["code"] == "unavailable"
        assert answers[2]["t"] == "ok"


async def test_a_full_mailbox_refuses_requests_and_loses_no_session(autojump_clock: MockClock) -> None:
    """Requests get `busy`; sessions that find no room at all make presence begin again from the registry."""
    del autojump_clock
    async with open_bench(mailbox=MailboxSpec(capacity=8)) as bench:
        ada = bench.open(0, "a")
        await trio.sleep(1.0)
        for request_id in range(10):
            bench.port.unwatch(ada, request_id, room="lobby")
        for session_id in range(1, 10):
            bench.open(session_id, "bcdefghij"[session_id - 1])
        bench.port.tick()
        await trio.sleep(10.0)
        bench.watch(ada, "abcdefghij", request_id=99)
        await trio.sleep(1.0)

        got = ada.take()
        assert "busy" in {envelope.get("code") for envelope in got}
        (shown,) = [envelope for envelope in got if envelope.get("id") == 99]
        assert shown["counts"] == {"online": 10, "away": 0, "dnd": 0, "total": 10}


async def test_a_full_mailbox_leaves_no_ghost(autojump_clock: MockClock) -> None:
    """A session whose end found no room, while its beginning still waited, is not shown as here."""
    del autojump_clock
    async with open_bench(mailbox=MailboxSpec(capacity=8)) as bench:
        ada = bench.open(0, "a")
        await trio.sleep(1.0)
        bobs = [bench.open(session_id, "b") for session_id in range(1, 9)]
        for bob in bobs:
            bench.close(bob)
        await trio.sleep(10.0)
        bench.watch(ada, "ab", request_id=99)
        await trio.sleep(1.0)

        assert ada.take()[-1]["counts"] == {"online": 1, "away": 0, "dnd": 0, "total": 2}


async def test_a_long_queue_is_worked_on_in_turns(autojump_clock: MockClock) -> None:
    """More messages than one turn takes are all answered, in more than one turn."""
    del autojump_clock
    async with open_bench() as bench:
        ada = bench.open(1, "a")
        await trio.sleep(1.0)
        before = bench.ref.statistics().batches
        for request_id in range(2000):
            bench.port.unwatch(ada, request_id, room="lobby")
        await trio.sleep(1.0)

        assert [envelope["id"] for envelope in ada.take()] == list(range(2000))
        assert bench.ref.statistics().batches - before >= 4


async def test_after_the_end_requests_are_refused_and_news_are_dropped(autojump_clock: MockClock) -> None:
    """At shutdown sessions outlive presence: nothing raises, requests are answered."""
    del autojump_clock
    async with open_bench(mailbox=MailboxSpec(capacity=8)) as bench:
        ada = bench.open(1, "a")
        bench.port.typing(ada, None, "lobby", stop=False)
        await trio.sleep(1.0)
        await bench.system.shutdown(deadline_s=1.0)
        ada.take()
        bench.services.typing_rooms.add("lobby")
        bench.port.sent("lobby", "u_a")
        bench.port.tick()
        bench.close(ada)
        bench.port.set_status(ada, 2, "away", None)

        assert [envelope["code"] for envelope in ada.take()] == ["unavailable"]
