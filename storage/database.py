"""Calls into Postgres as trio sees them: what a call may do, how it is awaited, what is counted.

Knows neither asyncio nor asyncpg: those live behind the `Worker` of `storage/pool.py`, which runs the calls.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, TypeVarTuple, cast, overload

import outcome
import trio

from storage.errors import StoreClosed, Unavailable

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Mode = Literal["plain", "transaction", "snapshot"]
Stop = Literal["cancelled", "timeout", "closing"]


class Row(Protocol):
    """One row of a result: by position or by column name, iterable in column order, immutable."""

    @overload
    def __getitem__(self, key: str, /) -> object: ...

    @overload
    def __getitem__(self, key: int, /) -> object: ...

    def __iter__(self) -> Iterator[object]:
        """The values in column order."""
        ...

    def __len__(self) -> int:
        """How many columns there are."""
        ...


class Tx(Protocol):
    """What a call may do to the database while it runs; useless once the call has ended.

    Arguments are `$1, $2, ...`, sent in binary: int, float, bool, str, bytes, None, datetime, and lists of
    these for arrays; json and jsonb are str both ways. Statements are prepared once a connection and
    kept, so the text of a statement should be constant. Statements run one after another.

    Every method raises `Unavailable`, `Conflict`, `BadData`, `Corrupt` or plain `StorageError`; inside a
    transaction each of these has already doomed that transaction.
    """

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        """All rows of one statement."""
        ...

    async def fetch_as(self, make: Callable[..., R], sql: str, *args: object) -> list[R]:
        """All rows of one statement, each as `make(*columns)`; for instance a named tuple's class."""
        ...

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        """The first row of one statement, or None when there is none."""
        ...

    async def fetchrow_as(self, make: Callable[..., R], sql: str, *args: object) -> R | None:
        """The first row of one statement as `make(*columns)`, or None when there is none."""
        ...

    async def fetchval(self, sql: str, *args: object) -> object:
        """The first column of the first row, None when there is no row."""
        ...

    async def fetchval_as(self, kind: type[R], sql: str, *args: object) -> R:
        """The first column of the first row.

        Raises:
            StorageError: it is no instance of `kind`, or there is no row.
        """
        ...

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement, or without arguments a script of several; the last one's command tag."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call on its way: written by trio before it is handed over, read by both sides.

    Attributes:
        fn: what to run.
        mode: inside which kind of transaction.
        timeout_s: bounds the call from its arrival at the worker.
        caller: the task that waits.
        begun_s: when, on trio's clock.
        finish: to be called on trio's thread, with the call and its result.
        raise_cancel: trio's, set when the caller was cancelled.
        stop: why the worker interrupted the call, if it did.
    """

    fn: Callable[[Tx], Awaitable[object]]
    mode: Mode
    timeout_s: float
    caller: trio.lowlevel.Task
    begun_s: float
    finish: "Callable[[Call, outcome.Outcome[object]], None]"
    raise_cancel: Callable[[], object] | None = None
    stop: Stop | None = None


class Worker(Protocol):
    """The other side: runs calls, several at a time. Its methods are called on trio's thread."""

    @property
    def interrupt_bound_s(self) -> float:
        """The longest that an interrupted call takes to end, unless the worker itself is stuck."""
        ...

    def begin(self, call: Call) -> None:
        """Start a call; `call.finish` is called exactly once, or the worker's end is told."""
        ...

    def interrupt(self, call: Call, stop: Stop) -> None:
        """Cancel a call soon, if it has not ended by then."""
        ...

    @property
    def statements(self) -> int:
        """Statements sent to the server by calls so far."""
        ...

    def sizes(self) -> tuple[int, int]:
        """How many connections are open, and how many of these are idle."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatistics:
    """A database's state and what it has done since it was opened.

    Attributes:
        calls: calls that were begun.
        statements: what these calls have sent to the server: every statement, also the same one again, and
            those that begin and end transactions.
        in_flight: calls that have not ended yet, those that wait for a connection included.
        failed: calls that ended with an error.
        cancelled: calls whose caller gave up.
        timed_out: calls that were stopped by their own time limit (also counted in `failed`).
        pool_size: connections that are open.
        pool_idle: open connections that nobody uses.
        latency_last_s: from the begin to the end of the call that ended last.
        latency_mean_s: the same, mean over all calls that ended.
    """

    calls: int
    statements: int
    in_flight: int
    failed: int
    cancelled: int
    timed_out: int
    pool_size: int
    pool_idle: int
    latency_last_s: float
    latency_mean_s: float

    def plus(self, other: "DatabaseStatistics") -> "DatabaseStatistics":
        """Both as one: counts added up, the longer of the last calls, the mean over all."""
        ended = self.calls - self.in_flight
        ended_there = other.calls - other.in_flight
        latency_s = self.latency_mean_s * ended + other.latency_mean_s * ended_there
        return DatabaseStatistics(
            calls=self.calls + other.calls,
            statements=self.statements + other.statements,
            in_flight=self.in_flight + other.in_flight,
            failed=self.failed + other.failed,
            cancelled=self.cancelled + other.cancelled,
            timed_out=self.timed_out + other.timed_out,
            pool_size=self.pool_size + other.pool_size,
            pool_idle=self.pool_idle + other.pool_idle,
            latency_last_s=max(self.latency_last_s, other.latency_last_s),
            latency_mean_s=latency_s / (ended + ended_there) if ended + ended_there else 0.0,
        )


class Database:
    """Calls into one Postgres, from trio. Made by `open_database`.

    A call is a coroutine function that takes a `Tx` and arguments. It runs on the database's thread, so it
    must not touch trio, nor anything that the caller changes meanwhile, nor compute for long.
    """

    def __init__(self, worker: Worker, *, max_waiting: int) -> None:
        self._worker = worker
        self._max_waiting = max_waiting
        self._calls: set[Call] = set()
        self._closed: StoreClosed | None = None
        self._idle = trio.Event()
        self._begun = self._failed = self._cancelled = self._timed_out = 0
        self._latency_last_s = self._latency_sum_s = 0.0

    async def run(self, fn: Callable[[Tx, *Ts], Awaitable[R]], *args: *Ts, timeout_s: float = 10.0) -> R:
        """Run `fn(tx, *args)` in one transaction; return its result once that is committed.

        When `fn` raises, the transaction is rolled back and the error is raised here.

        Args:
            fn: the call.
            *args: handed to `fn`.
            timeout_s: bounds the whole call, the wait for a connection included.

        Raises:
            Unavailable: no connection, or it was lost, or the time is up, or too many calls wait. If it was
                lost while the commit was under way, the transaction may have been committed.
            Conflict: another transaction won.
            BadData: the database refuses these values for ever.
            Corrupt: Postgres says its data or an index are damaged.
            StorageError: anything else the database answered.
            StoreClosed: the database was closed, or its thread has ended.

        Cancellation: the query is cancelled at the server, the transaction rolled back, and the connection
        handed back; one that does not answer within the grace is thrown away. If the commit was
        already under way, it may have been committed.
        """
        return cast("R", await self._call("transaction", fn, args, timeout_s))

    async def read(self, fn: Callable[[Tx, *Ts], Awaitable[R]], *args: *Ts, timeout_s: float = 10.0) -> R:
        """As `run` without a transaction: every statement stands for itself, and saves two round trips."""
        return cast("R", await self._call("plain", fn, args, timeout_s))

    async def snapshot(self, fn: Callable[[Tx, *Ts], Awaitable[R]], *args: *Ts, timeout_s: float = 10.0) -> R:
        """As `run`, read-only, and all statements see the same state of the database."""
        return cast("R", await self._call("snapshot", fn, args, timeout_s))

    def statistics(self) -> DatabaseStatistics:
        """The figures of this moment."""
        ended = self._begun - len(self._calls)
        size, idle = self._worker.sizes()
        return DatabaseStatistics(
            calls=self._begun,
            statements=self._worker.statements,
            in_flight=len(self._calls),
            failed=self._failed,
            cancelled=self._cancelled,
            timed_out=self._timed_out,
            pool_size=size,
            pool_idle=idle,
            latency_last_s=self._latency_last_s,
            latency_mean_s=self._latency_sum_s / ended if ended else 0.0,
        )

    async def _call(
        self,
        mode: Mode,
        fn: Callable[[Tx, *Ts], Awaitable[object]],
        args: tuple[*Ts],
        timeout_s: float,
    ) -> object:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed is not None:
            raise StoreClosed(*self._closed.args)
        if len(self._calls) >= self._max_waiting:
            raise Unavailable(f"{len(self._calls)} calls wait for the database already")

        async def bound(tx: Tx) -> object:
            return await fn(tx, *args)

        call = Call(
            fn=bound,
            mode=mode,
            timeout_s=timeout_s,
            caller=trio.lowlevel.current_task(),
            begun_s=trio.current_time(),
            finish=self._finish,
        )

        def abort(raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
            call.raise_cancel = raise_cancel
            self._worker.interrupt(call, "cancelled")
            return trio.lowlevel.Abort.FAILED

        self._begun += 1
        self._calls.add(call)
        self._worker.begin(call)
        return await trio.lowlevel.wait_task_rescheduled(abort)

    def _finish(self, call: Call, result: outcome.Outcome[object]) -> None:
        """Wake the caller; runs on trio's thread, and only the first time counts."""
        if call not in self._calls:
            return
        self._calls.remove(call)
        if not self._calls:
            self._idle.set()
        self._latency_last_s = trio.current_time() - call.begun_s
        self._latency_sum_s += self._latency_last_s
        if isinstance(result, outcome.Error):
            if call.stop == "cancelled" and call.raise_cancel is not None:
                self._cancelled += 1
                result = outcome.capture(call.raise_cancel)
            else:
                self._failed += 1
                self._timed_out += call.stop == "timeout"
        trio.lowlevel.reschedule(call.caller, result)

    def fail(self, error: StoreClosed) -> None:
        """Nothing will work any more: refuse new calls, end those that wait. For `open_database` alone."""
        self._closed = self._closed or error
        for call in tuple(self._calls):
            self._finish(call, outcome.Error(StoreClosed(*self._closed.args)))

    async def drain(self, timeout_s: float) -> None:
        """Refuse new calls; wait at most `timeout_s` for the running ones, then interrupt them.

        For `open_database` alone. Afterwards no call waits, whatever the server does.
        """
        self._closed = self._closed or StoreClosed("the database was closed")
        for stop_s in (timeout_s, self._worker.interrupt_bound_s):
            self._idle = trio.Event()
            if not self._calls:
                return
            with trio.move_on_after(stop_s):
                await self._idle.wait()
            for call in tuple(self._calls):
                self._worker.interrupt(call, "closing")
        self.fail(self._closed)
