"""What rooms do about what could not be stored, and strict rooms, which show only what is."""

from storage import WriterLimits
from storage.model import LogEntry
from tests.chat.peers_double import RecordingPeer
from tests.chat.room_kit import AT_MS, SLOW, Bench, Times, code, open_bench, virtual_time


def say(bench: Bench, peer: RecordingPeer, count: int) -> None:
    """So many more messages."""
    for n in range(count):
        bench.send(peer, f"more-{n}")


# -- what did not survive --------------------------------------------------------------------------------


async def _forgotten(bench: Bench, ann: RecordingPeer) -> None:
    """Have ann use the cid `old`, and the room forget it."""
    bench.send(ann, "old")
    await bench.settle(0.1)
    bench.send(ann, "a")
    bench.send(ann, "b")
    await bench.settle(0.1)
    bench.send(ann, "c")
    await bench.settle(0.1)


@virtual_time
async def test_a_cid_of_long_ago_is_answered_with_its_first_message() -> None:
    """Everybody saw an event, and is told that it does not count; its seq stays, void."""
    async with open_bench(Times(tail_events=2)) as bench:
        await bench.create()
        ann = await bench.member()
        await _forgotten(bench, ann)
        again, twin = bench.send(ann, "old"), bench.send(ann, "old")
        await bench.settle(0.5)
        for one in (again, twin):
            assert [ann.answer(one)[name] for name in ("seq", "dup", "cid")] == [1, True, "old"]
        assert ann.seqs() == [1, 2, 3, 4, 5, 6]
        news = ann.live()[-1]
        assert (news["kind"], news["of"]) == ("void", 5)
        log = await bench.log()
        assert [(one.kind, one.data) for one in log[4:]] == [("void", None), ("void", '{"of":5}')]
        late = bench.peer("late")
        subscribed = bench.subscribe(late, (1, 4))
        await bench.settle()
        events = late.answer(subscribed)["events"]
        assert isinstance(events, list)
        assert [event.get("of") for event in events] == [None, 5]
        assert [event["kind"] for event in events] == ["void", "void"]


@virtual_time
async def test_a_cid_of_long_ago_with_another_body_is_a_conflict() -> None:
    """It says where the first one stands, and the event is taken back."""
    async with open_bench(Times(tail_events=2)) as bench:
        await bench.create()
        ann = await bench.member()
        await _forgotten(bench, ann)
        again, twin = bench.send(ann, "old", "new words"), bench.send(ann, "old", "new words")
        await bench.settle(0.5)
        assert [code(ann.answer(one)) for one in (again, twin)] == ["cid_conflict"] * 2
        assert ann.live()[-1]["of"] == 5


@virtual_time
async def test_what_the_database_refuses_for_ever_is_told() -> None:
    """To its sender `bad_request`, to everybody that it does not count; the others are stored."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        ids = [bench.send(ann, "1"), bench.send(ann, "2", "\x00"), bench.send(ann, "3")]
        await bench.settle(0.5)
        assert [code(ann.answer(one)) for one in ids] == ["ok", "bad_request", "ok"]
        assert [(event["kind"], event.get("of")) for event in ann.live()] == [
            ("message", None),
            ("message", None),
            ("message", None),
            ("void", 2),
        ]
        assert [one.kind for one in await bench.log()] == ["message", "void", "message", "void"]


@virtual_time
async def test_a_seq_that_is_void_is_never_answered_ok() -> None:
    """Not even to a request that comes between the commit and the room's hearing of it."""
    async with open_bench(Times(tail_events=2)) as bench:
        await bench.create()
        ann = await bench.member()
        await _forgotten(bench, ann)
        again = bench.send(ann, "old")
        bench.send(ann, "d")
        between: list[int] = []
        bench.before_receipts = lambda: between.append(bench.send(ann, "old"))
        await bench.settle(0.5)
        assert ann.answer(again)["seq"] == 1
        answer = ann.answer(between[0])
        assert (code(answer), answer["temporary"]) == ("unavailable", True)
        last = bench.send(ann, "old")
        await bench.settle(0.5)
        assert (ann.answer(last)["seq"], ann.answer(last)["dup"]) == (1, True)


