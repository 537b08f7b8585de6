"""The real server as a child process: started, found, killed and started again; waits are for conditions.

    async with open_server(tmp_path) as server:
        ...                       # server.url, server.pid
        await server.kill()       # SIGKILL; Postgres must follow by itself
        await server.start()      # same directory, same port

Whatever ends the test, the kernel kills the server with it, and the server's Postgres follows.
"""

import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import trio

from chat.offline import running_dsn
from storage.child import Child, Identity
from storage.database import Database
from storage.pool import open_database

ROOT: Final = Path(__file__).parent.parent.parent
SERVE: Final = ("-m", "chat.cli", "serve")

START_S: Final = 60.0
"""For a start, recovery of the database included, on a machine with other things to do."""
END_S: Final = 30.0
COMMAND_S: Final = 120.0
POLL_S: Final = 0.01
LOG_LINES: Final = 400

_LISTENS: Final = re.compile(r"serves on ws://([^ ]+):(\d+)/ws")
_METRICS: Final = re.compile(r"metrics: http://([^ /]+):(\d+)/metrics")


async def until(condition: Callable[[], object], what: str, *, timeout_s: float = END_S) -> None:
    """Return as soon as `condition()` is true.

    Raises:
        AssertionError: it was not within `timeout_s`; the words are `what`.
    """
    with trio.move_on_after(timeout_s):
        while not condition():  # noqa: ASYNC110  the state is another process's: there is nothing to wait on
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"after {timeout_s:g} s: {what}")


