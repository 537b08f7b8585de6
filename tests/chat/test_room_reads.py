"""Read pointers in a room: who may move one, who hears of it, and when it is answered."""

from collections.abc import Sequence

import pytest

from chat.codec import JSON, MSGPACK
from chat.read_pointers import WAITING_FOR_ONE_MAX
from chat.room_news import RECEIPTS_MAX_MEMBERS
from storage.model import MemberChange, RoomKind
from storage.testing import Fault
from tests.chat.peers_double import RecordingPeer, Wires
from tests.chat.room_kit import AT_MS, AWAY, ROOM_ID, SLOW, Bench, Times, code, open_bench, virtual_time

BUG = Fault(refusal=RuntimeError("a bug"))


def reads(peer: RecordingPeer) -> list[tuple[object, object, object]]:
    """The pointers that a connection heard of."""
    return [(one["room"], one["user"], one["seq"]) for one in peer.got() if one["t"] == "read"]


def answers(peer: RecordingPeer, *request_ids: int) -> list[object]:
    """For each request the pointer that it was answered with, or the error's code."""
    found: Sequence[Wires] = [peer.answer(request_id) for request_id in request_ids]
    return [one.get("read", one.get("code")) for one in found]


async def say(bench: Bench, peer: RecordingPeer, count: int) -> None:
    """So many messages, stored."""
    for _ in range(count):
        bench.send(peer, f"say-{bench.new_id()}")
    await bench.settle(0.1)


async def stored_pointer(bench: Bench, user_id: str) -> int:
    """Where a pointer is in the store."""
    members = await bench.memory.list_members(ROOM_ID, after=None, limit=1000)
    return next(one.read_seq for one in members if one.user_id == user_id)


async def fill(bench: Bench, count: int) -> None:
    """Give the room so many members more, while it is not active."""
    activation = await bench.memory.activate("tea", tail_events=0, at_ms=AT_MS)
    assert activation is not None
    await bench.memory.append(
        [
            MemberChange(ROOM_ID, activation.epoch, f"u_{number}", "x", "member", AT_MS, 0, 0)
            for number in range(count)
        ]
    )


# -- the pointer -----------------------------------------------------------------------------------------


@virtual_time
async def test_a_pointer_never_goes_back() -> None:
    """A lower or an equal seq is answered with where it is, and nobody hears of it."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        await say(bench, bob, 3)

        asked = [bench.read(ann, seq) for seq in (2, 1, 2, 0, 3)]
        await bench.settle(0.1)

        assert answers(ann, *asked) == [3, 3, 3, 3, 3]
        assert reads(bob) == [("tea", "u_ann", 2), ("tea", "u_ann", 3)]
        late = bench.read(ann, 1)
        await bench.settle(0.1)
        assert answers(ann, late) == [3]
        assert await stored_pointer(bench, "u_ann") == 3


@pytest.mark.parametrize(
    ("user", "kind", "seq", "refusal", "field"),
    [
        ("eve", "public", 1, "not_member", None),
        ("eve", "private", 1, "room_not_found", None),
        ("owner", "public", 2, "not_found", "seq"),
        ("owner", "private", 2**53 - 1, "not_found", "seq"),
    ],
)
@virtual_time
async def test_a_pointer_that_may_not_be_is_refused(
    user: str, kind: RoomKind, seq: int, refusal: str, field: str | None
) -> None:
    """Only members have one, and it is at what the room shows."""
    async with open_bench() as bench:
        await bench.create(kind=kind)
        peer = bench.peer(user)
        await say(bench, bench.peer(), 1)

        asked = bench.read(peer, seq)
        await bench.settle(0.1)

        answer = peer.answer(asked)
        assert (answer["code"], answer.get("field")) == (refusal, field)


@virtual_time
async def test_a_strict_room_is_read_as_far_as_it_shows() -> None:
    """What is ordered there and not stored is not there yet."""
    async with open_bench() as bench:
        await bench.create(strict=True)
        owner = bench.peer()
        await say(bench, owner, 1)
        bench.database_away("append", fault=SLOW)
        bench.send(owner, "k")
        early = bench.read(owner, 2)
        await bench.settle(2.0)
        late = bench.read(owner, 2)
        await bench.settle(0.1)
        assert answers(owner, early, late) == ["not_found", 2]


@virtual_time
async def test_who_joins_has_read_all_and_who_comes_back_begins_anew() -> None:
    """The snapshot of a subscription tells one's own pointer; who is no member has none."""
    async with open_bench() as bench:
        await bench.create()
        owner, ann = bench.peer(), bench.peer("ann")
        await say(bench, owner, 2)
        for expected in (2, 3):
            joined = bench.join(ann)
            await bench.settle(0.1)
            snapshot = ann.answer(joined)["snapshot"]
            assert isinstance(snapshot, dict)
            assert snapshot["read"] == expected
            bench.leave(ann)
            await say(bench, owner, 1)
        looked = bench.subscribe(ann)
        await bench.settle(0.1)
        snapshot = ann.answer(looked)["snapshot"]
        assert isinstance(snapshot, dict)
        assert snapshot["read"] is None


