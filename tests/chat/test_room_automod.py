"""A room with rules among its other duties: what it answers when something is in the way."""

import json

import trio

from chat.automod import CompiledRules
from chat.automod_rules import Flood, Links, Rule, Words
from chat.review_queue import CAPACITY
from chat.room_messages import ApplyRules
from storage.review_model import NewReport
from tests.chat.room_kit import AT_MS, ROOM_ID, Bench, code, open_bench, virtual_time

HOLD = Links(id="l", action="hold")


def apply(bench: Bench, *rules: Rule, version: int = 1) -> None:
    """Give the room rules; nobody waits for an answer."""
    bench.tell(ApplyRules(rules=CompiledRules(rules, version=version)))


def noted(seq: int) -> NewReport:
    """Something that waits before."""
    return NewReport(ROOM_ID, "tea", "automod", seq, "", "automod", "u_x", "x", "", "l", AT_MS)


@virtual_time
async def test_a_message_that_cannot_be_held_is_refused_for_now() -> None:
    """The queue is full; others pass."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        apply(bench, HOLD)
        for seq in range(CAPACITY):
            bench.reviews.report(noted(seq + 1))
        held, fine = bench.send(ann, "1", "evil.com"), bench.send(ann, "2", "hello")
        await bench.settle(1.0)
        assert code(ann.answer(held)) == "busy"
        assert code(ann.answer(fine)) == "ok"


@virtual_time
async def test_a_message_that_is_held_is_answered_by_who_stores_it() -> None:
    """Not by the room: it has done its part, and nothing of it is in the log."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        apply(bench, HOLD)
        held = bench.send(ann, "1", "evil.com")
        await bench.settle(1.0)
        assert await bench.log() == []
        async with trio.open_nursery() as nursery:
            await nursery.start(bench.reviews.run)
            await bench.settle(1.0)
            nursery.cancel_scope.cancel()
        assert code(ann.answer(held)) == "filtered"


@virtual_time
async def test_a_room_keeps_the_newest_of_its_rules() -> None:
    """An older version that comes late changes nothing."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        apply(bench, Words(id="new", action="refuse", words=("bad",), reason="new"), version=2)
        apply(bench, version=1)
        late = bench.send(ann, "1", "bad")
        await bench.settle(1.0)
        assert ann.answer(late)["message"] == "new"


@virtual_time
async def test_a_mute_outlives_a_crash() -> None:
    """It is in the log before its author is told."""
    async with open_bench() as bench:
        await bench.create()
        ann = await bench.member()
        apply(bench, Flood(id="f", action="mute", ttl=600.0, messages=1, within=10.0))
        bench.send(ann, "1")
        bench.send(ann, "2")
        await bench.settle(1.0)
        bench.crash_clock = 1
        bench.send(ann, "3")
        await bench.settle(1.0)
        last = bench.send(ann, "4")
        await bench.settle(5.0)
        assert code(ann.answer(last)) == "muted"
        entries = await bench.log()
        assert [entry.kind for entry in entries] == ["message", "sanction"]
        assert json.loads(entries[1].data or "")["until"] == AT_MS + 600_000


@virtual_time
async def test_rules_for_a_room_that_is_not_there_go_nowhere() -> None:
    """Nobody asked for an answer, and there is none."""
    async with open_bench() as bench:
        apply(bench, HOLD)
        await bench.settle(1.0)
        assert bench.rooms.group.get("tea") is None
