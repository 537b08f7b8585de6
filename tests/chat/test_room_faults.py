"""The room actor when things break: whatever dies when, one answer to each request, and nothing lost."""

from chat.errors import CloseCode
from storage import WriterLimits
from storage.model import LogEntry
from storage.testing import Fault
from tests.chat.room_kit import (
    AT_MS,
    AWAY,
    SLOW,
    Times,
    bodies,
    code,
    open_bench,
    virtual_time,
)

# -- crashes ---------------------------------------------------------------------------------------------


@virtual_time
async def test_a_crash_before_ordering_costs_one_request_its_answer() -> None:
    """That is told `internal`; what waits behind is worked on, and subscribers stay without a hole."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        bench.send(ann, "1")
        await bench.settle(0.1)
        bench.crash_clock = 1
        lost, kept = bench.send(ann, "2"), bench.send(bob, "3")
        await bench.settle(1.0)
        assert (code(ann.answer(lost)), code(bob.answer(kept))) == ("internal", "ok")
        assert ann.seqs() == bob.seqs() == [1, 2]
        assert [event["epoch"] for event in bob.live()] == [1, 2]
        assert ann.ended is None


@virtual_time
async def test_a_crash_after_ordering_loses_nothing() -> None:
    """The writer has it: its `ok` comes, once, and who did not see the event sees it after the restart."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        bench.database_away("append", fault=SLOW)
        bench.flusher.crashes = 1
        sent, next_one = bench.send(ann, "1"), bench.send(bob, "2")
        await bench.settle(5.0)
        assert (ann.answer(sent)["seq"], bob.answer(next_one)["seq"]) == (1, 2)
        assert (ann.answer(sent)["epoch"], bob.answer(next_one)["epoch"]) == (1, 2)
        assert ann.seqs() == bob.seqs() == [1, 2]
        assert [one.epoch for one in await bench.log()] == [1, 2]


@virtual_time
async def test_those_who_wait_for_a_message_survive_its_room() -> None:
    """The second request of a cid is answered by the receipt, in whatever life of the room."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=SLOW)
        first, again = bench.send(ann, "k"), bench.send(ann, "k")
        await bench.settle()
        bench.crash_clock = 1
        bench.send(ann, "other")
        await bench.settle(5.0)
        assert code(ann.answer(first)) == "ok"
        assert ann.answer(again)["dup"] is True


@virtual_time
async def test_a_join_survives_a_crash_of_its_room() -> None:
    """The membership is with the writer: the next life answers, once, and delivers from there on."""
    async with open_bench() as bench:
        await bench.create()
        eve = bench.peer("eve")
        bench.presence.crashes = 1
        joined = bench.join(eve)
        await bench.settle(2.0)
        assert eve.answer(joined)["epoch"] == 2
        sent = bench.send(eve, "k")
        await bench.settle(0.1)
        assert code(eve.answer(sent)) == "ok"
        assert eve.seqs() == [1]


@virtual_time
async def test_a_leave_survives_a_crash_of_its_room() -> None:
    """It is answered once, and holds."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.presence.crashes = 1
        left = bench.leave(ann)
        await bench.settle(2.0)
        assert code(ann.answer(left)) == "ok"
        sent = bench.send(ann, "k")
        await bench.settle(0.1)
        assert code(ann.answer(sent)) == "not_member"
        assert ann.seqs() == []


