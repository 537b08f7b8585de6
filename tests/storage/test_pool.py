"""The pool: results and errors cross the boundary, cancelling cancels, and nothing keeps it from healing."""

import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from storage.database import Database, Tx
from storage.embedded import open_embedded
from storage.errors import BadData, Conflict, StorageError, StoreClosed, TooSlow, Unavailable
from storage.pool import open_database
from tests.storage.calls import wait_in_flight

LONG_SLEEP = "SELECT pg_sleep(3600)"
COUNT_SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND state = 'active'"


async def query(tx: Tx, sql: str, *args: object) -> object:
    """One value."""
    return await tx.fetchval(sql, *args)


async def script(tx: Tx, *statements: str) -> None:
    """Several statements."""
    for statement in statements:
        await tx.execute(statement)


async def backend_pid(tx: Tx) -> int:
    """The process that serves this connection."""
    return await tx.fetchval_as(int, "SELECT pg_backend_pid()")


async def wait_until_sleeping(observer: Database, sleepers: int = 1) -> None:
    """Wait until the server runs so many of the long sleeps."""
    with trio.fail_after(10):
        while await observer.read(query, COUNT_SLEEPERS, LONG_SLEEP) != sleepers:
            pass


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT $1::bigint[]", [1, -(2**63), 2**63 - 1]),
        ("SELECT $1::text[]", ["a", "", None, "\N{SNOWMAN}"]),
        ("SELECT $1::bytea[]", [b"", b"\0\xff"]),
        ("SELECT $1::jsonb", '{"a": [1, null]}'),
        ("SELECT $1::boolean", True),
        ("SELECT $1::double precision", 0.1),
        ("SELECT $1::text", None),
    ],
)
async def test_values_come_back_as_they_were_sent(empty_database: Database, sql: str, value: object) -> None:
    """Arrays, bytes and json (as text) survive the way there and back."""
    assert await empty_database.read(query, sql, value) == value


async def test_rows_are_read_by_position_by_name_and_as_a_type(empty_database: Database) -> None:
    """A row is a sequence and a mapping, and `fetch_as` makes what is wanted of it."""

    async def look(tx: Tx) -> None:
        sql = "SELECT n AS number, n * n AS square FROM generate_series(1, $1::int) AS n"
        rows = await tx.fetch(sql, 3)
        assert [(row["number"], row[1], len(row)) for row in rows] == [(1, 1, 2), (2, 4, 2), (3, 9, 2)]
        assert [tuple(row) for row in rows] == [(1, 1), (2, 4), (3, 9)]
        assert await tx.fetch_as(complex, sql, 2) == [1 + 1j, 2 + 4j]
        assert await tx.fetchrow_as(complex, sql, 1) == 1 + 1j
        assert await tx.fetchrow_as(complex, sql, 0) is None
        assert await tx.fetchrow(sql, 0) is None

    await empty_database.read(look)


async def test_a_value_of_an_unexpected_kind_is_an_error(empty_database: Database) -> None:
    """`fetchval_as` never hands on what it did not promise."""

    async def look(tx: Tx) -> int:
        return await tx.fetchval_as(int, "SELECT 'one'::text")

    with pytest.raises(StorageError, match="expected int, the database gave str"):
        await empty_database.read(look)


