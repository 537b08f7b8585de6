# ruff: noqa: ARG001  a test asks for the virtual clock by naming it
"""The batching writer, in virtual time on the in-memory store."""

from collections.abc import Sequence

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from storage import (
    BacklogFull,
    BadData,
    CidConflict,
    Conflict,
    Delivery,
    Duplicate,
    Entry,
    Fenced,
    MemoryStore,
    Poisoned,
    Receipt,
    RoomId,
    StoreClosed,
    Stored,
    Unavailable,
    Writer,
    WriterLimits,
)
from storage.testing import Fault, FaultyStore
from tests.storage.rows import change, event, message, owned_room, read_log, take_over, void
from tests.storage.writers import RNG, Heard, faulty, make_writer, running


async def test_an_idle_writer_flushes_at_once(autojump_clock: MockClock) -> None:
    """A row that comes alone is committed without any waiting."""
    store, heard = MemoryStore(), Heard()
    room = await owned_room(store)
    writer = make_writer(store, heard)
    async with running(writer):
        begun_s = trio.current_time()
        writer.submit(message(room, 1), 7)
        await wait_all_tasks_blocked()

        assert heard.batches == [[(message(room, 1), 7, Stored())]]
        assert trio.current_time() == begun_s


async def test_rows_that_come_during_a_commit_make_one_batch(autojump_clock: MockClock) -> None:
    """Group commit: all that waits when a commit returns goes into the next."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    writer = make_writer(FaultyStore(inner, lambda _: Fault(before_s=1.0)), heard)
    async with running(writer):
        for seq in range(1, 11):
            writer.submit(message(room, seq), seq)
            await trio.sleep(0.15)
        await writer.flush(timeout_s=10)

    assert [rows for rows, _ in heard.commits] == [1, 6, 3]
    assert heard.tickets == list(range(1, 11))


async def test_batches_keep_apart_under_load(autojump_clock: MockClock) -> None:
    """After a pause a row goes at once; a fast store gets batches at intervals, unless a full one waits."""
    store, heard = MemoryStore(), Heard()
    room = await owned_room(store)
    writer = make_writer(
        store, heard, WriterLimits(row_interval_s=0.1, max_interval_s=0.1, max_batch_rows=20)
    )
    async with running(writer):
        for seq in range(1, 10):
            writer.submit(message(room, seq), seq)
            await trio.sleep(0.03)
        await trio.sleep(1)
        assert [rows for rows, _ in heard.commits] == [1, 3, 3, 2]

        begun_s = trio.current_time()
        for seq in range(10, 71):
            writer.submit(message(room, seq), seq)
        await wait_all_tasks_blocked()
        assert [rows for rows, _ in heard.commits[4:]] == [20, 20, 20]
        assert trio.current_time() == begun_s
        assert await writer.flush(timeout_s=1) == 0


async def test_a_pause_follows_the_traffic_up_to_its_longest(autojump_clock: MockClock) -> None:
    """A row every 40 ms waits 10 ms at most; of many rows a batch takes what comes in the longest pause."""
    store, heard = MemoryStore(), Heard()
    room = await owned_room(store)
    writer = make_writer(store, heard, WriterLimits(row_interval_s=0.01, max_interval_s=0.1))
    async with running(writer):
        for seq in range(1, 11):
            writer.submit(message(room, seq), seq)
            await trio.sleep(0.04)
        assert [rows for rows, _ in heard.commits] == [1] * 10

        for seq in range(11, 411):
            writer.submit(message(room, seq), seq)
            await trio.sleep(0.001)
        assert await writer.flush(timeout_s=1) == 0
    rows = [rows for rows, _ in heard.commits[10:]]
    assert rows[0] == 1
    assert max(rows) == 100


async def test_a_batch_is_bounded_in_rows_and_in_bytes(autojump_clock: MockClock) -> None:
    """What does not fit waits for the next batch; a row larger than the bound goes alone."""
    store, heard = MemoryStore(), Heard()
    room = await owned_room(store)
    writer = make_writer(store, heard, WriterLimits(max_batch_rows=3, max_batch_bytes=2000))
    sizes = [1, 1, 1, 1, 1000, 5000, 1, 1]
    for seq, size in enumerate(sizes, start=1):
        writer.submit(message(room, seq, body="x" * size), seq)
    async with running(writer):
        assert await writer.flush(timeout_s=1) == 0

    assert [rows for rows, _ in heard.commits] == [3, 2, 1, 2]
    assert heard.receipts == [Stored()] * 8


async def test_the_backlog_is_bounded_in_rows(autojump_clock: MockClock) -> None:
    """A full writer says so before and refuses after, and takes again when it has drained."""
    store, heard = MemoryStore(), Heard()
    room = await owned_room(store)
    writer = make_writer(store, heard, WriterLimits(max_backlog_rows=2))
    assert writer.accepts(2)
    writer.submit(message(room, 1), 1)
    assert writer.accepts()
    assert not writer.accepts(2)
    writer.submit(message(room, 2), 2)
    assert not writer.accepts()
    with pytest.raises(BacklogFull):
        writer.submit(message(room, 3), 3)

    async with running(writer):
        await writer.flush(timeout_s=1)
        assert writer.accepts(2)
        assert heard.tickets == [1, 2]


async def test_the_backlog_is_bounded_in_bytes(autojump_clock: MockClock) -> None:
    """Once the bound is reached nothing more is taken."""
    room = RoomId(1)
    writer = make_writer(MemoryStore(), Heard(), WriterLimits(max_backlog_bytes=1000))
    writer.submit(message(room, 1, body="x" * 5000), 1)

    assert not writer.accepts()
    with pytest.raises(BacklogFull):
        writer.submit(message(room, 2), 2)
    assert writer.statistics().backlog_rows == 1


async def test_the_backlog_s_bytes_are_those_of_the_texts(autojump_clock: MockClock) -> None:
    """A character that takes four bytes counts as four."""
    writer = make_writer(MemoryStore(), Heard(), WriterLimits(max_backlog_bytes=4000))
    writer.submit(message(RoomId(1), 1, body="\N{PILE OF POO}" * 1000), 1)

    assert not writer.accepts()
    assert writer.statistics().backlog_bytes >= 4000


async def test_what_follows_from_rows_that_were_taken_passes_the_bound(autojump_clock: MockClock) -> None:
    """A full writer takes a room's own entries, also when it takes nothing else any more."""
    store = MemoryStore()
    room = await owned_room(store)
    told: list[Receipt] = []

    def listener(batch: Sequence[Delivery[int]]) -> None:
        for _, ticket, receipt in batch:
            told.append(receipt)
            if ticket == 1:
                writer.submit(message(room, 4), 4)
                assert not writer.accepts()
                with pytest.raises(BacklogFull):
                    writer.submit(message(room, 5), 5)
                writer.submit(event(room, 5), 5, beyond_bound=True)
                writer.stop_accepting()
                writer.submit(event(room, 6), 6, beyond_bound=True)

    limits = WriterLimits(max_backlog_rows=3, max_batch_rows=1, max_interval_s=0.0)
    writer = Writer(store, on_receipts=listener, limits=limits, rng=RNG)
    for seq in (1, 2, 3):
        writer.submit(message(room, seq), seq)
    async with running(writer):
        while writer.pending(room):
            await writer.wait_flushed(room)

    assert told == [Stored()] * 6
    statistics = writer.statistics()
    assert (statistics.backlog_rows, statistics.backlog_bytes) == (0, 0)