@virtual_time
async def test_a_crash_between_results_answers_each_of_them_once() -> None:
    """What was told is not told again, the rest is refused for now; the news of each void comes once."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        poison = [bench.send(ann, f"p{n}", "\x00") for n in range(3)]

        def crash_over_the_second_news() -> None:
            bench.flusher.passes, bench.flusher.crashes = 1, 1

        bench.before_receipts = crash_over_the_second_news
        await bench.settle(5.0)
        assert [code(ann.answer(one)) for one in poison] == ["bad_request", "internal", "internal"]
        assert sorted(one.data for one in await bench.log() if one.data) == [
            '{"of":1}',
            '{"of":2}',
            '{"of":3}',
        ]
        assert ann.seqs() == [1, 2, 3, 4, 5, 6]


@virtual_time
async def test_a_room_that_cannot_start_answers_those_who_wait() -> None:
    """It is given up after a few lives; when it may be asked again it works."""
    async with open_bench() as bench:
        await bench.create()
        owner = bench.peer()
        bench.database_away("activate", fault=Fault(refusal=RuntimeError("a bug")))
        sent, subscribed = bench.send(owner, "k"), bench.subscribe(owner)
        await bench.settle(20.0)
        assert code(owner.answer(sent)) == code(owner.answer(subscribed)) == "internal"
        bench.database_back()
        await bench.settle(60.0)
        again = bench.send(owner, "k")
        await bench.settle(0.1)
        assert code(owner.answer(again)) == "ok"


@virtual_time
async def test_a_room_that_is_given_up_lets_its_subscribers_go() -> None:
    """They are told to come back; what waits is refused for now, what is stored is answered."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.crash_clock = 100
        ids = [bench.send(ann, f"{n}") for n in range(8)]
        await bench.settle(20.0)
        assert [len(ann.answers(one)) for one in ids] == [1] * 8
        assert ann.ended is not None
        assert ann.ended[0] is CloseCode.MOVED
        assert bench.topics.get("tea") is None


# -- the database ----------------------------------------------------------------------------------------


@virtual_time
async def test_a_room_that_finds_no_database_says_so() -> None:
    """After a while everybody who waits is told `unavailable`; the next to ask tries anew."""
    async with open_bench() as bench:
        await bench.create()
        owner = bench.peer()
        bench.database_away("activate", fault=AWAY)
        ids = [bench.send(owner, "k"), bench.subscribe(owner), bench.join(owner), bench.leave(owner)]
        await bench.settle(1.0)
        assert owner.got() == []
        await bench.settle(2.0)
        for one in ids:
            answer = owner.answer(one)
            assert (code(answer), answer["temporary"], answer["retry_after"]) == ("unavailable", True, 2.0)
        bench.database_back()
        sent = bench.send(owner, "k")
        await bench.settle(0.5)
        assert code(owner.answer(sent)) == "ok"


@virtual_time
async def test_a_room_stays_live_while_the_database_is_away() -> None:
    """Events flow; the `ok`s come when it is back."""
    async with open_bench() as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        bench.database_away("append", "activate", fault=AWAY)
        sent = bench.send(ann, "k")
        await bench.settle(30.0)
        assert bob.seqs() == [1]
        assert ann.answers(sent) == []
        bench.database_back()
        await bench.settle(1.0)
        assert code(ann.answer(sent)) == "ok"


@virtual_time
async def test_a_crash_while_the_database_is_away_loses_nothing() -> None:
    """The next life waits for what the writer holds, however many lives that takes: nothing is fenced."""
    async with open_bench(Times(activation_s=2.0)) as bench:
        await bench.create()
        ann, bob = await bench.member(), await bench.member("bob")
        bench.database_away("append", "activate", fault=AWAY)
        sent = bench.send(ann, "1")
        await bench.settle()
        bench.crash_clock = 1
        crashed = bench.send(bob, "2")
        await bench.settle(10.0)
        refused = bench.send(bob, "3")
        await bench.settle(10.0)
        assert [code(bob.answer(one)) for one in (crashed, refused)] == ["internal", "unavailable"]
        bench.database_back()
        last = bench.send(bob, "4")
        await bench.settle(5.0)
        assert (ann.answer(sent)["seq"], bob.answer(last)["seq"]) == (1, 2)
        assert ann.seqs() == bob.seqs() == [1, 2]
        assert ann.ended is None
        assert [one.cid for one in await bench.log()] == ["1", "4"]