async def test_run_commits_and_an_error_rolls_back(empty_database: Database) -> None:
    """All of a call's statements count, or none; its own error reaches the caller unchanged."""
    await empty_database.run(script, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")

    async def insert_and_fail(tx: Tx) -> None:
        await tx.execute("INSERT INTO t VALUES (2), (3)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await empty_database.run(insert_and_fail)

    assert await empty_database.read(query, "SELECT sum(n) FROM t") == 1


async def test_a_snapshot_sees_one_state_and_writes_nothing(empty_database: Database) -> None:
    """What others commit meanwhile is not seen, and writing is refused."""
    await empty_database.run(script, "CREATE TABLE t (n int)")
    looked = trio.Event()
    token = trio.lowlevel.current_trio_token()
    written = threading.Event()

    async def look_twice(tx: Tx) -> tuple[object, object]:
        first = await query(tx, "SELECT count(*) FROM t")
        token.run_sync_soon(looked.set)
        while not written.is_set():
            await query(tx, "SELECT 1")
        return first, await query(tx, "SELECT count(*) FROM t")

    async def write() -> None:
        await looked.wait()
        await empty_database.run(script, "INSERT INTO t VALUES (1)")
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        seen = await empty_database.snapshot(look_twice)

    assert seen == (0, 0)
    with pytest.raises(StorageError):
        await empty_database.snapshot(script, "INSERT INTO t VALUES (2)")


@pytest.mark.parametrize(
    ("kind", "sql", "args"),
    [
        (Conflict, "INSERT INTO t VALUES (1, 'a')", ()),
        (BadData, "INSERT INTO t VALUES (2, $1::text)", ("a\0b",)),
        (BadData, "INSERT INTO t VALUES (2, $1::text)", ("\ud800",)),
        (BadData, "INSERT INTO t VALUES (2, NULL)", ()),
        (BadData, "INSERT INTO t VALUES (-1, 'a')", ()),
        (BadData, "INSERT INTO t VALUES ($1, 'a')", (2**31,)),
        (BadData, "INSERT INTO t VALUES ($1, 'a')", ("two",)),
        (BadData, "SELECT 1 / $1::int", (0,)),
        (TooSlow, "SET LOCAL statement_timeout = 1; SELECT pg_sleep(3600)", ()),
        (StorageError, "SELECT nothing", ()),
        (StorageError, "SELEC", ()),
    ],
)
@pytest.mark.parametrize("mode", ["run", "read"])
async def test_errors_arrive_as_what_the_caller_can_do_about_them(
    empty_database: Database, mode: str, kind: type[StorageError], sql: str, args: tuple[object, ...]
) -> None:
    """Each refusal of the server becomes its kind, and the connection works afterwards."""
    await empty_database.run(
        script,
        "CREATE TABLE t (n int PRIMARY KEY CHECK (n > 0), body text NOT NULL)",
        "INSERT INTO t VALUES (1, 'a')",
    )

    async def attempt(tx: Tx) -> None:
        if args:
            await tx.fetch(sql, *args)
        else:
            await tx.execute(sql)

    with pytest.raises(StorageError) as caught:
        await (empty_database.run(attempt) if mode == "run" else empty_database.read(attempt))

    assert type(caught.value) is kind
    assert await empty_database.read(query, "SELECT 1") == 1


@pytest.mark.parametrize(
    ("sql", "args", "told"),
    [
        ("INSERT INTO t VALUES (1, $1::text)", ("private words",), "UniqueViolationError (23505) t_pkey"),
        ("INSERT INTO t VALUES (-1, $1::text)", ("private words",), "CheckViolationError (23514) t_n_check"),
        ("INSERT INTO t VALUES (2, NULL)", (), "NotNullViolationError (23502) t.body"),
        ("SELECT $1::text::int", ("private words",), "InvalidTextRepresentationError (22P02)"),
        ("SELECT $2::text || $1::int", ("private words", "b"), "DataError (22000) argument $1"),
        ("SELECT $1::text", ("private \ud800 words",), "DataError (22000) argument $1"),
        ("DO $$ BEGIN RAISE EXCEPTION 'private words'; END $$", (), "RaiseError (P0001)"),
    ],
)
async def test_errors_tell_no_values(
    empty_database: Database, sql: str, args: tuple[object, ...], told: str
) -> None:
    """What people wrote stands in no error, nor in what a log prints of its causes."""
    await empty_database.run(
        script,
        "CREATE TABLE t (n int PRIMARY KEY CHECK (n > 0), body text NOT NULL)",
        "INSERT INTO t VALUES (1, 'private words')",
    )

    with pytest.raises(StorageError) as caught:
        await empty_database.read(query, sql, *args)

    assert str(caught.value) == told
    assert "private" not in "".join(traceback.format_exception(caught.value)).replace(sql, "")


async def test_errors_without_values_keep_the_server_s_words(empty_database: Database) -> None:
    """An operator reads what is missing, or away, as the server says it."""
    with pytest.raises(StorageError, match=r'column "nothing" does not exist \(42703\)'):
        await empty_database.read(query, "SELECT nothing")


async def test_cancelling_cancels_the_query_and_keeps_the_connection(empty_dsn: str) -> None:
    """The server stops working at once, and the one connection of the pool serves the next call."""
    async with open_database(empty_dsn, max_size=1) as db, open_database(empty_dsn) as observer:
        before = await db.read(backend_pid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.run, query, LONG_SLEEP)
            await wait_until_sleeping(observer)
            nursery.cancel_scope.cancel()

        assert await observer.read(query, COUNT_SLEEPERS, LONG_SLEEP) == 0
        assert await db.read(backend_pid) == before
        assert db.statistics().cancelled == 1


async def test_a_cancelled_transaction_is_rolled_back(empty_dsn: str) -> None:
    """Of a transaction whose caller gave up nothing stays."""
    async with open_database(empty_dsn, max_size=1) as db, open_database(empty_dsn) as observer:
        await db.run(script, "CREATE TABLE t (n int)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.run, script, "INSERT INTO t VALUES (1)", LONG_SLEEP)
            await wait_until_sleeping(observer)
            nursery.cancel_scope.cancel()

        assert await db.read(query, "SELECT count(*) FROM t") == 0


async def test_cancelling_a_call_that_waits_for_a_connection_harms_nobody(empty_dsn: str) -> None:
    """Giving up in the queue leaves the call that has the connection alone."""
    async with open_database(empty_dsn, max_size=1) as db, open_database(empty_dsn) as observer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.run, query, LONG_SLEEP)
            await wait_until_sleeping(observer)
            async with trio.open_nursery() as waiting:
                for _ in range(3):
                    waiting.start_soon(db.run, query, "SELECT 1")
                await wait_in_flight(db, 4)
                waiting.cancel_scope.cancel()

            assert await observer.read(query, COUNT_SLEEPERS, LONG_SLEEP) == 1
            nursery.cancel_scope.cancel()

        assert await db.read(query, "SELECT 1") == 1
        assert db.statistics().in_flight == 0


async def test_a_call_that_takes_too_long_is_unavailable_and_its_query_cancelled(
    empty_database: Database,
) -> None:
    """A call's own time limit ends it at the server as well."""
    with pytest.raises(Unavailable, match="no answer within"):
        await empty_database.run(query, LONG_SLEEP, timeout_s=0.05)

    assert await empty_database.read(query, COUNT_SLEEPERS, LONG_SLEEP) == 0
    assert empty_database.statistics().timed_out == 1


async def test_a_server_process_that_does_not_react_loses_its_connection(empty_dsn: str) -> None:
    """Cancelling is bounded: after the grace the connection is cut, and the pool opens another."""
    async with open_database(empty_dsn, max_size=1, cancel_grace_s=0.1) as db:
        stuck = await db.read(backend_pid)
        os.kill(stuck, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable):
                await db.run(query, "SELECT 1", timeout_s=0.05)

            assert await db.read(backend_pid) != stuck
        finally:
            os.kill(stuck, signal.SIGCONT)


async def test_a_terminated_connection_is_replaced(empty_dsn: str) -> None:
    """An administrator ends our connection: one call at most is unavailable, the next one works."""
    async with open_database(empty_dsn, max_size=1) as db, open_database(empty_dsn) as observer:
        before = await db.read(backend_pid)
        async with trio.open_nursery() as nursery:

            async def sleep() -> None:
                with pytest.raises(Unavailable):
                    await db.run(query, LONG_SLEEP)

            nursery.start_soon(sleep)
            await wait_until_sleeping(observer)
            await observer.read(query, "SELECT pg_terminate_backend($1)", before)

        assert await db.read(backend_pid) != before


async def test_calls_beyond_the_limit_are_refused_at_once(empty_dsn: str) -> None:
    """The queue for connections is bounded: above it a call is unavailable without waiting."""
    async with (
        open_database(empty_dsn, max_size=1, max_waiting=2) as db,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(db.run, query, LONG_SLEEP)
        nursery.start_soon(db.run, query, LONG_SLEEP)
        await wait_in_flight(db, 2)

        with pytest.raises(Unavailable, match="2 calls wait"):
            await db.run(query, "SELECT 1")
        nursery.cancel_scope.cancel()


async def test_closing_waits_for_running_calls(empty_dsn: str) -> None:
    """A call that runs when the body ends is completed; later ones are refused."""
    results: list[object] = []
    async with trio.open_nursery() as nursery, open_database(empty_dsn) as db:

        async def call() -> None:
            results.append(await db.run(query, "SELECT 42 FROM pg_sleep(0.05)"))

        nursery.start_soon(call)
        await wait_in_flight(db, 1)
    with pytest.raises(StoreClosed):
        await db.run(query, "SELECT 1")

    assert results == [42]


async def test_closing_interrupts_calls_that_do_not_end(empty_dsn: str) -> None:
    """After the time for closing the rest is told that the store is closed, and cancelled at the server."""
    async with trio.open_nursery() as nursery, open_database(empty_dsn, close_timeout_s=0.05) as db:

        async def call() -> None:
            with pytest.raises(StoreClosed):
                await db.run(query, LONG_SLEEP)

        nursery.start_soon(call)
        await wait_in_flight(db, 1)
    async with open_database(empty_dsn) as observer:
        assert await observer.read(query, COUNT_SLEEPERS, LONG_SLEEP) == 0


async def test_the_end_of_the_thread_is_told_to_every_call(empty_dsn: str) -> None:
    """When the loop dies, the calls under way and every later one fail, and closing does not hang."""
    async with open_database(empty_dsn) as db:

        async def die(_tx: Tx) -> None:
            raise SystemExit

        async def call(fn: Callable[[Tx], object]) -> None:
            with pytest.raises(StoreClosed, match="thread has ended"):
                await db.run(fn)  # type: ignore[arg-type]

        async def sleep(tx: Tx) -> None:
            await query(tx, LONG_SLEEP)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, sleep)
            await wait_in_flight(db, 1)
            nursery.start_soon(call, die)

        with pytest.raises(StoreClosed):
            await db.read(query, "SELECT 1")


@pytest.mark.slow
async def test_a_thread_that_is_stuck_keeps_nobody(empty_dsn: str) -> None:
    """A call that blocks the thread for ever cannot keep its caller, nor the closing."""
    release = threading.Event()

    async def block(_tx: Tx) -> None:
        release.wait()

    async def call(db: Database) -> None:
        with pytest.raises(StoreClosed):
            await db.run(block)

    async with (
        trio.open_nursery() as nursery,
        open_database(empty_dsn, close_timeout_s=0.01, cancel_grace_s=0.01) as db,
    ):
        nursery.start_soon(call, db)
        await wait_in_flight(db, 1)
    release.set()


async def test_a_handle_is_useless_after_its_call(empty_database: Database) -> None:
    """What a call leaks of its connection cannot disturb whoever has the connection next."""
    leaked: list[Tx] = []

    async def leak(tx: Tx) -> None:
        leaked.append(tx)

    async def use(_tx: Tx) -> None:
        await leaked[0].execute("SELECT 1")

    await empty_database.run(leak)

    with pytest.raises(StorageError):
        await empty_database.run(use)


async def test_an_absent_server_is_unavailable(tmp_path: Path) -> None:
    """Opening fails in a way that says: try later."""
    with pytest.raises(Unavailable):
        async with open_database(f"postgresql://parley@/postgres?host={tmp_path}&port=5432"):
            pass


async def test_a_missing_database_and_a_senseless_address_are_no_matter_of_waiting(
    empty_dsn: str,
) -> None:
    """What a person must correct is not called unavailable."""
    for dsn in (empty_dsn.replace("/test_", "/absent_"), "nonsense://"):
        with pytest.raises(StorageError) as caught:
            async with open_database(dsn):
                pass

        assert not isinstance(caught.value, Unavailable)


async def test_statistics_count_calls_and_connections(empty_dsn: str) -> None:
    """Calls, statements, errors, connections and latency are there to be published."""
    async with open_database(empty_dsn, min_size=2, max_size=3) as db:
        await db.run(query, "SELECT 1")
        with pytest.raises(StorageError):
            await db.run(query, "SELECT nothing")
        figures = db.statistics()

    assert (figures.calls, figures.failed, figures.in_flight) == (2, 1, 0)
    # Each call's own, the begin and the end of its transaction.
    assert figures.statements == 6
    assert (figures.pool_size, figures.pool_idle) == (2, 2)
    assert 0 < figures.latency_last_s <= 2 * figures.latency_mean_s


async def test_every_statement_counts_once(empty_database: Database) -> None:
    """Whatever it is asked by; a read has no transaction around it."""

    async def look(tx: Tx) -> None:
        await tx.fetch("SELECT 1")
        await tx.fetchrow("SELECT 1")
        await tx.fetchval("SELECT 1")
        await tx.execute("SELECT 1")
        await tx.fetch_as(tuple, "SELECT")

    await empty_database.read(look)
    assert empty_database.statistics().statements == 5


async def test_figures_of_two_databases_add_up(empty_dsn: str) -> None:
    """What each did is in the sum, and the mean is over all calls."""
    async with open_database(empty_dsn) as one, open_database(empty_dsn) as other:
        await one.read(query, "SELECT 1")
        for _ in range(3):
            await other.run(query, "SELECT 1")
        first, second = one.statistics(), other.statistics()
        both = first.plus(second)

    assert (both.calls, both.statements, both.pool_size) == (4, 10, 2)
    assert both.latency_mean_s == pytest.approx((first.latency_mean_s + 3 * second.latency_mean_s) / 4)


async def test_connections_say_who_they_are_and_have_limits(empty_database: Database) -> None:
    """An administrator sees our name, and the server ends statements that nobody waits for any more."""
    names = ("application_name", "statement_timeout", "idle_in_transaction_session_timeout")
    values = [await empty_database.read(query, f"SHOW {name}") for name in names]

    assert values == ["parley", "30s", "1min"]


@pytest.mark.parametrize(
    ("theirs", "ours"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
async def test_a_commit_is_on_the_disk_whatever_the_server_prefers(
    empty_dsn: str, theirs: str, ours: str
) -> None:
    """A server that would confirm before it has written is overruled; other choices stay its owner's."""
    async with open_database(empty_dsn, max_size=1) as admin:
        name = await admin.read(query, "SELECT current_database()::text")
        await admin.read(query, f"ALTER DATABASE {name} SET synchronous_commit = {theirs}")

    async with open_database(empty_dsn, max_size=1) as db:
        assert await db.read(query, "SHOW synchronous_commit") == ours
        assert (
            await db.read(query, "SELECT source FROM pg_settings WHERE name = 'synchronous_commit'")
            == "session"
        )


@pytest.mark.slow
@pytest.mark.postgres
async def test_the_pool_heals_after_the_server_was_killed(tmp_path: Path) -> None:
    """After `kill -9` of Postgres calls are unavailable until it is back, then they work again."""
    async with (
        open_embedded(tmp_path / "data") as server,
        open_database(server.dsn, max_size=2) as db,
    ):
        await db.run(script, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
        pid = server.pid
        assert pid is not None
        async with trio.open_nursery() as nursery:

            async def sleep() -> None:
                with pytest.raises(Unavailable):
                    await db.run(query, LONG_SLEEP)

            nursery.start_soon(sleep)
            # Before the kill: a server that dies closes its socket before it has ended.
            nursery.start_soon(server.wait_exited)
            await wait_in_flight(db, 1)
            os.kill(pid, signal.SIGKILL)
        await server.wait_ready()

        assert await db.read(query, "SELECT n FROM t") == 1
        assert server.restarts == 1


async def test_a_kept_connection_serves_the_next_call_and_is_replaced_when_it_was_lost(
    empty_dsn: str,
) -> None:
    """One after the other over the same one; after the server has ended it, over another."""
    async with (
        open_database(empty_dsn, min_size=0, max_size=3) as db,
        open_database(empty_dsn) as observer,
    ):
        pids = [await db.read(backend_pid) for _ in range(3)]
        assert len(set(pids)) == 1
        await observer.read(query, "SELECT pg_terminate_backend($1, 10000)", pids[0])
        # Whether the loss is noticed before or by the next call is the kernel's to say: it may cost that one.
        another = pids[0]
        with trio.fail_after(10):
            while another == pids[0]:
                try:
                    another = await db.read(backend_pid)
                except Unavailable:
                    continue
        assert [await db.read(backend_pid) for _ in range(3)] == [another] * 3


async def test_a_kept_connection_keeps_nobody_waiting(empty_dsn: str) -> None:
    """With one connection and many calls each gets its turn, transactions or not."""
    async with open_database(empty_dsn, max_size=1) as db:
        values: list[object] = []

        async def ask(number: int) -> None:
            ask_with = db.run if number % 2 else db.read
            values.append(await ask_with(query, "SELECT $1::int", number))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, number)

        assert sorted(map(str, values)) == sorted(map(str, range(50)))
