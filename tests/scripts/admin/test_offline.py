"""Commands on the database alone: the first admin, and whether the audit is whole."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import trio

from scripts.admin.cli import main
from scripts.admin.exits import EXIT_FAILED, EXIT_FOUND, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from storage import PostgresStore, Tx, open_database
from tests.storage.contract_governance import invite, kick
from tests.storage.rows import owned_room, read_log

pytestmark = pytest.mark.usefixtures("process_as_before")


EVENTS: Final[list[dict[str, object]]] = [
    {
        "seq": 1,
        "at": 10,
        "by": "u_b",
        "kind": "message",
        "n": 1,
        "cid": "1",
        "body": "hello",
        "name": "Bob",
        "room": "old",
        "epoch": 4,
    },
    {
        "seq": 2,
        "at": 11,
        "by": "u_a",
        "kind": "member",
        "user": "u_b",
        "name": "Bob",
        "role": "member",
        "action": "invite",
    },
    {
        "seq": 3,
        "at": 12,
        "by": "u_a",
        "kind": "sanction",
        "user": "u_b",
        "name": "Bob",
        "action": "mute",
        "reason": "loud",
    },
    {"seq": 4, "at": 13, "by": "u_b", "kind": "message", "n": 2, "cid": "2", "body": "bye", "name": "Bob"},
]


def write_lines(file: Path, events: Sequence[Mapping[str, object]] | bytes) -> None:
    """An export with these events, or any bytes."""
    lines = (
        events if isinstance(events, bytes) else b"".join(b"%s\n" % json.dumps(e).encode() for e in events)
    )
    file.write_bytes(lines)


class Shell:
    """Runs commands on one database.

    Attributes:
        out: what the last one printed.
        err: what it told besides.
    """

    def __init__(self, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.dsn = dsn
        self.out = self.err = ""
        self._capsys = capsys

    async def run(self, *argv: str) -> int:
        """One command; the exit code."""
        self._capsys.readouterr()
        code = await trio.to_thread.run_sync(main, [*argv, "--database-url", self.dsn])
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code


@pytest.fixture
def shell(empty_dsn: str, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell on an empty database."""
    return Shell(empty_dsn, capsys)


async def test_the_first_admin_is_made_once(shell: Shell) -> None:
    """With a token that is printed once; one more takes `--force`, and a name that is free."""
    assert await shell.run("init", "Ada", "--json") == EXIT_OK
    told = json.loads(shell.out)
    assert (told["name"], told["role"], told["token"][:3]) == ("Ada", "admin", "pt_")
    async with open_database(shell.dsn) as database:
        (row,) = await PostgresStore(database).list_staff(limit=9)
    assert (row.user_id, row.role) == (told["user"], "admin")

    assert await shell.run("init", "Eda") == EXIT_FAILED
    assert shell.err == "parley admin: there is an admin already (Ada): --force makes one more\n"
    assert not shell.out
    assert await shell.run("init", "Eda", "--force") == EXIT_OK
    assert shell.out.startswith("pt_")
    async with open_database(shell.dsn) as database:
        assert len(await PostgresStore(database).list_staff(limit=9)) == 2


async def test_the_first_token_can_be_kept_instead_of_shown(shell: Shell, tmp_path: Path) -> None:
    """In a file that only its owner reads."""
    file = tmp_path / "token"
    assert await shell.run("init", "--token-file", str(file), "--json") == EXIT_OK
    assert json.loads(shell.out)["token_file"] == str(file)
    assert "pt_" not in shell.out + shell.err
    kept = await trio.Path(file).read_text()
    assert kept.startswith("pt_")


async def test_who_is_a_user_already_becomes_no_admin(shell: Shell) -> None:
    """A name that somebody has does not make that one an admin."""
    assert await shell.run("init", "Ada") == EXIT_OK
    async with open_database(shell.dsn) as database:

        async def demote(tx: Tx) -> None:
            await tx.execute("UPDATE users SET role = 'user'")

        await database.run(demote, timeout_s=10)
    assert await shell.run("init", "ada") == EXIT_FAILED
    assert "choose another name" in shell.err


