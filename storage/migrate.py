"""Brings the schema up to date: numbered SQL files, applied in order, each once and whole.

A file is `NNNN_name.sql`, numbered from 0001 without a gap, and never edited after it was released: its
checksum is kept. There is no way back but another step forward.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from storage.database import Database, Tx
from storage.errors import Conflict, MigrationError, StorageError, StoreClosed, Unavailable

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK: Final = 0x7061726C6579  # "parley"; the same in every version, or two would migrate at once
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class Migration(NamedTuple):
    """One step.

    Attributes:
        number: from 1, without gaps.
        name: the file's name.
        checksum: SHA-256 of the file, in hexadecimal.
        sql: a script, run in one transaction; it must not end that transaction itself.
    """

    number: int
    name: str
    checksum: str
    sql: str


class Applied(NamedTuple):
    """One step as the database remembers it."""

    number: int
    name: str
    checksum: str


def load_migrations(source: Traversable | None = None) -> list[Migration]:
    """Read the steps of a directory, by default the package's own, in order.

    Raises:
        MigrationError: a file has no proper name, or a number is missing or used twice.
    """
    found: list[Migration] = []
    for file in (source or files("storage") / "migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        if (match := _FILE_NAME.fullmatch(file.name)) is None:
            raise MigrationError(f"{file.name} is not named NNNN_name.sql")
        content = file.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        found.append(Migration(int(match[1]), file.name, checksum, content.decode()))
    found.sort()
    for expected, migration in enumerate(found, start=1):
        if migration.number < expected:
            raise MigrationError(f"the number of {migration.name} is used twice")
        if migration.number > expected:
            raise MigrationError(f"migration {expected:04} is missing before {migration.name}")
    return found


def plan(available: Sequence[Migration], applied: Sequence[Applied]) -> Sequence[Migration]:
    """Which steps are still to be done. Pure.

    Raises:
        MigrationError: the database is newer than this code, or was made by other files than these.
    """
    if len(applied) > len(available):
        raise MigrationError(
            f"the database is newer than this program: it has {applied[-1].name}, this program ends with "
            f"{available[-1].name if available else 'nothing'}; install the newer program"
        )
    for ours, theirs in zip(available, applied, strict=False):
        if ours.number != theirs.number:
            raise MigrationError(f"the database lacks {ours.name} but has {theirs.name}")
        if ours.checksum != theirs.checksum:
            raise MigrationError(
                f"{ours.name} was changed after it was applied (as {theirs.name}); restore the file and "
                f"add a new migration instead"
            )
    return available[len(applied) :]


async def migrate(db: Database, source: Traversable | None = None, *, timeout_s: float = 600.0) -> list[str]:
    """Apply what is missing; return the names of the steps that this call applied.

    Several may run at once, on one database: they wait for each other, and one does the work.

    Args:
        db: where to.
        source: the directory of the steps, by default the package's own.
        timeout_s: bounds every single step, the wait for others included.

    Raises:
        MigrationError: see `load_migrations` and `plan`; or a step failed. The steps before it stay
            applied, of the failed one nothing.
        Unavailable: the database went away; begin again.
    """
    available = load_migrations(source)
    done: list[str] = []
    while (name := await db.run(_apply_next, available, timeout_s=timeout_s)) is not None:
        done.append(name)
    return done


async def pending(db: Database, source: Traversable | None = None) -> list[str]:
    """The names of the steps that `migrate` would apply; changes nothing, waits for nobody.

    Raises:
        MigrationError: see `load_migrations` and `plan`.
    """
    available = load_migrations(source)
    return [migration.name for migration in plan(available, await db.snapshot(_applied))]


async def _applied(tx: Tx) -> Sequence[Applied]:
    if await tx.fetchval("SELECT to_regclass('schema_migrations')::text") is None:
        return ()
    return await tx.fetch_as(Applied, "SELECT number, name, checksum FROM schema_migrations ORDER BY number")


async def _apply_next(tx: Tx, available: Sequence[Migration]) -> str | None:
    """Apply the first missing step under the lock, which ends with the transaction; None if all are done."""
    await tx.execute("SET LOCAL statement_timeout = 0")  # the call's own limit holds
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    steps = plan(available, await _applied(tx))
    if not steps:
        return None
    step = steps[0]
    await tx.execute(_TABLE)
    before = await tx.fetchval("SELECT pg_current_xact_id()::text")
    try:
        await tx.execute(step.sql)
    except (Unavailable, Conflict, StoreClosed):
        raise
    except StorageError as error:
        raise MigrationError(f"{step.name} failed: {error}") from error
    if await tx.fetchval("SELECT pg_current_xact_id()::text") != before:
        raise MigrationError(f"{step.name} ends its transaction itself, so it is not applied whole")
    await tx.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
        step.number,
        step.name,
        step.checksum,
    )
    return step.name
