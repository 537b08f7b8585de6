"""Every command of `parley admin` against a server: help, JSON and exit codes."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
from cyclopts import App

from chat.health import Readiness
from chat.metrics import Metrics
from chat.ops import open_ops_listeners, serve_ops
from scripts.admin.cli import app, main
from scripts.admin.exits import (
    EXIT_FAILED,
    EXIT_FOUND,
    EXIT_OK,
    EXIT_UNAUTHORISED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
)
from tests.e2e.server_process import parley
from tests.scripts.admin.scene import Scene, open_scene
from tests.storage.rows import message, owned_room

pytestmark = pytest.mark.usefixtures("process_as_before")

LISTED: Final = {"items", "more"}
MODERATED: Final = {"action", "room", "affected", "audit", "dry_run"}
UPON: Final = MODERATED | {"target", "name"}
ASSIGNED: Final = {"user", "name", "was", "role", "affected", "dry_run"}
SHAPES: Final[list[tuple[str, set[str]]]] = [
    ("users list", LISTED),
    ("users show Bob", {"user", "name", "role", "sessions", "sanctions", "tokens"}),
    ("users tokens Bob", LISTED),
    ("users sessions Bob", LISTED),
    ("users disconnect Bob --yes", {"user", "name", "affected", "audit", "dry_run"}),
    ("users create Eve --role moderator", {"user", "name", "role", "password", "audit", "dry_run"}),
    ("users create Eve --dry-run", {"name", "role", "dry_run"}),
    ("users disable Bob --reason spam --yes", UPON),
    ("users enable Bob", {"error"}),
    ("users reset Bob --yes", {"user", "name", "affected", "password", "audit", "dry_run"}),
    ("users reset Bob --dry-run", {"user", "name", "affected", "dry_run"}),
    ("users role Bob moderator --yes", {*ASSIGNED, "audit"}),
    ("users role Bob admin --dry-run", ASSIGNED),
    ("rooms list", LISTED),
    ("rooms list --public", LISTED),
    (
        "rooms show tea",
        {
            *("room", "kind", "topic", "slow", "strict", "locked", "language", "by", "at", "members"),
            *("epoch", "head", "durable", "archived", "retention"),
        },
    ),
    ("rooms members tea", LISTED),
    (
        "rooms create den --kind private --slow 10s",
        {
            *("room", "kind", "topic", "slow", "strict", "locked", "language", "by", "at", "dry_run"),
            *("archived", "retention"),
        },
    ),
    ("rooms create den --dry-run", {"room", "kind", "topic", "slow", "strict", "dry_run"}),
    ("rooms set tea --topic black --slow 1m", {"room", "changes", "dry_run", "audit"}),
    ("rooms set tea --topic black --dry-run", {"room", "changes", "dry_run"}),
    ("rooms archive tea --reason over --yes", MODERATED),
    ("rooms unarchive tea --dry-run", MODERATED),
    ("retention list", LISTED),
    ("retention show tea", {"room", "retention", "due"}),
    ("retention set tea 90d --yes", {"room", "from", "to", "due", "audit", "dry_run"}),
    ("retention set tea 90d --dry-run", {"room", "from", "to", "due", "audit", "dry_run"}),
    ("retention run tea --yes", {"error"}),
    ("kick Bob --room tea --reason spam --yes", UPON),
    ("ban Bob --room tea --reason spam --for 2h --yes", UPON),
    ("ban Bob --room tea --reason spam --dry-run", UPON),
    ("ban Bob --reason spam --for 7d --yes", UPON),
    ("mute Bob --room tea --reason loud", UPON),
    ("mute Bob --reason loud", UPON),
    ("sanctions", LISTED),
    ("sanctions --room tea", LISTED),
    ("role Bob moderator --room tea", UPON),
    ("lock tea", MODERATED),
    ("unlock tea", MODERATED),
    ("slow tea 10s", MODERATED),
    ("announce soon --room tea --yes", MODERATED),
    ("announce soon --yes", MODERATED),
    ("purge tea --user Bob --reason spam --yes", MODERATED),
    ("purge tea --last 10m --until 1m --reason spam --dry-run", MODERATED),
    ("purge tea --seqs 1,2 --reason spam --yes", MODERATED),
    ("purge tea --search hello --reason spam --yes", MODERATED | {"behind"}),
    ("reports list", LISTED),
    ("reports list --room tea --all", LISTED),
    ("reports claim 9", {"error"}),
    ("automod show", {"room", "version", "rules"}),
    ("automod test spam --room tea", {"room", "decides", "matches"}),
    ("undo tea:2 --dry-run", {"error"}),
    ("audit list", LISTED),
    ("audit export FILE", {"file", "rows"}),
    ("tail tea --count 1", {"t", "room", "epoch", "seq", "at", "by", "kind", "n", "cid", "body", "name"}),
    ("tail --audit --count 1", {"audit", "room", "seq", "at", "by", "name", "action", "detail", "hash"}),
    ("health", {"alive", "ready", "said"}),
    ("drain --dry-run", {"affected", "dry_run"}),
    ("export tea FILE", {"room", "file", "from", "to", "events"}),
    ("completion bash", {"shell", "script"}),
]
"""Commands, and the fields of what they print."""


@pytest.fixture
async def scene(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Scene]:
    """A server with people and a room."""
    async with open_scene(capsys, monkeypatch) as opened:
        yield opened


def names_in(directory: Path) -> list[str]:
    """The files there."""
    return sorted(each.name for each in directory.iterdir())


def commands(of: App, path: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
    """Every command below an app, by the words that call it."""
    for name in of:
        if name.startswith("-"):
            continue
        inner = of[name]
        below = list(commands(inner, (*path, name)))
        yield from below or [(*path, name)]


COMMANDS: Final = list(commands(app))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it does, and that it can print JSON."""
    assert main([*command, "--help"]) == EXIT_OK

    told = capsys.readouterr().out
    assert "Usage:" in told
    assert "--json" in told
    assert "pt_" not in told


