"""`parley user` and `parley token`: accounts made and changed in a database, without a server."""

import io
import re
import sys
from typing import Final

import pytest
import trio

from chat import cli_password
from chat.cli import main
from chat.cli_options import EXIT_FAILED, EXIT_OK, EXIT_USAGE, UsageMistake
from storage import PostgresStore, open_database
from tests.chat.terminal_kit import Terminal

pytestmark = pytest.mark.usefixtures("process_as_before")

GOOD: Final = b"correct horse"


class Shell:
    """Runs commands on one database.

    Attributes:
        dsn: where it is.
        out: what the last one printed as its result.
        err: what it told besides.
    """

    def __init__(self, dsn: str, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.dsn = dsn
        self.out = self.err = ""
        self._capsys = capsys
        self._patch = patch

    async def run(self, *argv: str, typed: bytes = b"") -> int:
        """One command, with this on its standard input; the exit code."""
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        self._capsys.readouterr()
        code = await trio.to_thread.run_sync(main, [*argv, "--database-url", self.dsn])
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code


@pytest.fixture
def shell(empty_dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell on an empty database: commands bring the schema up to date themselves."""
    return Shell(empty_dsn, capsys, monkeypatch)


async def test_an_account_is_made_once(shell: Shell) -> None:
    """With a password from standard input; the name is taken then, whatever its capitals."""
    assert await shell.run("user", "create", "Ann", "--role", "admin", typed=GOOD + b"\nmore\n") == EXIT_OK
    assert re.fullmatch(r"made Ann \(u_[a-z2-7]+, admin\) in the PostgreSQL at \S+\n", shell.out)
    assert GOOD.decode() not in shell.out + shell.err
    async with open_database(shell.dsn) as database:
        account = await PostgresStore(database).find_account("ann")
    assert account
    assert account.password
    assert account.password.startswith("$argon2id$")

    assert await shell.run("user", "create", "ANN", typed=GOOD + b"\n") == EXIT_FAILED
    assert shell.err == "parley: somebody is called ANN already\n"


@pytest.mark.parametrize(
    ("typed", "code", "problem"),
    [
        (b"", EXIT_USAGE, "parley: no password was given\n"),
        (b"\xff\n", EXIT_USAGE, "parley: the password is no UTF-8\n"),
        (b"\n", EXIT_USAGE, "parley: no password was given\n"),
        (b"short\n", EXIT_FAILED, "parley: the password is shorter than 10 characters\n"),
        (b"x" * 1025 + b"\n", EXIT_FAILED, "parley: the password is longer than 1024 bytes\n"),
    ],
)
async def test_a_password_that_is_not_allowed_makes_no_account(
    shell: Shell, typed: bytes, code: int, problem: str
) -> None:
    """It is told before the database is asked for."""
    for command in (("user", "create", "Ann"), ("user", "password", "Ann")):
        assert await shell.run(*command, typed=typed) == code
        assert shell.err == problem


async def test_a_new_password_revokes_the_users_tokens(shell: Shell) -> None:
    """All of them, since somebody may have them who had the old password."""
    await shell.run("user", "create", "Ann", typed=GOOD + b"\n")
    await shell.run("token", "create", "Ann")
    async with open_database(shell.dsn) as database:
        before = await PostgresStore(database).find_account("ann")
        assert await shell.run("user", "password", "aNN", typed=b"another horse\n") == EXIT_OK
        after = await PostgresStore(database).find_account("ann")

    assert re.fullmatch(r"revoked: 1 token of Ann \(u_[a-z2-7]+, user\)\n", shell.out)
    assert before
    assert after
    assert before.password != after.password
    await shell.run("token", "list", "Ann")
    assert "  revoked " in shell.out


async def test_a_role_is_given_and_taken_back_without_a_server(shell: Shell) -> None:
    """A lower one revokes the user's tokens; one admin stays, and what is so already changes nothing."""
    await shell.run("user", "create", "Ann", "--role", "admin", typed=GOOD + b"\n")
    await shell.run("token", "create", "Eve")
    assert await shell.run("user", "role", "Ann", "user") == EXIT_FAILED
    assert shell.err == "parley: Ann is the only admin: make somebody else one first\n"
    assert await shell.run("user", "role", "eve", "admin") == EXIT_OK
    assert re.fullmatch(r"Eve \(u_[a-z2-7]+, admin\), no more user\n", shell.out)
    await shell.run("token", "list", "Eve")
    assert "good for ever" in shell.out

    assert await shell.run("user", "role", "Eve", "moderator") == EXIT_OK
    assert re.fullmatch(
        r"(Eve \(u_[a-z2-7]+, moderator\)), no more admin\nrevoked: 1 token of \1\n", shell.out
    )
    assert await shell.run("user", "role", "Eve", "moderator") == EXIT_OK
    assert shell.out.startswith("it is so already: Eve (")
    assert await shell.run("user", "role", "Eve", "king") == EXIT_USAGE


async def test_tokens_are_listed_and_revoked_by_their_ids(shell: Shell) -> None:
    """Or by themselves, or all of a user's; what is over is not revoked again."""
    await shell.run("token", "create", "Ann")
    token = shell.out.strip()
    await shell.run("token", "create", "Ann", "--days", "1")
    await shell.run("token", "create", "Ann")
    assert await shell.run("token", "list", "ann") == EXIT_OK
    assert shell.err.startswith("tokens of Ann (u_")
    lines = shell.out.splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert len(lines) == 3
    assert all(
        re.fullmatch(rf"[0-9a-f]{{16}}  made {time}  (good for ever|good until {time})", line)
        for line in lines
    )
    assert token not in shell.out

    by_id = next(line.split()[0] for line in lines if "until" in line)
    assert await shell.run("token", "revoke", by_id) == EXIT_OK
    assert shell.out == "revoked: 1 token\n"
    assert await shell.run("token", "revoke", token) == EXIT_OK
    for again in (by_id, token):
        assert await shell.run("token", "revoke", again) == EXIT_FAILED
        assert shell.err == "parley: there is no such token, or it was over already\n"
    assert await shell.run("token", "revoke", "--user", "ANN") == EXIT_OK
    assert shell.out.startswith("revoked: 1 token of Ann (")
    assert await shell.run("token", "revoke", "--user", "Ann") == EXIT_OK
    assert shell.out.startswith("revoked: 0 tokens of Ann (")


async def test_nobody_is_told_so(shell: Shell) -> None:
    """Every command that takes a user who is there."""
    for command in (
        ("token", "list", "Bob"),
        ("token", "revoke", "--user", "Bob"),
        ("user", "password", "Bob"),
        ("user", "role", "Bob", "admin"),
    ):
        assert await shell.run(*command, typed=GOOD + b"\n") == EXIT_FAILED
        assert shell.err == "parley: nobody is called Bob\n"


def test_at_a_terminal_a_new_password_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unseen; and two that differ are told."""
    typed = iter(["correct horse"] * 3 + ["correct house"])
    prompts: list[str] = []

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return next(typed)

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(cli_password, "getpass", getpass)
    assert cli_password.read_new_secret("A password: ") == "correct horse"
    with pytest.raises(UsageMistake, match="two passwords"):
        cli_password.read_new_secret("A password: ")
    assert prompts == ["A password: ", "The same again: "] * 2