# -- who hears of it -------------------------------------------------------------------------------------


@virtual_time
async def test_own_sessions_and_subscribed_members_hear_of_it_once() -> None:
    """In either encoding: one's own wherever they are, the others' where they follow the room."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob", codec=JSON)
        phone, elsewhere = bench.peer("ann", JSON), bench.peer("bob", MSGPACK)
        outsider = bench.peer("eve")
        bench.subscribe(outsider)
        await say(bench, bob, 1)

        bench.read(ann, 1)
        await bench.settle(0.1)

        assert [reads(one) for one in (ann, phone, bob)] == [[("tea", "u_ann", 1)]] * 3
        assert [reads(one) for one in (elsewhere, outsider, bench.peer("cat"))] == [[], [], []]
        assert bench.counts.ephemeral_deliveries == 3


@pytest.mark.parametrize(
    ("members", "told"), [(RECEIPTS_MAX_MEMBERS, True), (RECEIPTS_MAX_MEMBERS + 1, False)]
)
@virtual_time
async def test_only_small_rooms_tell_the_others(members: int, told: bool) -> None:
    """One's own sessions hear of it in any."""
    async with open_bench(Times(members_max=100)) as bench:
        await bench.create()
        await fill(bench, members - 3)
        ann, phone, bob = await bench.member(), bench.peer("ann"), await bench.member("bob")
        await say(bench, bob, 1)

        bench.read(ann, 1)
        await bench.settle(0.1)

        assert len(reads(ann)) == len(reads(phone)) == 1
        assert len(reads(bob)) == told


@virtual_time
async def test_a_pointer_is_told_before_it_is_stored() -> None:
    """As an event is: the answer is what waits."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        await say(bench, bob, 1)
        bench.database_away("move_pointers", fault=SLOW)

        asked = bench.read(ann, 1)
        await bench.settle(0.5)

        assert reads(bob) == [("tea", "u_ann", 1)]
        assert ann.answers(asked) == []
        await bench.settle(1.0)
        assert answers(ann, asked) == [1]


# -- what an answer means --------------------------------------------------------------------------------


@virtual_time
async def test_a_pointer_waits_until_its_message_is_stored() -> None:
    """Whoever reads what was just said hears `ok` when both are stored."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=SLOW)
        bench.send(ann, "k")
        asked = bench.read(ann, 1)
        await bench.settle(0.5)
        assert ann.answers(asked) == []
        assert await stored_pointer(bench, "u_ann") == 0
        await bench.settle(0.6)
        assert answers(ann, asked) == [1]
        assert await stored_pointer(bench, "u_ann") == 1


