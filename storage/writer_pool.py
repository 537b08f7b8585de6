"""Several writers, each with its own batch under way, and every room at one of them."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, NoReturn, TypeVar

import trio

from storage.model import Entry, RoomId
from storage.store import Store
from storage.writer import Writer
from storage.writer_model import OnReceipts, WriterLimits, WriterObserver, WriterStatistics

T = TypeVar("T")


class WriterPool(Generic[T]):
    """Spreads rooms over writers by their number, so that the order within a room is one writer's.

    Args:
        writers: how many.
        store: where to; it must serve as many calls at once.
        on_receipts: as for `Writer`; one batch of one writer a call.
        limits: of each writer.
        rng: for the jitter of retries.
        observer: hears of every batch.
    """

    def __init__(
        self,
        writers: int,
        store: Store,
        *,
        on_receipts: OnReceipts[T],
        limits: WriterLimits | None = None,
        rng: Random,
        observer: WriterObserver | None = None,
    ) -> None:
        if writers < 1:
            raise ValueError("a pool needs a writer")
        self._writers = tuple(
            Writer(store, on_receipts=on_receipts, limits=limits, rng=rng, observer=observer)
            for _ in range(writers)
        )

    @property
    def writers(self) -> Sequence[Writer[T]]:
        """Each of them; for a supervisor that runs them as separate children."""
        return self._writers

    def writer_for(self, room_id: RoomId) -> Writer[T]:
        """The writer of a room, always the same: a room asks once and keeps it."""
        return self._writers[room_id % len(self._writers)]

    def accepts(self, rows: int = 1) -> bool:
        """Whether every writer would take so many rows now; a room should ask its own writer."""
        return all(writer.accepts(rows) for writer in self._writers)

    def submit(self, entry: Entry, ticket: T, *, beyond_bound: bool = False) -> None:
        """See `Writer.submit`."""
        self.writer_for(entry.room_id).submit(entry, ticket, beyond_bound=beyond_bound)

    def stop_accepting(self) -> None:
        """See `Writer.stop_accepting`."""
        for writer in self._writers:
            writer.stop_accepting()

    def pending(self, room_id: RoomId) -> int:
        """See `Writer.pending`."""
        return self.writer_for(room_id).pending(room_id)

    async def wait_flushed(self, room_id: RoomId) -> None:
        """See `Writer.wait_flushed`."""
        await self.writer_for(room_id).wait_flushed(room_id)

    async def flush(self, *, timeout_s: float) -> int:
        """See `Writer.flush`; the time is for all of them together."""
        deadline_s = trio.current_time() + timeout_s
        left = 0
        for writer in self._writers:
            left += await writer.flush(timeout_s=max(0.0, deadline_s - trio.current_time()))
        return left

    def statistics(self) -> WriterStatistics:
        """All writers as one: counts added up; the oldest wait, the longest absence, the slowest commit."""
        each = [writer.statistics() for writer in self._writers]
        batches = sum(one.batches for one in each)

        def total(figure: Callable[[WriterStatistics], int]) -> int:
            return sum(map(figure, each))

        return WriterStatistics(
            backlog_rows=total(lambda one: one.backlog_rows),
            backlog_bytes=total(lambda one: one.backlog_bytes),
            oldest_wait_s=max(one.oldest_wait_s for one in each),
            unavailable_since_s=min(
                (one.unavailable_since_s for one in each if one.unavailable_since_s is not None), default=None
            ),
            submitted=total(lambda one: one.submitted),
            written=total(lambda one: one.written),
            duplicates=total(lambda one: one.duplicates),
            poisoned=total(lambda one: one.poisoned),
            fenced=total(lambda one: one.fenced),
            batches=batches,
            retries=total(lambda one: one.retries),
            receipt_errors=total(lambda one: one.receipt_errors),
            last_error=next((one.last_error for one in each if one.last_error is not None), None),
            commit_last_s=max(one.commit_last_s for one in each),
            commit_mean_s=sum(one.commit_mean_s * one.batches for one in each) / batches if batches else 0.0,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Run every writer until cancelled; see `Writer.run`.

        Raises:
            ExceptionGroup: of what the writers raised; the others are cancelled and hold what they held.
        """
        async with trio.open_nursery() as nursery:
            for writer in self._writers:
                await nursery.start(writer.run)
            task_status.started()
        raise AssertionError("writers run until cancelled")
