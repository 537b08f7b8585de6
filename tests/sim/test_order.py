"""In which order requests take effect, and that each is answered exactly once whatever breaks on the way."""

from collections.abc import Callable
from typing import Final

import pytest
import trio

from chat import room_news
from chat.automod import Standing
from chat.codec import MSGPACK, Codec
from chat.config import Config
from chat.protocol import Envelope
from chat.room_state import RoomState
from storage import Unavailable
from storage.model import LogEntry
from storage.testing import Fault
from tests.sim.harness import Sim, SimClient, both, open_sim, upgrade_request, virtual_time

FAST: Final = Config(rate_limits=False)


def _sends(client: SimClient, where: str, *, first_id: int, count: int) -> bytes:
    """Frames of as many messages, `first_id` and up."""
    return b"".join(
        client.frame(
            {"t": "send", "id": first_id + n, "room": where, "cid": f"{first_id + n}", "body": f"{n}"}
        )
        for n in range(count)
    )


async def _stored(client: SimClient, where: str) -> list[object]:
    """What history has of a room, after a look at its numbers."""
    page = await client.request("history", room=where, limit=100)
    items = page["items"]
    assert isinstance(items, list)
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
    return [item["body"] for item in items if item["kind"] == "message"]


# -- order -----------------------------------------------------------------------------------------------


@both
@virtual_time
async def test_a_whole_session_in_one_segment_works(codec: Codec) -> None:
    """Handshake, hello, join, sends and more in one piece: each takes effect after the one before."""
    async with open_sim() as sim:
        client = SimClient(sim.dial(), codec)
        requests: list[Envelope] = [
            {"t": "hello", "id": 1, "guest": "ann"},
            {"t": "join", "id": 2, "room": "tea", "create": True},
            *({"t": "send", "id": 10 + n, "room": "tea", "cid": f"{n}", "body": f"{n}"} for n in range(5)),
            {"t": "leave", "id": 20, "room": "tea"},
            {"t": "ping", "id": 21},
        ]
        handshake = upgrade_request(sec_websocket_protocol=codec.subprotocol)
        assert await client.upgrade(handshake + b"".join(map(client.frame, requests))) == 101
        sim.start_reading(client)
        assert (await client.answer(1))["t"] == "welcome"
        assert (await client.answer(2))["mode"] == "fresh"
        assert [(await client.answer(10 + n))["seq"] for n in range(5)] == [1, 2, 3, 4, 5]
        assert (await client.answer(20))["code"] == "forbidden"
        assert (await client.answer(21))["t"] == "ok"
        assert client.bodies("tea") == [f"{n}" for n in range(5)]


@both
@virtual_time
async def test_requests_behind_a_hello_that_fails_are_answered_too(codec: Codec) -> None:
    """Nobody is welcomed, so each of them is `unauthenticated`, and the next hello counts."""
    async with open_sim() as sim:
        client = await sim.open(codec)
        requests: list[Envelope] = [
            {"t": "hello", "id": 1, "guest": ""},
            {"t": "join", "id": 2, "room": "tea", "create": True},
            {"t": "hello", "id": 3, "guest": "ann"},
            {"t": "join", "id": 4, "room": "tea", "create": True},
        ]
        await client.write(b"".join(map(client.frame, requests)))
        assert (await client.answer(1))["code"] == "bad_request"
        assert (await client.answer(2))["code"] == "unauthenticated"
        assert (await client.answer(3))["t"] == "welcome"
        assert (await client.answer(4))["t"] == "ok"