async def test_a_writer_s_words_hold_none_of_people_s(autojump_clock: MockClock) -> None:
    """A store's own bug is logged by its class and its place: what it says may quote a row."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    bug = KeyError("private words")
    writer = make_writer(faulty(inner, Fault(refusal=bug)), heard, WriterLimits(retry_base_s=1))
    with capture_logs() as logs:
        async with running(writer):
            writer.submit(message(room, 1, body="private words"), 1)
            await trio.sleep(0.1)
            assert writer.statistics().last_error == "KeyError"
            assert await writer.flush(timeout_s=10) == 0

    assert [log["event"] for log in logs] == ["writer.failed", "writer.recovered"]
    assert "private" not in repr(logs)
    assert "in _call" in logs[0]["stack"]


async def test_a_listener_s_failure_is_logged_without_rows(autojump_clock: MockClock) -> None:
    """What a listener raises may quote a row as well."""
    store = MemoryStore()
    room = await owned_room(store)

    def listener(batch: Sequence[Delivery[int]]) -> None:
        raise ValueError(batch)

    writer = Writer(store, on_receipts=listener, rng=RNG)
    with capture_logs() as logs:
        async with running(writer):
            writer.submit(message(room, 1, body="private words"), 1)
            assert await writer.flush(timeout_s=1) == 0

    (log,) = logs
    assert (log["event"], log["error"]) == ("writer.receipts_failed", "ValueError")
    assert "private" not in repr(log)
    assert "in listener" in log["stack"]


async def test_a_writer_that_stops_accepting_still_writes(autojump_clock: MockClock) -> None:
    """Shutdown: nothing new is taken, everything held is flushed."""
    store, heard = MemoryStore(), Heard()
    room = await owned_room(store)
    writer = make_writer(store, heard)
    writer.submit(message(room, 1), 1)
    writer.stop_accepting()

    assert not writer.accepts()
    with pytest.raises(BacklogFull):
        writer.submit(message(room, 2), 2)
    async with running(writer):
        assert await writer.flush(timeout_s=1) == 0
    assert heard.tickets == [1]


async def test_a_failing_store_is_retried_until_it_works(autojump_clock: MockClock) -> None:
    """Whatever fails, the batch comes again, ever more slowly, and its state is visible."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    down = Fault(refusal=Unavailable("gone"))
    script = (down, Fault(refusal=Conflict("raced")), Fault(refusal=TypeError("bug")), down, down)
    writer = make_writer(faulty(inner, *script), heard, WriterLimits(retry_base_s=1, retry_cap_s=4))
    async with running(writer):
        begun_s = trio.current_time()
        writer.submit(message(room, 1), 1)
        await trio.sleep(0.1)
        statistics = writer.statistics()
        assert statistics.unavailable_since_s == begun_s
        assert statistics.last_error == "Unavailable: gone"
        assert statistics.oldest_wait_s == pytest.approx(0.1)
        assert await writer.flush(timeout_s=100) == 0
        took_s = trio.current_time() - begun_s

    assert heard.failures == [
        ("Unavailable", 1),
        ("Conflict", 2),
        ("TypeError", 3),
        ("Unavailable", 4),
        ("Unavailable", 5),
    ]
    assert (1 + 2 + 4 + 4 + 4) / 2 <= took_s <= 1 + 2 + 4 + 4 + 4
    assert heard.receipts == [Stored()]
    assert writer.statistics().unavailable_since_s is None
    assert writer.statistics().retries == 5


