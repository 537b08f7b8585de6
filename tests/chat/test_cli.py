"""The `parley` command as people and scripts use it.

Commands that need no server run in this process; those that do run as processes of their own, on loopback
and on ports that the system chooses.
"""

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket
from subprocess import PIPE, run
from typing import Final

import pytest
import trio

from chat import cli
from chat.cli import main
from chat.cli_options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from chat.config import Config
from chat.offline import running_dsn
from chat.server import Addresses

pytestmark = pytest.mark.usefixtures("process_as_before")

DEADLINE_S: Final = 60.0
CHANNEL: Final = Path(__file__).parent.parent / "e2e" / "data" / "channel.jsonl"
TOKEN: Final = re.compile(r"pt_[A-Za-z0-9_-]{43}\n")


def complaint(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error, which is all that a failed command says."""
    out, err = capsys.readouterr()
    assert not out
    assert "Traceback" not in err
    return err.splitlines()


def test_other_packages_commands_are_found_and_not_imported() -> None:
    """`parley load` is one: `serve` must not pay for it."""
    program = """
import sys
from chat.cli import main
assert main(["version"]) == 0
assert not [name for name in sys.modules if name.split(".")[0] == "scripts"]
assert main(["load", "--users", "1"]) == 2
assert "scripts.load.cli" in sys.modules
"""
    told = run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert told.returncode == 0, told.stderr
    assert told.stderr.startswith("parley: ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`parley version` says which, in one line."""
    assert main(["version"]) == EXIT_OK
    assert re.fullmatch(r"parley \d+\.\d+\.\d+ \(Python 3\.\S+, trio \S+\)\n", capsys.readouterr().out)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`parley --help` names them all."""
    assert main(["--help"]) == EXIT_OK
    out = capsys.readouterr().out
    for command in ("serve", "migrate", "token", "user", "connect", "replay", "config", "version"):
        assert command in out


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["bogus"], 'parley: Unknown command "bogus".'),
        (["serve", "--port", "x"], "parley: Invalid value for --port"),
        (["serve", "--prot", "1"], "parley: Unknown option"),
        (["token", "create"], "parley: "),
        (["token", "create", "Ann", "--days", "0"], "parley: Invalid value"),
        (["token", "create", "Ann", "--days", "99999999"], "parley: Invalid value"),
        (["token", "create", "Ann", "--role", "king"], 'parley: Invalid value "king" for --role'),
        (["token", "revoke"], "parley: say either which token, or whose with --user"),
        (["token", "revoke", "x", "--user", "Ann"], "parley: say either which token"),
        (["token", "revoke", "pt_short"], "parley: that is neither a token nor the id of one"),
        (["user", "create", "Ann", "--role", "king"], 'parley: Invalid value "king" for --role'),
        (["connect", "--login", "Ann", "--name", "Ann"], "parley: --login, --name and --token are three"),
        (["replay", "x.jsonl", "--speed", "0"], "parley: Invalid value"),
        (["replay", "x.jsonl", "--speed", "nan"], "parley: Invalid value"),
        (
            ["connect", "--url", "http://127.0.0.1:8000/"],
            ("parley: http://127.0.0.1:8000/ is no WebSocket address: use --url ws://127.0.0.1:8000/ws"),
        ),
        (["connect", "--url", "ftp://x"], "parley: --url ftp://x: "),
        (["replay", "x.jsonl", "--url", "ws://x:port/"], "parley: --url ws://x:port/: "),
        (
            ["connect", "Tea Room"],
            (
                'parley: a room cannot be called "Tea Room" '
                "(a-z, 0-9, then . _ - as well; 64 characters at most); try tea-room"
            ),
        ),
        (["config", "check", "--port", "99999"], "parley: port (--port): 99999 is not allowed; allowed: "),
        (["serve", "--port", "99999"], "parley: port (--port): 99999 is not allowed; allowed: "),
        (["serve", "--config", "/none/such.toml"], "parley: config (/none/such.toml): there is no such file"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    """What cannot be understood is said in a line, without a traceback."""
    assert main(argv) == EXIT_USAGE
    (said,) = complaint(capsys)
    assert said.startswith(line)


def test_an_issuer_without_its_keys_is_a_wrong_setting(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`config check` reads the files that the settings name, as `serve` does before it starts anything."""
    config = tmp_path / "parley.toml"
    config.write_text(
        '[[issuers]]\nissuer = "https://id.test"\naudience = "parley"\nalgorithms = ["RS256"]\n'
        'key_file = "/none/such.pem"\n'
    )
    for argv in (["config", "check"], ["serve"]):
        assert main([*argv, "--config", str(config)]) == EXIT_USAGE
        (said,) = complaint(capsys)
        assert said == (
            f"parley: issuers[0].key_file ({config}): "
            "/none/such.pem: it cannot be read: No such file or directory"
        )


@pytest.mark.parametrize("port", ["eighty", "0", "-1", "70000", "9" * 5000, "٨٠"])
def test_a_variable_that_names_no_port_is_told_by_its_own_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """Nobody is told about an option that was not given; a server's "any port" is no port to connect to."""
    monkeypatch.setenv("PARLEY_PORT", port)

    assert main(["connect"]) == EXIT_USAGE
    (said,) = complaint(capsys)
    assert said.startswith(f"parley: PARLEY_PORT {port} is no port")


def test_an_address_from_the_environment_is_told_by_its_own_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is at fault, not the option."""
    monkeypatch.setenv("PARLEY_URL", "ftp://x")

    assert main(["connect"]) == EXIT_USAGE
    (said,) = complaint(capsys)
    assert said.startswith("parley: PARLEY_URL ftp://x: ")


def test_config_check_prints_every_setting_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `serve` would use, from where; and the password nowhere."""
    file = tmp_path / "parley.toml"
    file.write_text("heartbeat_s = 30.0\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    monkeypatch.setenv("PARLEY_DATABASE_URL", "postgresql://ann:hunter2@db/parley")
    monkeypatch.setenv("PARLEY_RATE_LIMITS", "off")

    assert main(["config", "check", "--host", "::1", "--no-rate-limits"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert {
        "host = ::1  (--host)",
        "port = 8000  (default)",
        f"heartbeat_s = 30.0  ({file})",
        "rate_limits = off  (--no-rate-limits)",
        "database_url = ********  (PARLEY_DATABASE_URL)",
    } <= set(lines)
    assert "hunter2" not in "".join(lines)


def test_config_check_tells_every_mistake(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each, and nothing else."""
    monkeypatch.setenv("PARLEY_PROT", "1")
    monkeypatch.setenv("PARLEY_LOG_LEVEL", "loud")

    assert main(["config", "check"]) == EXIT_USAGE
    assert complaint(capsys) == [
        "parley: PARLEY_PROT (environment): there is no such setting; did you mean PARLEY_PORT?",
        (
            "parley: log_level (PARLEY_LOG_LEVEL): 'loud' is not allowed; "
            "allowed: debug or info or warning or error"
        ),
    ]


def test_a_database_out_of_reach_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing listens there: said in a line that names the place and the setting, without the password."""
    socket_dir = tmp_path / "none"
    url = f"postgresql://ann:hunter2@/parley?host={socket_dir}"

    assert main(["migrate", "--database-url", url]) == EXIT_FAILED
    assert complaint(capsys) == [
        f"parley: the database at {socket_dir} does not answer (PARLEY_DATABASE_URL)"
    ]
    assert main(["serve", "--port", "0", "--database-url", "postgresql://a:b@127.0.0.1:1/x"]) == EXIT_FAILED
    said = complaint(capsys)[-1]
    assert said == "parley: the database at 127.0.0.1:1 does not answer (PARLEY_DATABASE_URL)"


def test_a_token_is_not_made_where_there_is_no_database(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In the wrong directory nothing is made, and the line says what to do."""
    data_dir = tmp_path / "data"

    assert main(["token", "create", "Ann", "--data-dir", str(data_dir)]) == EXIT_FAILED
    assert complaint(capsys) == [
        f"parley: no database in {data_dir}: start `parley serve` first or name it with --data-dir"
    ]
    assert not data_dir.exists()


def test_no_server_is_one_line_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens: said once, with what to do."""
    with socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        assert main(["connect", "--url", f"ws://127.0.0.1:{port}/ws"]) == EXIT_FAILED
        assert complaint(capsys) == [
            f"parley: no server answers at 127.0.0.1:{port}; start one: parley serve"
        ]
        assert main(["replay", str(CHANNEL), "--url", f"ws://127.0.0.1:{port}/ws"]) == EXIT_FAILED
        assert complaint(capsys) == [
            f"parley: no server answers at 127.0.0.1:{port}; start one: parley serve"
        ]


def test_an_address_that_cannot_be_had_is_one_line_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A taken port and a host that is not ours are told with the option that helps; no database is made."""
    data_dir = tmp_path / "data"
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert main(["serve", "--port", str(port), "--data-dir", str(data_dir)]) == EXIT_FAILED
        assert complaint(capsys) == [
            f"parley: cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port"
        ]
    assert main(["serve", "--host", "192.0.2.1", "--port", "0", "--data-dir", str(data_dir)]) == EXIT_FAILED
    (said,) = complaint(capsys)
    assert said.startswith("parley: cannot listen on 192.0.2.1:0: ")
    assert said.endswith("; choose another with --host")
    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("argv", "environ", "toml", "hint"),
    [
        (["--data-dir", "my data"], {}, "", " --data-dir 'my data'"),
        ([], {"PARLEY_DATA_DIR": "elsewhere"}, "", " --data-dir elsewhere"),
        (
            ["--database-url", "postgresql://ann:hunter2@db:5433/p"],
            {},
            "",
            " --database-url postgresql://ann:PASSWORD@db:5433/p",
        ),
        ([], {}, 'data_dir = "elsewhere"', " --config parley.toml"),
        (["--data-dir", "here"], {}, "port = 1", " --data-dir here"),
        ([], {}, "", ""),
    ],
)
def test_the_hint_to_make_a_token_means_the_same_database(
    argv: list[str],
    environ: dict[str, str],
    toml: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Typed as it stands in another terminal, it finds the database that the server uses."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parley.toml").write_text(f"guests = false\n{toml}\n")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    async def serve(config: Config, *, stop: trio.Event, task_status: trio.TaskStatus[Addresses]) -> None:
        del config, stop
        task_status.started(
            Addresses(host="127.0.0.1", port=8000, ops_host="127.0.0.1", ops_port=None, database="there")
        )
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(cli, "serve_until", serve)
    assert main(["serve", "--config", "parley.toml", *argv]) == EXIT_OK
    out = capsys.readouterr().out
    assert f"  python -m chat.cli token create NAME{hint}\n" in out
    assert "hunter2" not in out


def test_a_directory_that_is_not_ours_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A data directory with somebody else's files in it is left alone."""
    (tmp_path / "letters.txt").write_text("dear ann")

    assert main(["migrate", "--data-dir", str(tmp_path)]) == EXIT_FAILED
    (said,) = complaint(capsys)
    assert "not empty" in said


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C in a client command ends it without a word."""

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "python_version", interrupted)
    assert main(["version"]) == EXIT_INTERRUPTED


def test_errors_of_several_tasks_are_lines_and_bugs_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A group of expected errors is told line by line; one with a bug in it keeps its traceback."""
    errors: list[Exception] = [OSError("port taken"), ExceptionGroup("inner", [OSError("disk full")])]

    def fail() -> None:
        raise ExceptionGroup("outer", errors)

    monkeypatch.setattr(cli, "python_version", fail)
    assert main(["version"]) == EXIT_FAILED
    assert complaint(capsys) == ["parley: port taken", "parley: disk full"]
    errors.append(TypeError("a bug"))
    with pytest.raises(ExceptionGroup):
        main(["version"])


def test_a_file_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With the reason in the system's words, without its numbers."""
    file = tmp_path / "none.jsonl"

    assert main(["replay", str(file), "--url", "ws://127.0.0.1:1/ws"]) == EXIT_FAILED
    assert complaint(capsys) == [f"parley: {file}: No such file or directory"]


def test_no_lock_file_is_no_running_postgres(tmp_path: Path) -> None:
    """Without the file, or with half of one, nothing runs there."""
    assert running_dsn(tmp_path) is None
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "postmaster.pid").write_text("1\n/data\n")
    assert running_dsn(tmp_path) is None


def test_a_lock_file_tells_the_socket(tmp_path: Path) -> None:
    """The fifth line of postmaster.pid is the socket's directory, the fourth its number."""
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "postmaster.pid").write_text("1\n/data\n0\n5432\n/run/a b\n\n0\nready\n")

    assert running_dsn(tmp_path) == "postgresql://parley@/postgres?host=%2Frun%2Fa+b&port=5432"


@pytest.mark.postgres
def test_tokens_are_made_without_a_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With no server running: the token alone on standard output, whose and where on standard error."""
    where = ["--data-dir", str(tmp_path / "data")]

    assert main(["migrate", *where]) == EXIT_OK
    capsys.readouterr()
    assert main(["token", "create", "Ann", "--role", "admin", *where]) == EXIT_OK
    out, err = capsys.readouterr()
    assert TOKEN.fullmatch(out)
    assert re.fullmatch(
        rf"a token for Ann \(u_[a-z2-7]+, admin\) in the embedded Postgres in {tmp_path}/data:\n", err
    )
    assert main(["token", "create", "Ann", "--role", "user", *where]) == EXIT_FAILED
    assert complaint(capsys) == ["parley: Ann exists with the role admin"]
    assert main(["token", "create", "\u202e", *where]) == EXIT_FAILED
    assert complaint(capsys) == ["parley: the name holds a character that cannot be shown"]
    assert main(["migrate", *where]) == EXIT_OK
    assert capsys.readouterr().out == "nothing to do: the schema is up to date\n"


class Server:
    """A `parley serve` as a process of its own, and what it said when it was up."""

    def __init__(self, process: trio.Process, said: list[str]) -> None:
        self.process = process
        self.said = said
        self.url = said[0].rpartition(" ")[2]


async def parley(*argv: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command to its end: exit code, standard output, standard error."""
    done = await trio.run_process(
        [sys.executable, "-m", "chat.cli", *argv],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@asynccontextmanager
async def served(*argv: str) -> AsyncGenerator[Server]:
    """A server that is up; it is killed if the test has not ended it."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "chat.cli", "serve", "--port", "0", *argv],
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "PARLEY_OPS_PORT": "0", "PARLEY_LOG_FORMAT": "json"},
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(DEADLINE_S):
            said = b""
            while said.count(b"\n") < 5 and (chunk := await process.stdout.receive_some()):
                said += chunk
            yield Server(process, said.decode().splitlines())
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def rest_of(stream: trio.abc.ReceiveStream | None) -> str:
    """Everything until the end of the stream."""
    assert stream is not None
    return b"".join([bytes(chunk) async for chunk in stream]).decode()


@pytest.mark.postgres
async def test_serve_says_where_it_is_and_what_to_type_next(tmp_path: Path) -> None:
    """The banner's command works as it stands; a token made meanwhile does too; SIGTERM ends in order."""
    data_dir = str(tmp_path / "data")
    async with served("--data-dir", data_dir, "--no-rate-limits") as server:
        assert re.fullmatch(r"Parley \S+ serves on ws://127\.0\.0\.1:\d+/ws", server.said[0])
        assert server.said[1] == f"  database: embedded Postgres in {data_dir}"
        assert re.fullmatch(r"  guests: welcome; metrics: http://127\.0\.0\.1:\d+/metrics", server.said[2])
        assert server.said[4] == f"  python -m chat.cli connect --url {server.url}"

        code, out, err = await parley(
            "connect", "lobby", "--name", "ann", "--url", server.url, stdin=b"hello there\n"
        )
        assert (code, err) == (EXIT_OK, "")
        assert "hello there" in out

        code, token, _ = await parley("token", "create", "Bob", "--data-dir", data_dir)
        assert code == EXIT_OK
        assert TOKEN.fullmatch(token)
        code, out, _ = await parley(
            "connect", stdin=b"/history\n", env={"PARLEY_URL": server.url, "PARLEY_TOKEN": token.strip()}
        )
        assert code == EXIT_OK
        assert "hello there" in out

        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == EXIT_OK
        events = [json.loads(line) for line in (await rest_of(server.process.stderr)).splitlines()]

    # How many files a process may open is the machine's: what is said of it does not matter here.
    said = [e["event"] for e in events if e["event"].startswith("server.")]
    assert [event for event in said if event != "server.few_files"] == ["server.draining", "server.stopped"]
    assert "hello there" not in str(events)
    assert token.strip() not in str(events)


@pytest.mark.postgres
async def test_a_taken_port_and_a_taken_directory_are_one_line(tmp_path: Path) -> None:
    """A second server on the same port or the same data says so and ends; the first goes on."""
    async with served("--data-dir", str(tmp_path / "data")) as server:
        port = re.findall(r":(\d+)/", server.url)[0]
        one = await parley("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
        other = await parley("serve", "--port", port, "--data-dir", str(tmp_path / "other"))

        assert server.process.returncode is None
    for code, out, err in (one, other):
        assert (code, out) == (EXIT_FAILED, "")
        said = [line for line in err.splitlines() if not line.startswith("{")]
        assert len(said) == 1
        assert said[0].startswith("parley: ")
    assert "uses" in one[2]
    assert f"cannot listen on 127.0.0.1:{port}: " in other[2]


@pytest.mark.postgres
async def test_where_guests_are_not_let_in_the_next_thing_is_a_token(tmp_path: Path) -> None:
    """Without guests the banner tells how to make a token, and SIGINT ends the server as SIGTERM does."""
    (tmp_path / "parley.toml").write_text("guests = false\n")
    async with served(
        "--data-dir", str(tmp_path / "data"), "--config", str(tmp_path / "parley.toml")
    ) as server:
        code, _, err = await parley("connect", "--name", "ann", "--url", server.url)
        server.process.send_signal(signal.SIGINT)

        assert await server.process.wait() == EXIT_OK
    assert server.said[4] == (
        f"  python -m chat.cli token create NAME --data-dir {shlex.quote(str(tmp_path / 'data'))}"
    )
    assert code == EXIT_FAILED
    assert "guests are not let in here" in err