@both
@virtual_time
async def test_a_slow_page_of_history_delays_no_message(codec: Codec) -> None:
    """Later sends are stored while the page is still being read."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        sim.faults["history"] = Fault(before_s=5)
        page = await ann.send("history", room="tea", fold=True)
        begun_s = trio.current_time()
        await ann.request("send", room="tea", cid="1", body="quick")
        assert trio.current_time() - begun_s < 1
        assert page not in ann.answers()
        assert (await ann.answer(page))["items"]


@both
@virtual_time
async def test_messages_behind_a_re_sent_one_wait_for_its_look_up(codec: Codec) -> None:
    """The look-up takes a while; the order in the room is the order of sending all the same."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        sim.faults["find_cids"] = Fault(before_s=2)
        bodies = ["again", "new", "again too", "newer", "newest"]
        for number, body in enumerate(bodies):
            await ann.send("send", room="tea", cid=f"{number}", body=body, retry=body.startswith("again"))
        await ann.expect("event", body="newest")
        assert ann.bodies("tea") == bodies
        assert await _stored(ann, "tea") == bodies


@both
@virtual_time
async def test_a_session_whose_mailbox_is_full_is_read_no_further(codec: Codec) -> None:
    """Back-pressure: nothing is lost or refused, everything is answered, and its pongs are not judged."""
    async with open_sim(Config(rate_limits=False, session_mailbox=8)) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        sim.faults["history"] = Fault(before_s=1)
        pages = [{"t": "history", "id": 1000 + n, "room": "tea", "fold": True} for n in range(60)]
        await ann.write(b"".join(map(ann.frame, pages)) + _sends(ann, "tea", first_id=2000, count=3))
        await trio.sleep(1)
        assert any(session.is_paused for session in sim.node.sessions)
        await bob.request("send", room="tea", cid="1", body="not delayed")
        for page in pages:
            assert (await ann.answer(page["id"]))["t"] == "ok"  # type: ignore[arg-type]
        assert [(await ann.answer(2000 + n))["t"] for n in range(3)] == ["ok"] * 3
        assert ann.closed_with is None
        assert not any(session.is_paused for session in sim.node.sessions)


@both
@virtual_time
async def test_a_paused_session_takes_fragments_in_order(codec: Codec) -> None:
    """The slow way of fragmented messages stops and goes on like the short one."""
    async with open_sim(Config(rate_limits=False, session_mailbox=8)) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        sim.faults["find_cids"] = Fault(before_s=1)
        frames = bytearray()
        for number in range(40):
            frame = ann.frame(
                {
                    "t": "send",
                    "id": 100 + number,
                    "room": "tea",
                    "cid": f"{number}",
                    "body": f"{number}",
                    "retry": True,
                }
            )
            if number % 2:
                # The same message as two fragments.
                payload = codec.encode(
                    {"t": "send", "id": 100 + number, "room": "tea", "cid": f"{number}", "body": f"{number}"}
                )
                whole = ann.frame_of(payload[:9])
                frame = bytes((whole[0] & 0x7F,)) + whole[1:]
                rest = ann.frame_of(payload[9:])
                frame += bytes((rest[0] & 0xF0,)) + rest[1:]
            frames += frame
        await ann.write(bytes(frames))
        for number in range(40):
            assert (await ann.answer(100 + number))["t"] == "ok"
        assert ann.bodies("tea") == [f"{number}" for number in range(40)]


# -- exactly one answer ----------------------------------------------------------------------------------


