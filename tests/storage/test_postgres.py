"""Postgres fulfils the contract of stores; and what only a real database can show."""

import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

import pytest
import trio

from storage import (
    CidConflict,
    Database,
    Delivery,
    Duplicate,
    Entry,
    Fenced,
    LogEntry,
    MessageRange,
    PointerMove,
    Poisoned,
    PostgresStore,
    Receipt,
    RoomId,
    Store,
    Stored,
    Tx,
    Unavailable,
    WriterLimits,
    WriterPool,
    open_database,
)
from storage.append import append_carefully
from storage.messages import find_messages
from storage.rooms import activate
from storage.testing import Fault, FaultyStore
from tests.storage.calls import locked, wait_in_flight
from tests.storage.contract import StoreContract
from tests.storage.rows import AT_MS, change, message, owned_room, read_log, take_over, void

WAITERS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def store(database: Database) -> Store:
    """A store on a fresh database."""
    return PostgresStore(database)


class TestPostgresStore(StoreContract):
    """The shared suite."""


async def hold(
    database: Database, work: Callable[[Tx], Awaitable[object]], *, task_status: trio.TaskStatus[None]
) -> None:
    """Do some work in a transaction, and commit it only when another connection waits for a lock of it."""
    token = trio.lowlevel.current_trio_token()

    async def transaction(tx: Tx) -> None:
        await work(tx)
        token.run_sync_soon(task_status.started)
        # The call's time limit bounds this.
        while not await tx.fetchval(WAITERS):
            pass

    await database.run(transaction)


async def test_a_regular_batch_is_one_call(database: Database, store: Store) -> None:
    """Nearly every batch costs one statement; a known key costs the careful way besides."""
    room = await owned_room(store)
    before = database.statistics().calls
    await store.append([message(room, seq) for seq in range(1, 101)])
    assert database.statistics().calls == before + 1

    assert await store.append([message(room, 101, cid="c1-1")]) == [Duplicate(1, 1, AT_MS + 1)]
    assert database.statistics().calls == before + 3


@pytest.mark.parametrize("with_member", [False, True])
async def test_a_take_over_under_way_fences_an_append(
    database: Database, store: Store, *, with_member: bool
) -> None:
    """An append that waits for an activation writes nothing once that has committed."""
    room = await owned_room(store)
    batch: list[Entry] = [message(room, 1), change(room, "u_bob") if with_member else message(room, 2)]

    async def take(tx: Tx) -> None:
        await activate(tx, "lobby", 0, AT_MS)

    async with trio.open_nursery() as nursery:
        await nursery.start(hold, database, take)
        receipts = await store.append(batch)

    assert receipts == [Fenced(), Fenced()]
    assert await read_log(store, room) == []


async def test_an_append_under_way_is_seen_by_the_next_owner(database: Database, store: Store) -> None:
    """An activation that waits for an append reads the head that the append has made."""
    room = await owned_room(store)

    async def append(tx: Tx) -> None:
        assert await append_carefully(tx, [message(room, 1)]) == [Stored()]

    async with trio.open_nursery() as nursery:
        await nursery.start(hold, database, append)
        taken = await take_over(store)

    assert (taken.epoch, taken.head_seq, list(taken.tail)) == (2, 1, [message(room, 1)])


async def test_a_batch_sent_again_waits_for_its_first_attempt(database: Database, store: Store) -> None:
    """When the first attempt commits after all, the second finds it and stores nothing twice."""
    room = await owned_room(store)
    batch: list[Entry] = [message(room, 1), message(room, 2, cid="c1-1"), message(room, 3)]

    async def first_attempt(tx: Tx) -> None:
        await append_carefully(tx, batch)

    async with trio.open_nursery() as nursery:
        await nursery.start(hold, database, first_attempt)
        receipts = await store.append([*batch, message(room, 4)])

    assert receipts == [Stored(), Duplicate(1, 1, AT_MS + 1), Stored(), Stored()]
    log = await read_log(store, room)
    assert [entry.kind for entry in log] == ["message", "void", "message", "message"]


