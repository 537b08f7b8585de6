"""The client against a scripted server, in memory and on the virtual clock."""

import re
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from random import Random
from socket import socket
from typing import cast

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from chat.client import Client, ClientOptions, Encoding, open_client, split_url
from chat.client_errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionEnded,
    ConnectionLost,
    OutboundFull,
    RequestRefused,
    RequestTimeout,
)
from chat.client_feed import Connected, Disconnected, Notice, Update
from chat.client_options import dial_tcp
from chat.client_state import EventAdded, Left, Rewound, WasReset
from chat.outbound import Delivery, Outgoing
from tests.chat.fake_server import Envelope, FakeServer, FakeSession, Refusals, open_fake_server


def connect(
    server: FakeServer,
    *,
    options: ClientOptions | None = None,
    encoding: Encoding = "msgpack",
    on_update: Callable[[Update], None] | None = None,
    token: str | None = None,
    guest: str | None = "ada",
) -> AbstractAsyncContextManager[Client]:
    """A client of the fake server."""
    return open_client(
        "ws://fake/ws",
        rng=Random(7),  # noqa: S311  a test repeats itself
        guest=guest if token is None else None,
        token=token,
        encoding=encoding,
        options=options or ClientOptions(),
        on_update=on_update,
        dial=server.dial,
    )


def state_of(outgoing: Outgoing) -> Delivery:
    """The state as of now: a checker would take it for constant."""
    return outgoing.state


async def next_event(client: Client) -> Envelope:
    """The next room event among the updates."""
    async for update in client.events():
        if isinstance(update, EventAdded):
            return update.event
    raise AssertionError("the client has ended")


async def take_events(client: Client, count: int) -> list[int]:
    """The seqs of the next `count` room events."""
    return [cast("int", (await next_event(client))["seq"]) for _ in range(count)]


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
async def test_talks_in_both_encodings(autojump_clock: MockClock, encoding: Encoding) -> None:
    """What one client sends, another hears, and the sender learns its place for ever."""
    del autojump_clock
    async with (
        open_fake_server() as server,
        connect(server, encoding=encoding) as ada,
        connect(server, encoding=encoding, guest="bob") as bob,
    ):
        await ada.join("lobby", create=True)
        await bob.join("lobby")
        stored = await ada.send("lobby", "grüße 👋")
        heard = await next_event(bob)

        assert (stored.seq, stored.dup) == (1, False)
        assert heard["body"] == "grüße 👋"
        assert heard["by"] == ada.user_id != bob.user_id
        assert ada.welcome["user"] == {"id": ada.user_id, "name": "ada"}


async def test_comes_back_as_the_same_guest_and_resumes_where_it_was(autojump_clock: MockClock) -> None:
    """After a broken connection nothing is missed or doubled, and the guest's token is its identity."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        before = client.user_id
        await client.join("lobby", create=True)
        server.speak("lobby", "one")
        assert await take_events(client, 1) == [1]
        server.cut()
        server.speak("lobby", "two")
        server.speak("lobby", "three")

        assert await take_events(client, 2) == [2, 3]
        assert client.user_id == before
        assert [request.get("since") for request in server.asked("subscribe")] == [[1, 1]]
        assert server.asked("hello")[1].get("token") == client.guest_token
        assert "guest" not in server.asked("hello")[1]


async def test_fills_a_gap_from_history_before_it_goes_on(autojump_clock: MockClock) -> None:
    """Away for 300 events, the reader still gets every one of them in order, paged."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        server.speak("lobby", "0")
        await client.join("lobby")
        server.cut()
        for number in range(300):
            server.speak("lobby", str(number))

        assert await take_events(client, 301) == list(range(1, 302))
        assert len(server.asked("history")) == 3