class Crash:
    """Makes the n-th call of a function raise, and counts the calls."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0

    def strike(self) -> None:
        """Count a call; raise when it is the one."""
        self.calls += 1
        if self.calls == self.at:
            raise ZeroDivisionError


def _crash_in_broadcast(monkeypatch: pytest.MonkeyPatch, crash: Crash) -> None:
    """Crash the room between the writer's having an entry and the subscribers' seeing it."""
    as_event = room_news.as_event

    def broken(name: str, entry: LogEntry) -> Envelope:
        crash.strike()
        return as_event(name, entry)

    monkeypatch.setattr(room_news, "as_event", broken)


def _crash_in_ordering(monkeypatch: pytest.MonkeyPatch, crash: Crash) -> None:
    """Crash the room before it has ordered a message."""
    order_message = RoomState.order_message

    def broken(
        state: RoomState,
        *,
        by: str,
        name: str,
        cid: str,
        body: str,
        reply_to: int | None,
        thread: int | None,
        now_ms: int,
        reviewed: bool,
        standing: Standing,
    ) -> object:
        crash.strike()
        return order_message(
            state,
            by=by,
            name=name,
            cid=cid,
            body=body,
            reply_to=reply_to,
            thread=thread,
            now_ms=now_ms,
            reviewed=reviewed,
            standing=standing,
        )

    monkeypatch.setattr(RoomState, "order_message", broken)


@pytest.mark.parametrize("at", [1, 2, 7, 20])
@pytest.mark.parametrize("where", [_crash_in_broadcast, _crash_in_ordering])
@virtual_time
async def test_a_room_that_crashes_answers_every_request_once_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, where: Callable[[pytest.MonkeyPatch, Crash], None], at: int
) -> None:
    """What was ordered is stored, what was not is refused for a moment; re-sent, each is there once."""
    async with open_sim(FAST, errors=["actor.crashed"]) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        where(monkeypatch, Crash(at))
        await ann.write(_sends(ann, "tea", first_id=100, count=20))
        answers = [await ann.answer(100 + n) for n in range(20)]
        await trio.sleep(5)
        assert [ann.answers()[100 + n] for n in range(20)] == [1] * 20
        refused = [answer for answer in answers if answer["t"] == "error"]
        assert all(answer["temporary"] for answer in refused)
        for answer in refused:
            number = int(str(answer["id"])) - 100
            await ann.request("send", room="tea", cid=f"{100 + number}", body=f"{number}", retry=True)
        assert sorted(map(int, map(str, await _stored(bob, "tea")))) == list(range(20))
        assert bob.bodies("tea") == await _stored(bob, "tea")
        assert sorted(ann.bodies("tea"), key=str) == sorted(bob.bodies("tea"), key=str)


@virtual_time
async def test_a_commit_whose_answer_is_lost_is_acknowledged_once() -> None:
    """The writer sends the batch again; the sender hears of it once, and so does history."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults["append"] = Fault(lost=Unavailable("the answer was lost"))
        await ann.write(_sends(ann, "tea", first_id=100, count=10))
        await trio.sleep(3)
        sim.faults.clear()
        assert [(await ann.answer(100 + n))["seq"] for n in range(10)] == list(range(1, 11))
        assert ann.answers().total() == 2 + 10
        assert len(await _stored(ann, "tea")) == 10