async def test_a_membership_that_is_being_changed_keeps_no_pointer_waiting(
    database: Database, store: Store
) -> None:
    """It is passed over, whoever changes it and for how long; the others are moved."""
    room = await owned_room(store)
    await store.append([change(room, "u_bob"), change(room, "u_cat"), message(room, 1)])
    token = trio.lowlevel.current_trio_token()
    held, over = trio.Event(), threading.Event()

    async def rename(tx: Tx) -> None:
        await append_carefully(tx, [change(room, "u_bob", name="Robert")])
        token.run_sync_soon(held.set)
        # The call's time limit bounds this.
        while not over.is_set():
            await tx.fetchval("SELECT 1")

    moves = [PointerMove(room, "u_bob", 1), PointerMove(room, "u_cat", 1)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, rename)
        await held.wait()
        try:
            assert await store.move_pointers(moves) == {(room, "u_cat"): 1}
        finally:
            over.set()
    assert await store.move_pointers(moves) == {(room, "u_cat"): 1, (room, "u_bob"): 1}


async def test_an_append_that_is_cancelled_while_it_waits(database: Database, store: Store) -> None:
    """Its query is cancelled at the server, nothing was written, and the same batch can be sent again."""
    room = await owned_room(store)
    batch = [message(room, 1), message(room, 2)]
    token = trio.lowlevel.current_trio_token()
    locked, waited_for = trio.Event(), trio.Event()

    async def lock(tx: Tx) -> None:
        await tx.execute("SELECT FROM rooms FOR UPDATE")
        token.run_sync_soon(locked.set)
        # The call's time limit bounds both.
        while not await tx.fetchval(WAITERS):
            pass
        token.run_sync_soon(waited_for.set)
        while await tx.fetchval(WAITERS):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, lock)
        await locked.wait()
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(store.append, batch)
            await waited_for.wait()
            cancelled.cancel_scope.cancel()

    assert await read_log(store, room) == []
    assert await store.append(batch) == [Stored(), Stored()]
    assert await read_log(store, room) == batch


async def test_two_stores_cannot_both_own_a_room(database_dsn: str, store: Store) -> None:
    """Of two servers that write to one room only the one with the latest epoch gets through."""
    room = await owned_room(store)
    async with open_database(database_dsn) as other:
        theirs = PostgresStore(other)
        assert (await take_over(theirs)).epoch == 2
        receipts: dict[int, list[Receipt]] = {}

        async def write(owner: Store, epoch: int) -> None:
            batch = [message(room, seq, epoch=epoch) for seq in range(1, 51)]
            receipts[epoch] = list(await owner.append(batch))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, store, 1)
            nursery.start_soon(write, theirs, 2)

    assert receipts == {1: [Fenced()] * 50, 2: [Stored()] * 50}
    assert {entry.epoch for entry in await read_log(store, room)} == {2}


async def test_asking_for_a_room_that_does_not_exist_writes_nothing(database: Database, store: Store) -> None:
    """An unknown name costs one read: it is answered while nobody may write to the table of rooms."""
    async with locked(database, "SHARE"):
        before = database.statistics().calls
        assert await store.activate("unknown", tail_events=10, at_ms=AT_MS) is None
        assert database.statistics().calls == before + 1


async def test_writers_have_connections_of_their_own(database_dsn: str, store: Store) -> None:
    """Appends and parks go through while the shared connections are busy and refuse every other call."""
    room = await owned_room(store)
    async with (
        open_database(database_dsn, max_size=1, max_waiting=1) as shared,
        open_database(database_dsn, max_size=1) as writes,
    ):
        both = PostgresStore(shared, writes=writes)
        async with locked(shared, "ACCESS SHARE"):
            with pytest.raises(Unavailable):
                await both.activate("unknown", tail_events=10, at_ms=AT_MS)
            assert await both.append([message(room, 1), message(room, 2)]) == [Stored(), Stored()]
            assert await both.append([change(room, "u_bob")]) == [Stored()]
            assert await both.park(message(room, 3, body="\x00"), "no") == Poisoned("no")


async def test_activations_leave_room_for_other_calls(database_dsn: str, database: Database) -> None:
    """So many run or wait for a connection at a time; the others wait outside, in order, and not for ever."""
    async with open_database(database_dsn, max_waiting=3) as few, locked(database, "ACCESS EXCLUSIVE"):
        store = PostgresStore(few, max_activations=2, write_timeout_s=30)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(partial(store.activate, "unknown", tail_events=10, at_ms=AT_MS))
            await wait_in_flight(few, 2)
            await store.ping()

            nursery.cancel_scope.cancel()


