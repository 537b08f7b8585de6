"""`parley admin kick|ban|mute|sanctions|role|lock|slow|announce|undo` and their like: what moderators do.

Without `--room` bans and mutes are for the whole server.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from chat.cli_options import UsageMistake
from chat.client_errors import RequestRefused
from chat.client_state import Envelope
from scripts.admin.connection import Connection, confirm, with_server
from scripts.admin.durations import format_duration
from scripts.admin.exits import EXIT_OK, Problem
from scripts.admin.inverse import Ask, NoInverse, invert
from scripts.admin.lookup import ask_room, explain_room, find_user
from scripts.admin.options import ActOptions, ServerOptions, seconds
from scripts.admin.rooms import RoomArgument, slow_seconds
from scripts.admin.users import Limit, Person

LOOKED_BACK: Final = 5000
"""Rows of a room's audit that are read to undo one of them."""

_TRIED: Final = frozenset({"mod", "assign", "update"})
"""What can be asked as a trial, and with a reason."""
_AUDIT_ID: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63}):(\d{1,16})")

InRoom = Annotated[str, Parameter(name="--room", help="In this room.")]
MaybeRoom = Annotated[
    str | None, Parameter(name="--room", help="In this room; without it, on the whole server.")
]
For = Annotated[str | None, Parameter(name="--for", help="How long: 90s, 10m, 2h, 7d; default: for ever.")]


def kick(user: Person, /, *, room: InRoom, options: ActOptions | None = None) -> int:
    """Remove somebody from a room; who may join may come back."""
    act = options or ActOptions()
    act.needed_reason()
    return _upon("kick", user, room, act, asks=True)


def ban(
    user: Person, /, *, room: MaybeRoom = None, for_: For = None, options: ActOptions | None = None
) -> int:
    """Keep somebody out of a room, or of the server."""
    act = options or ActOptions()
    act.needed_reason()
    return _upon("ban", user, room, act, asks=True, ttl=seconds(for_, "--for"))


def unban(user: Person, /, *, room: MaybeRoom = None, options: ActOptions | None = None) -> int:
    """Let somebody in again."""
    return _upon("unban", user, room, options or ActOptions())


def mute(
    user: Person, /, *, room: MaybeRoom = None, for_: For = None, options: ActOptions | None = None
) -> int:
    """Let somebody read, and not write."""
    act = options or ActOptions()
    act.needed_reason()
    return _upon("mute", user, room, act, ttl=seconds(for_, "--for"))


def unmute(user: Person, /, *, room: MaybeRoom = None, options: ActOptions | None = None) -> int:
    """Let somebody write again."""
    return _upon("unmute", user, room, options or ActOptions())


def sanctions(*, room: MaybeRoom = None, limit: Limit = 100, options: ServerOptions | None = None) -> int:
    """List who is banned or muted now, and until when."""

    async def work(connection: Connection) -> int:
        try:
            found, more = await connection.listed("sanctions", room=room, limit=limit)
        except RequestRefused as refused:
            if room is None:
                raise
            raise await explain_room(connection, room, refused) from None
        columns = ("audit", "user", "name", "kind", "until", "reason")
        connection.out.listing(found, columns, "nobody is banned or muted", more=more)
        return EXIT_OK

    return with_server(options, work)


def role(
    user: Person,
    role: Annotated[Literal["owner", "moderator", "member"], Parameter(help="In the room.")],
    /,
    *,
    room: InRoom,
    options: ActOptions | None = None,
) -> int:
    """Give a member of a room another role."""
    return _upon("role", user, room, options or ActOptions(), role=role)


def lock(room: RoomArgument, /, *, options: ActOptions | None = None) -> int:
    """Let only a room's moderators write."""
    return _room_act("lock", room, options or ActOptions())


def unlock(room: RoomArgument, /, *, options: ActOptions | None = None) -> int:
    """Let all members write again."""
    return _room_act("unlock", room, options or ActOptions())


def slow(
    room: RoomArgument,
    wait: Annotated[str, Parameter(help="Between two messages of one member: 10s, 1m, off.")],
    /,
    *,
    options: ActOptions | None = None,
) -> int:
    """Set how long members wait between two messages."""
    return _room_act("slow", room, options or ActOptions(), slow=slow_seconds(wait, "the wait"))


def announce(
    text: Annotated[str, Parameter(help="What all are told.")],
    /,
    *,
    room: MaybeRoom = None,
    options: ActOptions | None = None,
) -> int:
    """Tell everybody in a room, or on the whole server, something."""
    act = options or ActOptions()

    async def work(connection: Connection) -> int:
        where = "the whole server" if room is None else room
        await confirm(f"Announce to {where}: {text}?", yes=act.yes, dry_run=act.dry_run)
        answer = await _moderate(connection, "announce", room, act, body=text)
        _tell(connection, "announce", room, act, answer, f"announce to {where}")
        return EXIT_OK

    return with_server(act, work)


