"""The room actor with real writers, receipts and topics: one answer to each request, in order."""

from contextlib import suppress

import pytest

from actors import MailboxFull
from chat.codec import JSON, MSGPACK, Codec
from chat.errors import ErrorCode, Refused
from chat.peers import Broadcast
from chat.room import TWINS_MAX
from chat.room_messages import SendMessage, UnsubscribeRoom
from storage.testing import Fault
from tests.chat.room_kit import (
    AWAY,
    SLOW,
    Times,
    bodies,
    code,
    open_bench,
    virtual_time,
)

# -- messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [MSGPACK, JSON])
@virtual_time
async def test_a_message_is_seen_when_ordered_and_answered_when_stored(codec: Codec) -> None:
    """First its own event, then its `ok`; the row is in the database when the `ok` comes."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member(codec=codec)
        bench.database_away("append", fault=SLOW)
        sent = bench.send(ann, "k")
        await bench.settle(0.5)
        (event,) = ann.got()
        assert event == {
            "t": "event",
            "room": "tea",
            "epoch": 1,
            "seq": 1,
            "at": event["at"],
            "by": "u_ann",
            "kind": "message",
            "n": 1,
            "cid": "k",
            "body": "hello",
            "name": "ann",
        }
        await bench.settle(1.0)
        assert ann.answer(sent) == {
            "t": "ok",
            "id": sent,
            "seq": 1,
            "epoch": 1,
            "at": event["at"],
            "cid": "k",
        }
        assert bodies(await bench.log()) == ["hello"]


@virtual_time
async def test_the_same_message_again_before_it_is_stored_is_answered_with_it() -> None:
    """One event, one row; the second answer says `dup`, and the first connection may be gone."""
    async with open_bench() as bench:
        await bench.create()
        ann, later = await bench.member(), await bench.member()
        bench.database_away("append", fault=SLOW)
        first = bench.send(ann, "k")
        again = bench.send(later, "k")
        await bench.settle()
        ann.close()
        await bench.settle(2.0)
        assert later.answer(again)["dup"] is True
        assert later.answer(again)["seq"] == 1
        assert len(ann.answers(first)) == 1
        assert later.seqs() == [1]
        assert len(await bench.log()) == 1


@virtual_time
async def test_the_same_message_again_after_it_is_stored_is_answered_at_once() -> None:
    """With the first seq, even while the database is away."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        first = bench.send(ann, "k")
        await bench.settle(0.1)
        bench.database_away("append", fault=AWAY)
        again = bench.send(ann, "k")
        await bench.settle()
        assert ann.answer(again) == {**ann.answer(first), "id": again, "dup": True}
        assert bench.counts.duplicates == 1


