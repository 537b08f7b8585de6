"""What a writer is told and tells: its bounds, its callbacks, its figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from storage.model import Entry, Receipt

T = TypeVar("T")

Delivery: TypeAlias = tuple[Entry, T, Receipt]
"""An entry, the ticket that was submitted with it, and what became of it."""

OnReceipts: TypeAlias = Callable[[Sequence[Delivery[T]]], None]
"""Called on trio's thread, once a batch, in the order of submission. It must not block.

What it raises is logged and counted, and stops nothing: the rows are stored, only their news is lost, and the
clients who hear nothing ask again with the same key.
"""


class WriterObserver(Protocol):
    """Hears of every batch; called on trio's thread, must neither block nor raise."""

    def batch_committed(self, *, rows: int, batch_bytes: int, commit_s: float) -> None:
        """Every row of a batch has its receipt, `commit_s` after the first attempt."""
        ...

    def batch_failed(self, error: Exception, *, failures: int, retry_s: float) -> None:
        """An attempt failed, the `failures`-th in a row; the next one begins in `retry_s`."""
        ...

    def row_parked(self, error: str) -> None:
        """The database refused a row for ever."""
        ...


class SilentObserver:
    """Hears and does nothing."""

    def batch_committed(self, *, rows: int, batch_bytes: int, commit_s: float) -> None:
        """See `WriterObserver`."""

    def batch_failed(self, error: Exception, *, failures: int, retry_s: float) -> None:
        """See `WriterObserver`."""

    def row_parked(self, error: str) -> None:
        """See `WriterObserver`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterLimits:
    """Bounds of one writer.

    Attributes:
        max_backlog_rows: the most rows held, those of the batch under way included.
        max_backlog_bytes: nothing is taken once about this much is held, as `storage.batch.row_bytes` counts;
            the row that passes it still is.
        max_batch_rows: the most rows in a transaction.
        max_batch_bytes: about the most bytes in a transaction, of more than one row.
        row_interval_s: a batch begins so long after the one before began, for each of that one's rows, except
            when a full one waits; 0: no pause. A batch has a price of its own, which few rows a second can
            bear each, and many should share: so the pause follows the traffic.
        max_interval_s: the longest pause.
        attempt_timeout_s: bounds one call to the store.
        retry_base_s: the wait after a first failure at most; then doubling.
        retry_cap_s: the longest wait.
    """

    max_backlog_rows: int = 20_000
    max_backlog_bytes: int = 32 * 2**20
    max_batch_rows: int = 500
    max_batch_bytes: int = 2**20
    row_interval_s: float = 0.001
    max_interval_s: float = 0.010
    attempt_timeout_s: float = 15.0
    retry_base_s: float = 0.05
    retry_cap_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse bounds under which nothing could be written."""
        if min(self.max_backlog_rows, self.max_backlog_bytes, self.max_batch_rows, self.max_batch_bytes) < 1:
            raise ValueError("every bound must be at least 1")
        if (
            not 0 < self.retry_base_s <= self.retry_cap_s
            or self.attempt_timeout_s <= 0
            or min(self.row_interval_s, self.max_interval_s) < 0
        ):
            raise ValueError("times must be above 0 and retry_base_s at most retry_cap_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatistics:
    """A writer's state, and what it has done since it was made.

    Attributes:
        backlog_rows: rows held, those of the batch under way included.
        backlog_bytes: about how many bytes they are.
        oldest_wait_s: how long the oldest of them has been held, at least; 0 when there is none.
        unavailable_since_s: trio's time at which the failures that still last began, or None.
        submitted: rows taken.
        written: rows with a receipt of any kind.
        duplicates: of these, `Duplicate` and `CidConflict`.
        poisoned: of these, `Poisoned`.
        fenced: of these, `Fenced`.
        batches: batches completed.
        retries: attempts that failed and were made again.
        receipt_errors: batches whose `on_receipts` raised.
        last_error: why the last attempt that failed did, without values of rows, or None.
        commit_last_s: from the first attempt of the last batch to its last receipt.
        commit_mean_s: the same, mean over all batches.
    """

    backlog_rows: int
    backlog_bytes: int
    oldest_wait_s: float
    unavailable_since_s: float | None
    submitted: int
    written: int
    duplicates: int
    poisoned: int
    fenced: int
    batches: int
    retries: int
    receipt_errors: int
    last_error: str | None
    commit_last_s: float
    commit_mean_s: float