def test_every_command_is_tried_below() -> None:
    """But for those whose tests are their own."""
    tried = {tuple(line.split()[: len(command)]) for line, _ in SHAPES for command in COMMANDS}
    own = {("import",), ("init",), ("login",), ("audit", "verify"), ("top",), ("unban",), ("unmute",)}
    own |= {("reports", action) for action in ("release", "resolve", "dismiss", "approve", "reject")}
    own |= {("automod", "set"), ("automod", "import")}
    assert set(COMMANDS) - tried == own


@pytest.mark.parametrize(("line", "fields"), SHAPES, ids=[line for line, _ in SHAPES])
async def test_a_command_prints_one_json_value(
    scene: Scene, tmp_path: Path, line: str, fields: set[str]
) -> None:
    """With these fields, in one line, and nothing else."""
    argv = [str(tmp_path / "file") if word == "FILE" else word for word in line.split()]
    code = await scene.run(*argv, "--json")

    assert set(scene.told) == fields, scene.out
    assert code == (EXIT_FAILED if "error" in fields else EXIT_OK), scene.err
    assert scene.out.count("\n") == 1


@pytest.mark.parametrize(("line", "fields"), SHAPES, ids=[line for line, _ in SHAPES])
async def test_a_command_tells_people_in_words(
    scene: Scene, tmp_path: Path, line: str, fields: set[str]
) -> None:
    """The same command without `--json`."""
    argv = [str(tmp_path / "file") if word == "FILE" else word for word in line.split()]
    assert await scene.run(*argv) == (EXIT_FAILED if "error" in fields else EXIT_OK), scene.err

    assert scene.out if "error" not in fields else scene.err
    assert not scene.out.startswith("{")


