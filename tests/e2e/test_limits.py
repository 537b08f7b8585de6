"""Rates and amounts: above them a client is told, slowed or ended, and nobody else waits (protocol.md 10)."""

from collections.abc import Mapping
from typing import Final

import pytest
import trio

from chat.codec import MSGPACK, Codec
from chat.config import Config
from chat.errors import CloseCode
from tests.e2e.scene import DEN, TEA, check_error, open_scene, read_log
from tests.sim.harness import (
    SimClient,
    both,
    upgrade_request,
    virtual_time,
)


async def _count_until_refused(
    client: SimClient, t: str, **fields: object
) -> tuple[int, Mapping[str, object]]:
    """How many requests pass at once, and the first refusal."""
    for count in range(1000):
        if "cid" in fields:
            fields["cid"] = f"count-{count}"
        answer = await client.answer(await client.send(t, **fields))
        if answer["t"] == "error":
            return count, answer
    raise AssertionError("nothing was refused")


@both
@pytest.mark.parametrize(
    ("t", "fields", "burst"),
    [
        ("send", {"room": TEA, "cid": "", "body": "x"}, 20),
        ("history", {"room": TEA}, 30),
        ("rooms", {}, 30),
        ("members", {"room": TEA}, 30),
        ("room", {"room": TEA}, 30),
        ("watch", {"room": TEA}, 30),
        ("typing", {"room": TEA}, 1),
        ("presence", {"status": "away"}, 1),
        ("ping", {}, 200),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@virtual_time
async def test_a_rate_is_limited_and_the_time_to_wait_is_true(
    codec: Codec, t: str, fields: dict[str, object], burst: int
) -> None:
    """The burst passes, the next is `rate_limited`, and after `retry_after` it passes."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await trio.sleep(30)
        passed, refused = await _count_until_refused(mal, t, **fields)
        assert passed == burst
        check_error(refused, "rate_limited", retries=True)
        retry_after = refused["retry_after"]
        assert isinstance(retry_after, float | int)
        await trio.sleep(retry_after)
        await mal.request(t, **{**fields, **({"cid": "later"} if "cid" in fields else {})})


@both
@virtual_time
async def test_slow_mode_says_when_the_next_message_may_come(codec: Codec) -> None:
    """In a slow room a member's second message is `slow_mode`; after `retry_after` it is taken."""
    async with open_scene(codec) as scene:
        await scene.stranger.request("create", room="slow", slow=30)
        mal = scene.culprit
        await mal.request("join", room="slow")
        await mal.request("send", room="slow", cid="1", body="one")
        await trio.sleep(10)
        answer = await mal.refused("send", room="slow", cid="2", body="two")
        check_error(answer, "slow_mode", retries=True)
        assert answer["retry_after"] == pytest.approx(20, abs=0.1)
        await trio.sleep(20)
        await mal.request("send", room="slow", cid="2", body="two")


@both
@virtual_time
async def test_a_connection_has_so_many_subscriptions_and_no_more(codec: Codec) -> None:
    """One above the limit is `forbidden`; unsubscribing makes room, and refused ones never counted."""
    async with open_scene(codec, Config(subscriptions_max=3)) as scene:
        mal = scene.culprit
        for room in ("one", "two"):
            await scene.stranger.request("create", room=room)
        await mal.request("subscribe", room=DEN)
        for _ in range(3):
            check_error(await mal.refused("subscribe", room="nowhere"), "room_not_found")
        await mal.request("subscribe", room="one")
        check_error(await mal.refused("subscribe", room="two"), "forbidden")
        check_error(await mal.refused("join", room="new", create=True), "forbidden")
        await mal.request("subscribe", room="one")
        await mal.request("unsubscribe", room="one")
        await mal.request("subscribe", room="two")


@both
@virtual_time
async def test_subscribing_in_one_breath_does_not_get_around_the_limit(codec: Codec) -> None:
    """Requests that the rooms have not answered yet count; the session leaves every room behind."""
    async with open_scene(codec, Config(subscriptions_max=3)) as scene:
        mal = scene.culprit
        rooms = [f"room-{number}" for number in range(8)]
        for room in rooms:
            await scene.stranger.request("create", room=room)
        requests = [{"t": "subscribe", "id": 100 + n, "room": room} for n, room in enumerate(rooms)]
        await mal.write(b"".join(mal.frame(request) for request in requests))
        answers = [await mal.answer(100 + number) for number in range(8)]
        assert [answer["t"] for answer in answers] == ["ok", "ok"] + ["error"] * 6
        mal.vanish()
        await trio.sleep(1)
        topics = [scene.sim.node.topics.get(room) for room in rooms]
        assert [len(topic) for topic in topics if topic is not None] == [0, 0]


@both
@virtual_time
async def test_a_hundred_frames_a_second_end_after_ten_seconds(codec: Codec) -> None:
    """Above the rate half is `rate_limited`; when it goes on for 10 s the connection ends with 4506."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        ping = mal.frame({"t": "ping", "id": 7})
        await mal.write(ping * 200)
        begun_s = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012  until the server has had enough
            for tick in range(150):
                await mal.write(ping * 10)
                await trio.sleep(0.1)
                if tick % 25 == 0:
                    await scene.check_served()
        assert await mal.wait_closed() == 4506
        assert mal.heard("bye", code=4506)
        assert 10 <= trio.current_time() - begun_s <= 12
        refusal = mal.heard("error", code="rate_limited")[0]
        check_error(refusal, "rate_limited", retries=True)
        assert 400 <= len(mal.heard("error")) <= 600


@both
@virtual_time
async def test_ten_thousand_frames_a_second_end_at_once(codec: Codec) -> None:
    """Four thousand refused frames are no mistake: 4506, and nobody else notices."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        ping = mal.frame({"t": "ping", "id": 7})
        begun_s = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012  until the server has had enough
            for _ in range(50):
                await mal.write(ping * 1000)
                await trio.sleep(0.1)
                await scene.check_served()
        assert await mal.wait_closed() == 4506
        assert trio.current_time() - begun_s < 5
        assert mal.heard("bye", code=4506)
        assert 4000 <= len(mal.heard("error")) <= 4010


@both
@virtual_time
async def test_a_burst_that_calms_down_is_forgiven(codec: Codec) -> None:
    """Short bursts above the rate, again and again, cost refusals and never the connection."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        ping = mal.frame({"t": "ping", "id": 7})
        for _ in range(6):
            await mal.write(ping * 400)
            await trio.sleep(5)
        assert mal.closed_with is None
        await mal.request("ping")


@both
@virtual_time
async def test_undecodable_frames_are_answered_three_times(codec: Codec) -> None:
    """Three get an error each, without an id, and the connection works; the fourth ends it with 4501."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        for _ in range(3):
            await mal.send_payload(b"\xc1")
            answer = await mal.expect("error")
            check_error(answer, "bad_request")
            assert "id" not in answer
            await mal.request("ping")
        await mal.send_payload(b"\xc1")
        assert await mal.wait_closed() == 4501
        assert mal.heard("bye", code=4501)


@both
@virtual_time
async def test_a_room_with_a_full_mailbox_is_busy(codec: Codec) -> None:
    """What does not fit is `busy` at once, with a time to wait; what fits is stored, in order."""
    config = Config(room_mailbox=16, room_mailbox_reserve=8, rate_limits=False)
    async with open_scene(codec, config) as scene:
        mal = scene.culprit
        sends = [{"t": "send", "id": 100 + n, "room": TEA, "cid": f"c{n}", "body": f"{n}"} for n in range(40)]
        await mal.write(b"".join(mal.frame(send) for send in sends))
        answers = [await mal.answer(100 + number) for number in range(40)]
        stored = [answer for answer in answers if answer["t"] == "ok"]
        assert len(stored) == 8
        assert [answer["seq"] for answer in stored] == list(range(2, 10))
        for answer in answers[8:]:
            check_error(answer, "busy", retries=True)


@virtual_time
async def test_a_client_that_never_reads_is_closed_and_nobody_else_waits() -> None:
    """4002 in the books for the one who does not read; the others get everything meanwhile."""
    config = Config(outbox_max_bytes=128 * 1024, rate_limits=False)
    async with open_scene(config=config) as scene:
        deaf = SimClient(scene.sim.dial(lockstep=True), MSGPACK)
        assert await deaf.upgrade(upgrade_request(sec_websocket_protocol=MSGPACK.subprotocol)) == 101
        await deaf.write(deaf.frame({"t": "hello", "id": 1, "guest": "deaf"}))
        await deaf.write(deaf.frame({"t": "subscribe", "id": 2, "room": TEA}))
        for number in range(40):
            await scene.culprit.request("send", room=TEA, cid=f"{number}", body="x" * 8000)
            await scene.neighbour.expect("event", cid=f"{number}")
        await trio.sleep(20)
        assert scene.sim.node.metrics.closed[CloseCode.SLOW_CONSUMER] == 1
        assert scene.sim.node.metrics.counts.slow_consumers == 1
        assert len(scene.sim.node.sessions) == 3


LONG: Final = "\x01" * 8192
"""8 KiB in msgpack, six times as much in JSON, where each of these characters is escaped."""


@both
@virtual_time
async def test_a_room_full_of_long_messages_can_be_joined_and_read(codec: Codec) -> None:
    """What is larger than an outbox comes in parts: nobody is called slow for having asked."""
    async with open_scene(codec, Config(rate_limits=False)) as scene:
        for number in range(60):
            await scene.stranger.request("send", room=DEN, cid=f"{number}", body=LONG)
        mal = scene.culprit
        joined = await mal.request("join", room=DEN)
        resumed = await mal.request("subscribe", room=DEN, since=[1, 20])
        assert (joined["mode"], resumed["mode"]) == ("fresh", "gap")
        for answer in (joined, resumed):
            events = answer["events"]
            assert isinstance(events, list)
            assert events
            assert [event["seq"] for event in events] == list(range(62 - len(events), 62))
        log = await read_log(mal, DEN)
        assert len(log) == 61
        page = await mal.request("history", room=DEN, around=30, limit=100)
        items = page["items"]
        assert isinstance(items, list)
        assert 30 in {event["seq"] for event in items}
        forwards = await mal.request("history", room=DEN, after=3, limit=100)
        assert isinstance(forwards["items"], list)
        assert forwards["items"][0]["seq"] == 4
        assert forwards["next"] == forwards["items"][-1]["seq"]
        assert mal.closed_with is None


@both
@virtual_time
async def test_coming_back_to_many_busy_rooms_at_once_is_not_slowness(codec: Codec) -> None:
    """Sixty rooms with long tails, asked for in one breath: every one is answered, in order."""
    async with open_scene(codec, Config(rate_limits=False)) as scene:
        rooms = [f"room-{number:02}" for number in range(60)]
        for room in rooms:
            await scene.stranger.request("create", room=room)
            for number in range(10):
                await scene.stranger.request("send", room=room, cid=f"{number}", body="x" * 8000)
        mal = scene.culprit
        requests = [{"t": "subscribe", "id": 100 + n, "room": room} for n, room in enumerate(rooms)]
        pages = [{"t": "history", "id": 200 + n, "room": room} for n, room in enumerate(rooms)]
        await mal.write(b"".join(map(mal.frame, [*requests, *pages])))
        for request in [*requests, *pages]:
            answer = await mal.expect("ok", id=request["id"])
            assert answer["room"] == request["room"]
        assert mal.closed_with is None


@both
@virtual_time
async def test_a_peer_that_answers_no_ping_is_gone(codec: Codec) -> None:
    """4003, ten seconds after a ping that followed 25 seconds (within a fifth) of silence."""
    async with open_scene(codec) as scene:
        dead = await scene.sim.connect("dead", codec)
        dead.answers_pings = False
        begun_s = trio.current_time()
        assert await dead.wait_closed() == 4003
        assert 25 * 0.8 + 10 <= trio.current_time() - begun_s <= 25 * 1.2 + 10 + 2
        assert dead.pings == 1
        assert dead.heard("bye", code=4003)


@both
@virtual_time
async def test_a_token_that_ends_takes_its_session_along(codec: Codec) -> None:
    """4004 when the token's time is over, with a time to come back."""
    async with open_scene(codec, Config(guest_days=1)) as scene:
        guest = await scene.sim.connect("brief", codec)
        session = scene.sim.node.sessions[-1]
        assert session.expires_at_ms is not None
        session.expires_at_ms -= 86_000_000
        await trio.sleep(401)
        assert await guest.wait_closed() == 4004
        (bye,) = guest.heard("bye")
        assert bye["retry_after"]
