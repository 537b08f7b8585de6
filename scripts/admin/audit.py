"""`parley admin audit`: who did what to whom; whether that record is whole; a copy of it."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, cast

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from chat.cli_options import UsageMistake, configure
from chat.client_errors import RequestRefused
from chat.client_state import Envelope
from chat.offline import open_database_of
from chat.open_store import describe_database
from scripts.admin.connection import Connection, with_server
from scripts.admin.exits import EXIT_FOUND, EXIT_OK
from scripts.admin.lookup import explain_room
from scripts.admin.options import OfflineOptions, ServerOptions
from scripts.admin.output import Output, cell
from scripts.admin.run import run_command
from scripts.admin.users import Limit
from storage import migrate
from storage.audit_walk import Walked, walk_audit

EXPORT_MAX: Final = 10_000_000
COLUMNS: Final = ("audit", "at", "name", "action", "target", "reason", "what")
_TOLD_ALREADY: Final = frozenset({"user", "name", "action", "reason", "of"})

audit_app: Final = App(name="audit", help="The record of what was done to others.")
MaybeRoom = Annotated[str | None, Parameter(name="--room", help="Of this room alone.")]


@audit_app.command(name="list")
def list_audit(*, room: MaybeRoom = None, limit: Limit = 50, options: ServerOptions | None = None) -> int:
    """List what was done, the latest first; `undo` takes the ids."""

    async def work(connection: Connection) -> int:
        rows, more = await _rows(connection, room, limit)
        shown = rows if connection.out.as_json else [_for_people(row) for row in rows]
        connection.out.listing(shown, COLUMNS, "nothing was done to anybody", more=more)
        return EXIT_OK

    return with_server(options, work)


@audit_app.command(name="export")
def export_audit(
    file: Annotated[Path, Parameter(help="JSON lines, the oldest first; replaced as a whole.")],
    /,
    *,
    room: MaybeRoom = None,
    options: ServerOptions | None = None,
) -> int:
    """Copy the audit into a file; one that was begun and not ended leaves nothing behind."""

    async def work(connection: Connection) -> int:
        with open_progress() as progress:
            task = progress.add_task("rows read: 0", total=None)
            rows, _ = await _rows(
                connection,
                room,
                EXPORT_MAX,
                lambda rows: progress.update(task, description=f"rows read: {rows}"),
            )
        _write_whole(file, rows)
        told = {"file": str(file), "rows": len(rows)}
        connection.out.value(told, f"wrote {len(rows)} rows to {file}")
        return EXIT_OK

    return with_server(options, work)


@audit_app.command(name="verify")
def verify_audit(
    *,
    offline: Annotated[
        bool, Parameter(negative=(), help="On the database alone, which is the only way there is.")
    ] = False,
    options: OfflineOptions | None = None,
) -> int:
    """Check on the database that no row of the audit was changed or taken out: exit code 3 when one was.

    Each room's chain of hashes is followed, and compared with what the room's log says. The server may run.
    """
    if not offline:
        raise UsageMistake(
            "the audit is verified on the database: say --offline, and where with --database-url"
        )
    wanted = options or OfflineOptions()
    config = wanted.load().config
    configure(config)
    out = Output(as_json=wanted.json)

    async def work() -> int:
        async with open_database_of(config, make=False) as database:
            await migrate(database)
            with open_progress() as progress:
                task = progress.add_task("rooms checked: 0", total=None)
                walked = await walk_audit(
                    database,
                    lambda rooms: progress.update(task, description=f"rooms checked: {rooms}"),
                )
        _tell(out, walked, describe_database(config))
        return EXIT_FOUND if walked.findings else EXIT_OK

    return run_command(out, work)


def open_progress() -> Progress:
    """Shows on a terminal that something goes on; elsewhere nothing."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


async def _rows(
    connection: Connection, room: str | None, limit: int, on_page: Callable[[int], None] | None = None
) -> tuple[list[Envelope], bool]:
    try:
        return await connection.listed("audit", room=room, limit=limit, on_page=on_page)
    except RequestRefused as refused:
        if room is None:
            raise
        raise await explain_room(connection, room, refused) from None


def _for_people(row: Envelope) -> Envelope:
    """A row with the name of whom it is about, and what else the event says in one column."""
    detail = row.get("detail")
    if not isinstance(detail, dict):
        return row
    said = cast("dict[str, object]", detail)
    what = ", ".join(
        # A purge names up to five hundred messages.
        f"{len(value)} messages" if isinstance(value, list) else f"{name} {cell(name, value)}"
        for name, value in said.items()
        if name not in _TOLD_ALREADY
    )
    return {**row, "target": said.get("name", row.get("target")), "what": what}


def _write_whole(file: Path, rows: Sequence[Envelope]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("x", encoding="utf-8") as stream:
            for row in reversed(rows):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _tell(out: Output, walked: Walked, where: str) -> None:
    findings = [{"audit": f"{each.room}:{each.seq}", "problem": each.problem} for each in walked.findings]
    if out.as_json:
        out.line({"whole": not findings, "rooms": walked.rooms, "rows": walked.rows, "findings": findings})
        return
    out.text(f"{where}: {walked.rows} rows of {walked.rooms} rooms")
    if findings:
        out.text("the audit is NOT whole; the first row of each room that is not in order:")
        out.listing(findings, ("audit", "problem"), "")
    else:
        out.text("the audit is whole")
