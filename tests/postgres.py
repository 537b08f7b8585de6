"""One embedded Postgres for the whole test session, and a fresh database for each test that wants one.

A pytest plugin, loaded by `tests/conftest.py`. The server starts with the first test that asks for it, and
every such test is marked `postgres`.
"""

import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from storage.database import Database, Tx
from storage.embedded import open_embedded
from storage.migrate import migrate
from storage.pool import open_database

_START_S = 60.0
_STOP_S = 60.0
_TEMPLATE = "parley_template"
_QUICK = {
    # The machine will not lose its power in the midst of a test whose data anyone would miss.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "100",
}


class PostgresServer:
    """A running server: makes databases and drops them again."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._numbers = count(1)
        self._has_template = False

    def dsn_of(self, database: str) -> str:
        """The address of one of the server's databases."""
        return urlsplit(self.dsn)._replace(path=f"/{database}").geturl()

    @asynccontextmanager
    async def fresh(self, *, migrated: bool) -> AsyncGenerator[str]:
        """The address of a database of one's own, with the product's schema or with none."""
        name = f"test_{next(self._numbers)}"
        async with open_database(self.dsn, max_size=1) as admin:
            if migrated and not self._has_template:
                await self._make_template(admin)
            template = _TEMPLATE if migrated else "template1"
            await _execute(admin, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.dsn_of(name)
        finally:
            with trio.CancelScope(shield=True):
                async with open_database(self.dsn, max_size=1) as admin:
                    await _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")

    async def _make_template(self, admin: Database) -> None:
        await _execute(admin, f"DROP DATABASE IF EXISTS {_TEMPLATE}")
        await _execute(admin, f"CREATE DATABASE {_TEMPLATE}")
        async with open_database(self.dsn_of(_TEMPLATE), max_size=1) as database:
            await migrate(database)
        self._has_template = True


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[PostgresServer]:
    """The session's server, on a thread and a trio of its own, so that each test may have its own trio.

    The kernel stops it when that thread ends, hence also when the test run is killed.
    """
    runner = _Runner(tmp_path_factory.mktemp("postgres") / "data")
    yield PostgresServer(runner.start())
    runner.stop()


@pytest.fixture
async def database_dsn(postgres_server: PostgresServer) -> AsyncGenerator[str]:
    """The address of a fresh database with the product's schema."""
    async with postgres_server.fresh(migrated=True) as dsn:
        yield dsn


@pytest.fixture
async def empty_dsn(postgres_server: PostgresServer) -> AsyncGenerator[str]:
    """The address of a fresh database with nothing in it."""
    async with postgres_server.fresh(migrated=False) as dsn:
        yield dsn


@pytest.fixture
async def database(database_dsn: str) -> AsyncGenerator[Database]:
    """A fresh database with the product's schema, connected."""
    async with open_database(database_dsn) as opened:
        yield opened


@pytest.fixture
async def empty_database(empty_dsn: str) -> AsyncGenerator[Database]:
    """A fresh database with nothing in it, connected."""
    async with open_database(empty_dsn) as opened:
        yield opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the server."""
    for item in items:
        if isinstance(item, pytest.Function) and "postgres_server" in item.fixturenames:
            item.add_marker(pytest.mark.postgres)


class _Runner:
    """Runs the server in the background of a synchronous fixture."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._thread = threading.Thread(target=self._main, name="test-postgres", daemon=True)
        self._started = threading.Event()
        self._dsn: str | None = None
        self._failure: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop = trio.Event()

    def start(self) -> str:
        """Wait until the server is ready; its address."""
        self._thread.start()
        assert self._started.wait(_START_S), "the test server did not start in time"
        if self._dsn is None:
            raise RuntimeError("the test server did not start") from self._failure
        return self._dsn

    def stop(self) -> None:
        """Stop the server; its failure, if it had one, becomes the fixture's."""
        if self._token is not None:
            self._token.run_sync_soon(self._stop.set)
        self._thread.join(_STOP_S)
        assert not self._thread.is_alive(), "the test server did not stop in time"
        if self._failure is not None:
            raise RuntimeError("the test server failed") from self._failure

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001  handed to the test run's thread
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with open_embedded(self._data_dir, settings=_QUICK) as server:
            self._dsn = server.dsn
            self._started.set()
            await self._stop.wait()


async def _execute(database: Database, sql: str) -> None:
    async def execute(tx: Tx) -> None:
        await tx.execute(sql)

    await database.read(execute)