async def test_tampering_is_told_with_an_exit_code_of_its_own(shell: Shell) -> None:
    """In words and as JSON; an audit that is whole is 0."""
    assert await shell.run("init", "Ada") == EXIT_OK
    async with open_database(shell.dsn) as database:
        store = PostgresStore(database)
        room = await owned_room(store)
        await store.append([invite(room, 1), kick(room, 2)])
        assert await shell.run("audit", "verify", "--offline") == EXIT_OK
        assert "2 rows of 1 rooms" in shell.out
        assert "the audit is whole" in shell.out

        async def tamper(tx: Tx) -> None:
            await tx.execute("UPDATE audit SET reason = 'nothing' WHERE seq = 2")

        await database.run(tamper, timeout_s=10)
    assert await shell.run("audit", "verify", "--offline", "--json") == EXIT_FOUND
    told = json.loads(shell.out)
    assert (told["whole"], told["rooms"], told["rows"]) == (False, 1, 2)
    assert [finding["audit"] for finding in told["findings"]] == ["lobby:2"]
    assert await shell.run("audit", "verify", "--offline") == EXIT_FOUND
    assert "NOT whole" in shell.out


async def test_a_log_is_imported_and_continued(shell: Shell, tmp_path: Path) -> None:
    """As it was, members, sanctions and audit included; the same file again adds nothing."""
    file = tmp_path / "tea.jsonl"
    write_lines(file, EVENTS[:3])
    argv = ("import", str(file), "tea", "--owner", "ada", "--offline", "--json")
    assert await shell.run(*argv) == EXIT_FAILED  # nobody is called so yet
    assert await shell.run("init", "Ada") == EXIT_OK
    assert await shell.run(*argv, "--dry-run") == EXIT_OK
    assert json.loads(shell.out)["events"] == 3
    assert await shell.run(*argv) == EXIT_OK, shell.err
    assert json.loads(shell.out)["events"] == 3
    write_lines(file, EVENTS)
    assert await shell.run(*argv) == EXIT_OK, shell.err
    assert json.loads(shell.out)["events"] == 1
    assert await shell.run(*argv) == EXIT_OK
    assert json.loads(shell.out)["events"] == 0

    async with open_database(shell.dsn) as database:
        store = PostgresStore(database)
        row = await store.find_room("tea")
        assert row is not None
        log = await read_log(store, row.room_id)
        assert [(entry.seq, entry.kind, entry.body) for entry in log] == [
            (1, "message", "hello"),
            (2, "member", None),
            (3, "sanction", None),
            (4, "message", "bye"),
        ]
        members = await store.list_members(row.room_id, after=None, limit=9)
        assert {(member.name, member.role) for member in members} == {("Ada", "owner"), ("Bob", "member")}
        assert [each.kind for each in await store.list_sanctions(row.room_id)] == ["mute"]
    assert await shell.run("audit", "verify", "--offline") == EXIT_OK


async def test_a_file_that_is_no_log_of_this_room_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    """A mistake in its middle, or another log than the room's."""
    assert await shell.run("init", "Ada") == EXIT_OK
    file = tmp_path / "tea.jsonl"
    argv = ("import", str(file), "tea", "--owner", "Ada", "--offline", "--json")
    for bad in ([*EVENTS[:1], *EVENTS[2:]], b"\xff\n"):
        write_lines(file, bad)
        assert await shell.run(*argv) == EXIT_FAILED
        assert json.loads(shell.out)["error"]["code"] == "bad_file"
    async with open_database(shell.dsn) as database:
        assert await PostgresStore(database).find_room("tea") is None
    write_lines(file, EVENTS)
    assert await shell.run(*argv) == EXIT_OK
    for other in (EVENTS[:2], [*EVENTS[:3], {**EVENTS[3], "cid": "x"}]):
        write_lines(file, other)
        assert await shell.run(*argv) == EXIT_FAILED
        assert json.loads(shell.out)["error"]["code"] == "conflict"


def test_an_import_is_of_the_database_alone(tmp_path: Path) -> None:
    """And into a room that can be called so."""
    argv = ["import", str(tmp_path / "x"), "tea", "--owner", "Ada"]
    assert main(argv) == EXIT_USAGE
    for room in ("No Room", "dm.x", "sys.server"):
        assert main(["import", str(tmp_path / "x"), room, "--owner", "Ada", "--offline"]) == EXIT_USAGE


def test_a_database_that_is_away_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, and where it was looked for."""
    argv = ["audit", "verify", "--offline", "--database-url", "postgresql://127.0.0.1:1/x"]
    assert main(argv) == EXIT_UNREACHABLE
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_no_database_is_made_by_a_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty directory stays empty."""
    assert main(["audit", "verify", "--offline", "--data-dir", str(tmp_path), "--json"]) == EXIT_FAILED
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "failed"
    assert not list(tmp_path.iterdir())
