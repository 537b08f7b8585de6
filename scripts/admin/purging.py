"""`parley admin purge`: deletes many messages of a room, a page at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from cyclopts import Parameter

from chat.cli_options import UsageMistake
from scripts.admin.audit import open_progress
from scripts.admin.connection import Connection, confirm, with_server
from scripts.admin.exits import EXIT_OK
from scripts.admin.lookup import ask_room, find_user
from scripts.admin.options import ActOptions, seconds
from scripts.admin.rooms import RoomArgument


class Purge(NamedTuple):
    """What is to be deleted: see `chat.protocol.Mod`."""

    target: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    seqs: Sequence[int] | None = None
    query: str | None = None
    expired: bool = False
    reason: str | None = None
    dry_run: bool = False


class Purged(NamedTuple):
    """What was deleted, or would be.

    Attributes:
        affected: how many messages; with `more`, at least.
        audits: under which ids of the audit.
        more: whether it was not counted to the end.
        behind: stored events that the search did not know yet.
    """

    affected: int
    audits: Sequence[object]
    more: bool = False
    behind: int = 0


def purge(
    room: RoomArgument,
    /,
    *,
    user: Annotated[str | None, Parameter(help="Of this user: id or name.")] = None,
    last: Annotated[str | None, Parameter(help="Of the last 90s, 10m, 2h, 7d.")] = None,
    until: Annotated[str | None, Parameter(help="But none of the last 90s, 10m, ...")] = None,
    seqs: Annotated[str | None, Parameter(help="Those at these places: 12,15,20.")] = None,
    search: Annotated[str | None, Parameter(help="Those with these words, as a search finds them.")] = None,
    options: ActOptions | None = None,
) -> int:
    """Delete messages: all, or those of a user, of a time, with some words, or at their places.

    Stop it at any time.
    """
    act = options or ActOptions()
    act.needed_reason()
    since_ms, until_ms = _ago_ms(last, "--last"), _ago_ms(until, "--until")
    places = None if seqs is None else _places(seqs)

    async def work(connection: Connection) -> int:
        found = None if user is None else await find_user(connection, user, room)
        whose = "everybody" if found is None else found.name
        await confirm(f"Delete messages of {whose} in {room}?", yes=act.yes, dry_run=act.dry_run)
        wanted = Purge(
            target=None if found is None else found.user_id,
            since_ms=since_ms,
            until_ms=until_ms,
            seqs=places,
            query=search,
            reason=act.reason,
            dry_run=act.dry_run,
        )
        purged = await purge_pages(connection, room, wanted)
        told: dict[str, object] = {
            "action": "purge",
            "room": room,
            "affected": purged.affected,
            "audit": purged.audits,
            "dry_run": act.dry_run,
        }
        words = (
            f"{'would delete' if act.dry_run else 'deleted'} {purged.affected} messages of {whose} in {room}"
        )
        if search is not None:
            told["behind"] = purged.behind
        if purged.behind:
            words += f"; the search did not know {purged.behind} events yet: once more in a moment"
        connection.out.value(told, words)
        return EXIT_OK

    return with_server(act, work)


async def purge_pages(
    connection: Connection, room: str, wanted: Purge, *, stop_at: int | None = None
) -> Purged:
    """Delete a page after the other, told as it goes; who stops it has deleted what was told.

    Args:
        connection: to the server.
        room: which.
        wanted: what.
        stop_at: messages from which on no further page is asked for; None: all are.

    Raises:
        ClientError: the server refuses, or is gone; pages that were deleted stay deleted.
        Problem: there is no such room.
    """
    affected, audits, behind = 0, list[object](), 0
    cursor: object = None
    with open_progress() as progress:
        task = progress.add_task(f"{room}: 0 messages", total=None)
        while True:
            page = await ask_room(
                connection,
                "mod",
                room,
                action="purge",
                target=wanted.target,
                since_ms=wanted.since_ms,
                until_ms=wanted.until_ms,
                seqs=wanted.seqs,
                query=wanted.query,
                expired=wanted.expired or None,
                reason=wanted.reason,
                dry_run=wanted.dry_run or None,
                cursor=cursor,
            )
            count = page["affected"]
            affected += count if isinstance(count, int) else 0
            if "audit" in page:
                audits.append(page["audit"])
            progress.update(task, description=f"{room}: {affected} messages")
            cursor = page.get("next")
            missed = page.get("behind")
            behind = max(behind, missed if isinstance(missed, int) else 0)
            if cursor is None or (stop_at is not None and affected >= stop_at):
                return Purged(affected, audits, more=cursor is not None, behind=behind)


def ago_ms(duration_s: float) -> int:
    """The time that was so long ago, in milliseconds since 1970 UTC."""
    return round((datetime.now(UTC) - timedelta(seconds=duration_s)).timestamp() * 1000)


def _ago_ms(duration: str | None, option: str) -> int | None:
    ago_s = seconds(duration, option)
    return None if ago_s is None else ago_ms(ago_s)


def _places(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageMistake(f"--seqs: {text!r} is no list of places, like 12,15,20")
    return [int(part) for part in parts]