async def test_a_live_hole_is_closed_by_asking_again(autojump_clock: MockClock) -> None:
    """An event that was never delivered shows as a hole in `seq` and is fetched."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        await client.join("lobby", create=True)
        server.room("lobby").append("message", "u_x", n=1, cid="lost", body="lost", name="x")
        server.speak("lobby", "seen")

        assert await take_events(client, 2) == [1, 2]


async def test_tells_a_rewind_and_sends_the_unconfirmed_again(autojump_clock: MockClock) -> None:
    """What the dead owner broadcast and did not store is taken back; our own message is stored after all."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        await client.join("lobby", create=True)
        server.speak("lobby", "kept")

        def accept_only(session: FakeSession, request: Envelope) -> bool:
            if request["t"] != "send":
                return False
            room = server.room("lobby")
            server.publish("lobby", room.append("message", session.user_id, cid=request["cid"], body="mine"))
            return True

        server.intercept = accept_only
        outgoing = client.post("lobby", "mine")
        assert await take_events(client, 2) == [1, 2]
        assert state_of(outgoing) is Delivery.ACCEPTED
        server.intercept = None
        server.room("lobby").rewind(1)
        server.cut()
        updates: list[Update] = []
        async for update in client.events():
            updates.append(update)
            if isinstance(update, EventAdded):
                break

        assert [type(update) for update in updates] == [Disconnected, Connected, Rewound, EventAdded]
        assert updates[2] == Rewound("lobby", 1)
        assert outgoing.retry
        await wait_all_tasks_blocked()
        assert state_of(outgoing) is Delivery.STORED
        assert [event["body"] for event in server.room("lobby").events] == ["kept", "mine"]


async def test_another_log_resets_the_room(autojump_clock: MockClock) -> None:
    """When the server's log is not the one that was known, the reader is told to drop it."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        server.room("lobby").epoch = 9
        server.speak("lobby", "old")
        await client.join("lobby")
        assert await take_events(client, 1) == [1]
        del server.rooms["lobby"]
        server.speak("lobby", "new")
        server.cut()
        updates = [await anext(client.events()) for _ in range(4)]

        assert isinstance(updates[2], WasReset)
        assert isinstance(updates[3], EventAdded)
        assert updates[3].event["body"] == "new"


async def test_every_message_is_stored_once_and_in_order_over_broken_connections(
    autojump_clock: MockClock,
) -> None:
    """Connections that break between any two answers neither lose, double nor reorder messages."""
    del autojump_clock
    async with open_fake_server() as server:
        count = 0

        def cut_often(session: FakeSession, request: Envelope) -> bool:
            nonlocal count
            del session
            count += 1
            if request["t"] == "send" and count % 7 == 0:
                server.cut()
                return count % 2 == 0
            return False

        async with connect(server, options=ClientOptions(unaccepted_max=4)) as client:
            await client.join("lobby", create=True)
            server.intercept = cut_often
            outgoing = [client.post("lobby", f"m{number}") for number in range(40)]
            last = await client.send("lobby", "last", timeout_s=3600)

            assert all(each.state is Delivery.STORED for each in outgoing)
            bodies = [event["body"] for event in server.room("lobby").events]
            assert bodies == [*(f"m{number}" for number in range(40)), "last"]
            assert last.seq == 41


async def test_waits_out_a_temporary_refusal_and_keeps_the_order(autojump_clock: MockClock) -> None:
    """`rate_limited` delays the room's messages by `retry_after` and lets none pass another."""
    async with open_fake_server() as server, connect(server) as client:
        refusals = Refusals()
        refusals.add("send", "rate_limited", temporary=True, retry_after=2.5)
        await client.join("lobby", create=True)
        server.intercept = refusals
        began_s = autojump_clock.current_time()
        first = client.post("lobby", "first")
        await client.send("lobby", "second")

        assert first.state is Delivery.STORED
        assert not first.retry
        assert [event["body"] for event in server.room("lobby").events] == ["first", "second"]
        assert 2.5 <= autojump_clock.current_time() - began_s < 3


async def test_a_final_refusal_is_raised_with_its_words(autojump_clock: MockClock) -> None:
    """A refused message raises what the server said, and the next message is not held up."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        refusals = Refusals()
        refusals.add("send", "too_large", field="body")
        await client.join("lobby", create=True)
        server.intercept = refusals
        with pytest.raises(RequestRefused, match="too_large") as caught:
            await client.send("lobby", "x" * 9000)
        assert (caught.value.code, caught.value.temporary, caught.value.field) == ("too_large", False, "body")
        assert (await client.send("lobby", "short")).seq == 1


@pytest.mark.parametrize("code", [4500, 4504, 4506])
async def test_a_terminal_close_ends_everything_with_a_typed_error(
    autojump_clock: MockClock, code: int
) -> None:
    """4500-4999 means do not come back: waits, later calls and the updates all say so."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:

        def close(session: FakeSession, request: Envelope) -> bool:
            session.close(code, "enough")
            return request["t"] == "ping"

        server.intercept = close
        with pytest.raises(ConnectionEnded, match="enough") as caught:
            await client.ping()
        assert caught.value.code == code
        with pytest.raises(ConnectionEnded):
            await client.rooms()
        with pytest.raises(ConnectionEnded):
            async for _ in client.events():
                pass
        assert len(server.dialled_at_s) == 1