async def test_a_store_that_hangs_is_left(autojump_clock: MockClock) -> None:
    """An attempt has a time limit, after which it is made again."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    writer = make_writer(faulty(inner, Fault(before_s=3600)), heard, WriterLimits(attempt_timeout_s=5))
    async with running(writer):
        writer.submit(message(room, 1), 1)
        assert await writer.flush(timeout_s=6) == 0

    assert heard.failures == [("TooSlowError", 1)]


async def test_a_lost_reply_stores_once(autojump_clock: MockClock) -> None:
    """A batch that was committed without our hearing of it is sent again and is there once."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    writer = make_writer(faulty(inner, Fault(lost=Unavailable("cut"))), heard)
    rows = [message(room, 1), message(room, 2, cid="c1-1"), message(room, 3)]
    for row in rows:
        writer.submit(row, row.seq)
    async with running(writer):
        await writer.flush(timeout_s=10)

    assert heard.receipts == [Stored(), Duplicate(1, 1, rows[0].at_ms), Stored()]
    assert await read_log(inner, room) == [rows[0], void(rows[1]), rows[2]]
    assert writer.statistics().duplicates == 1


async def test_the_wrong_number_of_receipts_is_a_failure(autojump_clock: MockClock) -> None:
    """A store that answers for fewer rows is not believed."""

    class Short(MemoryStore):
        answers = 0

        async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
            receipts = await super().append(batch)
            self.answers += 1
            return receipts[: self.answers]

    store, heard = Short(), Heard()
    room = await owned_room(store)
    writer = make_writer(store, heard)
    writer.submit(message(room, 1), 1)
    writer.submit(message(room, 2), 2)
    async with running(writer):
        await writer.flush(timeout_s=10)

    assert heard.receipts == [Stored()] * 2
    assert heard.failures == [("ValueError", 1)]


