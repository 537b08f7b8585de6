"""Who belongs to a room, who reads it, and who is told of them."""

import pytest
import trio

from actors import ActorDied
from chat.codec import JSON
from chat.errors import ErrorCode, Refused
from chat.room_messages import RoomInfo, UnsubscribeRoom, WatchMembers
from storage.model import MemberChange
from storage.testing import Fault
from tests.chat.room_kit import AT_MS, ROOM_ID, SLOW, code, open_bench, virtual_time

# -- members ---------------------------------------------------------------------------------------------


@virtual_time
async def test_joining_subscribes_once_the_membership_is_stored() -> None:
    """The answer says what a subscription does; presence hears of the member at once."""
    async with open_bench() as bench:
        await bench.create(slow_s=1.5)
        eve = bench.peer("eve")
        bench.database_away("append", fault=SLOW)
        joined = bench.join(eve)
        await bench.settle(0.5)
        assert eve.got() == []
        assert [name for name, _ in bench.presence.calls] == ["members_changed"]
        await bench.settle(1.0)
        assert eve.answer(joined) == {
            "t": "ok",
            "id": joined,
            "room": "tea",
            "epoch": 1,
            "head": 0,
            "durable": 0,
            "mode": "fresh",
            "snapshot": {
                "kind": "public",
                "topic": "",
                "slow": 1.5,
                "strict": False,
                "locked": False,
                "archived": False,
                "retention": 0,
                "members": 2,
                "role": "member",
                "read": 0,
            },
            "events": [],
        }
        members = await bench.memory.list_members(ROOM_ID, after=None, limit=9)
        assert [one.user_id for one in members] == ["u_eve", "u_owner"]
        again = bench.join(eve)
        await bench.settle()
        assert code(eve.answer(again)) == "ok"


@virtual_time
async def test_who_leaves_receives_no_more_on_any_connection() -> None:
    """From the turn on in which it happened; others do."""
    async with open_bench() as bench:
        await bench.create()
        ann, phone, bob = await bench.member(), await bench.member(), await bench.member("bob")
        left = bench.leave(ann)
        bench.send(bob, "k")
        await bench.settle(0.5)
        assert code(ann.answer(left)) == "ok"
        assert (ann.seqs(), phone.seqs(), bob.seqs()) == ([], [], [1])
        again = bench.leave(ann)
        await bench.settle()
        assert code(ann.answer(again)) == "not_member"


@virtual_time
async def test_a_join_that_is_taken_back_before_it_is_stored_is_answered_so() -> None:
    """Each of the two requests once, and nothing is delivered to who has left."""
    async with open_bench() as bench:
        await bench.create()
        ann, eve = await bench.member(), bench.peer("eve")
        joined, left = bench.join(eve), bench.leave(eve)
        bench.send(ann, "k")
        await bench.settle(0.5)
        assert (code(eve.answer(joined)), code(eve.answer(left))) == ("not_member", "ok")
        assert eve.seqs() == []


@virtual_time
async def test_a_member_who_leaves_a_private_room_while_joining_holds_nobody_up() -> None:
    """The room that does not exist any more for one has answers for the others of the batch."""
    async with open_bench() as bench:
        row = await bench.create(kind="private")
        await bench.take_away()
        for user in ("ann", "bob"):
            await bench.memory.append(
                [MemberChange(row.room_id, 1, f"u_{user}", user, "member", AT_MS, 0, 0)]
            )
        ann, bob = bench.peer("ann"), bench.peer("bob")
        ann.name, bob.name = "Ann", "Bob"
        ids = [(ann, bench.join(ann)), (ann, bench.leave(ann)), (bob, bench.join(bob))]
        await bench.settle(0.5)
        assert [code(peer.answer(one)) for peer, one in ids] == ["not_member", "ok", "ok"]