class Handle:
    """A process, held by a descriptor: a signal meant for it never reaches a later owner of its number.

    Raises:
        ProcessLookupError: there is no such process any more.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        """Signal it; no effect on one that has ended."""
        if not self.has_ended:
            signal.pidfd_send_signal(self._fd, number)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, reaped or not."""
        return bool(select.select([self._fd], [], [], 0)[0])

    async def wait_ended(self, *, timeout_s: float = END_S) -> None:
        """Wait for its end.

        Raises:
            AssertionError: it lives on after `timeout_s`.
        """
        with trio.move_on_after(timeout_s):
            await trio.lowlevel.wait_readable(self._fd)
            return
        raise AssertionError(f"process {self.pid} still runs after {timeout_s:g} s")

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def children_of(pid: int) -> list[tuple[int, str]]:
    """The direct children of a process: (pid, name), by what the kernel says of each process's parent."""
    found: list[tuple[int, str]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # ended meanwhile
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append((int(entry.name), name))
    return found


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections.

    Were it one of those, then while the server is down a client that dials it could be given the very same
    port as its own, connect to itself, and keep the server from coming back.
    """
    floor = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(max(floor // 2, 1024), floor), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class PostgresHandle:
    """The server's Postgres: the postmaster and, at the time of asking, every process under it."""

    def __init__(self, pid: int) -> None:
        self.postmaster = Handle(pid)

    def stop_all(self) -> None:
        """SIGSTOP the postmaster first, so that it makes no new process, then everything under it."""
        self.postmaster.send(signal.SIGSTOP)
        self._each(signal.SIGSTOP)

    def continue_all(self) -> None:
        """SIGCONT everything, the postmaster last."""
        self._each(signal.SIGCONT)
        self.postmaster.send(signal.SIGCONT)

    def kill_all(self) -> None:
        """SIGKILL everything, stopped or not, so that nothing that waits in a socket is still done."""
        under = [pid for pid, _ in children_of(self.postmaster.pid)]
        self.postmaster.send(signal.SIGKILL)
        for pid in under:
            _signal(pid, signal.SIGKILL)

    def _each(self, number: signal.Signals) -> None:
        for pid, _ in children_of(self.postmaster.pid):
            _signal(pid, number)


class ServerProcess:
    """One data directory and one port, and the server processes that come and go on them.

    Args:
        data_dir: the server's.
        arguments: for `parley serve`, on top of directory, port and `--no-rate-limits`.
        settings: a TOML file's text.
        program: what Python runs in place of `parley serve`.

    Attributes:
        url: for clients; the same after every start.
        printed: what the process that runs now, or ran last, printed on both streams; the last lines of it.
    """

    def __init__(
        self, data_dir: Path, *, arguments: Sequence[str], settings: str, program: Sequence[str]
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.printed: deque[str] = deque(maxlen=LOG_LINES)
        self._arguments = arguments
        self._program = program
        self._config = data_dir.parent / "parley.toml"
        self._config.write_text('ops_port = 0\nlog_format = "json"\n' + settings)
        self._child: Child | None = None
        self._ops = ("", 0)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read what the processes print, until cancelled; then no process of ours is left."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):  # bounded by its steps
                await self._clear_up()

    async def _clear_up(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        postgres = [pid for pid, name in children_of(child.pid) if name == "postgres"]
        for pid in postgres:
            # A stopped one would never hear that its server is gone.
            for under, _ in children_of(pid):
                _signal(under, signal.SIGCONT)
            _signal(pid, signal.SIGCONT)
        child.send_signal(signal.SIGCONT)
        await child.stop((signal.SIGTERM, END_S), (signal.SIGKILL, END_S))

    # -- starting --------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        """This server's command line."""
        return [
            sys.executable,
            *self._program,
            *("--data-dir", str(self.data_dir), "--port", str(self.port), "--config", str(self._config)),
            "--no-rate-limits",
            *arguments,
        ]

    async def start(self) -> None:
        """Start a server and wait until clients can connect.

        Raises:
            AssertionError: it ended, or took longer than `START_S`.
        """
        assert self._nursery is not None
        assert self._child is None or self._child.returncode is not None, "it still runs"
        self.printed.clear()
        self._ops = ("", 0)
        self._child = child = Child(
            self.command(*self._arguments),
            identity=Identity(),
            directory=ROOT,
            death_signal=signal.SIGKILL,
        )
        self._nursery.start_soon(child.read_output, _LineSplitter(self._on_line))
        await until(
            lambda: self._ops[1] or child.returncode is not None, "no address printed", timeout_s=START_S
        )
        assert child.returncode is None, f"it ended with {child.returncode}"

    def _on_line(self, line: str) -> None:
        self.printed.append(line)
        listens = _LISTENS.search(line)
        if listens is not None:
            assert int(listens[2]) == self.port
        metrics = _METRICS.search(line)
        if metrics is not None:
            self._ops = (metrics[1], int(metrics[2]))

    # -- looking ---------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self._child is not None
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.returncode is None

    def find_postgres(self) -> int | None:
        """The pid of the Postgres that is this server's own child now; None: there is none at the moment."""
        pids = [pid for pid, name in children_of(self.pid) if name == "postgres"]
        assert len(pids) <= 1, f"{len(pids)} postmasters"
        return pids[0] if pids else None

    def postgres(self) -> PostgresHandle:
        """A handle on that Postgres, proven to be the server's child while held."""
        pid = self.find_postgres()
        assert pid is not None, "the server has no Postgres"
        handle = PostgresHandle(pid)
        assert self.find_postgres() == pid
        return handle

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[Database]:
        """A connection of our own to its Postgres, past the server."""
        dsn = running_dsn(self.data_dir)
        assert dsn is not None, "Postgres does not run"
        async with open_database(dsn, max_size=1, application_name="test") as opened:
            yield opened

    async def get(self, path: str) -> tuple[int, str]:
        """An HTTP answer from the operators' port: status and text."""
        return await trio.to_thread.run_sync(_get, *self._ops, path)

    async def get_public(self, path: str) -> tuple[int, str]:
        """An HTTP answer from the clients' port."""
        return await trio.to_thread.run_sync(_get, "127.0.0.1", self.port, path)

    async def metric(self, name: str, **labels: str) -> float:
        """The value of one metric as exposed; 0.0 where it is not.

        Args:
            name: with its prefix and suffix.
            labels: all of them, by name.
        """
        _, text = await self.get("/metrics")
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{shown}}}" if shown else name
        for line in text.splitlines():
            label, _, value = line.rpartition(" ")
            if label == wanted:
                return float(value)
        return 0.0

    # -- ending ----------------------------------------------------------------------------------------

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the server, and nothing else."""
        assert self._child is not None
        self._child.send_signal(number)

    async def wait_ended(self, *, timeout_s: float = END_S) -> int:
        """Wait for the server's own end, and its last words; its exit status (-9: SIGKILL).

        Raises:
            AssertionError: it still runs after `timeout_s`.
        """
        assert self._child is not None
        with trio.move_on_after(timeout_s):
            code = await self._child.wait()
            await self._child.silent.wait()
            return code
        raise AssertionError(f"it has not ended within {timeout_s:g} s")

    async def kill(self) -> None:
        """SIGKILL the server alone; return when its Postgres has gone too, by itself."""
        assert await self._end_by(signal.SIGKILL, END_S) == -signal.SIGKILL

    async def terminate(self, *, timeout_s: float = END_S) -> int:
        """SIGTERM, wait until it and its Postgres are gone; the exit status."""
        return await self._end_by(signal.SIGTERM, timeout_s)

    async def _end_by(self, number: signal.Signals, timeout_s: float) -> int:
        pid = self.find_postgres()
        postgres = None if pid is None else Handle(pid)
        try:
            self.send_signal(number)
            code = await self.wait_ended(timeout_s=timeout_s)
            if postgres is not None:
                await postgres.wait_ended()
        finally:
            if postgres is not None:
                postgres.close()
        return code

    def report(self) -> str:
        """What it printed last, for a failed test."""
        return "\n".join(("--- the server printed:", *self.printed, "---"))


def run_parley(*arguments: str, typed: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run one `parley` command to its end, in an environment without settings but these.

    Args:
        arguments: the command line.
        typed: what its standard input holds; None: that of the tests.
        environ: settings.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    return subprocess.run(
        [sys.executable, "-m", "chat.cli", *arguments],
        cwd=ROOT,
        env={**bare, **environ},
        input=typed,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


async def parley(
    *arguments: str, typed: str | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """As `run_parley`, while this process goes on."""
    return await trio.to_thread.run_sync(partial(run_parley, *arguments, typed=typed, **environ))


@asynccontextmanager
async def open_server(
    tmp_path: Path,
    *arguments: str,
    settings: str = "",
    program: Sequence[str] = SERVE,
    started: bool = True,
) -> AsyncGenerator[ServerProcess]:
    """A server process on a directory of its own; at the end none of its processes is left.

    Args:
        tmp_path: the data directory is made in it.
        arguments: see `ServerProcess`.
        settings: same.
        program: same.
        started: whether to start it at once.

    A failure of the body, or of a start, gets the server's last lines as a note.
    """
    server = ServerProcess(tmp_path / "data", arguments=arguments, settings=settings, program=program)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        try:
            if started:
                await server.start()
            yield server
        except Exception as error:  # noqa: BLE001  raised below, without the nursery's group
            error.add_note(server.report())
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _LineSplitter:
    """Makes lines of chunks of bytes."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def __call__(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))


def numbers(text: str, name: str) -> Iterator[float]:
    """Every value of a metric in an exposition, whatever its labels."""
    for line in text.splitlines():
        label, _, value = line.rpartition(" ")
        if label.partition("{")[0] == name:
            yield float(value)


def _get(host: str, port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection(host, port, timeout=END_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        handle = Handle(pid)
    except ProcessLookupError:
        return
    try:
        handle.send(number)
    finally:
        handle.close()
