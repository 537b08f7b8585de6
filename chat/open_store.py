"""The server's store: the database of the settings, reached or started, migrated, and named in words."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import structlog

from chat.config import Config
from storage import PostgresStore, Unavailable, migrate, open_database, open_embedded

log = structlog.stdlib.get_logger("chat.store")


@asynccontextmanager
async def open_store(config: Config) -> AsyncGenerator[tuple[PostgresStore, str]]:
    """The store of these settings, migrated, and where it is in words; closed with the body.

    Raises:
        StorageError: it cannot be reached, started or migrated; the message says what to do.
    """
    async with AsyncExitStack() as stack:
        dsn = config.database_dsn
        if dsn is None:
            embedded = await stack.enter_async_context(
                open_embedded(config.data_dir, bindir=config.pg_bindir, observer=_log_postgres)
            )
            dsn = embedded.dsn
        opening = open_database(
            dsn,
            max_size=config.db_pool_size,
            max_waiting=config.connections_max,
            connect_timeout_s=config.db_connect_timeout_s,
        )
        try:
            database = await stack.enter_async_context(opening)
        except Unavailable as error:
            raise away(config, error) from error
        for name in await migrate(database):
            log.info("storage.migrated", migration=name)
        # A connection for each writer and one to spare: whatever people ask for, it waits elsewhere.
        writes = await stack.enter_async_context(
            open_database(
                dsn,
                max_size=config.writers + 1,
                connect_timeout_s=config.db_connect_timeout_s,
                application_name="parley-writers",
            )
        )
        yield (
            PostgresStore(
                database,
                writes=writes,
                write_timeout_s=config.db_timeout_s,
                read_timeout_s=config.db_timeout_s,
            ),
            describe_database(config),
        )


def describe_database(config: Config) -> str:
    """Which database these settings mean, in words and without a password."""
    place = _place(config)
    return f"embedded Postgres in {config.data_dir}" if place is None else f"PostgreSQL at {place}"


def away(config: Config, error: Unavailable) -> Unavailable:
    """The error of a database that took no connection, in words that name it and the setting."""
    place = _place(config)
    if place is None:
        return error
    return Unavailable(f"the database at {place} does not answer (PARLEY_DATABASE_URL)")


def wall_clock_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def _place(config: Config) -> str | None:
    """Host and port of a database that is not ours, or its socket's directory; None: it is ours."""
    dsn = config.database_dsn
    if dsn is None:
        return None
    parts = urlsplit(dsn)
    # Several hosts, ports and sockets are allowed there, which the standard library does not know.
    host = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ["localhost"]))
    return host if host.startswith("/") or ":" in host.rpartition("]")[2] else f"{host}:5432"


def _log_postgres(news: str) -> None:
    if news == "ready":
        log.info("storage.postgres_ready")
    else:
        log.error("storage.postgres_died")
