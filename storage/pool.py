"""The one place that knows asyncio and asyncpg: a connection pool on its own thread.

`Database` lives on trio and is what the rest of the package uses. The worker here lives on a thread of its
own, with an event loop of its own (uvloop where it is installed), and owns the connections. A call
crosses twice: once as a coroutine function with its arguments, once as its finished result.
"""

import asyncio
import importlib.util
import re
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, TypeVarTuple, cast

import asyncpg
import outcome
import structlog
import trio
from asyncpg.pool import PoolConnectionProxy

from storage.database import Call, Database, Row, Stop
from storage.errors import BadData, StorageError, StoreClosed, Unavailable, loggable
from storage.sqlstate import classify, may_quote_values

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    _Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
else:
    _Connection = PoolConnectionProxy  # generic in its stubs alone

_DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError included
)
KEPT_MAX: Final = 2
"""Connections that stay out of the pool between calls: what writers have under way at a time."""
_ARGUMENT: Final = re.compile(r"invalid input for query (argument \$\d+)")
_PIN_COMMIT: Final = """
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
_log = structlog.get_logger(__name__)


class _Ended:
    """Stands for the connection of a call that has ended."""

    def __getattr__(self, name: str) -> object:
        raise asyncpg.InterfaceError(f"no {name}: the call has ended")


_ENDED: Final = _Ended()


class _Tx:
    """`storage.database.Tx` on one connection of the pool."""

    __slots__ = ("_connection", "ended", "statements")

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.ended = False
        self.statements = 0

    def end(self) -> None:
        """Make this handle useless: its connection serves other calls from now on."""
        self.ended = True
        self._connection = cast("_Connection", _ENDED)

    def told(self, error: Exception) -> StorageError:
        """What a driver's error means; a handle that outlived its call is our own mistake."""
        if self.ended:
            return StorageError(f"the call has ended: {_words(error)}")
        return _translate(error, self._connection)

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        self.statements += 1
        try:
            return await self._connection.fetch(sql, *args)
        except _DRIVER_ERRORS as error:
            raise self.told(error) from None

    async def fetch_as(self, make: Callable[..., R], sql: str, *args: object) -> list[R]:
        return [make(*row) for row in await self.fetch(sql, *args)]

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        self.statements += 1
        try:
            return await self._connection.fetchrow(sql, *args)
        except _DRIVER_ERRORS as error:
            raise self.told(error) from None

    async def fetchrow_as(self, make: Callable[..., R], sql: str, *args: object) -> R | None:
        row = await self.fetchrow(sql, *args)
        return None if row is None else make(*row)

    async def fetchval(self, sql: str, *args: object) -> object:
        self.statements += 1
        try:
            value: object = await self._connection.fetchval(sql, *args)
        except _DRIVER_ERRORS as error:
            raise self.told(error) from None
        return value

    async def fetchval_as(self, kind: type[R], sql: str, *args: object) -> R:
        value = await self.fetchval(sql, *args)
        if isinstance(value, kind):
            return value
        raise StorageError(f"expected {kind.__name__}, the database gave {type(value).__name__}")

    async def execute(self, sql: str, *args: object) -> str:
        self.statements += 1
        try:
            return await self._connection.execute(sql, *args)
        except _DRIVER_ERRORS as error:
            raise self.told(error) from None


class _PlainConnection(asyncpg.Connection):
    """A connection that needs no clean-up query between calls: calls leave no session state behind."""

    def get_reset_query(self) -> str:
        return ""


class _Running:
    """What the loop knows of a call that runs."""

    __slots__ = ("connection", "task", "timer")

    def __init__(self, task: asyncio.Task[object], timer: asyncio.TimerHandle) -> None:
        self.task = task
        self.timer = timer
        self.connection: _Connection | None = None