@virtual_time
async def test_a_full_backlog_refuses_and_keeps_what_it_has() -> None:
    """`unavailable` for what comes on top; what was taken is stored and answered later."""
    async with open_bench(limits=WriterLimits(max_backlog_rows=2, max_interval_s=0.0)) as bench:
        await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=AWAY)
        ids = [bench.send(ann, f"{n}") for n in range(4)]
        eve = bench.peer("eve")
        joined, left = bench.join(eve), bench.leave(ann)
        await bench.settle()
        assert [code(ann.answer(one)) for one in (*ids[2:], left)] == ["unavailable"] * 3
        assert code(eve.answer(joined)) == "unavailable"
        bench.database_back()
        await bench.settle(5.0)
        assert [code(ann.answer(one)) for one in ids[:2]] == ["ok", "ok"]
        assert ann.seqs() == [1, 2]
        assert bench.presence.calls[-1][1]["left"] == ()


# -- owners ----------------------------------------------------------------------------------------------


@virtual_time
async def test_a_room_that_another_node_took_over_ends_here() -> None:
    """Its sender is refused for now, its subscribers resume; what they saw is rewound, and sent again."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        bench.send(ann, "1")
        await bench.settle(0.1)
        await bench.take_away()
        lost = bench.send(ann, "2")
        again_early = bench.send(ann, "2")
        await bench.settle(0.1)
        assert [code(ann.answer(one)) for one in (lost, again_early)] == ["unavailable", "unavailable"]
        assert ann.ended is not None
        assert ann.ended[0] is CloseCode.MOVED
        later = bench.peer("ann")
        resumed, again = bench.subscribe(later, (1, 2)), bench.send(later, "2")
        await bench.settle(0.5)
        assert [later.answer(resumed)[name] for name in ("mode", "keep", "epoch")] == ["rewind", 1, 3]
        assert later.answer(again)["seq"] == 2
        assert bench.counts.rewinds == 1
        assert bodies(await bench.log()) == ["hello", "hello"]


@virtual_time
async def test_what_an_owner_here_left_behind_does_not_end_the_next_one() -> None:
    """Rows of the fenced owner that come back later are answered, and the new owner lives on."""
    async with open_bench(limits=WriterLimits(max_batch_rows=1, max_interval_s=0.0)) as bench:
        await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=SLOW)
        ids = [bench.send(ann, f"{n}") for n in range(3)]
        await bench.settle()
        await bench.take_away()
        await bench.settle(1.2)
        assert ann.ended is not None
        eve = bench.peer("eve")
        subscribed = bench.subscribe(eve)
        await bench.settle(5.0)
        assert [code(ann.answer(one)) for one in ids] == ["unavailable"] * 3
        assert eve.answer(subscribed)["epoch"] == 3
        assert eve.ended is None
        assert bench.counts.rooms_activated == 2


@virtual_time
async def test_a_crash_and_another_owner_at_once_are_seen_through() -> None:
    """Subscribers who saw what did not survive must resume, even when the log has grown past it."""
    async with open_bench() as bench:
        row = await bench.create()
        ann = await bench.member()
        bench.database_away("append", fault=SLOW)
        lost = bench.send(ann, "1")
        await bench.settle()
        await bench.take_away()
        theirs = LogEntry(
            row.room_id, 1, 2, AT_MS, "message", "u_bob", "bob", 1, "x", "theirs", None, None, None
        )
        await bench.memory.append([theirs, theirs._replace(seq=2, cid="y")])
        bench.crash_clock = 1
        bench.send(ann, "2")
        await bench.settle(5.0)
        assert code(ann.answer(lost)) == "unavailable"
        assert ann.ended is not None
        assert ann.seqs() == [1]
        later = bench.peer("ann")
        resumed = bench.subscribe(later, (1, 1))
        await bench.settle()
        assert [later.answer(resumed)[name] for name in ("mode", "keep")] == ["rewind", 0]
