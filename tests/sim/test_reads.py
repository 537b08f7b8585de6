"""Read pointers, and what is unread, over the wire, in both encodings."""

from typing import Final

import pytest
import trio

from chat.codec import JSON, MSGPACK, Codec
from chat.config import Config
from storage import MemoryStore, Unavailable
from storage.testing import Fault
from tests.sim.harness import Envelope, Sim, SimClient, both, items, open_sim, virtual_time

FAST: Final = Config(rate_limits=False)


async def say(client: SimClient, *bodies: str, room: str = "tea") -> None:
    """Messages to a room."""
    for body in bodies:
        await client.request("send", room=room, cid=f"say-{len(client.received)}", body=body)


async def enter_twice(sim: Sim, name: str, codec: Codec) -> tuple[SimClient, SimClient, object]:
    """A guest on two connections, the second one in the other encoding; and the token for more."""
    first = await sim.open(codec)
    token = (await first.come_in(guest=name))["token"]
    second = await sim.enter(token, JSON if codec is MSGPACK else MSGPACK)
    return first, second, token


async def badge(sim: Sim, token: object, codec: Codec = MSGPACK) -> tuple[object, object, object]:
    """What a welcome, and the list of one's rooms, say of the one room of a user."""
    client = await sim.open(codec)
    welcome = await client.come_in(token=token)
    rooms = welcome["rooms"]
    assert isinstance(rooms, list)
    assert items(await client.request("rooms", mine=True)) == rooms
    await client.close()
    (room,) = rooms
    return room["read"], room["unread"], room["mentions"]


def heard(client: SimClient) -> list[Envelope]:
    """The pointers that a client heard of."""
    return client.heard("read")


@both
@virtual_time
async def test_a_pointer_is_shared_with_all_of_ones_sessions_at_once(codec: Codec) -> None:
    """The one that asked has its answer, too; a session that follows nothing hears of it as well."""
    async with open_sim(FAST) as sim:
        ann, phone, _ = await enter_twice(sim, "ann", codec)
        await ann.request("join", room="tea", create=True)
        await say(ann, "one", "two")

        answer = await ann.request("read", room="tea", seq=2)

        assert answer == {"t": "ok", "id": answer["id"], "read": 2}
        pointer = {"t": "read", "room": "tea", "user": ann.user_id, "seq": 2}
        assert [heard(one) for one in (ann, phone)] == [[pointer]] * 2
        assert (await phone.request("read", room="tea", seq=1))["read"] == 2
        assert [len(heard(one)) for one in (ann, phone)] == [1, 1]


@both
@virtual_time
async def test_a_welcome_counts_what_is_unread(codec: Codec) -> None:
    """Messages of others after the pointer, and those that mention one by their present texts."""
    async with open_sim(FAST) as sim:
        bob, _, token = await enter_twice(sim, "bob", codec)
        (ann,) = await sim.join("tea", "ann")
        await say(ann, "before bob")
        await bob.request("join", room="tea")
        assert await badge(sim, token, codec) == (1, 0, 0)
        await say(ann, "hi @bob", "hi @here and @bob", "nobody")
        await say(bob, "mine, @bob @here")
        await ann.request("react", room="tea", seq=2, emoji="👍")
        assert await badge(sim, token, codec) == (1, 3, 2)
        await ann.request("edit", room="tea", seq=2, body="hi all")
        await ann.request("edit", room="tea", seq=4, body="hi @BOB")
        await ann.request("delete", room="tea", seq=3)
        assert await badge(sim, token, codec) == (1, 3, 1)
        await bob.request("read", room="tea", seq=3)
        assert await badge(sim, token, codec) == (3, 1, 1)
        await bob.request("read", room="tea", seq=9)
        assert await badge(sim, token, codec) == (9, 0, 0)
        await say(ann, "more")
        assert await badge(sim, token, codec) == (9, 1, 0)


@both
@virtual_time
async def test_members_of_small_rooms_see_how_far_the_others_are(codec: Codec) -> None:
    """From the list when they come, from events afterwards; outsiders see neither."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        outsider = await sim.connect("eve", codec)
        await outsider.request("subscribe", room="tea")
        await say(ann, "one", "two")
        await bob.request("read", room="tea", seq=1)
        members = {item["user"]: item.get("read") for item in items(await ann.request("members", room="tea"))}
        assert members == {ann.user_id: 0, bob.user_id: 1}
        assert len(heard(ann)) == 1
        seen = items(await outsider.request("members", room="tea"))
        assert [set(item) for item in seen] == [{"user", "name", "role"}] * 2
        assert heard(outsider) == []


@virtual_time
async def test_lists_of_large_rooms_tell_no_pointers() -> None:
    """As nobody hears of the others' there."""
    async with open_sim(FAST) as sim:
        clients = await sim.join("tea", *(f"guest {number}" for number in range(51)))
        await say(clients[0], "one")
        await clients[1].request("read", room="tea", seq=1)
        assert heard(clients[0]) == []
        listed = items(await clients[0].request("members", room="tea", limit=100))
        assert [item.get("read") for item in listed] == [None] * 51
        await clients[2].request("leave", room="tea")
        listed = items(await clients[0].request("members", room="tea", limit=100))
        assert sorted(str(item.get("read")) for item in listed) == ["0"] * 49 + ["1"]


@virtual_time
async def test_a_pointer_is_answered_when_it_is_stored_and_survives() -> None:
    """While the database is away nothing is said; the next server knows what was answered."""
    store = MemoryStore()
    async with open_sim(FAST, store=store) as sim:
        ann, _, token = await enter_twice(sim, "ann", MSGPACK)
        await ann.request("join", room="tea", create=True)
        await say(ann, "one")
        sim.faults["move_pointers"] = Fault(refusal=Unavailable("away"))
        asked = await ann.send("read", room="tea", seq=1)
        await trio.sleep(10.0)
        assert ann.answers()[asked] == 0
        sim.faults.clear()
        assert (await ann.answer(asked))["read"] == 1
    async with open_sim(FAST, store=store) as sim:
        assert await badge(sim, token) == (1, 0, 0)


@pytest.mark.parametrize("call", ["move_pointers", "append"])
@virtual_time
async def test_what_was_read_before_a_stop_is_stored_and_answered(call: str) -> None:
    """The end of a server waits for it, and for the message that it is at."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults[call] = Fault(before_s=2.0)
        await ann.send("send", room="tea", cid="k", body="one")
        asked = await ann.send("read", room="tea", seq=1)
        await ann.expect("event", seq=1)
        await sim.stop()
        assert (await ann.answer(asked))["read"] == 1
        page = await sim.store.memberships([ann.user_id], after=None, limit=1)
        assert page[ann.user_id].rooms[0].read_seq == 1