@virtual_time
async def test_outsiders_do_not_learn_of_a_private_room() -> None:
    """Whatever they ask for, it does not exist."""
    async with open_bench() as bench:
        await bench.create(kind="private")
        eve = bench.peer("eve")
        watched = bench.new_id()
        bench.tell(WatchMembers(peer=eve, request_id=watched, cursor=None, limit=10))
        ids = [bench.subscribe(eve), bench.join(eve), bench.send(eve, "k"), bench.leave(eve), watched]
        await bench.settle()
        assert [code(eve.answer(one)) for one in ids] == ["room_not_found"] * 5
        with pytest.raises(Refused) as refused:
            await bench.inspect("u_eve")
        assert refused.value.code is ErrorCode.ROOM_NOT_FOUND


# -- readers ---------------------------------------------------------------------------------------------


@virtual_time
async def test_a_subscriber_catches_up_and_goes_on() -> None:
    """What came before in the answer, what comes after live, nothing twice; holes are counted."""
    async with open_bench() as bench:
        await bench.create()
        ann, eve, late = await bench.member(), bench.peer("eve"), bench.peer("late", JSON)
        for n in range(5):
            bench.send(ann, f"{n}")
        resumed, gap = bench.subscribe(eve, (1, 2)), bench.subscribe(late, (1, 1), limit=2)
        bench.send(ann, "5")
        await bench.settle(0.5)
        assert [eve.answer(resumed)[name] for name in ("mode", "head", "durable")] == ["tail", 5, 0]
        assert eve.seqs() == [3, 4, 5, 6]
        assert late.answer(gap)["mode"] == "gap"
        assert late.seqs() == [4, 5, 6]
        assert bench.counts.gaps == 1


@virtual_time
async def test_who_unsubscribes_receives_no_more() -> None:
    """And is told so, also when it did not receive."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        for peer in (bob, bob):
            bench.tell(UnsubscribeRoom(peer=peer, request_id=bench.new_id()))
        bench.send(ann, "k")
        await bench.settle(0.5)
        assert [answer["room"] for answer in bob.got()] == ["tea", "tea"]
        assert bob.seqs() == []


@virtual_time
async def test_who_is_gone_before_its_turn_is_not_delivered_to() -> None:
    """No subscription is left behind by a connection that closed meanwhile."""
    async with open_bench() as bench:
        await bench.create()
        eve = bench.peer("eve")
        bench.subscribe(eve)
        eve.close()
        await bench.settle()
        topic = bench.topics.get("tea")
        assert topic is not None
        assert len(topic) == 0


@virtual_time
async def test_a_watcher_is_handed_on_with_the_members() -> None:
    """The list is the same until somebody comes or goes."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        for _ in range(2):
            bench.tell(WatchMembers(peer=ann, request_id=bench.new_id(), cursor="c", limit=10))
        await bench.settle()
        bench.join(bench.peer("eve"))
        bench.tell(WatchMembers(peer=ann, request_id=bench.new_id(), cursor=None, limit=10))
        await bench.settle(0.1)
        first, second, third = (call for name, call in bench.presence.calls if name == "watch_room")
        assert first["roster"] is second["roster"]
        assert (first["peer"], first["room"], first["epoch"], first["cursor"], first["limit"]) == (
            ann,
            "tea",
            1,
            "c",
            10,
        )
        roster = third["roster"]
        assert isinstance(roster, tuple)
        assert [one.user_id for one in roster] == ["u_owner", "u_ann", "u_eve"]


@virtual_time
async def test_a_room_says_of_itself_what_a_reader_may_know() -> None:
    """Its numbers as of one turn, and the asker's role."""
    async with open_bench() as bench:
        row = await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=SLOW)
        bench.send(ann, "k")
        assert await bench.inspect("u_owner") == RoomInfo(
            row=row, epoch=1, head_seq=1, head_n=1, durable_seq=0, members=2, role="owner"
        )
        assert (await bench.inspect("u_eve")).role is None


@virtual_time
async def test_a_question_that_a_room_dies_over_fails_at_once() -> None:
    """When the room is given up: it does not wait for the asker's patience to end."""
    async with open_bench() as bench:
        await bench.create()
        bench.database_away("activate", fault=Fault(refusal=RuntimeError("a bug")))
        began_s = trio.current_time()
        with pytest.raises(ActorDied):
            await bench.inspect("u_owner")
        assert trio.current_time() - began_s < 5.0