def undo(
    audit: Annotated[str, Parameter(help="Which act: ROOM:NUMBER, as `audit list` shows it.")],
    /,
    *,
    options: ActOptions | None = None,
) -> int:
    """Undo an act of the audit, where there is something that undoes it."""
    act = options or ActOptions()
    matched = _AUDIT_ID.fullmatch(audit)
    if matched is None:
        raise UsageMistake(
            f"{audit!r} is no audit id: it is ROOM:NUMBER, as `parley admin audit list` shows it"
        )
    room, seq = matched[1], int(matched[2])

    async def work(connection: Connection) -> int:
        try:
            rows, _ = await connection.listed("audit", room=room, limit=LOOKED_BACK)
        except RequestRefused as refused:
            raise await explain_room(connection, room, refused) from None
        item = next((row for row in rows if row["seq"] == seq), None)
        if item is None:
            raise Problem("not_found", f"the audit of {room} has no {audit}")
        place = rows.index(item)
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        try:
            asks = invert(item, rows[:place], rows[place + 1 :], now_ms=now_ms)
        except NoInverse as error:
            raise Problem("conflict", str(error)) from error
        if any(map(_is_asked_about, asks)):
            said = ", ".join(_said({"t": ask.t, **ask.fields}) for ask in asks)
            question = f"Undo {audit} in {room}, which does this: {said}?"
            await confirm(question, yes=act.yes, dry_run=act.dry_run)
        told: list[dict[str, object]] = []
        for ask in asks:
            fields = dict(ask.fields)
            if ask.t in _TRIED:
                fields |= {"reason": act.reason or fields.get("reason"), "dry_run": act.dry_run or None}
            if ask.t != "assign":
                fields["room"] = room
            if act.dry_run and ask.t not in _TRIED:
                answer: Envelope = {}
            else:
                answer = await connection.ask(ask.t, **fields)
                if not act.dry_run and not {"seq", "audit"} & answer.keys():
                    raise Problem("conflict", f"{audit} was undone already: {room} is as it was before")
            done = {name: value for name, value in ask.fields.items() if value is not None}
            told.append({"t": ask.t, **done, "seq": answer.get("seq"), "audit": answer.get("audit")})
        what = "would undo" if act.dry_run else "undid"
        words = f"{what} {audit} ({item['action']}): " + ", ".join(_said(one) for one in told)
        connection.out.value({"audit": audit, "asked": told, "dry_run": act.dry_run}, words)
        return EXIT_OK

    return with_server(act, work)


def disable(user: Person, /, *, options: ActOptions | None = None) -> int:
    """Keep a user out of the server until `enable`: the sessions end, and no token or password opens any."""
    act = options or ActOptions()
    act.needed_reason()
    return _upon("ban", user, None, act, asks=True)


def enable(user: Person, /, *, options: ActOptions | None = None) -> int:
    """Let a user in again who was disabled, or banned from the server."""
    return _upon("unban", user, None, options or ActOptions())


def archive(room: RoomArgument, /, *, options: ActOptions | None = None) -> int:
    """Close a room for good: it is read, nobody writes or joins, and it is listed no more. For its owners."""
    return _room_act("archive", room, options or ActOptions(), asks=True)


def unarchive(room: RoomArgument, /, *, options: ActOptions | None = None) -> int:
    """Open an archived room again."""
    return _room_act("unarchive", room, options or ActOptions())


def add_commands(app: App, users: App, rooms: App) -> None:
    """Put them beside the other nouns, for a moderator types them often; some are said of a noun alone."""
    users.command(disable)
    users.command(enable)
    rooms.command(archive)
    rooms.command(unarchive)
    for command in (kick, ban, unban, mute, unmute, sanctions, role, lock, unlock, slow, announce, undo):
        app.command(command)


# -- doing -----------------------------------------------------------------------------------------------


def _upon(
    action: str, user: str, room: str | None, act: ActOptions, *, asks: bool = False, **fields: object
) -> int:
    async def work(connection: Connection) -> int:
        found = await find_user(connection, user, room)
        where = "the whole server" if room is None else room
        if asks:
            question = f"{action.capitalize()} {found.name} ({found.user_id}) in {where}?"
            await confirm(question, yes=act.yes, dry_run=act.dry_run)
        answer = await _moderate(connection, action, room, act, target=found.user_id, **fields)
        ttl = fields.get("ttl")
        lasts = f" for {format_duration(ttl)}" if isinstance(ttl, float) else ""
        words = f"{action} {found.name} in {where}{lasts}"
        _tell(connection, action, room, act, answer, words, target=found.user_id, name=found.name)
        return EXIT_OK

    return with_server(act, work)


def _room_act(action: str, room: str, act: ActOptions, *, asks: bool = False, **fields: object) -> int:
    async def work(connection: Connection) -> int:
        if asks:
            await confirm(f"{action.capitalize()} {room}?", yes=act.yes, dry_run=act.dry_run)
        answer = await _moderate(connection, action, room, act, **fields)
        _tell(connection, action, room, act, answer, f"{action} {room}")
        return EXIT_OK

    return with_server(act, work)


async def _moderate(
    connection: Connection, action: str, room: str | None, act: ActOptions, **fields: object
) -> Envelope:
    return await ask_room(
        connection,
        "mod",
        room,
        action=action,
        reason=act.reason,
        dry_run=act.dry_run or None,
        **fields,
    )


def _tell(
    connection: Connection,
    action: str,
    room: str | None,
    act: ActOptions,
    answer: Envelope,
    words: str,
    **about: object,
) -> None:
    told = {
        "action": action,
        "room": room,
        **about,
        "affected": answer.get("affected", 0),
        "audit": answer.get("audit"),
        "dry_run": act.dry_run,
    }
    if act.dry_run:
        sentence = f"would be done: {words}" if answer.get("affected") else f"it is so already: {words}"
    elif answer.get("audit") is None:
        sentence = f"it is so already: {words}"
    else:
        sentence = f"done: {words} (audit {answer['audit']})"
    connection.out.value(told, sentence)


def _is_asked_about(ask: Ask) -> bool:
    """Whether it would be asked about if it were done for its own sake."""
    return ask.fields.get("action") in {"ban", "kick", "archive"} or bool(ask.fields.get("retention"))


def _said(asked: Mapping[str, object]) -> str:
    return " ".join(str(value) for name, value in asked.items() if name not in {"t", "seq", "audit"})