async def test_comes_back_when_the_server_said_it_should(autojump_clock: MockClock) -> None:
    """`bye` with `retry_after` sets the wait, whatever the jitter would have been."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        closed_at_s = trio.current_time()
        server.sessions[0].close(4000, "restarting", retry_after_s=17.0)
        await client.ping(timeout_s=60)

        assert server.dialled_at_s[1] - closed_at_s == pytest.approx(17.0, abs=0.01)
        said = [await anext(client.events()) for _ in range(3)]
        assert said[-1] == Disconnected(4000, "restarting", 17.0)


async def test_reconnects_with_growing_jitter_while_nobody_listens(autojump_clock: MockClock) -> None:
    """Waits stay within 5, 10, 20, 30, 30 s of each other, and a request waits through all of it."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        server.refusing_dials = 4
        server.cut()
        await client.ping(timeout_s=120)
        dialled_s = server.dialled_at_s

        waits_s = [later - earlier for earlier, later in pairwise(dialled_s)]
        assert len(waits_s) == 5
        assert all(wait <= most for wait, most in zip(waits_s, [5, 10, 20, 30, 30], strict=True))
        assert len(set(waits_s)) == 5


async def test_a_request_that_is_no_repeat_says_that_the_connection_broke(autojump_clock: MockClock) -> None:
    """Whether `create` happened is unknown after a loss: the caller is told instead of a guess."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:

        def cut(session: FakeSession, request: Envelope) -> bool:
            del session
            server.cut()
            return request["t"] == "create"

        server.intercept = cut
        with pytest.raises(ConnectionLost):
            await client.create("lobby")


async def test_every_wait_ends(autojump_clock: MockClock) -> None:
    """A server that stays silent costs its time-out, for requests, joins and sends alike."""
    async with open_fake_server() as server, connect(server) as client:
        await client.join("lobby", create=True)
        server.intercept = lambda _session, _request: True
        began_s = autojump_clock.current_time()
        with pytest.raises(RequestTimeout):
            await client.request("rooms", timeout_s=3)
        with pytest.raises(RequestTimeout):
            await client.join("other", timeout_s=3)
        with pytest.raises(RequestTimeout):
            await client.send("lobby", "x", timeout_s=3)

        assert autojump_clock.current_time() - began_s == pytest.approx(9.0)
        assert client.position("other") is None


async def test_no_server_is_said_within_the_time_for_it(autojump_clock: MockClock) -> None:
    """The first connection is tried for `connect_timeout_s`, then the reason is raised."""
    async with open_fake_server() as server:
        server.refusing_dials = 10**6
        with pytest.raises(ConnectFailed, match="nobody listens"):
            async with connect(server, options=ClientOptions(connect_timeout_s=8)):
                pytest.fail("there is no server")
        assert autojump_clock.current_time() <= 8


@pytest.mark.parametrize(
    ("status", "words", "at_once"),
    [
        (404, "there is no chat server at this path (404); it is /ws", True),
        (403, "the server lets nobody in from here (403)", True),
        (503, "the server is starting, stopping or overloaded (503)", False),
        (500, "the server answered with HTTP 500", False),
    ],
)
async def test_an_http_answer_is_told_in_words(
    status: int, words: str, at_once: bool, autojump_clock: MockClock
) -> None:
    """What asking again does not change ends the first attempt at once; the rest is tried for a while."""
    dials = 0

    async def dial() -> trio.abc.Stream:
        nonlocal dials
        dials += 1
        ours, theirs = memory_stream_pair()
        await theirs.send_all(f"HTTP/1.1 {status} No\r\ncontent-length: 3\r\n\r\nno\n".encode())
        await theirs.send_eof()
        return ours

    with pytest.raises(ConnectFailed, match=re.escape(f"no connection to fake:80: {words}")):
        async with open_client("ws://fake/ws", rng=Random(7), guest="ada", dial=dial):  # noqa: S311
            pytest.fail("nobody was welcomed")

    assert (dials == 1) is at_once
    assert (autojump_clock.current_time() == 0) is at_once


async def test_a_refused_hello_is_raised_by_opening(autojump_clock: MockClock) -> None:
    """A token that the server does not know ends it at once."""
    del autojump_clock
    async with open_fake_server() as server:
        with pytest.raises(RequestRefused, match="unauthenticated"):
            async with connect(server, token="stolen"):
                pytest.fail("nobody was welcomed")


async def test_a_silent_connection_is_given_up(autojump_clock: MockClock) -> None:
    """Without a byte for `idle_timeout_s` the client looks for another connection."""
    async with open_fake_server() as server, connect(server) as client:
        await trio.sleep(100)
        await client.ping()

        assert len(server.dialled_at_s) >= 2
        assert server.dialled_at_s[1] >= 90
        assert autojump_clock.current_time() < 120


async def test_a_slow_reader_gets_everything_later(autojump_clock: MockClock) -> None:
    """When the feed is full the room pauses; answers still come, and the reader then gets every event."""
    del autojump_clock
    async with (
        open_fake_server() as server,
        connect(server, options=ClientOptions(feed_size=20)) as client,
    ):
        await client.join("lobby", create=True)
        for number in range(500):
            server.speak("lobby", str(number))
            if number % 50 == 0:
                await client.ping()
        assert (await client.send("lobby", "mine")).seq == 501

        assert await take_events(client, 501) == list(range(1, 502))


async def test_notices_are_dropped_and_counted_when_nobody_reads(autojump_clock: MockClock) -> None:
    """What is outside the log is shed first, and the loss is counted."""
    del autojump_clock
    async with open_fake_server() as server, connect(server, options=ClientOptions(feed_size=4)) as client:
        for _ in range(10):
            server.sessions[0].say({"t": "pressure", "level": 1, "reason": "test"})
        await client.ping()

        assert client.statistics().dropped == 7
        read = [await anext(client.events()) for _ in range(4)]
        assert [type(update) for update in read] == [Connected, Notice, Notice, Notice]


async def test_a_room_that_is_closed_to_us_is_told_once(autojump_clock: MockClock) -> None:
    """A followed room whose subscription is refused for good after a reconnect ends with `Left`."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        await client.join("lobby", create=True)
        refusals = Refusals()
        refusals.add("subscribe", "busy", temporary=True, retry_after=0.5)
        refusals.add("subscribe", "banned")
        server.intercept = refusals
        server.cut()
        updates = [await anext(client.events()) for _ in range(4)]

        assert isinstance(updates[3], Left)
        assert updates[3].refused.code == "banned"
        assert client.position("lobby") is None


