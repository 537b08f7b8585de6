"""`parley admin retention`: how long rooms keep what is said in them."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from chat.cli_options import UsageMistake
from chat.client_errors import RequestRefused
from chat.protocol import RETENTION_MIN_S
from scripts.admin.connection import Connection, confirm, with_server
from scripts.admin.durations import format_duration
from scripts.admin.exits import EXIT_OK, Problem
from scripts.admin.lookup import ask_room
from scripts.admin.options import ActOptions, ServerOptions, seconds
from scripts.admin.purging import Purge, Purged, ago_ms, purge_pages
from scripts.admin.rooms import RoomArgument
from scripts.admin.users import Limit

retention_app: Final = App(name="retention", help="How long rooms keep what is said in them.")

COUNTED_MAX: Final = 10_000
"""Messages that are counted before somebody is asked: some seconds."""
_OFF: Final = frozenset({"off", "forever", "0"})


@retention_app.command(name="list")
def list_policies(*, limit: Limit = 10_000, options: ServerOptions | None = None) -> int:
    """List the rooms that do not keep everything for ever; of so many rooms at most."""

    async def work(connection: Connection) -> int:
        rooms, more = await connection.listed("rooms", all=True, limit=limit)
        kept = [
            {"room": room["room"], "kind": room["kind"], "retention": room["retention"]}
            for room in rooms
            if room["retention"]
        ]
        connection.out.listing(kept, ("room", "kind", "retention"), "every room keeps everything", more=more)
        return EXIT_OK

    return with_server(options, work)


@retention_app.command(name="show")
def show_policy(room: RoomArgument, /, *, options: ServerOptions | None = None) -> int:
    """Show how long a room keeps what is said, and how many messages are older than that now."""

    async def work(connection: Connection) -> int:
        retention_s = await _policy(connection, room)
        words = f"{room} keeps what is said {_lasting(retention_s)}"
        due: int | None = 0
        if retention_s:
            try:
                purged = await purge_pages(
                    connection, room, Purge(expired=True, dry_run=True), stop_at=COUNTED_MAX
                )
            except RequestRefused as refused:
                if refused.code != "forbidden":
                    raise
                # Everybody may know the policy; what it would delete is for moderators.
                due = None
            else:
                due = purged.affected
                words += f"; {_counted(purged)} are older"
        connection.out.value({"room": room, "retention": retention_s, "due": due}, words)
        return EXIT_OK

    return with_server(options, work)


@retention_app.command(name="set")
def set_policy(
    room: RoomArgument,
    keep: Annotated[str, Parameter(help="How long: 12h, 90d, 52w; or off: for ever.")],
    /,
    *,
    options: ActOptions | None = None,
) -> int:
    """Say how long a room keeps what is said; what is older is deleted, by and by. For its owners."""
    act = options or ActOptions()
    wanted_s = 0 if keep in _OFF else round(seconds(keep, "how long") or 0)
    if 0 < wanted_s < RETENTION_MIN_S:
        raise UsageMistake(f"how long: {keep} is less than {RETENTION_MIN_S}s")

    async def work(connection: Connection) -> int:
        before_s = await _policy(connection, room)
        update = {"room": room, "retention": wanted_s, "reason": act.reason}
        # Who may not is told so before anything is counted or asked.
        await connection.ask("update", **update, dry_run=True)
        due = Purged(0, [])
        if wanted_s > 0 and (before_s == 0 or wanted_s < before_s):
            older = Purge(until_ms=ago_ms(wanted_s), dry_run=True)
            due = await purge_pages(connection, room, older, stop_at=COUNTED_MAX)
            question = f"Delete {_counted(due)} of {room}, and from now on all that are older than {keep}?"
            await confirm(question, yes=act.yes, dry_run=act.dry_run)
        audit = None
        if before_s != wanted_s and not act.dry_run:
            answer = await connection.ask("update", **update)
            audit = f"{room}:{answer['seq']}" if "seq" in answer else None
        told = {"room": room, "from": before_s, "to": wanted_s, "due": due.affected, "audit": audit}
        what = "would keep" if act.dry_run else "keeps"
        words = f"{room} {what} what is said {_lasting(wanted_s)}; {_counted(due)} are older"
        connection.out.value({**told, "dry_run": act.dry_run}, words)
        return EXIT_OK

    return with_server(act, work)


@retention_app.command(name="run")
def run_policy(room: RoomArgument, /, *, options: ActOptions | None = None) -> int:
    """Delete now what a room does not keep any more, without waiting for the server to."""
    act = options or ActOptions()

    async def work(connection: Connection) -> int:
        retention_s = await _policy(connection, room)
        if not retention_s:
            raise Problem("no_policy", f"{room} keeps everything: `retention set {room} 90d` says how long")
        question = f"Delete messages of {room} that are older than {format_duration(retention_s)}?"
        await confirm(question, yes=act.yes, dry_run=act.dry_run)
        purged = await purge_pages(
            connection, room, Purge(expired=True, reason=act.reason, dry_run=act.dry_run)
        )
        told = {
            "room": room,
            "retention": retention_s,
            "affected": purged.affected,
            "audit": purged.audits,
            "dry_run": act.dry_run,
        }
        what = "would delete" if act.dry_run else "deleted"
        connection.out.value(told, f"{what} {purged.affected} messages of {room}")
        return EXIT_OK

    return with_server(act, work)


async def _policy(connection: Connection, room: str) -> int:
    """Seconds; 0: for ever."""
    retention = (await ask_room(connection, "room", room))["retention"]
    return retention if isinstance(retention, int) else 0


def _counted(purged: Purged) -> str:
    return f"{'more than ' if purged.more else ''}{purged.affected} messages"


def _lasting(retention_s: int) -> str:
    return f"for {format_duration(retention_s)}" if retention_s else "for ever"