async def test_a_closed_store_ends_the_writer_and_loses_nothing(autojump_clock: MockClock) -> None:
    """StoreClosed comes out of `run`; what is held is told, and written by the next `run`."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    writer = make_writer(faulty(inner, Fault(refusal=StoreClosed("thread gone"))), heard)
    writer.submit(message(room, 1), 1)
    with pytest.raises(StoreClosed):
        await writer.run()
    assert writer.statistics().backlog_rows == 1
    assert writer.pending(room) == 1

    async with running(writer):
        await writer.flush(timeout_s=1)
    assert heard.receipts == [Stored()]


@pytest.mark.parametrize("fault", [Fault(before_s=2), Fault(after_s=2)])
async def test_a_cancelled_writer_goes_on_where_it_was(autojump_clock: MockClock, fault: Fault) -> None:
    """Cancelled before or after the commit: the next run tells every receipt, and each row is stored once."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    writer = make_writer(faulty(inner, fault), heard)
    for seq in (1, 2):
        writer.submit(message(room, seq), seq)
    with trio.move_on_after(1):
        await writer.run()
    writer.submit(message(room, 3), 3)
    assert writer.statistics().backlog_rows == 3
    assert writer.statistics().oldest_wait_s == 1

    async with running(writer):
        await writer.flush(timeout_s=1)
    assert heard.tickets == [1, 2, 3]
    assert heard.receipts == [Stored()] * 3
    assert await read_log(inner, room) == [message(room, seq) for seq in (1, 2, 3)]


async def test_a_poison_row_is_parked_and_the_rest_is_written_in_order(autojump_clock: MockClock) -> None:
    """Rows that no database holds are told to their senders, and leave void behind."""
    store, heard = MemoryStore(), Heard()
    room, other = await owned_room(store, "a"), await owned_room(store, "b")
    rows = [message(room, seq, body="\x00" if seq in {3, 7} else "ok") for seq in range(1, 9)]
    writer = make_writer(store, heard)
    for row in rows:
        writer.submit(row, row.seq)
        writer.submit(message(other, row.seq), -row.seq)
    async with running(writer):
        await writer.flush(timeout_s=10)

    poisoned = Poisoned("invalid byte sequence: 0x00")
    assert heard.receipts == [
        poisoned if ticket in {3, 7} else Stored() for seq in range(1, 9) for ticket in (seq, -seq)
    ]
    assert await read_log(store, room) == [void(row) if row.seq in {3, 7} else row for row in rows]
    assert len(await read_log(store, other)) == 8
    assert heard.parked == [poisoned.error] * 2
    assert len(heard.batches) == 1
    assert writer.statistics().poisoned == 2
    assert writer.statistics().retries == 0