@virtual_time
async def test_a_void_is_told_though_the_backlog_is_full() -> None:
    """Its news follows from what was taken, so the writer takes it, and the room lives."""
    async with open_bench(limits=WriterLimits(max_backlog_rows=2, max_interval_s=0.0)) as bench:
        await bench.create()
        ann = await bench.member()
        poison = bench.send(ann, "p", "\x00")
        bench.before_receipts = lambda: say(bench, ann, 2)
        await bench.settle(1.0)
        assert code(ann.answer(poison)) == "bad_request"
        assert [(event["kind"], event.get("of")) for event in ann.live()][1:] == [
            ("message", None),
            ("message", None),
            ("void", 1),
        ]
        assert ann.live()[-1]["epoch"] == 1


@virtual_time
async def test_a_void_that_nobody_was_told_of_is_told_by_the_next_owner() -> None:
    """Killed between the commit and the room's turn: who comes back hears of it by position."""
    async with open_bench() as first:
        row = await first.create()
        memory = first.memory
        await first.take_away()
        await memory.append(
            [LogEntry(row.room_id, 1, 1, AT_MS, "void", "", "", 1, None, None, None, None, None)]
        )
    async with open_bench(memory=memory) as second:
        owner = second.peer()
        resumed = second.subscribe(owner, (1, 1))
        await second.settle(0.1)
        answer = owner.answer(resumed)
        assert (answer["mode"], answer["head"]) == ("tail", 2)
        events = answer["events"]
        assert isinstance(events, list)
        assert [(event["seq"], event["of"]) for event in events] == [(2, 1)]
        assert [one.data for one in await second.log()] == [None, '{"of":1}']


# -- strict rooms ----------------------------------------------------------------------------------------


@virtual_time
async def test_a_strict_room_shows_what_is_stored() -> None:
    """No event before its commit, each once, in order."""
    async with open_bench() as bench:
        await bench.create(strict=True)
        ann = await bench.member()
        bench.database_away("append", fault=SLOW)
        ids = [bench.send(ann, f"{n}") for n in range(3)]
        eve = bench.peer("eve")
        subscribed = bench.subscribe(eve)
        await bench.settle(0.5)
        assert ann.got() == []
        assert [eve.answer(subscribed)[name] for name in ("head", "durable", "events")] == [0, 0, []]
        await bench.settle(5.0)
        assert [code(ann.answer(one)) for one in ids] == ["ok"] * 3
        assert ann.seqs() == eve.seqs() == [1, 2, 3]


@virtual_time
async def test_who_subscribes_to_a_strict_room_at_its_commit_gets_each_event_once() -> None:
    """Between the commit and the room's turn: neither in the answer and live, nor in neither."""
    async with open_bench() as bench:
        await bench.create(strict=True)
        ann, eve = await bench.member(), bench.peer("eve")
        bench.send(ann, "1")
        bench.send(ann, "2")
        subscribed: list[int] = []
        bench.before_receipts = lambda: subscribed.append(bench.subscribe(eve))
        await bench.settle(0.5)
        assert ann.seqs() == eve.seqs() == [1, 2]


@virtual_time
async def test_a_strict_room_that_is_busy_has_no_hole() -> None:
    """More messages than the tail keeps come between a commit and its turn: all of them are shown."""
    async with open_bench(Times(tail_events=2)) as bench:
        await bench.create(strict=True)
        ann = await bench.member()
        for n in range(6):
            bench.send(ann, f"{n}")
        bench.before_receipts = lambda: say(bench, ann, 6)
        await bench.settle(0.5)
        assert ann.seqs() == list(range(1, 13))


@virtual_time
async def test_a_strict_room_never_shows_what_is_void() -> None:
    """Its seq comes, carrying nothing, and then the news."""
    async with open_bench() as bench:
        await bench.create(strict=True)
        ann = await bench.member()
        ids = [bench.send(ann, "1"), bench.send(ann, "2", "\x00"), bench.send(ann, "3")]
        await bench.settle(0.5)
        assert [code(ann.answer(one)) for one in ids] == ["ok", "bad_request", "ok"]
        assert [(event["kind"], event.get("of")) for event in ann.live()] == [
            ("message", None),
            ("void", None),
            ("message", None),
            ("void", 2),
        ]
        assert ann.seqs() == [1, 2, 3, 4]


@virtual_time
async def test_a_strict_room_that_crashes_shows_what_was_stored_meanwhile() -> None:
    """Once, after its restart."""
    async with open_bench() as bench:
        await bench.create(strict=True)
        ann = await bench.member()
        bench.send(ann, "1")
        bench.flusher.crashes = 1
        await bench.settle(2.0)
        bench.send(ann, "2")
        await bench.settle(0.5)
        assert ann.seqs() == [1, 2]
        assert [event["epoch"] for event in ann.live()] == [1, 2]