async def test_the_wait_for_an_activation_s_turn_has_an_end(database_dsn: str, database: Database) -> None:
    """When those before it do not end, an activation is unavailable, and has asked the database nothing."""
    async with open_database(database_dsn) as other, locked(database, "ACCESS EXCLUSIVE"):
        store = PostgresStore(other, max_activations=1, write_timeout_s=0.05, read_timeout_s=30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(store.activate, "unknown", tail_events=10, at_ms=AT_MS))
            await wait_in_flight(other, 1)
            with pytest.raises(Unavailable, match="turn"):
                await store.activate("unknown", tail_events=10, at_ms=AT_MS)
            assert other.statistics().calls == 1
            nursery.cancel_scope.cancel()


async def test_parked_rows_are_kept_with_their_reason(database: Database, store: Store) -> None:
    """What Postgres refuses is kept as escaped text, whatever it holds."""
    room = await owned_room(store)
    await store.park(message(room, 1, body="a\x00\ud800é"), "no\nway")

    async def read(tx: Tx) -> Sequence[object]:
        (row,) = await tx.fetch("SELECT seq, error, entry FROM parked")
        return tuple(row)

    seq, error, entry = await database.read(read)
    assert (seq, error) == (1, "no\\nway")
    assert json.loads(str(entry))["body"] == "a\x00\ud800é"


async def test_a_pool_of_writers_on_a_failing_database(store: Store) -> None:
    """With lost replies, refusals, duplicates and poison every row has one receipt, and the log agrees."""
    rooms = [await owned_room(store, f"r{number}") for number in range(4)]
    fault_of = Random(7)  # noqa: S311  a script, not a secret

    def script(_: str) -> Fault | None:
        match fault_of.randrange(4):
            case 0:
                return Fault(lost=Unavailable("cut"))
            case 1:
                return Fault(refusal=Unavailable("gone"))
            case _:
                return None

    told: list[Delivery[int]] = []
    limits = WriterLimits(max_batch_rows=16, retry_base_s=0.001, retry_cap_s=0.002)
    pool = WriterPool(2, FaultyStore(store, script), on_receipts=told.extend, limits=limits, rng=fault_of)
    submitted = [_troubled(room, seq) for seq in range(1, 61) for room in rooms]
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        for ticket, entry in enumerate(submitted):
            pool.submit(entry, ticket)
        assert await pool.flush(timeout_s=60) == 0
        nursery.cancel_scope.cancel()

    assert sorted(ticket for _, ticket, _ in told) == list(range(len(submitted)))
    for room in rooms:
        mine = [(entry, receipt) for entry, _, receipt in told if entry.room_id == room]
        assert [entry for entry, _ in mine] == [entry for entry in submitted if entry.room_id == room]
        assert [type(receipt) for _, receipt in mine[:8]] == [
            Stored, Stored, Stored, Stored, Duplicate, Stored, CidConflict, Poisoned,
        ]  # fmt: skip
        expected = [
            entry if receipt == Stored() else void(entry)
            for entry, receipt in mine
            if isinstance(entry, LogEntry)
        ]
        assert await read_log(store, room) == expected


def _troubled(room: RoomId, seq: int) -> LogEntry:
    """A message; some repeat a key, with the same body or another, and some no database can hold."""
    match seq % 8:
        case 5:
            return message(room, seq, cid="c1-1")
        case 7:
            return message(room, seq, cid="c1-1", body="another")
        case 0:
            return message(room, seq, body="\x00")
        case _:
            return message(room, seq)


async def test_a_purge_looks_at_so_much_for_a_page(database: Database) -> None:
    """A page may hold nothing and still go on; together the pages hold all that is wanted."""
    store = PostgresStore(database)
    room = await owned_room(store)
    await store.append([message(room, seq, by="u_bob" if seq in {2, 9} else "u_ann") for seq in range(1, 11)])

    found: list[int] = []
    pages = 0
    after: int | None = 0
    while after is not None:
        wanted = MessageRange(author="u_bob", after=after)
        page = await database.read(find_messages, room, wanted, 5, 3, timeout_s=5.0)
        found += page.seqs
        pages += 1
        after = page.next_after
    assert (found, pages) == ([2, 9], 4)