class _Worker:
    """A thread, its loop and the connections. Methods with an underscore run on that thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: "asyncpg.Pool[asyncpg.Record]",
        *,
        grace_s: float,
        open_bound_s: float,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._grace_s = grace_s
        self._open_bound_s = open_bound_s
        self._running: dict[Call, _Running] = {}
        self._kept: list[_Connection] = []
        self._queued = 0
        self._statements = 0
        self._discarding: set[asyncio.Task[None]] = set()
        self._token = trio.lowlevel.current_trio_token()
        self._closing = asyncio.Event()
        self._over = False
        self._failure: BaseException | None = None
        self._on_end: Callable[[StoreClosed], None] | None = None
        self._opened = trio.Event()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._main, name="parley-database", daemon=True)

    @property
    def interrupt_bound_s(self) -> float:
        return self._grace_s + 1.0

    @property
    def statements(self) -> int:
        return self._statements

    def sizes(self) -> tuple[int, int]:
        return self._pool.get_size(), self._pool.get_idle_size() + len(self._kept)

    async def start(self, on_end: Callable[[StoreClosed], None]) -> None:
        """Start the thread and wait until the pool has its first connections.

        `on_end` is called on trio's thread when the worker's has ended, for whatever reason.
        """
        self._on_end = on_end
        self._thread.start()
        await self._opened.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Close the connections and end the thread; bounded. A stuck thread is left to the process's end."""
        self._post(self._closing.set)
        with trio.move_on_after(self._grace_s + self.interrupt_bound_s):
            await self._ended.wait()
            self._thread.join()
            return
        _log.error("storage.thread_stuck", thread=self._thread.name)

    def begin(self, call: Call) -> None:
        self._post(self._begin, call)

    def interrupt(self, call: Call, stop: Stop) -> None:
        self._post(self._interrupt, call, stop)

    def _post(self, fn: Callable[[*Ts], object], *args: *Ts) -> None:
        try:
            self._loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            _log.debug("storage.thread_gone")  # its end fails every call, also those not begun

    def _tell(self, fn: Callable[[*Ts], object], *args: *Ts) -> None:
        try:
            self._token.run_sync_soon(fn, *args)
        except trio.RunFinishedError:
            _log.debug("storage.caller_gone")  # trio has ended, and every caller with it

    def _begin(self, call: Call) -> None:
        task = self._loop.create_task(self._attempt(call))
        timer = self._loop.call_later(call.timeout_s, self._interrupt, call, "timeout")
        self._running[call] = _Running(task, timer)
        task.add_done_callback(partial(self._complete, call))

    def _interrupt(self, call: Call, stop: Stop) -> None:
        running = self._running.get(call)
        if running is None or call.stop is not None:
            return
        call.stop = stop
        running.timer.cancel()
        running.timer = self._loop.call_later(self._grace_s, self._sever, running)
        running.task.cancel()

    def _sever(self, running: _Running) -> None:
        """The server did not obey in time: give this connection up, which ends the call."""
        if running.connection is not None:
            running.connection.terminate()

    def _complete(self, call: Call, task: asyncio.Task[object]) -> None:
        """Tell a call's result. A callback of its task: one cancelled before its first step runs no code."""
        self._running.pop(call).timer.cancel()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        result: outcome.Outcome[object]
        if error is None:
            result = outcome.Value(task.result())
        elif call.stop == "timeout":
            # Whatever an interrupted call ended with, it ended because it was interrupted.
            result = outcome.Error(Unavailable(f"no answer within {call.timeout_s} s"))
        elif call.stop is not None:
            result = outcome.Error(StoreClosed("the database was closed"))
        elif isinstance(error, Exception) and not self._over:
            result = outcome.Error(error)
        else:
            result = outcome.Error(StoreClosed(f"the database's thread has ended: {loggable(error)}"))
        self._tell(call.finish, call, result)

    async def _attempt(self, call: Call) -> object:
        connection = self._take_kept() or await self._acquire()
        self._running[call].connection = connection
        tx = _Tx(connection)
        done = False
        try:
            if call.mode == "plain":
                result = await call.fn(tx)
            else:
                snapshot = call.mode == "snapshot"
                tx.statements += 2  # its begin and its end
                async with connection.transaction(
                    isolation="repeatable_read" if snapshot else None, readonly=snapshot
                ):
                    result = await call.fn(tx)
            done = True
        except _DRIVER_ERRORS as error:
            raise tx.told(error) from None
        finally:
            tx.end()
            self._statements += tx.statements
            if not (done and self._keep(connection)):
                await self._release(connection)  # noqa: ASYNC102  asyncio, bounded
        return result

    async def _acquire(self) -> _Connection:
        self._queued += 1
        try:
            return await self._pool.acquire()
        except _DRIVER_ERRORS as error:
            raise _translate(error, None) from None
        finally:
            self._queued -= 1

    def _take_kept(self) -> _Connection | None:
        """A connection that was kept, unless it was lost meanwhile."""
        while self._kept:
            connection = self._kept.pop()
            if not _is_lost(connection):
                return connection
            self._discard(connection)
        return None

    def _keep(self, connection: _Connection) -> bool:
        """Keep a healthy connection for the next call; False: it goes back to the pool.

        Going through the pool costs a task and several rounds of the loop, a quarter of a small call.
        """
        if len(self._kept) >= KEPT_MAX or self._queued or self._closing.is_set() or _is_lost(connection):
            return False
        self._kept.append(connection)
        return True

    def _discard(self, connection: _Connection) -> None:
        """Hand a lost connection back, beside what goes on: the pool makes another one in its place."""
        task = self._loop.create_task(self._release(connection))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def _release(self, connection: _Connection) -> None:
        try:
            await self._pool.release(connection, timeout=self._grace_s)
        except _DRIVER_ERRORS as error:
            # The pool has thrown the connection away; what the call did stands.
            _log.info("storage.connection_dropped", error=_words(error))

    def _main(self) -> None:
        """The thread: serve until asked to stop; its end is told in any case."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  the end of a thread: told to every caller
            self._failure = error
        self._tell(self._end)

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_report)
        try:
            async with asyncio.timeout(self._open_bound_s):
                await self._pool
        except (*_DRIVER_ERRORS, ValueError) as error:
            raise _translate(error, None) from None
        self._tell(self._opened.set)
        try:
            await self._closing.wait()
            async with asyncio.timeout(self._grace_s):
                while self._kept:
                    await self._release(self._kept.pop())
                await self._pool.close()
        except _DRIVER_ERRORS as error:
            _log.warning("storage.pool_cut", error=_words(error))
        finally:
            self._over = True
            self._pool.terminate()  # no effect on a closed one

    def _end(self) -> None:
        """The thread is over; on trio's thread."""
        self._ended.set()
        self._opened.set()
        if self._on_end is not None:
            why = "it was closed" if self._failure is None else loggable(self._failure)
            self._on_end(StoreClosed(f"the database's thread has ended: {why}"))