async def test_parking_is_retried_too(autojump_clock: MockClock) -> None:
    """A store that fails in the midst of a bisection loses nothing of it."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    down, lost = Fault(refusal=Unavailable("gone")), Fault(lost=Unavailable("cut"))
    writer = make_writer(faulty(inner, None, lost, down, None, lost), heard)
    rows = [message(room, seq, body="\x00" if seq == 2 else "ok") for seq in (1, 2, 3)]
    for row in rows:
        writer.submit(row, row.seq)
    async with running(writer):
        await writer.flush(timeout_s=10)

    assert [type(receipt) for receipt in heard.receipts] == [Stored, Poisoned, Stored]
    assert await read_log(inner, room) == [rows[0], void(rows[1]), rows[2]]
    assert len(inner.parked) == 1


async def test_a_room_that_contradicts_its_log_is_fenced_alone(autojump_clock: MockClock) -> None:
    """A hole ends that room's activation; the other rooms of the batch are written."""
    store, heard = MemoryStore(), Heard()
    broken, fine = await owned_room(store, "a"), await owned_room(store, "b")
    rows = [message(broken, 1), message(fine, 1), message(broken, 3), message(fine, 2), message(broken, 4)]
    writer = make_writer(store, heard)
    for ticket, row in enumerate(rows):
        writer.submit(row, ticket)
    async with running(writer):
        await writer.flush(timeout_s=10)

    assert heard.receipts == [Stored(), Stored(), Fenced(), Stored(), Fenced()]
    assert heard.tickets == [0, 1, 2, 3, 4]
    assert writer.statistics().fenced == 2


async def test_every_kind_of_receipt_is_told(autojump_clock: MockClock) -> None:
    """Conflicting keys, stale rooms and memberships come back as the store judged them."""
    store, heard = MemoryStore(), Heard()
    room, stale = await owned_room(store, "a"), await owned_room(store, "b")
    await take_over(store, "b")
    rows: list[Entry] = [
        message(room, 1, cid="k"),
        message(room, 2, cid="k", body="other"),
        message(stale, 1),
        change(room, "u_bob"),
        change(stale, "u_bob"),
    ]
    writer = make_writer(store, heard)
    for ticket, row in enumerate(rows):
        writer.submit(row, ticket)
    async with running(writer):
        await writer.flush(timeout_s=10)

    assert heard.receipts == [Stored(), CidConflict(1), Fenced(), Stored(), Fenced()]


async def test_a_listener_that_raises_stops_nothing(autojump_clock: MockClock) -> None:
    """The batch is stored and counted, the next one is written and told."""
    store = MemoryStore()
    room = await owned_room(store)
    told: list[int] = []

    def listener(batch: Sequence[Delivery[int]]) -> None:
        told.extend(ticket for _, ticket, _ in batch)
        if told == [1]:
            raise ZeroDivisionError

    writer = Writer(store, on_receipts=listener, rng=RNG)
    async with running(writer):
        for seq in (1, 2):
            writer.submit(message(room, seq), seq)
            await writer.flush(timeout_s=1)

    assert told == [1, 2]
    assert writer.statistics().receipt_errors == 1
    assert len(await read_log(store, room)) == 2


async def test_a_listener_may_submit(autojump_clock: MockClock) -> None:
    """A receipt may lead to the next row, also when the backlog was full."""
    store = MemoryStore()
    room = await owned_room(store)

    def listener(batch: Sequence[Delivery[int]]) -> None:
        for _, ticket, _ in batch:
            if ticket < 5:
                writer.submit(message(room, ticket + 1), ticket + 1)

    writer = Writer(store, on_receipts=listener, limits=WriterLimits(max_backlog_rows=1), rng=RNG)
    writer.submit(message(room, 1), 1)
    async with running(writer):
        while writer.pending(room):
            await writer.wait_flushed(room)

    assert len(await read_log(store, room)) == 5


