"""`parley admin reports`: what people, and rules, have brought before the moderators."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from chat.cli_options import UsageMistake
from chat.client_errors import RequestRefused
from scripts.admin.connection import Connection, with_server
from scripts.admin.exits import EXIT_OK
from scripts.admin.lookup import explain_room
from scripts.admin.moderation import MaybeRoom
from scripts.admin.options import ServerOptions

COLUMNS: Final = ("report", "state", "kind", "room", "seq", "author_name", "name", "reason")
OWN_COLUMNS: Final = ("report", "state", "room", "seq", "author_name", "reason", "note")

Number = Annotated[int, Parameter(help="The report, as `reports list` shows it.")]
Note = Annotated[str | None, Parameter(help="What the reporter and other moderators are told.")]

reports_app: Final = App(name="reports", help="Look at what was reported, and at what rules have held.")


@reports_app.command(name="list")
def list_reports(
    *,
    room: MaybeRoom = None,
    mine: Annotated[bool, Parameter(negative=(), help="What you have reported, in all rooms.")] = False,
    all_: Annotated[bool, Parameter(name="--all", negative=(), help="Also what is closed.")] = False,
    limit: Annotated[int, Parameter(help="At most so many.")] = 100,
    options: ServerOptions | None = None,
) -> int:
    """List what waits, the oldest first."""
    if mine and room is not None:
        raise UsageMistake("--mine lists all rooms together: leave out --room")

    async def work(connection: Connection) -> int:
        state = "all" if all_ else "waiting"
        try:
            items, more = await connection.listed(
                "reports", room=room, mine=mine or None, state=state, limit=limit
            )
        except RequestRefused as refused:
            if room is None:
                raise
            raise await explain_room(connection, room, refused) from None
        connection.out.listing(items, OWN_COLUMNS if mine else COLUMNS, "nothing waits", more=more)
        return EXIT_OK

    return with_server(options, work)


@reports_app.command
def claim(report: Number, /, *, options: ServerOptions | None = None) -> int:
    """Take a report; others then leave it alone."""
    return _resolve(report, "claim", None, None, options)


@reports_app.command
def release(report: Number, /, *, options: ServerOptions | None = None) -> int:
    """Give a report back to the others."""
    return _resolve(report, "release", None, None, options)


@reports_app.command
def resolve(
    report: Number,
    /,
    *,
    note: Note = None,
    audit: Annotated[str | None, Parameter(help="What was done about it: ROOM:NUMBER.")] = None,
    options: ServerOptions | None = None,
) -> int:
    """Close a report about which something was done."""
    return _resolve(report, "resolve", note, audit, options)


@reports_app.command
def dismiss(report: Number, /, *, note: Note = None, options: ServerOptions | None = None) -> int:
    """Close a report about which nothing has to be done."""
    return _resolve(report, "dismiss", note, None, options)


@reports_app.command
def approve(report: Number, /, *, note: Note = None, options: ServerOptions | None = None) -> int:
    """Let a message in that a rule has held."""
    return _resolve(report, "approve", note, None, options)


@reports_app.command
def reject(report: Number, /, *, note: Note = None, options: ServerOptions | None = None) -> int:
    """Keep a message out that a rule has held."""
    return _resolve(report, "reject", note, None, options)


def _resolve(
    report: int, action: str, note: str | None, audit: str | None, options: ServerOptions | None
) -> int:
    async def work(connection: Connection) -> int:
        answer = await connection.ask("resolve", report=report, action=action, note=note, audit=audit)
        told = {name: answer.get(name) for name in ("report", "state", "seq")}
        connection.out.value(told, f"report {report} is {answer['state']}")
        return EXIT_OK

    return with_server(options, work)