def _new_event_loop() -> asyncio.AbstractEventLoop:
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    uvloop = importlib.import_module("uvloop")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _translate(error: Exception, connection: _Connection | None) -> StorageError:
    """What a driver's error means for the caller; without its details, and not as its cause.

    Both quote rows and arguments, which are people's messages, and errors are logged with their causes.
    """
    words = _words(error)
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return Unavailable(words)  # the schema changed under a cached statement, now forgotten
    if isinstance(error, asyncpg.PostgresError):
        return classify(error.sqlstate)(words)
    if isinstance(error, OSError):
        return Unavailable(words)
    if connection is not None and _is_lost(connection):
        return Unavailable(f"the connection was lost: {words}")
    if isinstance(error, ValueError):
        return BadData(words)  # the driver's own DataError: a value that fits no column type
    return StorageError(words)


def _words(error: Exception) -> str:
    """What a driver's error says, as far as no value of a row or an argument can be in it."""
    name = type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        if not may_quote_values(error.sqlstate):
            return f"{error.args[0]} ({error.sqlstate})"
        argument = _ARGUMENT.match(error.args[0])  # the driver's own refusal of an argument
        place = (
            argument[1]
            if argument
            else error.constraint_name or ".".join(filter(None, (error.table_name, error.column_name)))
        )
        return f"{name} ({error.sqlstate}) {place}".rstrip()
    if isinstance(error, OSError):
        return f"{name}: {error}"
    if isinstance(error, ValueError) and not isinstance(error, asyncpg.ClientConfigurationError):
        return f"the address makes no sense ({name})"  # parsing it may quote a password
    return f"{name}: {error.args[0] if error.args else ''}"


def _is_lost(connection: _Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool has taken it back already


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """An error that no call waits for, such as one of an idle connection."""
    del loop
    error = context.get("exception")
    _log.warning("storage.background_error", message=context.get("message"), error=repr(error))


async def _pin_commit(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Set for the session what holds now, or `on`: no later change of the server's settings reaches us."""
    await connection.execute(_PIN_COMMIT)


@asynccontextmanager
async def open_database(
    dsn: str,
    *,
    min_size: int = 1,
    max_size: int = 8,
    max_waiting: int = 1024,
    connect_timeout_s: float = 10.0,
    statement_timeout_s: float = 30.0,
    cancel_grace_s: float = 2.0,
    close_timeout_s: float = 5.0,
    application_name: str = "parley",
) -> AsyncGenerator[Database]:
    """Connect to a Postgres; on leaving, wait for the running calls and close every connection.

    Several may be open at once, in one process and to one server. Connections that were lost are
    replaced when they are next needed, so the database heals when the server is back.

    A commit is confirmed when it is on the server's disk: `synchronous_commit = off`, set for the server,
    the database or the user, does not hold here. Its other values do.

    Args:
        dsn: a `postgresql://` address.
        min_size: connections to open at once; with 0 an absent server shows at the first call.
        max_size: the most connections.
        max_waiting: the most calls that run or wait; above it calls are refused with `Unavailable`.
        connect_timeout_s: bounds the opening, and later every single connecting.
        statement_timeout_s: the server's own limit for a statement, against callers that vanished.
        cancel_grace_s: how long a cancelled query may take to end before its connection is cut.
        close_timeout_s: how long calls may go on after the body has ended.
        application_name: as shown in pg_stat_activity.

    Raises:
        Unavailable: the server did not accept a connection in time.
        StorageError: it refused us for another reason, or the address makes no sense.

    Cancellation: closing is shielded, and takes at most `close_timeout_s` and a few `cancel_grace_s`.
    """
    statement_timeout_ms = round(statement_timeout_s * 1000)
    loop = _new_event_loop()
    pool = asyncpg.create_pool(
        dsn,
        loop=loop,
        min_size=min_size,
        max_size=max_size,
        timeout=connect_timeout_s,
        connection_class=_PlainConnection,
        init=_pin_commit,
        server_settings={
            "application_name": application_name,
            "statement_timeout": str(statement_timeout_ms),
            "idle_in_transaction_session_timeout": str(2 * statement_timeout_ms),
        },
    )
    worker = _Worker(loop, pool, grace_s=cancel_grace_s, open_bound_s=connect_timeout_s)
    database = Database(worker, max_waiting=max_waiting)
    try:
        await worker.start(database.fail)
        yield database
    finally:
        with trio.CancelScope(shield=True):  # both waits are bounded
            await database.drain(close_timeout_s)
            await worker.stop()
