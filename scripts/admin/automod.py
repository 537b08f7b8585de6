"""`parley admin automod`: the rules of automatic moderation (docs/automod.md)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from cyclopts import App, Parameter

from chat.cli_options import UsageMistake
from chat.client_errors import RequestRefused
from chat.client_state import Envelope
from scripts.admin.connection import Connection, confirm, with_server
from scripts.admin.exits import EXIT_OK, Problem
from scripts.admin.lookup import ask_room
from scripts.admin.moderation import MaybeRoom
from scripts.admin.options import ActOptions, ServerOptions, TrialOptions

WORDS_A_REQUEST: Final = 300
"""Of 128 characters each they fit into a frame."""
FILE_MAX_BYTES: Final = 4 * 1024 * 1024

Action = Literal["refuse", "hold", "delete", "report"]

automod_app: Final = App(name="automod", help="Rules that look at messages before anybody reads them.")


@automod_app.command
def show(*, room: MaybeRoom = None, options: ServerOptions | None = None) -> int:
    """Show the rules of a room, or of every room."""

    async def work(connection: Connection) -> int:
        rules, version = await _read_rules(connection, room)
        told = {"room": room, "version": version, "rules": rules}
        connection.out.value(told, json.dumps(rules, ensure_ascii=False, indent=2))
        return EXIT_OK

    return with_server(options, work)


@automod_app.command(name="test")
def try_text(
    text: Annotated[str, Parameter(help="What somebody might say.")],
    /,
    *,
    room: MaybeRoom = None,
    options: ServerOptions | None = None,
) -> int:
    """Say which rules would find something in a text; nothing else happens."""

    async def work(connection: Connection) -> int:
        answer = await ask_room(connection, "automod", room, test=True, text=text)
        told = {"room": room, "decides": answer.get("decides"), "matches": _list(answer, "matches")}
        decides = answer.get("decides")
        connection.out.value(told, "it would pass" if decides is None else f"{decides} would decide")
        return EXIT_OK

    return with_server(options, work)


@automod_app.command(name="set")
def set_rules(
    file: Annotated[Path, Parameter(help="A JSON list of rules.")],
    /,
    *,
    room: MaybeRoom = None,
    options: ActOptions | None = None,
) -> int:
    """Put rules in place of those there are, as a whole or not at all."""
    act = options or ActOptions()
    try:
        rules: object = json.loads(_read(file))
    except ValueError as error:
        raise UsageMistake(f"{file} is no JSON: {error}") from error
    if not isinstance(rules, list):
        raise UsageMistake(f"{file} is no list of rules")

    async def work(connection: Connection) -> int:
        present: Sequence[object] | None = None
        version: object = None
        try:
            present, version = await _read_rules(connection, room)
        except RequestRefused as refused:
            # Rules of a later version of the server are not read, and can be set anew.
            if refused.code != "internal":
                raise
        before, after = _ids(present or ()), _ids(rules)
        gone = [each for each in before if each not in after]
        come = [each for each in after if each not in before]
        where = "every room" if room is None else room
        there = "rules that cannot be read" if present is None else f"{len(present)} rules"
        what = f"{there} of {where} by {len(rules)}{_named('gone', gone)}{_named('new', come)}"
        if present is None or present:
            await confirm(f"Replace the {what}?", yes=act.yes, dry_run=act.dry_run)
        # What somebody else has set since then is not what was asked about.
        answer = await ask_room(
            connection,
            "automod",
            room,
            rules=rules,
            if_version=version,
            reason=act.reason,
            dry_run=act.dry_run or None,
        )
        told = {
            "room": room,
            "version": answer["version"],
            "rules": len(rules),
            "before": None if present is None else len(present),
            "gone": gone,
            "new": come,
            "audit": answer.get("audit"),
            "dry_run": act.dry_run,
        }
        done = "would replace" if act.dry_run else f"version {answer['version']} replaces"
        connection.out.value(told, f"{done} the {what}")
        return EXIT_OK

    return with_server(act, work)


@automod_app.command(name="import")
def import_words(
    file: Annotated[Path, Parameter(help="Words and phrases, one a line; # begins a remark.")],
    /,
    *,
    rule: Annotated[str, Parameter(name="--rule", help="The id of the rule that they join, or make.")],
    action: Annotated[Action, Parameter(help="What the rule does.")] = "refuse",
    reason: Annotated[str | None, Parameter(help="As the author is told.")] = None,
    room: MaybeRoom = None,
    options: TrialOptions | None = None,
) -> int:
    """Add a list of words to a rule, in as many parts as it takes; a trial has each part looked at."""
    act = options or TrialOptions()
    lines = (line.partition("#")[0].strip() for line in _read(file).splitlines())
    words = list(dict.fromkeys(line for line in lines if line))
    if not words:
        raise UsageMistake(f"{file} has no words")

    async def work(connection: Connection) -> int:
        version: object = None
        for start in range(0, len(words), WORDS_A_REQUEST):
            part: dict[str, object] = {
                "id": rule,
                "kind": "words",
                "action": action,
                "words": words[start : start + WORDS_A_REQUEST],
            }
            if reason is not None:
                part["reason"] = reason
            answer = await ask_room(
                connection, "automod", room, add=True, rules=[part], dry_run=act.dry_run or None
            )
            version = None if act.dry_run else answer["version"]
        told = {
            "room": room,
            "rule": rule,
            "words": len(words),
            "version": version,
            "dry_run": act.dry_run,
        }
        done = "would join" if act.dry_run else "joined"
        connection.out.value(told, f"{len(words)} words {done} the rule {rule}")
        return EXIT_OK

    return with_server(act, work)


async def _read_rules(connection: Connection, room: str | None) -> tuple[list[object], object]:
    """The rules that there are, and their version."""
    rules: list[object] = []
    cursor: object = None
    while True:
        page = await ask_room(connection, "automod", room, cursor=cursor)
        rules += _list(page, "items")
        cursor = page.get("next")
        if cursor is None:
            return rules, page["version"]


def _ids(rules: Sequence[object]) -> list[str]:
    """The rules' ids; the server says which of them is no rule."""
    known = (cast("Mapping[str, object]", rule) for rule in rules if isinstance(rule, Mapping))
    return [str(rule["id"]) for rule in known if "id" in rule]


def _named(what: str, ids: Sequence[str]) -> str:
    return f"; {what}: {', '.join(ids)}" if ids else ""


def _list(answer: Envelope, field: str) -> list[object]:
    items = answer[field]
    if not isinstance(items, list):
        raise Problem("bad_answer", f"the server gave no list of {field}")
    return items


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise UsageMistake(f"{file}: {error.strerror}") from error
    if len(data) > FILE_MAX_BYTES:
        raise UsageMistake(f"{file} is larger than {FILE_MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageMistake(f"{file} is no UTF-8: {error}") from error