async def test_a_room_waits_for_its_own_rows(autojump_clock: MockClock) -> None:
    """`wait_flushed` returns when the room's last row has its receipt, whatever other rooms have."""
    inner, heard = MemoryStore(), Heard()
    first, second = await owned_room(inner, "a"), await owned_room(inner, "b")
    limits = WriterLimits(max_batch_rows=2)
    writer = make_writer(FaultyStore(inner, lambda _: Fault(before_s=1)), heard, limits)
    for seq in (1, 2, 3):
        writer.submit(message(first, seq), seq)
    writer.submit(message(second, 1), 4)
    writer.submit(message(second, 2), 5)
    assert (writer.pending(first), writer.pending(second), writer.pending(RoomId(99))) == (3, 2, 0)

    async with running(writer):
        begun_s = trio.current_time()
        await writer.wait_flushed(RoomId(99))
        assert trio.current_time() == begun_s
        await writer.wait_flushed(first)
        assert trio.current_time() == begun_s + 2
        assert (writer.pending(first), writer.pending(second)) == (0, 1)
        await writer.wait_flushed(second)
        assert trio.current_time() == begun_s + 3
        assert writer.pending(second) == 0


async def test_flush_tells_what_is_left(autojump_clock: MockClock) -> None:
    """At the deadline the number of rows without a receipt is known, and later ones do not count."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    slow = FaultyStore(inner, lambda _: Fault(before_s=1))
    writer = make_writer(slow, heard, WriterLimits(max_batch_rows=2))
    for seq in range(1, 6):
        writer.submit(message(room, seq), seq)
    left: list[int] = []

    async def flush() -> None:
        left.append(await writer.flush(timeout_s=1.5))

    async with running(writer), trio.open_nursery() as nursery:
        nursery.start_soon(flush)
        await trio.sleep(0.5)
        writer.submit(message(room, 6), 6)

    assert left == [3]


async def test_ages_follow_the_oldest_row(autojump_clock: MockClock) -> None:
    """The oldest wait is that of the row that has waited longest, and 0 when none does."""
    inner = MemoryStore()
    room = await owned_room(inner)
    slow = FaultyStore(inner, lambda _: Fault(before_s=10))
    writer = make_writer(slow, Heard(), WriterLimits(max_batch_rows=1))
    assert writer.statistics().oldest_wait_s == 0
    async with running(writer):
        ages: list[float] = []
        for seq in (1, 2, 3):
            writer.submit(message(room, seq), seq)
            await trio.sleep(2)
        for _ in range(4):
            ages.append(writer.statistics().oldest_wait_s)
            await trio.sleep(10)

    # Rows came at 0, 2 and 4; the third shares the second's mark, which bounds its age from above.
    assert ages == [6, 14, 24, 0]


async def test_a_writer_runs_once(autojump_clock: MockClock) -> None:
    """A second run beside the first is refused."""
    writer = make_writer(MemoryStore(), Heard())
    async with running(writer):
        with pytest.raises(RuntimeError):
            await writer.run()


@pytest.mark.parametrize(
    "wrong",
    [{"max_batch_rows": 0}, {"max_backlog_bytes": 0}, {"attempt_timeout_s": 0}, {"retry_cap_s": 0.01}],
)
def test_limits_are_checked(wrong: dict[str, int]) -> None:
    """Bounds under which nothing could be written are refused."""
    with pytest.raises(ValueError, match="must be"):
        WriterLimits(**wrong)


async def test_bad_data_of_a_whole_batch_costs_no_retry(autojump_clock: MockClock) -> None:
    """A refusal that holds only for many rows at once parks nothing: the halves go through."""
    inner, heard = MemoryStore(), Heard()
    room = await owned_room(inner)
    writer = make_writer(faulty(inner, Fault(refusal=BadData("statement too complex"))), heard)
    for seq in (1, 2, 3, 4):
        writer.submit(message(room, seq), seq)
    async with running(writer):
        await writer.flush(timeout_s=1)

    assert heard.receipts == [Stored()] * 4
    assert heard.parked == []
