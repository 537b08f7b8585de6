"""The store for commands that are not the server: `parley migrate`, `parley token create`.

With `database_url` they connect there. With the embedded database they start it for the moment, or, when a
server runs it already, connect to its socket; who may do that is decided by the socket's directory, which
only the user who runs the server (and root) may enter. A directory without a database gets one from
`parley migrate` only: a token made in the wrong place would be a token that opens nothing.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from chat.config import Config
from chat.errors import ChatError
from chat.open_store import away
from storage import Database, EmbeddedError, Unavailable, open_database, open_embedded

_CLUSTER: Final = "cluster"
_SOCKET_LINE: Final = 4
_PORT_LINE: Final = 3
_USER: Final = "parley"


class NoDatabase(ChatError):
    """There is no database in the directory of the settings, and none was to be made."""


@asynccontextmanager
async def open_database_of(config: Config, *, make: bool) -> AsyncGenerator[Database]:
    """Connect to the database of these settings, whether or not a server is using it.

    Resource handling: one connection; an embedded Postgres that was started here ends with the body.

    Args:
        config: the settings.
        make: whether to make an embedded database where there is none.

    Raises:
        NoDatabase: there is none, and none was to be made; nothing was.
        StorageError: it cannot be reached, or not be started.
    """
    if not make and config.embedded and not (config.data_dir / _CLUSTER).exists():
        raise NoDatabase(
            f"no database in {config.data_dir}: start `parley serve` first or name it with --data-dir"
        )
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
        try:
            opened = await stack.enter_async_context(database)
        except Unavailable as error:
            raise away(config, error) from error
        yield opened


def running_dsn(data_dir: Path) -> str | None:
    """Where the embedded Postgres of this directory listens, by its own lock file; None: it does not run.

    The file (its lines: process, directory, start, port, socket directory, ...) is PostgreSQL's
    `postmaster.pid`; what a crash left behind of it is found out by connecting.
    """
    try:
        lines = (data_dir / _CLUSTER / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if len(lines) <= _SOCKET_LINE or not lines[_SOCKET_LINE]:
        return None
    query = urlencode({"host": lines[_SOCKET_LINE], "port": lines[_PORT_LINE]})
    return f"postgresql://{_USER}@/postgres?{query}"