@virtual_time
async def test_who_waits_for_one_message_is_bounded() -> None:
    """An outage does not let a client fill the memory with one cid: `busy`, and later as before."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=AWAY)
        ids = [bench.send(ann, "k") for _ in range(TWINS_MAX + 3)]
        await bench.settle()
        assert [code(ann.answer(one)) for one in ids[-2:]] == ["busy", "busy"]
        bench.database_back()
        await bench.settle(1.0)
        assert [code(ann.answer(one)) for one in ids[:-2]] == ["ok"] * (TWINS_MAX + 1)


@virtual_time
async def test_what_a_room_refuses_is_answered_under_its_id() -> None:
    """And leaves the log alone."""
    async with open_bench() as bench:
        await bench.create()
        ann, eve = await bench.member(), bench.peer("eve")
        refused = [
            (eve, bench.send(eve, "k"), "not_member"),
            (ann, bench.send(ann, "k", reply_to=9), "bad_request"),
        ]
        fine = bench.send(ann, "k")
        conflict = bench.send(ann, "k", "other")
        await bench.settle(0.1)
        for peer, request_id, expected in [*refused, (ann, fine, "ok"), (ann, conflict, "cid_conflict")]:
            assert code(peer.answer(request_id)) == expected
        assert len(await bench.log()) == 1


# -- being there -----------------------------------------------------------------------------------------


@virtual_time
async def test_a_room_that_does_not_exist_says_so_to_everybody() -> None:
    """And leaves memory at once."""
    async with open_bench() as bench:
        eve = bench.peer("eve")
        ids = [bench.subscribe(eve), bench.join(eve), bench.send(eve, "k"), bench.leave(eve)]
        with pytest.raises(Refused) as refused:
            await bench.inspect("u_eve")
        assert refused.value.code is ErrorCode.ROOM_NOT_FOUND
        await bench.settle()
        for one in ids:
            answer = eve.answer(one)
            assert (code(answer), answer["temporary"]) == ("room_not_found", False)
        assert len(bench.rooms.group) == 0


@virtual_time
async def test_a_room_made_a_moment_ago_is_found_by_who_made_it() -> None:
    """An actor that looked too early hands the join on to the next one; others hear what it saw."""
    async with open_bench() as bench:
        eve, owner = bench.peer("eve"), bench.peer()
        bench.database_away("activate", fault=Fault(after_s=1.0))
        early = bench.subscribe(eve)
        await bench.settle(0.5)
        await bench.create()
        joined = bench.join(owner, must_exist=True)
        await bench.settle(0.6)
        assert code(eve.answer(early)) == "room_not_found"
        await bench.settle(2.0)
        assert owner.answer(joined)["mode"] == "fresh"


@virtual_time
async def test_a_join_is_handed_on_once() -> None:
    """A room that really does not exist is not looked for for ever."""
    async with open_bench() as bench:
        eve = bench.peer("eve")
        joined = bench.join(eve, must_exist=True)
        await bench.settle(1.0)
        assert code(eve.answer(joined)) == "room_not_found"


@virtual_time
async def test_an_idle_room_gives_its_memory_back() -> None:
    """With nobody listening and everything stored; the next to ask finds all of it again."""
    async with open_bench(Times(idle_s=10.0)) as bench:
        await bench.create()
        ann = await bench.member()
        bench.send(ann, "k")
        await bench.settle(60.0)
        assert len(bench.rooms.group) == 1
        ann.close()
        await bench.settle(21.0)
        assert (len(bench.rooms.group), len(bench.topics)) == (0, 0)
        assert bench.counts.rooms_passivated == 1
        later = bench.peer("ann")
        resumed, again = bench.subscribe(later, (1, 0)), bench.send(later, "k")
        await bench.settle(0.1)
        assert [later.answer(resumed)[name] for name in ("mode", "epoch")] == ["tail", 2]
        assert later.seqs() == [1]
        assert (later.answer(again)["seq"], later.answer(again)["dup"]) == (1, True)


@virtual_time
async def test_a_room_with_something_to_store_stays() -> None:
    """Though nobody listens: leaving would fence what the writer holds."""
    async with open_bench(Times(idle_s=1.0)) as bench:
        await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=AWAY)
        sent = bench.send(ann, "k")
        await bench.settle()
        ann.close()
        await bench.settle(30.0)
        assert len(bench.rooms.group) == 1
        bench.database_back()
        await bench.settle(10.0)
        assert len(bench.rooms.group) == 0
        assert code(ann.answer(sent)) == "ok"


# -- mailboxes -------------------------------------------------------------------------------------------


@virtual_time
async def test_a_full_mailbox_is_the_callers_to_answer() -> None:
    """Nothing was taken; what was taken is answered."""
    async with open_bench(Times(mailbox=8)) as bench:
        await bench.create()
        ann = await bench.member()
        ids = [bench.send(ann, f"{n}") for n in range(6)]
        with pytest.raises(MailboxFull):
            bench.tell(SendMessage(ann, 99, "k", "b", None, None))
        await bench.settle(0.5)
        assert [code(ann.answer(one)) for one in ids] == ["ok"] * 6
        assert ann.answers(99) == []


@virtual_time
async def test_a_flooded_room_still_hears_what_became_of_its_entries() -> None:
    """The reserve of the mailbox is for that."""
    async with open_bench(Times(mailbox=8)) as bench:
        await bench.create()
        ann = await bench.member()
        poison = bench.send(ann, "p", "\x00")
        flood: list[int] = []

        def fill() -> None:
            with suppress(MailboxFull):
                while True:
                    flood.append(bench.send(ann, f"{len(flood)}"))

        bench.before_receipts = fill
        await bench.settle(1.0)
        assert code(ann.answer(poison)) == "bad_request"
        assert [code(ann.answer(one)) for one in flood] == ["ok"] * 6
        assert bench.receipts.undeliverable == 0


@virtual_time
async def test_results_that_no_mailbox_takes_are_answered_all_the_same() -> None:
    """With a temporary error, once; and a void is not taken for a stored message afterwards."""
    async with open_bench(Times(mailbox=4)) as bench:
        row = await bench.create()
        ann = await bench.member()
        poison = bench.send(ann, "p", "\x00")

        def fill() -> None:
            ref = bench.rooms.ref("tea")
            with suppress(MailboxFull):
                while True:
                    ref.tell_nowait(UnsubscribeRoom(peer=bench.peer(), request_id=1), control=True)

        bench.before_receipts = fill
        await bench.settle(1.0)
        assert code(ann.answer(poison)) == "unavailable"
        assert bench.receipts.undeliverable == 1
        stored = bench.send(ann, "k")
        again = bench.send(ann, "p", "\x00")
        await bench.settle(1.0)
        assert (code(ann.answer(stored)), code(ann.answer(again))) == ("ok", "unavailable")
        assert (await bench.memory.history(row.room_id, limit=10)).items[0].kind == "void"


@virtual_time
async def test_an_event_is_encoded_once_for_all_who_subscribe_next() -> None:
    """Also for those of the other encoding, who get the same event."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.send(ann, "k", "süß ☕")
        await bench.settle(0.1)
        one, other = bench.peer("one"), bench.peer("other", JSON)
        ids = [bench.subscribe(one), bench.subscribe(other)]
        await bench.settle()
        first, second = one.answer(ids[0]), other.answer(ids[1])
        assert first["events"] == second["events"] == [*ann.live()]
        assert Broadcast(ann.live()[0]).payload(1) == JSON.encode(ann.live()[0])
