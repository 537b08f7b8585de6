"""The writer on a store that fails in every way, against a naive list.

A script says what is submitted, who takes rooms over, when the writer is killed and what happens to each call
of the store; time is virtual. Afterwards every row has exactly one receipt, and the log is what the
receipts say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias, assert_never

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from storage import (
    CidConflict,
    Conflict,
    Delivery,
    Duplicate,
    Fenced,
    LogEntry,
    MemoryStore,
    Poisoned,
    Receipt,
    RoomId,
    Stored,
    Unavailable,
    Writer,
    WriterLimits,
)
from storage.testing import Fault, FaultyStore
from tests.storage.rows import message, owned_room, read_log, take_over, void

ROOMS = ("a", "b", "c")
LIMITS = WriterLimits(max_batch_rows=4, attempt_timeout_s=5)


@dataclass(frozen=True)
class Send:
    """A room orders a message: of few keys and bodies, some of them poison."""

    room: str
    cid: str
    body: str


@dataclass(frozen=True)
class TakeOver:
    """Another owner takes a room over; the test goes on as that owner."""

    room: str


@dataclass(frozen=True)
class Restart:
    """The writer's task is cancelled and started again."""


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: float


Op: TypeAlias = Send | TakeOver | Restart | Wait

SENDS = st.builds(
    Send, st.sampled_from(ROOMS), st.sampled_from("klmnop"), st.sampled_from(["x", "x", "y", "\x00"])
)
OPS: st.SearchStrategy[Op] = st.one_of(
    SENDS,
    SENDS,
    SENDS,
    st.builds(TakeOver, st.sampled_from(ROOMS)),
    st.builds(Restart),
    st.builds(Wait, st.sampled_from([0.0, 0.1, 3.0])),
)
QUIET = st.one_of(SENDS, SENDS, st.builds(Restart), st.builds(Wait, st.sampled_from([0.0, 0.1, 3.0])))
FAULTS = st.one_of(
    st.none(),
    st.builds(
        Fault,
        before_s=st.sampled_from([0.0, 0.05, 60.0]),
        refusal=st.sampled_from([None, Unavailable("gone"), Conflict("raced"), RuntimeError("bug")]),
        after_s=st.sampled_from([0.0, 0.05, 60.0]),
        lost=st.sampled_from([None, Unavailable("cut"), KeyError("bug")]),
    ),
)


@dataclass
class World:
    """What a script has done and what came of it."""

    store: MemoryStore
    ids: dict[str, RoomId]
    owners: dict[str, tuple[int, int]]  # epoch and head of each room, as its owner counts
    submitted: list[LogEntry] = field(default_factory=list)
    told: list[Delivery[int]] = field(default_factory=list)
    logs: dict[str, list[LogEntry]] = field(default_factory=dict)


async def simulate(ops: Sequence[Op], faults: Sequence[Fault | None]) -> World:
    """Play a script to its end, the flush of everything included."""
    store = MemoryStore()
    ids = {room: await owned_room(store, room) for room in ROOMS}
    world = World(store, ids, dict.fromkeys(ROOMS, (1, 0)))
    calls = iter(faults)
    writer = Writer(
        FaultyStore(store, lambda _: next(calls, None)),
        on_receipts=world.told.extend,
        limits=LIMITS,
        rng=Random(1),  # noqa: S311  jitter is no secret
    )
    async with trio.open_nursery() as nursery:
        life = trio.CancelScope()

        async def live(scope: trio.CancelScope) -> None:
            with scope:
                await writer.run()

        nursery.start_soon(live, life)
        for op in ops:
            match op:
                case Send():
                    epoch, head = world.owners[op.room]
                    entry = message(ids[op.room], head + 1, epoch=epoch, cid=op.cid, body=op.body)
                    writer.submit(entry, len(world.submitted))
                    world.submitted.append(entry)
                    world.owners[op.room] = (epoch, head + 1)
                case TakeOver():
                    taken = await take_over(store, op.room)
                    world.owners[op.room] = (taken.epoch, taken.head_seq)
                case Restart():
                    life.cancel()
                    await wait_all_tasks_blocked()
                    life = trio.CancelScope()
                    nursery.start_soon(live, life)
                case Wait():
                    await trio.sleep(op.seconds)
                case _:
                    assert_never(op)
        for room in ids.values():
            await writer.wait_flushed(room)
        assert await writer.flush(timeout_s=1) == 0
        nursery.cancel_scope.cancel()
    statistics = writer.statistics()
    assert (statistics.backlog_rows, statistics.backlog_bytes) == (0, 0)
    world.logs = {room: await read_log(store, room_id) for room, room_id in ids.items()}
    return world


def play(ops: Sequence[Op], faults: Sequence[Fault | None]) -> World:
    """Play a script in virtual time, in a trio of its own; the log would fill with tracebacks."""
    with capture_logs():
        return trio.run(simulate, ops, faults, clock=MockClock(autojump_threshold=0))


def judge(log: list[LogEntry], entry: LogEntry) -> Receipt:
    """The naive model: append an entry to a list, by the rules of `Store.append` and `Store.park`."""
    if entry.body == "\x00":
        log.append(void(entry))
        return Poisoned("invalid byte sequence: 0x00")
    first = next((known for known in log if (known.by, known.cid) == (entry.by, entry.cid)), None)
    if first is None:
        log.append(entry)
        return Stored()
    log.append(void(entry))
    if first.body == entry.body:
        return Duplicate(first.seq, first.epoch, first.at_ms)
    return CidConflict(first.seq)


@given(st.lists(QUIET, max_size=40), st.lists(FAULTS, max_size=25))
@settings(deadline=None)
def test_an_unchallenged_owner_gets_what_a_list_would_give(ops: list[Op], faults: list[Fault | None]) -> None:
    """Whatever fails, receipts and logs are exactly those of a store that never fails."""
    world = play(ops, faults)

    logs: dict[RoomId, list[LogEntry]] = {room_id: [] for room_id in world.ids.values()}
    expected = [
        (entry, ticket, judge(logs[entry.room_id], entry)) for ticket, entry in enumerate(world.submitted)
    ]
    assert world.told == expected
    assert world.logs == {room: logs[room_id] for room, room_id in world.ids.items()}


@given(st.lists(OPS, max_size=40), st.lists(FAULTS, max_size=25))
@settings(deadline=None)
def test_receipts_tell_the_truth_when_owners_change(ops: list[Op], faults: list[Fault | None]) -> None:
    """Fenced rows are nowhere, all others are in the log in order, and judged as a list would judge them."""
    world = play(ops, faults)

    assert [ticket for _, ticket, _ in world.told] == list(range(len(world.submitted)))
    logs: dict[RoomId, list[LogEntry]] = {room_id: [] for room_id in world.ids.values()}
    for entry, _, receipt in world.told:
        if receipt != Fenced():
            assert isinstance(entry, LogEntry)
            assert receipt == judge(logs[entry.room_id], entry)
    assert world.logs == {room: logs[room_id] for room, room_id in world.ids.items()}
    for log in world.logs.values():
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
