"""Batching writers: many submit, one task commits.

A writer flushes at once when it is idle, and takes all that has come when the last commit has returned and
some time has passed since that batch began: a millisecond for each of its rows, up to ten. A batch has a
price of its own (two threads are woken, a statement crosses), about 300 us of CPU against 5 us a row, and
under load it should be paid for many rows.
One batch is under way at a time, which keeps the order; several writers, with the rooms spread over them,
use several connections.

What was submitted is never dropped: it waits in memory until the store has taken it, refused it for ever,
or said that the room has another owner. Cancelling `run` keeps all of it, the batch under way included; a
later `run` goes on there, and the store knows what it has stored already.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from random import Random
from typing import Final, Generic, NoReturn, TypeVar

import structlog
import trio

from storage.batch import Append, Attempt, Step, retry_delay_s, row_bytes, take
from storage.errors import (
    BacklogFull,
    BadData,
    Conflict,
    LogGap,
    StoreClosed,
    Unavailable,
    loggable,
    stack_of,
)
from storage.model import CidConflict, Duplicate, Entry, Fenced, Poisoned, Receipt, RoomId
from storage.store import Store
from storage.writer_model import (
    OnReceipts,
    SilentObserver,
    WriterLimits,
    WriterObserver,
    WriterStatistics,
)

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_room_of: Final[Callable[[Entry], RoomId]] = itemgetter(0)  # both kinds of entry begin with their room
_EXPECTED: Final = (Unavailable, Conflict, trio.TooSlowError)
_MIN_LOG_GAP_S: Final = 5.0


class Writer(Generic[T]):
    """One queue of rows and the task that commits them. Everything but `run` may be called from any task.

    Args:
        store: where to.
        on_receipts: hears what became of each row, see `OnReceipts`.
        limits: bounds and times.
        rng: for the jitter of retries.
        observer: hears of every batch.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_receipts: OnReceipts[T],
        limits: WriterLimits | None = None,
        rng: Random,
        observer: WriterObserver | None = None,
    ) -> None:
        limits = limits or WriterLimits()
        self._store = store
        self._on_receipts = on_receipts
        self._limits = limits
        self._rng = rng
        self._observer = observer or SilentObserver()
        # The three columns of what waits; a row is taken from all of them at once.
        self._entries: list[Entry] = []
        self._tickets: list[T] = []
        self._sizes: list[int] = []
        self._flight: _Flight[T] | None = None
        self._rows_left = limits.max_backlog_rows
        self._bytes_left = limits.max_backlog_bytes
        self._accepting = True
        self._pending: dict[RoomId, int] = {}
        self._room_flushed: dict[RoomId, trio.Event] = {}
        self._progress: trio.Event | None = None
        self._wake: trio.Event | None = None
        # Ages: (number of the row, when it came) of the first row after each take.
        self._marks: deque[tuple[int, float]] = deque()
        self._marked = False
        self._running = False
        self._next_s = float("-inf")  # when the next batch may begin
        self._submitted = self._written = 0
        self._failures = self._retries = self._batches = self._receipt_errors = 0
        self._duplicates = self._poisoned = self._fenced = 0
        self._unavailable_since_s: float | None = None
        self._last_error: str | None = None
        self._logged_s = float("-inf")
        self._commit_last_s = self._commit_sum_s = 0.0

    def writer_for(self, room_id: RoomId) -> "Writer[T]":
        """This writer; see `WriterPool.writer_for`."""
        del room_id
        return self

    def accepts(self, rows: int = 1) -> bool:
        """Whether so many rows would be taken now: to be asked before rows are ordered."""
        return self._rows_left >= rows and self._bytes_left > 0 and self._accepting

    def submit(self, entry: Entry, ticket: T, *, beyond_bound: bool = False) -> None:
        """Take a row; never blocks. `on_receipts` will get it back with its ticket and receipt.

        Args:
            entry: the row.
            ticket: anything.
            beyond_bound: take it although `accepts()` is False. For rows that follow from rows which were
                taken, at most a few for each, such as a room's news of one that became `void`: the backlog
                passes its bound by no more than that.

        Raises:
            BacklogFull: `accepts()` is False; nothing was taken.
        """
        if (self._rows_left < 1 or self._bytes_left < 1 or not self._accepting) and not beyond_bound:
            raise BacklogFull(f"{len(self._sizes)} rows wait")
        size = row_bytes(entry)
        self._rows_left -= 1
        self._bytes_left -= size
        self._submitted += 1
        self._entries.append(entry)
        self._tickets.append(ticket)
        self._sizes.append(size)
        room_id = entry[0]
        self._pending[room_id] = self._pending.get(room_id, 0) + 1
        if not self._marked:
            self._mark()

    def stop_accepting(self) -> None:
        """Take nothing more, for good, but what goes beyond the bound; what is held is still written."""
        self._accepting = False

    def pending(self, room_id: RoomId) -> int:
        """How many rows of a room have no receipt yet."""
        return self._pending.get(room_id, 0)

    async def wait_flushed(self, room_id: RoomId) -> None:
        """Return when no row of the room is without a receipt.

        It waits as long as the store is away; bound it with a cancel scope.
        """
        await trio.lowlevel.checkpoint()
        while room_id in self._pending:
            await self._room_flushed.setdefault(room_id, trio.Event()).wait()

    async def flush(self, *, timeout_s: float) -> int:
        """Wait until every row submitted so far has its receipt; return how many have none in time."""
        await trio.lowlevel.checkpoint()
        target = self._submitted
        with trio.move_on_after(timeout_s):
            while self._written < target:
                if self._progress is None:
                    self._progress = trio.Event()
                await self._progress.wait()
        return max(0, target - self._written)

    def statistics(self) -> WriterStatistics:
        """The figures of this moment."""
        oldest_wait_s = 0.0
        if self._written < self._submitted:
            begun_s = self._marks[0][1] if self._flight is None else self._flight.oldest_s
            oldest_wait_s = trio.current_time() - begun_s
        return WriterStatistics(
            backlog_rows=self._submitted - self._written,
            backlog_bytes=self._limits.max_backlog_bytes - self._bytes_left,
            oldest_wait_s=oldest_wait_s,
            unavailable_since_s=self._unavailable_since_s,
            submitted=self._submitted,
            written=self._written,
            duplicates=self._duplicates,
            poisoned=self._poisoned,
            fenced=self._fenced,
            batches=self._batches,
            retries=self._retries,
            receipt_errors=self._receipt_errors,
            last_error=self._last_error,
            commit_last_s=self._commit_last_s,
            commit_mean_s=self._commit_sum_s / self._batches if self._batches else 0.0,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Commit what is submitted, until cancelled. Whatever the store raises, but StoreClosed, is retried.

        Raises:
            StoreClosed: no call will work any more; everything without a receipt is still held.
            RuntimeError: it runs already.

        Cancellation: the same. What was under way may have been stored; it is the first that a later
        `run` sends again.
        """
        if self._running:
            raise RuntimeError("the writer runs already")
        self._running = True
        try:
            task_status.started()
            while True:
                if self._flight is None:
                    await self._wait_rows()
                    self._flight = self._take()
                await self._commit(self._flight)
        finally:
            self._running = False

    def _mark(self) -> None:
        """Remember when the first row after a take came, and wake `run` for it."""
        self._marked = True
        self._marks.append((self._submitted, trio.current_time()))
        if self._wake is not None:
            self._wake.set()

    async def _wait_rows(self) -> None:
        """Return when there is a row, and either it fills a batch or the last batch began long enough ago."""
        if not self._entries:
            self._wake = trio.Event()
            try:
                await self._wake.wait()
            finally:
                self._wake = None
        if len(self._entries) < self._limits.max_batch_rows and trio.current_time() < self._next_s:
            await trio.sleep_until(self._next_s)

    def _take(self) -> "_Flight[T]":
        """The next batch; no longer among what waits."""
        limits = self._limits
        rows = take(self._sizes, max_rows=limits.max_batch_rows, max_bytes=limits.max_batch_bytes)
        oldest_s = self._marks[0][1]
        self._next_s = trio.current_time() + min(rows * limits.row_interval_s, limits.max_interval_s)
        flight = _Flight(self._entries[:rows], self._tickets[:rows], sum(self._sizes[:rows]), oldest_s)
        del self._entries[:rows], self._tickets[:rows], self._sizes[:rows]
        # The oldest row that stays came with, or after, the last mark that is not above it.
        oldest = self._written + rows + 1
        while len(self._marks) > 1 and self._marks[1][0] <= oldest:
            self._marks.popleft()
        if not self._entries:
            self._marks.clear()
        self._marked = False
        return flight

    async def _commit(self, flight: "_Flight[T]") -> None:
        """Bring the batch under way to its receipts, however long that takes, and hand them out."""
        attempt = Attempt(flight.entries)
        begun_s = trio.current_time()
        while (step := attempt.step()) is not None:
            try:
                with trio.fail_after(self._limits.attempt_timeout_s):
                    await self._carry_out(attempt, step)
            except StoreClosed:
                raise
            except (BadData, LogGap) as error:
                self._log_refusal(attempt, step, error)
                attempt.refused(error)
            except Exception as error:  # noqa: BLE001  a store's bug delays the batch, it does not lose it
                await self._back_off(error)
                continue
            if self._failures:
                self._recover()
        self._settle(flight, attempt.receipts, trio.current_time() - begun_s)

    async def _carry_out(self, attempt: Attempt, step: Step) -> None:
        if isinstance(step, Append):
            attempt.accepted(await self._store.append(step.entries))
            return
        receipt = await self._store.park(step.entry, step.error)
        attempt.accepted([receipt])
        if isinstance(receipt, Poisoned):
            self._observer.row_parked(receipt.error)

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        self._retries += 1
        now_s = trio.current_time()
        if self._unavailable_since_s is None:
            self._unavailable_since_s = now_s
        self._last_error = loggable(error)
        limits = self._limits
        delay_s = retry_delay_s(
            self._failures, base_s=limits.retry_base_s, cap_s=limits.retry_cap_s, jitter=self._rng.random()
        )
        if now_s >= self._logged_s + _MIN_LOG_GAP_S or not isinstance(error, _EXPECTED):
            self._logged_s = now_s
            _log.warning(
                "writer.failed",
                error=self._last_error,
                failures=self._failures,
                retry_s=round(delay_s, 3),
                backlog_rows=self._submitted - self._written,
                stack=None if isinstance(error, _EXPECTED) else stack_of(error),
            )
        self._observer.batch_failed(error, failures=self._failures, retry_s=delay_s)
        await trio.sleep(delay_s)

    def _recover(self) -> None:
        _log.info("writer.recovered", failures=self._failures, last_error=self._last_error)
        self._failures = 0
        self._unavailable_since_s = None
        self._logged_s = float("-inf")

    def _log_refusal(self, attempt: Attempt, step: Step, error: BadData | LogGap) -> None:
        """Tell of a single row that will not be written; parts of batches are not worth a line."""
        entry = step.entries[0] if isinstance(step, Append) else step.entry
        if isinstance(step, Append) and len(step.entries) > 1:
            return
        # Never the row's texts: bodies stay out of logs.
        _log.error(
            "writer.refused",
            room_id=entry.room_id,
            kind=type(entry).__name__,
            seq=getattr(entry, "seq", None),
            written=len(attempt.receipts),
            error=loggable(error),
        )

    def _settle(self, flight: "_Flight[T]", receipts: Sequence[Receipt], commit_s: float) -> None:
        """The batch is done: forget it, then tell."""
        self._flight = None
        rows = len(flight.entries)
        self._written += rows
        self._rows_left += rows
        self._bytes_left += flight.size_bytes
        self._batches += 1
        self._commit_last_s = commit_s
        self._commit_sum_s += commit_s
        kinds = Counter(map(type, receipts))
        self._duplicates += kinds[Duplicate] + kinds[CidConflict]
        self._poisoned += kinds[Poisoned]
        self._fenced += kinds[Fenced]
        for room_id, count in Counter(map(_room_of, flight.entries)).items():
            left = self._pending.pop(room_id) - count
            if left:
                self._pending[room_id] = left
            elif room_id in self._room_flushed:
                self._room_flushed.pop(room_id).set()
        if self._progress is not None:
            self._progress.set()
            self._progress = None
        try:
            self._on_receipts(list(zip(flight.entries, flight.tickets, receipts, strict=True)))
        except Exception as error:  # noqa: BLE001  the listener's bug is its own; the writer must go on
            self._receipt_errors += 1
            # Not its words nor its locals: they may hold rows.
            _log.error("writer.receipts_failed", rows=rows, error=loggable(error), stack=stack_of(error))
        self._observer.batch_committed(rows=rows, batch_bytes=flight.size_bytes, commit_s=commit_s)


@dataclass(frozen=True, slots=True)
class _Flight(Generic[T]):
    """The batch under way, in columns."""

    entries: Sequence[Entry]
    tickets: Sequence[T]
    size_bytes: int
    oldest_s: float
