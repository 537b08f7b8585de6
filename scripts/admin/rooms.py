"""`parley admin rooms`: what rooms there are, and what they are like."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from chat.cli_options import UsageMistake
from chat.client_errors import RequestRefused
from scripts.admin.connection import Connection, fields_of, with_server
from scripts.admin.exits import EXIT_OK
from scripts.admin.lookup import ask_room, explain_room
from scripts.admin.options import ServerOptions, TrialOptions, seconds
from scripts.admin.users import Limit

rooms_app: Final = App(name="rooms", help="Rooms: their settings and members.")

RoomArgument = Annotated[str, Parameter(help="The room's name.")]
_SETTINGS: Final = (
    "room",
    "kind",
    "topic",
    "slow",
    "strict",
    "locked",
    "archived",
    "retention",
    "language",
    "by",
    "at",
    "members",
    "head",
)


@rooms_app.command(name="list")
def list_rooms(
    *,
    public: Annotated[
        bool, Parameter(negative=(), help="Public ones alone, as everybody sees them.")
    ] = False,
    limit: Limit = 100,
    options: ServerOptions | None = None,
) -> int:
    """List the rooms by name."""

    async def work(connection: Connection) -> int:
        rooms, more = await connection.listed("rooms", all=None if public else True, limit=limit)
        columns = ("room", "kind", "topic", "slow", "locked", "archived", "by", "at")
        connection.out.listing(rooms, columns, "there are no rooms", more=more)
        return EXIT_OK

    return with_server(options, work)


@rooms_app.command(name="show")
def show_room(room: RoomArgument, /, *, options: ServerOptions | None = None) -> int:
    """Show a room's settings, and where its log stands."""

    async def work(connection: Connection) -> int:
        answer = fields_of(await ask_room(connection, "room", room), "role")
        if connection.out.as_json:
            connection.out.line(answer)
        else:
            rows = [{"setting": name, "value": answer.get(name)} for name in _SETTINGS]
            connection.out.listing(rows, ("setting", "value"), "")
        return EXIT_OK

    return with_server(options, work)


@rooms_app.command(name="members")
def list_members(room: RoomArgument, /, *, limit: Limit = 1000, options: ServerOptions | None = None) -> int:
    """List a room's members by id."""

    async def work(connection: Connection) -> int:
        try:
            members, more = await connection.listed("members", room=room, limit=limit)
        except RequestRefused as refused:
            raise await explain_room(connection, room, refused) from None
        connection.out.listing(members, ("user", "name", "role"), "nobody is in it", more=more)
        return EXIT_OK

    return with_server(options, work)


@rooms_app.command(name="create")
def create_room(
    room: RoomArgument,
    /,
    *,
    kind: Annotated[Literal["public", "private"], Parameter(help="Who may see it.")] = "public",
    topic: Annotated[str, Parameter(help="What it is about.")] = "",
    slow: Annotated[str | None, Parameter(help="Between two messages of one member: 10s, 1m.")] = None,
    strict: Annotated[bool, Parameter(negative=(), help="Show messages when they are stored.")] = False,
    language: Annotated[str | None, Parameter(help="Whose words it is searched by.")] = None,
    options: TrialOptions | None = None,
) -> int:
    """Make a room, and own it."""
    trial = options or TrialOptions()
    wanted: dict[str, object] = {
        "kind": kind,
        "topic": topic,
        "slow": seconds(slow, "--slow") or 0.0,
        "strict": strict,
        "language": language,
    }

    async def work(connection: Connection) -> int:
        if trial.dry_run:
            given = {name: value for name, value in wanted.items() if value is not None}
            connection.out.value(
                {"room": room, **given, "dry_run": True}, f"would make the room {room}, {kind}"
            )
            return EXIT_OK
        answer = fields_of(await connection.ask("create", room=room, **wanted))
        connection.out.value({**answer, "dry_run": False}, f"made the room {room}, {kind}")
        return EXIT_OK

    return with_server(trial, work)


@rooms_app.command(name="set")
def set_room(
    room: RoomArgument,
    /,
    *,
    topic: Annotated[str | None, Parameter(help="What it is about.")] = None,
    slow: Annotated[str | None, Parameter(help="Between two messages of one member: 10s, 1m, off.")] = None,
    options: TrialOptions | None = None,
) -> int:
    """Change a room's topic or slow mode; `lock` and `unlock` are commands of their own."""
    trial = options or TrialOptions()
    wanted: dict[str, object] = {}
    if topic is not None:
        wanted["topic"] = topic
    if slow is not None:
        wanted["slow"] = slow_seconds(slow, "--slow")
    if not wanted:
        raise UsageMistake("say what to set: --topic or --slow")

    async def work(connection: Connection) -> int:
        now = await ask_room(connection, "room", room)
        changes = {
            name: {"from": now[name], "to": value} for name, value in wanted.items() if now[name] != value
        }
        told: dict[str, object] = {"room": room, "changes": changes, "dry_run": trial.dry_run}
        if changes:
            answer = await connection.ask("update", room=room, dry_run=trial.dry_run or None, **wanted)
            if "seq" in answer:
                told["audit"] = f"{room}:{answer['seq']}"
        connection.out.value(told, _changed(room, changes, told))
        return EXIT_OK

    return with_server(trial, work)


def slow_seconds(text: str, option: str) -> float:
    """A slow mode that was typed: a duration, `off` or `0`."""
    return 0.0 if text in {"off", "0", "0s"} else seconds(text, option) or 0.0


def _changed(room: str, changes: Mapping[str, object], told: Mapping[str, object]) -> str:
    if not changes:
        return f"{room} is so already"
    if told["dry_run"]:
        return f"would change {' and '.join(changes)} of {room}"
    return f"changed {' and '.join(changes)} of {room} (audit {told.get('audit', '-')})"
