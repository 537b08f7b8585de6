"""Ways around the limits that somebody found: each stays closed."""

from collections.abc import Mapping
from typing import Final

import pytest
import trio
import trio.testing

from chat.config import Config
from chat.errors import CloseCode
from storage.testing import Fault
from tests.sim.harness import CODECS, SimClient, both, open_sim, upgrade_request, virtual_time

ROOMS: Final = [f"room-{number:02}" for number in range(12)]
FAST: Final = Config(rate_limits=False)
FEW: Final = Config(rate_limits=False, subscriptions_max=3)
FAR: Final = "203.0.113.9"


async def _guest(client: SimClient, name: str) -> SimClient:
    await client.hello(name)
    return client


async def _make_rooms(client: SimClient) -> None:
    for room in ROOMS:
        await client.request("create", room=room)


def _breath(client: SimClient, *requests: Mapping[str, object]) -> bytes:
    return b"".join(client.frame(request) for request in requests)


# -- subscriptions ---------------------------------------------------------------------------------------


@virtual_time
async def test_leaving_rooms_one_is_no_member_of_gets_nobody_above_the_limit() -> None:
    """The leave is refused, the room delivers on, and so it counts on."""
    async with open_sim(FEW) as sim:
        ann, mal = await sim.connect("ann"), await sim.connect("mal")
        await _make_rooms(ann)
        for room in ROOMS:
            await mal.answer(await mal.send("subscribe", room=room))
            await mal.answer(await mal.send("leave", room=room))
        assert len([room for room in ROOMS if len(sim.node.topics.open(room, -1))]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("request_id", [None, 7])
@pytest.mark.parametrize("t", ["leave", "unsubscribe"])
@virtual_time
async def test_no_order_of_requests_in_one_breath_gets_anybody_above_the_limit(
    t: str, request_id: int | None
) -> None:
    """Rooms that are slow to answer, ids used twice, refusals in between: three rooms deliver at most."""
    async with open_sim(FEW) as sim:
        ann, mal = await sim.connect("ann"), await sim.connect("mal")
        await _make_rooms(ann)
        sim.faults["activate"] = Fault(before_s=1.0)
        requests: list[Mapping[str, object]] = []
        for room in ROOMS:
            requests += [
                {"t": "join", "room": room},
                {"t": "subscribe", "room": room},
                {"t": t, "room": room},
                {"t": "history", "room": room, "before": 1, "after": 1},
                {"t": "join", "room": room},
            ]
        numbered = [{**request, "id": request_id or 100 + n} for n, request in enumerate(requests)]
        await mal.write(_breath(mal, *numbered))
        await trio.sleep(30)
        topics = [sim.node.topics.get(room) for room in ROOMS]
        assert sum(len(topic) for topic in topics if topic is not None) <= 3
        mal.vanish()
        await trio.sleep(1)
        assert sum(len(topic) for topic in topics if topic is not None) == 0


@virtual_time
async def test_subscribing_again_and_again_is_limited_like_a_list() -> None:
    """Each answer is a page of events: the burst of lists passes, and after `retry_after` one more."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann")
        ids = [await ann.send("subscribe", room="tea", limit=100) for _ in range(40)]
        answers = [await ann.answer(request_id) for request_id in ids]
        refused = [answer for answer in answers if answer["t"] == "error"]
        assert len(refused) == 10
        assert {answer["code"] for answer in refused} == {"rate_limited"}
        retry_after = refused[-1]["retry_after"]
        assert isinstance(retry_after, float)
        await trio.sleep(retry_after)
        await ann.request("subscribe", room="tea")


# -- rooms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "fields"), [("create", {}), ("join", {"create": True})])
@virtual_time
async def test_rooms_are_made_at_a_limited_rate(t: str, fields: dict[str, object]) -> None:
    """Ten at once and one in five seconds; joining those that exist is as free as ever."""
    async with open_sim() as sim:
        ann = await sim.connect("ann")
        for number in range(10):
            await ann.request(t, room=f"new-{number}", **fields)
        refused = await ann.refused(t, room="one-more", **fields)
        assert (refused["code"], refused["retry_after"]) == ("rate_limited", pytest.approx(5, abs=0.1))
        await ann.request("join", room="new-3", create=True)
        await trio.sleep(5)
        await ann.request(t, room="one-more", **fields)


@virtual_time
async def test_a_new_guest_for_every_room_makes_no_more_of_them() -> None:
    """Guests from one address share its rate; those of another, and of loopback, have their own."""
    async with open_sim(Config(guests="on")) as sim:
        for number in range(10):
            guest = await _guest(await sim.open(peer=FAR), f"guest {number}")
            await guest.request("join", room=f"new-{number}", create=True)
        eleventh = await _guest(await sim.open(peer=FAR), "eleventh")
        assert (await eleventh.refused("create", room="one-more"))["code"] == "rate_limited"
        for peer in ("203.0.113.10", "127.0.0.1", "127.0.0.1"):
            other = await _guest(await sim.open(peer=peer), "other")
            for number in range(6):
                await other.request("create", room=f"{other.user_id.replace('_', '-')}-{number}")


@pytest.mark.parametrize(
    ("t", "fields"),
    [
        ("join", {}),
        ("subscribe", {}),
        ("unsubscribe", {}),
        ("leave", {}),
        ("send", {"cid": "1", "body": "x"}),
    ],
)
@virtual_time
async def test_names_of_rooms_cannot_be_tried_out_fast(t: str, fields: dict[str, object]) -> None:
    """Misses count like lists, also those that nobody waited for; one's own rooms are served meanwhile."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann")
        ids = [await ann.send(t, room=f"nowhere-{number}", **fields) for number in range(60)]
        codes = [(await ann.answer(request_id))["code"] for request_id in ids]
        assert set(codes) <= {"room_not_found", "rate_limited"}
        refused = await ann.refused(t, room="nowhere", **fields)
        assert refused["code"] == "rate_limited"
        await ann.request("send", room="tea", cid="mine", body="served")
        missed = len(ann.heard("error", code="room_not_found"))
        begun_s = trio.current_time()
        while trio.current_time() - begun_s < 20:
            await ann.send(t, room="nowhere", **fields)
            await trio.sleep(0.05)
        missed = len(ann.heard("error", code="room_not_found")) - missed
        assert missed <= 20 * 10


@virtual_time
async def test_a_private_room_and_none_are_told_apart_by_nothing() -> None:
    """The same answers in the same places, whether the room exists and is active or not."""
    answers: list[list[object]] = []
    for hidden in (True, False):
        async with open_sim() as sim:
            ann, mal = await sim.connect("ann"), await sim.connect("mal")
            await ann.request("create", room="attic" if hidden else "other", kind="private")
            answers.append([(await mal.refused("subscribe", room="attic"))["code"] for _ in range(80)])
    assert answers[0] == answers[1]
    assert set(answers[0]) == {"room_not_found", "rate_limited"}


# -- messages --------------------------------------------------------------------------------------------


@virtual_time
async def test_naming_many_rooms_does_not_renew_the_right_to_talk() -> None:
    """Nobody's own bucket is washed out, nor anybody else's."""
    async with open_sim(Config(frame_burst=10_000, list_burst=10_000)) as sim:
        ann, mal = await sim.join("tea", "ann", "mal")
        for who in (ann, mal):
            ids = [await who.send("send", room="tea", cid=f"{n}", body="x") for n in range(25)]
            assert [(await who.answer(i))["t"] for i in ids] == ["ok"] * 20 + ["error"] * 5
        for number in range(500):
            await mal.refused("send", room=f"nowhere-{number}", cid="1", body="x")
        for who in (ann, mal):
            assert (await who.refused("send", room="tea", cid="more", body="x"))["code"] == "rate_limited"


@both
@virtual_time
async def test_a_message_sent_again_does_not_wait_for_a_slow_page(codec: object) -> None:
    """What decides the order waits for nothing but its like; the page is answered in its own time."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)  # type: ignore[arg-type]
        sim.faults["history"] = Fault(before_s=5)
        pages = [await ann.send("history", room="tea", fold=True) for _ in range(2)]
        begun_s = trio.current_time()
        await ann.request("send", room="tea", cid="1", body="again", retry=True)
        again = await ann.send("send", room="tea", cid="2", body="again too", retry=True)
        pages.append(await ann.send("history", room="tea", fold=True))
        await ann.answer(again)
        assert trio.current_time() - begun_s < 1
        assert not any(page in ann.answers() for page in pages)
        for page in pages:
            assert (await ann.answer(page))["items"]


@virtual_time
async def test_everything_is_answered_when_both_mailboxes_are_full() -> None:
    """Pages behind messages behind pages, more than both hold: reading stops, goes on, none is lost."""
    async with open_sim(Config(rate_limits=False, session_mailbox=8)) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults["history"] = Fault(before_s=0.3)
        sim.faults["find_cids"] = Fault(before_s=0.1)
        requests: list[Mapping[str, object]] = []
        page = {"t": "history", "room": "tea", "fold": True}
        for number in range(40):
            send = {"t": "send", "room": "tea", "cid": f"{number}", "body": f"{number}", "retry": True}
            requests += [page, send, page]
        numbered = [{**request, "id": 100 + n} for n, request in enumerate(requests)]
        await ann.write(_breath(ann, *numbered))
        for request in numbered:
            assert (await ann.answer(int(str(request["id"]))))["t"] == "ok"
        assert ann.bodies("tea") == [f"{number}" for number in range(40)]
        assert not any(session.is_paused for session in sim.node.sessions)


# -- connections -----------------------------------------------------------------------------------------


@virtual_time
async def test_whoever_shakes_hands_while_the_server_stops_is_told_bye() -> None:
    """Let in before the drain began and entered after it: the answer, and then the way out.

    A key of one byte is odd, so the answer is trio-websocket's, which takes a few turns.
    """
    async with open_sim() as sim:
        late = SimClient(sim.dial(lockstep=True), CODECS[0])
        odd = upgrade_request(sec_websocket_protocol=CODECS[0].subprotocol, sec_websocket_key="x")
        await late.stream.send_all(odd)
        await trio.testing.wait_all_tasks_blocked()
        sim.node.readiness.drain()
        assert await late.upgrade(b"") == 101
        sim.start_reading(late)
        assert await late.wait_closed() == CloseCode.SHUTDOWN
        (bye,) = late.heard("bye")
        assert (bye["code"], bye["retry_after"]) == (4000, 2.0)