async def test_a_refused_join_is_raised_and_a_busy_room_is_waited_for(autojump_clock: MockClock) -> None:
    """Joining retries what is temporary and raises what is final."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        refusals = Refusals()
        refusals.add("join", "busy", temporary=True)
        refusals.add("join", "room_full")
        server.intercept = refusals
        with pytest.raises(RequestRefused, match="room_full"):
            await client.join("lobby")
        assert (await client.join("lobby"))["mode"] == "fresh"


async def test_the_queue_of_messages_is_bounded(autojump_clock: MockClock) -> None:
    """`post` refuses above `queued_max`, and says so."""
    del autojump_clock
    async with open_fake_server() as server, connect(server, options=ClientOptions(queued_max=2)) as client:
        client.post("lobby", "1")
        client.post("lobby", "2")
        with pytest.raises(OutboundFull):
            client.post("lobby", "3")


async def test_closing_abandons_what_is_on_its_way_and_ends_waits(autojump_clock: MockClock) -> None:
    """After the block every message has a final state and every call says that the client was closed."""
    del autojump_clock
    async with open_fake_server() as server:
        async with connect(server) as client:
            server.intercept = lambda _session, _request: True
            outgoing = client.post("lobby", "x")
        assert outgoing.state is Delivery.ABANDONED
        with pytest.raises(ClientClosed):
            await client.ping()
        assert [update async for update in client.events()][1:] == []


async def test_an_exception_of_the_block_leaves_it_unwrapped(autojump_clock: MockClock) -> None:
    """Callers catch their own exceptions, not groups of them."""
    del autojump_clock
    async with open_fake_server() as server:
        with pytest.raises(ZeroDivisionError):
            async with connect(server):
                raise ZeroDivisionError


async def test_garbage_from_the_server_costs_the_connection_only(autojump_clock: MockClock) -> None:
    """An envelope that the protocol does not know is no reason to end: the client reconnects."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        server.sessions[0].say({"t": "event"})
        await client.ping(timeout_s=60)
        assert len(server.dialled_at_s) == 2
        said = [await anext(client.events()) for _ in range(2)]
        assert isinstance(said[1], Disconnected)
        assert "unreadable" in said[1].reason


