"""A database as an earlier version left it, to try what a migration makes of it."""

from importlib.resources import files
from pathlib import Path

from storage import Database, migrate


async def migrate_before(database: Database, step: str, directory: Path) -> None:
    """Apply the migrations before a step.

    Args:
        database: an empty one.
        step: the name of the first that is not applied.
        directory: an empty one, for the files.
    """
    for file in (files("storage") / "migrations").iterdir():
        if file.name.endswith(".sql") and file.name < step:
            (directory / file.name).write_bytes(file.read_bytes())
    await migrate(database, directory)