@virtual_time
async def test_a_message_sent_again_before_it_is_stored_is_stored_once() -> None:
    """Both requests are answered, with one seq; the second as a duplicate."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults["append"] = Fault(before_s=1)
        first = await ann.send("send", room="tea", cid="1", body="hello")
        twin = await ann.send("send", room="tea", cid="1", body="hello")
        late = await ann.send("send", room="tea", cid="1", body="hello", retry=True)
        answers = [await ann.answer(request_id) for request_id in (first, twin, late)]
        assert [answer["seq"] for answer in answers] == [1, 1, 1]
        assert [answer.get("dup", False) for answer in answers] == [False, True, True]
        assert await _stored(ann, "tea") == ["hello"]


async def _fence(sim: Sim, where: str) -> None:
    """Have another owner take the room."""
    await sim.store.activate(where, tail_events=1, at_ms=0)


@virtual_time
async def test_a_room_that_lost_its_epoch_answers_everybody_and_harms_no_other_room() -> None:
    """All messages of a stale owner are refused for a moment, in later batches, too; others are stored."""
    config = Config(rate_limits=False, writers=1, writer_batch_rows=3)
    async with open_sim(config, errors=[]) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        (sam,) = await sim.join("den", "sam")
        late = await sim.connect("late")
        await ann.request("send", room="tea", cid="before", body="before")
        await _fence(sim, "tea")
        sim.faults["append"] = Fault(before_s=0.5)
        for number in range(10):
            await ann.write(_sends(ann, "tea", first_id=100 + number, count=1))
            await sam.write(_sends(sam, "den", first_id=100 + number, count=1))
        join = await late.send("join", room="tea")
        leave = await bob.send("leave", room="tea")
        await trio.sleep(20)
        assert [sam.answers()[100 + number] for number in range(10)] == [1] * 10
        assert len(sam.heard("ok")) == 1 + 10
        # Subscribers are closed with 4006; who was not subscribed any more, or not yet, stays and has heard.
        assert ann.closed_with == 4006
        assert bob.answers()[leave] == 1
        assert late.answers()[join] == 1
        assert bob.closed_with is late.closed_with is None
        again = await sim.connect("again")
        await again.request("join", room="tea")
        assert await _stored(again, "tea") == ["before"]


@virtual_time
async def test_senders_who_are_not_subscribed_hear_that_the_room_has_moved() -> None:
    """Each of their messages is answered exactly once, twins included."""
    config = Config(rate_limits=False, writers=1, writer_batch_rows=3)
    async with open_sim(config) as sim:
        (ann,) = await sim.join("tea", "ann")
        await ann.request("unsubscribe", room="tea")
        await _fence(sim, "tea")
        sim.faults["append"] = Fault(before_s=0.5)
        await ann.write(_sends(ann, "tea", first_id=100, count=10))
        twin = await ann.send("send", room="tea", cid="100", body="0")
        await trio.sleep(20)
        assert [ann.answers()[100 + number] for number in range(10)] == [1] * 10
        assert ann.answers()[twin] == 1
        assert {answer["code"] for answer in ann.heard("error")} == {"unavailable"}
        sim.faults.clear()
        await ann.request("send", room="tea", cid="100", body="0", retry=True)
        assert await _stored(ann, "tea") == ["0"]


@both
@virtual_time
async def test_joining_and_creating_at_once_makes_one_room(codec: Codec) -> None:
    """Many who join a room that is not there yet, in the same instant, all get in, and one is its owner."""
    async with open_sim(FAST) as sim:
        clients = [await sim.connect(f"guest {n}", codec) for n in range(12)]
        ids = [await client.send("join", room="new", create=True) for client in clients]
        for client, request_id in zip(clients, ids, strict=True):
            assert (await client.answer(request_id))["t"] == "ok"
        members = await clients[0].request("members", room="new")
        assert isinstance(members["items"], list)
        roles = [member["role"] for member in members["items"]]
        assert sorted(roles) == ["member"] * 11 + ["owner"]


@virtual_time
async def test_a_stop_answers_what_was_taken_and_says_goodbye() -> None:
    """Every message that was sent before the stop is stored and answered; then comes `bye`, with 4000."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        sim.faults["append"] = Fault(before_s=1)
        await ann.write(_sends(ann, "tea", first_id=100, count=10))
        await bob.expect("event", body="9")
        await sim.stop()
        assert await ann.wait_closed() == await bob.wait_closed() == 4000
        assert [ann.answers()[100 + n] for n in range(10)] == [1] * 10
        (bye,) = ann.heard("bye")
        assert bye["code"] == 4000
        assert bye["retry_after"]
        assert ann.received[-1] == bye


@virtual_time
async def test_a_lost_subscriber_is_delivered_to_no_more() -> None:
    """Whatever a session had asked for when it went, no room keeps it."""
    config = Config(rate_limits=False, room_mailbox=16, room_mailbox_reserve=8)
    async with open_sim(config) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        # The mailbox is full, so the unsubscription is refused: bob stays subscribed until he goes.
        await ann.write(_sends(ann, "tea", first_id=100, count=20))
        unsubscribe = bob.frame({"t": "unsubscribe", "id": 900, "room": "tea"})
        sends = _sends(bob, "tea", first_id=100, count=20)
        await bob.write(sends + unsubscribe)
        refused = await bob.answer(900)
        assert refused["code"] == "busy"
        bob.vanish()
        await trio.sleep(1)
        topic = sim.node.topics.get("tea")
        assert topic is not None
        assert len(topic) == 1
        assert MSGPACK.index == 0