@pytest.mark.parametrize(
    ("line", "by", "code", "words"),
    [
        ("users show Bib", "Ada", EXIT_FAILED, "nobody is called Bib; did you mean Bob?"),
        ("users show u_zzz", "Ada", EXIT_FAILED, "nobody here knows a user u_zzz"),
        ("rooms show tee", "Ada", EXIT_FAILED, "there is no room tee; did you mean tea?"),
        ("rooms members nowhere", "Ada", EXIT_FAILED, "there is no room nowhere"),
        ("lock tee", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("tail tee", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("export tee /tmp/never", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("audit list --room tee", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("sanctions --room tee", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("sanctions --room tea", "Bob", EXIT_UNAUTHORISED, "it takes the rank of a moderator"),
        ("undo tee:1", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("undo tea:9", "Ada", EXIT_FAILED, "the audit of tea has no tea:9"),
        ("unban Bob --room tea", "Ada", EXIT_FAILED, "is under no ban here"),
        ("unmute Bob --room tea", "Ada", EXIT_FAILED, "is under no mute here"),
        ("users create BOB", "Ada", EXIT_FAILED, "somebody is called BOB already"),
        ("rooms create tea", "Ada", EXIT_FAILED, "there is a room of this name"),
        ("users disconnect Ada --yes", "Mo", EXIT_UNAUTHORISED, "people of a lower rank"),
        ("users reset Bob --yes", "Mo", EXIT_UNAUTHORISED, "server admin"),
        ("users role Bob admin", "Ada", EXIT_USAGE, "Say --yes"),
        ("users role Bob admin --yes", "Mo", EXIT_UNAUTHORISED, "server admin"),
        ("users role Ada user --yes", "Ada", EXIT_UNAUTHORISED, "without an admin"),
        ("users list", "Bob", EXIT_UNAUTHORISED, "server moderator"),
        (
            "kick Zoe --room tea --reason x --yes",
            "Bob",
            EXIT_UNAUTHORISED,
            "it takes the rank of a moderator",
        ),
        ("users list", "gone", EXIT_UNAUTHORISED, "parley admin login NAME"),
        ("users list", "expired", EXIT_UNAUTHORISED, "parley admin login NAME"),
        ("mute Bob --room tea --for 10x --reason loud", "Ada", EXIT_USAGE, "--for: '10x' is no duration"),
        ("mute Bob --room tea", "Ada", EXIT_USAGE, "--reason"),
        ("ban Bob --room tea --reason spam", "Ada", EXIT_USAGE, "Say --yes"),
        ("rooms set tea", "Ada", EXIT_USAGE, "--topic or --slow"),
        ("rooms archive tea", "Ada", EXIT_USAGE, "Say --yes"),
        ("rooms archive tee --yes", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("rooms archive tea --yes", "Bob", EXIT_UNAUTHORISED, "it takes the rank of an owner"),
        ("retention set tea 90d", "Ada", EXIT_USAGE, "Say --yes"),
        ("retention set tea 90d --dry-run", "Bob", EXIT_UNAUTHORISED, "it takes the rank of an owner"),
        ("rooms set tea --topic x --dry-run", "Bob", EXIT_UNAUTHORISED, "it takes the rank of a moderator"),
        ("retention set tea 10x", "Ada", EXIT_USAGE, "how long: '10x' is no duration"),
        ("retention set tea 59s", "Ada", EXIT_USAGE, "less than 60s"),
        ("retention show tee", "Ada", EXIT_FAILED, "did you mean tea?"),
        ("retention run tea --yes", "Ada", EXIT_FAILED, "tea keeps everything"),
        ("undo tea", "Ada", EXIT_USAGE, "ROOM:NUMBER"),
        ("tail", "Ada", EXIT_USAGE, "--audit"),
        ("tail tea --audit", "Ada", EXIT_USAGE, "--audit"),
        ("audit verify", "Ada", EXIT_USAGE, "--offline"),
        ("top --metrics ws://x", "Ada", EXIT_USAGE, "--metrics"),
        ("users frobnicate", "Ada", EXIT_USAGE, "frobnicate"),
        ("users list --url http://127.0.0.1:1", "Ada", EXIT_USAGE, "ws://127.0.0.1:1/ws"),
        ("users list --url ws://127.0.0.1:1", "Ada", EXIT_UNREACHABLE, "parley serve"),
        ("health --url ws://127.0.0.1:1", "Ada", EXIT_UNREACHABLE, "parley serve"),
        ("top --metrics http://127.0.0.1:1 --count 1", "Ada", EXIT_UNREACHABLE, "parley serve"),
    ],
)
async def test_what_goes_wrong_is_told_with_what_to_type(
    scene: Scene, line: str, by: str, code: int, words: str
) -> None:
    """One line on standard error, and an exit code of its kind."""
    scene.tokens["gone"] = "pt_" + "x" * 43
    await scene.register("expired", "user", expires_at_ms=1)

    assert await scene.run(*line.split(), by=by) == code
    assert words in scene.err
    assert scene.err.count("\n") == 1
    assert not scene.out


async def test_a_server_that_is_drained_ends(scene: Scene) -> None:
    """In order: afterwards nobody answers."""
    assert await scene.run("drain", "--yes", by="Mo") == EXIT_UNAUTHORISED
    assert await scene.run("drain", "--yes") == EXIT_OK
    assert "is draining" in scene.out
    await scene.wait_ended()
    assert await scene.run("health") == EXIT_UNREACHABLE


async def test_an_error_is_json_for_scripts(scene: Scene) -> None:
    """Under `error`, on standard output."""
    for line, by, exit_code, code in (
        ("users show Bib", "Ada", EXIT_FAILED, "not_found"),
        ("users list", "Bob", EXIT_UNAUTHORISED, "forbidden"),
        ("users list --url ws://127.0.0.1:1", "Ada", EXIT_UNREACHABLE, "unreachable"),
    ):
        assert await scene.run(*line.split(), "--json", by=by) == exit_code
        assert scene.error == code


async def test_a_trial_changes_nothing(scene: Scene) -> None:
    """Whatever the command."""
    for line in (
        "kick Bob --room tea --reason x",
        "ban Bob --room tea --reason x",
        "mute Bob --room tea --reason x",
        "role Bob owner --room tea",
        "lock tea",
        "slow tea 1m",
        "rooms set tea --topic other",
        "rooms archive tea",
        "retention set tea 90d",
        "rooms create den",
        "users create Eve",
        "users reset Bob",
        "users disconnect Bob",
        "users role Bob admin",
        "drain",
    ):
        assert await scene.run(*line.split(), "--dry-run") == EXIT_OK, scene.err
        assert "would" in scene.out
    assert await scene.run("audit", "list", "--json") == EXIT_OK
    assert [item["audit"] for item in scene.items] == ["tea:2"]
    assert await scene.run("users", "list", "--json") == EXIT_OK
    assert len(scene.items) == 4


async def test_a_room_s_own_moderator_works_there(scene: Scene) -> None:
    """Who is nobody on the server finds the people of the room, and its audit."""
    assert await scene.run("mute", "Bob", "--room", "tea", "--reason", "loud", by="Zoe") == EXIT_OK
    assert await scene.run("audit", "list", "--room", "tea", "--json", by="Zoe") == EXIT_OK
    assert [item["action"] for item in scene.items] == ["mute", "update"]
    assert await scene.run("unmute", "Bib", "--room", "tea", by="Zoe") == EXIT_FAILED
    assert "did you mean Bob?" in scene.err
    assert await scene.run("audit", "list", by="Zoe") == EXIT_UNAUTHORISED


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("ban Bob --room tea --reason spam --yes", "unban"),
        ("mute Bob --room tea --reason loud", "unmute"),
        ("lock tea", "unlock"),
        ("role Bob moderator --room tea", "role"),
        ("rooms set tea --topic black", "update"),
        ("rooms archive tea --yes", "unarchive"),
        ("retention set tea 90d --yes", "update"),
        ("kick Bob --room tea --reason x --yes", "invite"),
    ],
)
async def test_an_act_is_undone_once(scene: Scene, line: str, asked: str) -> None:
    """A second moderator who undoes it as well is told that it was undone already."""
    assert await scene.run(*line.split()) == EXIT_OK, scene.err
    assert await scene.run("undo", "tea:3", "--dry-run", "--json", by="Mo") == EXIT_OK, scene.err
    assert await scene.run("undo", "tea:3", "--json", by="Mo") == EXIT_OK, scene.err
    listed = scene.told["asked"]
    assert isinstance(listed, list)
    assert asked in {listed[0]["t"], listed[0].get("action")}
    assert await scene.run("undo", "tea:3", "--json") == EXIT_FAILED
    assert scene.error == "conflict"
    assert "tea:3 was followed by tea:4" in scene.err


async def test_a_role_that_was_given_is_taken_back_as_the_audit_knows_it(scene: Scene) -> None:
    """For an account that was made or changed by an admin; of others nothing is guessed."""
    assert await scene.run("users", "role", "Bob", "moderator", "--yes", "--json") == EXIT_OK
    first = str(scene.told["audit"])
    assert await scene.run("undo", first, "--json") == EXIT_FAILED
    assert "does not know the role" in scene.err
    assert (
        await scene.run("users", "role", "Bob", "admin", "--reason", "trusted", "--yes", "--json") == EXIT_OK
    )
    second = str(scene.told["audit"])
    assert await scene.run("undo", second, by="Mo") == EXIT_UNAUTHORISED
    # Of equal rank by now: who may undo it are those who may do it.
    assert await scene.run("undo", second) == EXIT_UNAUTHORISED
    assert await scene.run("undo", second, "--reason", "a mistake", "--json", by="Bob") == EXIT_OK, scene.err
    assert await scene.run("users", "show", "Bob", "--json") == EXIT_OK
    assert scene.told["role"] == "moderator"
    assert await scene.run("audit", "list", "--room", "sys.server", "--json") == EXIT_OK
    assert [item.get("reason") for item in scene.items] == ["a mistake", "trusted", None]
    assert await scene.run("undo", second, "--json") == EXIT_FAILED
    assert f"{second} was followed by" in scene.err


async def test_an_archived_room_is_listed_to_the_server_s_people_alone(scene: Scene) -> None:
    """And takes nothing more, until it is opened again."""
    assert await scene.run("rooms", "archive", "tea", "--reason", "over", "--yes") == EXIT_OK
    assert await scene.run("rooms", "list", "--public", "--json") == EXIT_OK
    assert scene.items == []
    assert await scene.run("rooms", "list", "--json") == EXIT_OK
    assert [item["archived"] for item in scene.items if item["room"] == "tea"] == [True]
    assert await scene.run("rooms", "set", "tea", "--topic", "x", by="Mo") == EXIT_FAILED
    assert "the room is archived" in scene.err
    assert await scene.run("rooms", "unarchive", "tea") == EXIT_OK
    assert await scene.run("rooms", "set", "tea", "--topic", "x", by="Mo") == EXIT_OK


async def test_what_a_room_does_not_keep_is_counted_and_deleted(scene: Scene) -> None:
    """A trial counts; `run` deletes at once; the policy is listed, and taken back."""
    old = await owned_room(scene.store, "old")
    await scene.store.append([message(old, 1), message(old, 2)])
    assert await scene.run("retention", "set", "old", "1m", "--dry-run", "--json") == EXIT_OK, scene.err
    assert (scene.told["from"], scene.told["to"], scene.told["due"]) == (0, 60, 2)
    assert await scene.run("retention", "set", "old", "1m", "--yes", "--json") == EXIT_OK
    assert await scene.run("retention", "list", "--json") == EXIT_OK
    assert scene.items == [{"room": "old", "kind": "public", "retention": 60}]
    assert await scene.run("retention", "show", "old", "--json") == EXIT_OK
    assert scene.told == {"room": "old", "retention": 60, "due": 2}
    assert await scene.run("retention", "run", "old", "--dry-run", "--json") == EXIT_OK
    assert (scene.told["affected"], scene.told["audit"]) == (2, [])
    assert await scene.run("retention", "run", "old", "--yes", "--json") == EXIT_OK
    assert (scene.told["affected"], scene.told["audit"]) == (2, ["old:4"])
    assert await scene.run("audit", "list", "--room", "old") == EXIT_OK
    assert "2 messages" in " ".join(scene.out.split())
    assert await scene.run("retention", "show", "old", "--json") == EXIT_OK
    assert scene.told["due"] == 0
    assert await scene.run("retention", "show", "old", "--json", by="Bob") == EXIT_OK
    assert dict(scene.told) == {"room": "old", "retention": 60, "due": None}
    assert await scene.run("retention", "set", "old", "off", "--json") == EXIT_OK
    assert (scene.told["from"], scene.told["to"], scene.told["audit"]) == (60, 0, "old:5")


async def test_undoing_what_is_asked_about_is_asked_about(scene: Scene) -> None:
    """As the end of a policy, whose undoing deletes again."""
    await scene.run("retention", "set", "tea", "90d", "--yes")
    await scene.run("retention", "set", "tea", "off", "--yes")
    assert await scene.run("undo", "tea:4") == EXIT_USAGE
    assert "Say --yes" in scene.err
    assert await scene.run("undo", "tea:4", "--dry-run") == EXIT_OK, scene.err
    assert await scene.run("undo", "tea:4", "--yes") == EXIT_OK
    assert await scene.run("retention", "show", "tea", "--json") == EXIT_OK
    assert scene.told["retention"] == 90 * 86_400


async def test_a_ban_without_a_room_is_for_the_whole_server(scene: Scene) -> None:
    """Until it is undone; rooms' own moderators impose none."""
    assert await scene.run("ban", "Bob", "--reason", "spam", "--yes", "--json", by="Mo") == EXIT_OK
    assert (scene.told["room"], scene.told["audit"]) == (None, "sys.server:1")
    assert await scene.run("users", "list", by="Bob") == EXIT_FAILED
    assert "spam" in scene.err
    assert await scene.run("users", "show", "Bob") == EXIT_OK
    assert "sys.server:1" in scene.out
    assert await scene.run("undo", "sys.server:1") == EXIT_OK, scene.err
    assert await scene.run("users", "list", by="Bob") == EXIT_UNAUTHORISED
    assert await scene.run("mute", "Bob", "--reason", "x", by="Zoe") == EXIT_UNAUTHORISED


async def test_who_is_banned_or_muted_is_listed(scene: Scene) -> None:
    """In a room, for its moderators; without one, on the server."""
    assert await scene.run("mute", "Bob", "--room", "tea", "--for", "2h", "--reason", "loud") == EXIT_OK
    assert await scene.run("ban", "Bob", "--reason", "spam", "--yes") == EXIT_OK
    assert await scene.run("sanctions", "--room", "tea", "--json", by="Zoe") == EXIT_OK
    (item,) = scene.items
    assert (item["user"], item["name"], item["kind"], item["reason"]) == (
        scene.ids["Bob"],
        "Bob",
        "mute",
        "loud",
    )
    assert await scene.run("sanctions", by="Mo") == EXIT_OK
    assert "spam" in scene.out
    assert await scene.run("sanctions", by="Zoe") == EXIT_UNAUTHORISED
    assert await scene.run("unban", "Bob") == EXIT_OK
    assert await scene.run("sanctions") == EXIT_OK
    assert scene.out == "nobody is banned or muted\n"


async def test_a_user_who_is_disabled_comes_in_when_enabled(scene: Scene) -> None:
    """With the token that was there before."""
    assert await scene.run("users", "disable", "Bob", "--reason", "spam", "--yes") == EXIT_OK
    assert await scene.run("users", "list", by="Bob") == EXIT_FAILED
    assert await scene.run("users", "enable", "Bob") == EXIT_OK
    assert await scene.run("users", "list", by="Bob") == EXIT_UNAUTHORISED


async def test_parley_has_the_command() -> None:
    """Its exit codes pass through, and mistakes are told as of any other command."""
    told = await parley("admin", "health", "--json", PARLEY_URL="ws://127.0.0.1:1/ws")
    assert told.returncode == EXIT_UNREACHABLE
    assert json.loads(told.stdout)["error"]["code"] == "unreachable"
    told = await parley("admin", "undo", "tea")
    assert told.returncode == EXIT_USAGE
    assert told.stderr.startswith("parley: 'tea' is no audit id")


async def test_an_export_is_continued_where_it_ended(scene: Scene, tmp_path: Path) -> None:
    """What was begun only is cut off; another room's file, or one of something else, is left alone."""
    file = tmp_path / "tea.jsonl"
    assert await scene.run("export", "tea", str(file), "--json") == EXIT_OK
    assert (scene.told["from"], scene.told["to"], scene.told["events"]) == (1, 2, 2)
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert await scene.run("export", "tea", str(file), "--json") == EXIT_OK
    assert (scene.told["from"], scene.told["events"]) == (2, 1)
    assert file.read_bytes() == whole
    await scene.run("lock", "tea")
    assert await scene.run("export", "tea", str(file), "--json") == EXIT_OK
    assert [json.loads(line)["seq"] for line in file.read_text().splitlines()] == [1, 2, 3]

    await scene.run("rooms", "create", "den")
    for room, text in (("den", file.read_text()), ("tea", "no JSON\n"), ("tea", "[]\n")):
        other = tmp_path / "other"
        other.write_text(text)
        assert await scene.run("export", room, str(other), "--json") == EXIT_FAILED
        assert scene.error == "bad_file"
        assert other.read_text() == text


async def test_the_audit_is_exported_the_oldest_first(scene: Scene, tmp_path: Path) -> None:
    """As one file that is there as a whole or not at all."""
    await scene.run("lock", "tea")
    file = tmp_path / "audit.jsonl"
    assert await scene.run("audit", "export", str(file)) == EXIT_OK
    assert [json.loads(line)["audit"] for line in file.read_text().splitlines()] == ["tea:2", "tea:3"]
    assert await scene.run("audit", "export", str(tmp_path / "no" / "file")) == EXIT_FAILED
    assert names_in(tmp_path) == ["audit.jsonl"]


async def test_top_prints_a_line_a_look(scene: Scene) -> None:
    """From the second on with what happened in between."""
    code = await scene.run(
        "top", "--metrics", scene.metrics_url, "--every", "0.01s", "--count", "2", "--json"
    )
    assert code == EXIT_OK
    first, second = (json.loads(line) for line in scene.out.splitlines())
    assert first.keys() == second.keys()
    assert first["rooms_active"] == 1.0
    assert second["deliveries_per_s"] == 0.0
    assert {actor["kind"] for actor in second["actors"]} == {"room", "presence"}
    assert [room["room"] for room in second["rooms"]] == ["tea"]
    assert second["rooms"][0]["messages_per_s"] == 0.0
    assert await scene.run("top", "--metrics", scene.metrics_url, "--count", "1") == EXIT_OK
    assert "deliveries/s" in scene.out
    for by, note in (("Bob", "server moderator"), ("gone", "not valid")):
        scene.tokens["gone"] = "pt_" + "x" * 43
        assert await scene.run("top", "--metrics", scene.metrics_url, "--count", "1", by=by) == EXIT_OK
        assert note in scene.out
    for path in ("/healthz", "/nothing"):
        where = scene.metrics_url.replace("/metrics", path)
        assert await scene.run("top", "--metrics", where, "--count", "1") == EXIT_UNREACHABLE
        assert "has no metrics of a Parley" in scene.err


async def test_an_account_that_was_made_logs_in(scene: Scene, tmp_path: Path) -> None:
    """With the password that was shown; the token is kept, and a wrong password opens nothing."""
    await scene.run("users", "create", "Eve", "--role", "moderator", "--json")
    password = str(scene.told["password"])
    file = tmp_path / "token"
    assert (
        await scene.run("login", "Eve", "--token-file", str(file), "--json", typed=f"{password}\n") == EXIT_OK
    )
    assert set(scene.told) == {"name", "token_file", "expires"}
    scene.tokens["Eve"] = file.read_text().strip()
    assert await scene.run("users", "list", by="Eve") == EXIT_OK
    assert (
        await scene.run("login", "Eve", "--token-file", str(file), typed="wrong horse\n") == EXIT_UNAUTHORISED
    )


async def test_a_server_that_takes_nobody_is_found_not_ready(nursery: trio.Nursery, scene: Scene) -> None:
    """Exit code 3: it answers, and says why not."""
    assert await scene.run("health", "--json") == EXIT_OK
    assert scene.told == {"alive": True, "ready": True, "said": {"state": "ready"}}
    listeners = await open_ops_listeners("127.0.0.1", 0)
    await nursery.start(partial(serve_ops, listeners, metrics=Metrics(), readiness=Readiness()))
    port = listeners[0].socket.getsockname()[1]
    assert await scene.run("health", "--url", f"ws://127.0.0.1:{port}/ws", "--json") == EXIT_FOUND
    assert (scene.told["ready"], scene.told["said"]) == (False, {"state": "starting"})
    nursery.cancel_scope.cancel()