async def test_updates_may_go_to_a_callback(autojump_clock: MockClock) -> None:
    """With `on_update` there is no buffer: every update is handed over as it comes."""
    del autojump_clock
    updates: list[Update] = []
    async with open_fake_server() as server, connect(server, on_update=updates.append) as client:
        await client.join("lobby", create=True)
        await client.send("lobby", "x")

        assert [type(update) for update in updates] == [Connected, EventAdded]
        with pytest.raises(RuntimeError):
            client.events()


async def test_leaving_ends_a_rooms_events(autojump_clock: MockClock) -> None:
    """After `unsubscribe` or `leave` the room is not followed again, not even after a reconnect."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        await client.join("one", create=True)
        await client.join("two", create=True)
        await client.leave("one")
        await client.unsubscribe("two")
        server.cut()
        await client.ping(timeout_s=60)

        assert server.asked("subscribe") == []


async def test_every_request_of_the_protocol_has_its_fields(autojump_clock: MockClock) -> None:
    """The convenience methods ask what protocol.md 3 names, and leave out what was not given."""
    del autojump_clock
    async with open_fake_server() as server, connect(server) as client:
        await client.create("lobby", topic="t", slow_s=1.5)
        await client.history("lobby", before=9, limit=5)
        await client.search("tea", room="lobby")
        await client.rooms(cursor="c")
        await client.room("lobby")
        await client.members("lobby")
        await client.presence("away", text="tea")
        await client.watch(users=["g_a"])
        await client.unwatch(room="lobby")
        await client.typing("lobby")
        await client.read("lobby", 7)
        asked = [{key: value for key, value in request.items() if key != "id"} for request in server.requests]

        assert asked[1:] == [
            {"t": "create", "room": "lobby", "kind": "public", "topic": "t", "slow": 1.5, "strict": False},
            {"t": "history", "room": "lobby", "before": 9, "limit": 5},
            {"t": "search", "query": "tea", "room": "lobby", "limit": 20},
            {"t": "rooms", "cursor": "c", "limit": 50},
            {"t": "room", "room": "lobby"},
            {"t": "members", "room": "lobby", "limit": 50},
            {"t": "presence", "status": "away", "text": "tea"},
            {"t": "watch", "users": ["g_a"], "limit": 50},
            {"t": "unwatch", "room": "lobby"},
            {"t": "typing", "room": "lobby", "stop": False},
            {"t": "read", "room": "lobby", "seq": 7},
        ]


def test_addresses_are_read_with_their_defaults() -> None:
    """A bare host, http and a missing path all mean the server's WebSocket."""
    assert split_url("ws://127.0.0.1:8000") == (False, "127.0.0.1", 8000, "/ws")
    assert split_url("wss://chat.example/x") == (True, "chat.example", 443, "/x")
    assert split_url("localhost:8000") == (False, "localhost", 8000, "/ws")
    with pytest.raises(ValueError, match="no WebSocket address"):
        split_url("ftp://x")


@pytest.mark.parametrize("tls", [None, ssl.create_default_context()], ids=["plain", "tls"])
async def test_an_address_where_nobody_listens_is_told_as_such(tls: ssl.SSLContext | None) -> None:
    """What people read is about the server, not about the attempts."""
    with socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(OSError, match=f"^no server answers at 127.0.0.1:{port}$"):
            await dial_tcp("127.0.0.1", port, tls)()