@virtual_time
async def test_a_pointer_at_what_a_lost_room_had_not_stored_is_unavailable() -> None:
    """Another node has the room: what was ordered here did not survive, and no pointer is above the log."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        await bench.take_away()
        bench.send(ann, "k")
        asked = bench.read(ann, 1)
        await bench.settle(1.0)
        assert answers(ann, asked) == ["unavailable"]
        assert await stored_pointer(bench, "u_ann") == 0


@virtual_time
async def test_a_pointer_of_a_crashed_room_is_answered_once() -> None:
    """At what is stored it is stored; at what is not it is unavailable, and asked again it is stored."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        await say(bench, ann, 1)
        bench.database_away("append", "move_pointers", fault=SLOW)
        low = bench.read(ann, 1)
        bench.send(ann, "k")
        high = bench.read(ann, 2)
        await bench.settle(0.1)
        bench.crash_clock = 1
        crashing = bench.send(ann, "l")
        await bench.settle(3.0)
        assert code(ann.answer(crashing)) == "internal"
        again = bench.read(ann, 2)
        await bench.settle(3.0)
        assert answers(ann, low, high, again) == [1, "unavailable", 2]


@virtual_time
async def test_a_room_comes_back_with_every_pointer_that_is_answered() -> None:
    """Also with one that was on its way when it crashed: the next life begins when that is stored."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        await say(bench, ann, 2)
        bench.database_away("move_pointers", fault=SLOW)
        asked = bench.read(ann, 2)
        await bench.settle(0.1)
        bench.crash_clock = 1
        bench.send(ann, "k")
        looked = bench.subscribe(ann)
        await bench.settle(3.0)
        assert answers(ann, asked) == [2]
        snapshot = ann.answer(looked)["snapshot"]
        assert isinstance(snapshot, dict)
        assert snapshot["read"] == 2
        assert reads(ann) == [("tea", "u_ann", 2)]


@virtual_time
async def test_while_the_database_is_away_the_highest_pointer_waits() -> None:
    """All who asked hear where it is in the end; it is written once."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        await say(bench, ann, 5)
        bench.database_away("move_pointers", fault=AWAY)
        asked = [bench.read(ann, 1)]
        await bench.settle(0.1)
        asked += [bench.read(ann, seq) for seq in (2, 5, 3)]
        await bench.settle(5.0)
        assert not any(ann.answers(request_id) for request_id in asked)
        before = bench.reads.statistics()
        bench.database_back()
        await bench.settle(3.0)
        assert answers(ann, *asked) == [1, 5, 5, 5]
        after = bench.reads.statistics()
        assert (after.waiting, after.written - before.written) == (0, 2)
        assert after.failures > 0


@virtual_time
async def test_too_many_pointers_that_wait_are_busy() -> None:
    """One user's many requests leave room for the others'; a refused one has moved nothing."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        await say(bench, ann, WAITING_FOR_ONE_MAX + 1)
        bench.database_away("move_pointers", fault=SLOW)
        asked = [bench.read(ann, seq) for seq in range(1, WAITING_FOR_ONE_MAX + 2)]
        other = bench.read(bob, 1)
        await bench.settle(0.2)
        assert answers(ann, asked[-1]) == ["busy"]
        bench.database_back()
        await bench.settle(3.0)
        assert answers(bob, other) == [1]
        assert reads(ann)[-2:] == [("tea", "u_ann", WAITING_FOR_ONE_MAX), ("tea", "u_bob", 1)]


@virtual_time
async def test_a_pointer_of_a_membership_that_is_not_stored_is_unavailable() -> None:
    """An `ok` would say that it is; asked again it is stored, though it does not move any more."""
    async with open_bench() as bench:
        await bench.create()
        ann = bench.peer("ann")
        owner = bench.peer()
        await say(bench, owner, 1)
        bench.database_away("append", fault=SLOW)
        bench.join(ann)
        early = bench.read(ann, 1)
        await bench.settle(2.0)
        bench.database_back()
        again = bench.read(ann, 1)
        await bench.settle(0.1)
        assert answers(ann, early, again) == ["unavailable", 1]


@virtual_time
async def test_a_stores_bug_fails_one_batch_and_stops_nothing() -> None:
    """Who asked hears of it, the log tells of it, and the next batch goes on."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        await say(bench, ann, 1)
        bench.database_away("move_pointers", fault=BUG)
        failed = bench.read(ann, 1)
        await bench.settle(0.1)
        bench.database_back()
        again = bench.read(ann, 1)
        await bench.settle(0.1)
        assert answers(ann, failed, again) == ["internal", 1]
        assert [line["pointers"] for line in bench.logs if line["event"] == "reads.failed"] == [1]
