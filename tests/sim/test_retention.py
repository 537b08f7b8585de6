"""Rooms that keep for a while what is said in them: their worker, on the virtual clock."""

from collections.abc import Sequence

import trio

from chat.config import Config
from chat.node import Node
from chat.protocol import PURGED_MAX
from storage import BadData, MemoryStore, RoomId, Unavailable
from storage.model import MessagePage, MessageRange
from storage.testing import Fault
from tests.sim.harness import BEGIN_MS, Sim, SimClient, as_late_as, items, open_sim, virtual_time

ROUND_S = 5.0
KEPT_S = 60.0
CONFIG = Config(rate_limits=False, retention_every_s=ROUND_S)


async def say(client: SimClient, *bodies: str, room: str = "tea") -> None:
    """Send messages, one after the other."""
    for body in bodies:
        await client.request("send", room=room, cid=body, body=body)


async def bodies(client: SimClient, room: str = "tea") -> list[object]:
    """What is left of the messages of a room."""
    answer = await client.request("history", room=room, limit=100)
    return [item["body"] for item in items(answer) if item["kind"] == "message"]


async def kept_for(client: SimClient, seconds: float, *rooms: str) -> None:
    """Make rooms that keep for so long what is said."""
    for room in rooms:
        await client.request("create", room=room)
        await client.request("subscribe", room=room)
        await client.request("update", room=room, retention=round(seconds))


async def owner_of_a_room(sim: Sim, retention_s: float) -> SimClient:
    """Somebody who owns `tea`."""
    ann = await sim.connect("ann")
    await kept_for(ann, retention_s, "tea")
    return ann


@virtual_time
async def test_what_is_older_than_a_room_keeps_is_deleted_for_everybody() -> None:
    """By an event of the log and the server's own doing; what is younger stays, as does another room."""
    async with open_sim(CONFIG) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await ann.request("create", room="den")
        await say(ann, "x", room="den")
        await say(ann, "a", "b")
        await trio.sleep(KEPT_S / 2)
        await say(ann, "c")
        await trio.sleep(KEPT_S / 2 - 1)
        assert await bodies(ann) == ["a", "b", "c"]
        await trio.sleep(2 * ROUND_S)
        purge = await ann.expect("event", kind="purge")
        assert (purge["seqs"], purge["by"], purge["reason"]) == ([2, 3], "", "kept for 1 min")
        assert await bodies(ann) == [None, None, "c"]
        assert await bodies(ann, "den") == ["x"]
        audit = items(await ann.request("audit", room="tea"))[0]
        assert (audit["action"], audit["name"], audit["reason"]) == ("purge", "retention", "kept for 1 min")
        assert sim.node.metrics.counts.expired == 2


@virtual_time
async def test_a_room_that_keeps_everything_again_loses_nothing_more() -> None:
    """Also where the policy changes after its messages were looked for."""
    async with open_sim(CONFIG) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await trio.sleep(ROUND_S / 2)
        await say(ann, "a")
        await trio.sleep(KEPT_S)
        sim.faults["find_messages"] = Fault(after_s=ROUND_S)
        before = sim.calls["find_messages"]
        await trio.sleep(ROUND_S)
        assert sim.calls["find_messages"] == before + 1
        await ann.request("update", room="tea", retention=0)
        await trio.sleep(2 * KEPT_S)
        assert await bodies(ann) == ["a"]
        assert sim.calls["find_messages"] == before + 1


@virtual_time
async def test_a_moderator_deletes_at_once_what_is_not_kept() -> None:
    """By the server's clock and the room's policy; a trial only counts."""
    async with open_sim(Config(rate_limits=False)) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await say(ann, "a")
        await trio.sleep(KEPT_S)
        await say(ann, "b")
        asked = {"room": "tea", "action": "purge", "expired": True}
        assert (await ann.request("mod", dry_run=True, **asked))["affected"] == 1
        assert await bodies(ann) == ["a", "b"]
        done = await ann.request("mod", **asked)
        assert (done["affected"], done["audit"]) == (1, "tea:4")
        assert (await ann.expect("event", kind="purge"))["by"] == ann.user_id
        assert await bodies(ann) == [None, "b"]
        bob = await sim.connect("bob")
        await bob.request("join", room="tea")
        assert (await bob.refused("mod", **asked))["code"] == "forbidden"


