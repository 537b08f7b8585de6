"""The rooms of a node: found by name, told things, and answered for when nobody has the name."""

from collections import deque

import pytest

from actors import ActorDied, ActorUnavailable, MailboxFull, TooManyActors
from chat.errors import CloseCode
from chat.measures import Counts
from chat.room_messages import JoinRoom, Published, Settled, SubscribeRoom, UnsubscribeRoom
from chat.rooms import Rooms
from chat.topic import Topics
from storage.model import MemberChange, RoomId, Stored
from storage.testing import Fault
from tests.chat.room_kit import AT_MS, ROOM_ID, Bench, Times, open_bench, virtual_time

ELSEWHERE = RoomId(99)


@virtual_time
async def test_a_room_is_activated_once_for_all_who_ask() -> None:
    """One actor a name; the second to ask finds the first one's."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = bench.peer("ann"), bench.peer("bob")
        ids = [bench.subscribe(ann), bench.subscribe(bob)]
        await bench.settle()
        assert [ann.answer(ids[0])["epoch"], bob.answer(ids[1])["epoch"]] == [1, 1]
        assert bench.counts.rooms_activated == 1


@virtual_time
async def test_rooms_do_not_share_anything_but_the_node() -> None:
    """Each has its own log, members and subscribers."""
    async with open_bench() as bench:
        await bench.create()
        other = await bench.create("other")
        owner = bench.peer()
        bench.subscribe(owner)
        sent = bench.send(owner, "k", room="other")
        await bench.settle(0.1)
        assert owner.answer(sent)["seq"] == 1
        assert owner.seqs() == []
        assert [len(await bench.log(room_id)) for room_id in (ROOM_ID, other.room_id)] == [0, 1]


@virtual_time
async def test_a_node_without_services_has_no_rooms() -> None:
    """Whoever asks too early is refused, and nothing hangs."""
    async with open_bench() as bench:
        flusher = bench.flusher
        early = Rooms(
            bench.system,
            Topics(flusher, Counts()),
            mailbox_capacity=8,
            reserve_fraction=0.25,
            idle_s=60.0,
            max_active=1,
        )
        peer = bench.peer()
        early.tell("tea", SubscribeRoom(peer=peer, request_id=1, since=None, limit=1))
        with pytest.raises(TooManyActors):
            early.ref("other")
        await bench.settle(20.0)
        assert peer.answer(1)["temporary"] is True
        with pytest.raises(ActorUnavailable):
            early.ref("tea")


@virtual_time
async def test_news_of_a_room_that_is_not_here_are_answered() -> None:
    """Its epoch was lost while the writer held entries of it: those who wait are told to try again."""
    async with open_bench() as bench:
        peer = bench.peer()
        change = MemberChange(ELSEWHERE, 1, "u_owner", "owner", "member", AT_MS, 0, 0)
        join = JoinRoom(peer=peer, request_id=1, since=None, limit=1, submitted=True)
        bench.rooms.tell_control(ELSEWHERE, Settled(results=deque([(change, join, Stored())])))
        bench.rooms.tell_control(ELSEWHERE, Published(seq=1))
        answer = peer.answer(1)
        assert (answer["code"], answer["temporary"]) == ("unavailable", True)


async def _broken(bench: Bench) -> None:
    """Have the room `tea` given up for crashing on its start."""
    bench.database_away("activate", fault=Fault(refusal=RuntimeError("a bug")))
    bench.subscribe(bench.peer())
    await bench.settle(20.0)
    bench.database_back()


@virtual_time
async def test_what_is_handed_on_to_nobody_is_answered() -> None:
    """A name that is given up, a mailbox that is full."""
    async with open_bench(Times(mailbox=4)) as bench:
        await bench.create()
        owner = bench.peer()
        for request_id in range(1, 5):
            message = SubscribeRoom(peer=owner, request_id=request_id, since=None, limit=1)
            bench.rooms.hand_on("tea", message)
        assert owner.answer(4)["code"] == "unavailable"
        await bench.settle()
        assert [owner.answer(one)["t"] for one in (1, 2, 3)] == ["ok"] * 3

    async with open_bench() as bench:
        await bench.create()
        await _broken(bench)
        owner = bench.peer()
        bench.rooms.hand_on("tea", SubscribeRoom(peer=owner, request_id=9, since=None, limit=1))
        assert owner.answer(9)["code"] == "unavailable"
        with pytest.raises(ActorUnavailable):
            bench.subscribe(owner)


@virtual_time
async def test_control_finds_room_where_others_do_not() -> None:
    """Up to the end of the reserve; then the caller hears of it, and those who wait are answered."""
    async with open_bench(Times(mailbox=4)) as bench:
        await bench.create()
        ann = await bench.member()
        for _ in range(3):
            bench.subscribe(ann)
        with pytest.raises(MailboxFull):
            bench.subscribe(ann)
        bench.rooms.tell_control(ROOM_ID, Published(seq=0))
        change = MemberChange(ROOM_ID, 1, "u_ann", "ann", "member", AT_MS, 0, 0)
        join = JoinRoom(peer=ann, request_id=77, since=None, limit=1, submitted=True)
        with pytest.raises(MailboxFull):
            bench.rooms.tell_control(ROOM_ID, Settled(results=deque([(change, join, Stored())])))
        assert ann.answer(77)["code"] == "unavailable"


@virtual_time
async def test_a_node_that_stops_works_on_what_it_took() -> None:
    """Then every room lets its subscribers go, and takes nothing more."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        sent = bench.send(ann, "k")
        await bench.rooms.group.stop()
        await bench.settle(0.5)
        assert ann.answer(sent)["seq"] == 1
        assert ann.ended is not None
        assert ann.ended[0] is CloseCode.MOVED
        with pytest.raises((ActorUnavailable, ActorDied)):
            bench.tell(UnsubscribeRoom(peer=ann, request_id=1))
