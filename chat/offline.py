"""The store for commands that are not the server: `parley migrate`, `parley token create`.

With `database_url` they connect there. With the embedded database they start it for the moment, or, when a
server runs it already, connect to its socket; who may do that is decided by the socket's directory, which
only the user who runs the server (and root) may enter.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from chat.config import Config
from storage import Database, EmbeddedError, open_database, open_embedded

_SOCKET_LINE: Final = 4
_PORT_LINE: Final = 3
_USER: Final = "parley"


@asynccontextmanager
async def open_database_of(config: Config) -> AsyncGenerator[Database]:
    """Connect to the database of these settings, whether or not a server is using it.

    Resource handling: one connection; an embedded Postgres that was started here ends with the body.

    Raises:
        StorageError: it cannot be reached, or not be started.
    """
    async with AsyncExitStack() as stack:
        dsn = config.database_dsn
        if dsn is None:
            try:
                embedded = open_embedded(config.data_dir, bindir=config.pg_bindir)
                dsn = (await stack.enter_async_context(embedded)).dsn
            except EmbeddedError:
                dsn = running_dsn(config.data_dir)
                if dsn is None:
                    raise
        database = open_database(
            dsn,
            max_size=2,
            connect_timeout_s=config.db_connect_timeout_s,
            application_name="parley-cli",
        )
        yield await stack.enter_async_context(database)


def running_dsn(data_dir: Path) -> str | None:
    """Where the embedded Postgres of this directory listens, by its own lock file; None: it does not run.

    The file (its lines: process, directory, start, port, socket directory, ...) is PostgreSQL's
    `postmaster.pid`; what a crash left behind of it is found out by connecting.
    """
    try:
        lines = (data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if len(lines) <= _SOCKET_LINE or not lines[_SOCKET_LINE]:
        return None
    query = urlencode({"host": lines[_SOCKET_LINE], "port": lines[_PORT_LINE]})
    return f"postgresql://{_USER}@/postgres?{query}"