@virtual_time
async def test_a_policy_is_tried_before_it_is_set() -> None:
    """Who may not hears so; the reason is in the log."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        wanted = {"room": "tea", "retention": 60}
        assert "seq" not in await ann.request("update", dry_run=True, **wanted)
        assert (await bob.refused("update", dry_run=True, **wanted))["code"] == "forbidden"
        await ann.request("update", reason="law", **wanted)
        assert (await bob.expect("event", kind="room"))["reason"] == "law"
        (row,) = items(await ann.request("audit", room="tea"))
        assert row["reason"] == "law"


@virtual_time
async def test_a_long_room_is_cleared_page_after_page_and_looked_through_once() -> None:
    """The next round begins where the last one ended."""
    store = MemoryStore()
    async with open_sim(CONFIG, store=store) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await say(ann, *map(str, range(PURGED_MAX + 1)))
        await trio.sleep(KEPT_S + 2 * ROUND_S)
        assert [len(seqs_of(event)) for event in ann.heard("event", kind="purge")] == [PURGED_MAX, 1]
        (room,) = await store.rooms_retained(after=RoomId(0), limit=9)
        assert room.retained_seq == PURGED_MAX + 2


def seqs_of(event: object) -> Sequence[object]:
    """What a purge names."""
    assert isinstance(event, dict)
    seqs = event["seqs"]
    assert isinstance(seqs, list)
    return seqs


@virtual_time
async def test_nothing_is_deleted_while_the_server_is_pressed() -> None:
    """It can wait for the next round."""
    async with open_sim(CONFIG, prepare=as_late_as(0.2)) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await say(ann, "a")
        await trio.sleep(KEPT_S + 2 * ROUND_S)
        assert await bodies(ann) == ["a"]


@virtual_time
async def test_a_clock_that_jumps_forward_deletes_nothing() -> None:
    """Until it is right again."""
    ahead_ms = [0]

    def set_clock(node: Node) -> None:
        node._now_ms = lambda: BEGIN_MS + int(trio.current_time() * 1000) + ahead_ms[0]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the clock of this test

    async with open_sim(CONFIG, prepare=set_clock, errors=["retention.clock_jumped"]) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await say(ann, "a")
        ahead_ms[0] = 86_400_000
        await trio.sleep(3 * ROUND_S)
        assert await bodies(ann) == ["a"]
        assert sim.errors()
        ahead_ms[0] = 0
        await trio.sleep(KEPT_S + 2 * ROUND_S)
        assert await bodies(ann) == [None]


class OneBadRoom(MemoryStore):
    """Storage that does not find the messages of its first room after the server's."""

    async def find_messages(self, room_id: RoomId, wanted: MessageRange, *, limit: int) -> MessagePage:
        """See `Store.find_messages`."""
        if room_id == 2:
            raise Unavailable("too slow")
        return await super().find_messages(room_id, wanted, limit=limit)


@virtual_time
async def test_a_room_whose_messages_are_not_found_leaves_the_others_their_turns() -> None:
    """Round after round."""
    async with open_sim(CONFIG, store=OneBadRoom()) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await kept_for(ann, KEPT_S, "den")
        await say(ann, "a")
        await say(ann, "x", room="den")
        await trio.sleep(KEPT_S + 3 * ROUND_S)
        assert [await bodies(ann, room) for room in ("tea", "den")] == [["a"], [None]]


@virtual_time
async def test_a_database_that_fails_puts_it_off() -> None:
    """To the next round; neither the worker nor anything else ends."""
    async with open_sim(CONFIG) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await say(ann, "a")
        sim.faults["rooms_retained"] = Fault(refusal=Unavailable("away"))
        await trio.sleep(KEPT_S + 2 * ROUND_S)
        sim.faults["rooms_retained"] = Fault(refusal=BadData("no"))
        await trio.sleep(2 * ROUND_S)
        assert await bodies(ann) == ["a"]
        sim.faults.clear()
        await trio.sleep(2 * ROUND_S)
        assert await bodies(ann) == [None]


@virtual_time
async def test_a_room_that_does_not_answer_leaves_the_others_their_turns() -> None:
    """One is put off, the next is cleared."""
    async with open_sim(CONFIG, errors=["actor.crashed"]) as sim:
        ann = await owner_of_a_room(sim, KEPT_S)
        await kept_for(ann, KEPT_S, "den")
        await say(ann, "a")
        await say(ann, "x", room="den")
        await ann.close()
        await trio.sleep(KEPT_S)
        sim.faults["activate"] = Fault(refusal=Unavailable("away"))
        await trio.sleep(2 * ROUND_S)
        sim.faults.clear()
        await trio.sleep(2 * ROUND_S)
        bob = await sim.connect("bob")
        assert [await bodies(bob, room) for room in ("tea", "den")] == [[None], [None]]
