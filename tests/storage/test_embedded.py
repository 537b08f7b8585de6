"""The embedded Postgres: it comes, it comes back, it goes with us, and it harms nobody."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from storage.binaries import choose_identity
from storage.child import Identity
from storage.database import Tx
from storage.embedded import News, open_embedded
from storage.errors import EmbeddedError
from storage.pool import open_database

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

HOLDER = """
import sys, pathlib, trio
from storage.embedded import open_embedded
from storage.pool import open_database

async def fill(tx):
    await tx.execute("CREATE TABLE t (n int)")
    await tx.execute("INSERT INTO t VALUES (42)")

async def main():
    async with open_embedded(pathlib.Path(sys.argv[1])) as server, open_database(server.dsn) as db:
        await db.run(fill)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.read, busy)
            await trio.sleep(0)
            print("ready", flush=True)

async def busy(tx):
    await tx.fetch("SELECT count(*) FROM generate_series(1, 100000000000) AS n WHERE n % 3 = 1")

trio.run(main)
"""


async def read_value(tx: Tx) -> object:
    """What the tests store."""
    return await tx.fetchval("SELECT n FROM t")


async def write_value(tx: Tx) -> None:
    """Store it."""
    await tx.execute("CREATE TABLE t (n int)")
    await tx.execute("INSERT INTO t VALUES (42)")


def processes_in(directory: Path) -> list[int]:
    """Every process whose working directory this is."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                if (process / "cwd").samefile(directory):
                    found.append(int(process.name))
    return found


def kill_a_holder_of(data: Path) -> None:
    """Run a program with an embedded server that is busy with a query, and `kill -9` the program."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        assert processes_in(data / "cluster")
        holder.kill()


def start_innocent(user: Identity) -> subprocess.Popen[bytes]:
    """A process of a user, that has nothing to do with Postgres."""
    return subprocess.Popen(
        ["/bin/sleep", "1000"],
        user=None if user.uid == -1 else user.uid,
        group=None if user.gid == -1 else user.gid,
    )


async def wait_all_gone(directory: Path) -> None:
    """Wait until no process works in the directory."""
    with trio.fail_after(20):
        while pids := processes_in(directory):
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pids[0])
                try:
                    await trio.lowlevel.wait_readable(descriptor)
                finally:
                    os.close(descriptor)


async def test_data_survive_a_clean_stop_and_nothing_else_does(tmp_path: Path) -> None:
    """Stopped with the body, the server leaves no process and no socket, and its data are found again."""
    async with open_embedded(tmp_path / "data") as server, open_database(server.dsn) as db:
        await db.run(write_value)
        working = processes_in(tmp_path / "data/cluster")

    assert server.pid is None
    assert working
    assert processes_in(tmp_path / "data/cluster") == []
    async with open_embedded(tmp_path / "data") as server, open_database(server.dsn) as db:
        assert await db.read(read_value) == 42
        assert server.restarts == 0


async def test_nothing_survives_when_we_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    """After `kill -9` of its owner the server ends with all its processes, and the next start recovers."""
    data = tmp_path / "data"
    kill_a_holder_of(data)
    await wait_all_gone(data / "cluster")

    async with open_embedded(data) as server, open_database(server.dsn) as db:
        assert await db.read(read_value) == 42


async def test_the_next_start_waits_for_the_last_servers_end(tmp_path: Path) -> None:
    """Started at once after the kill, the successor finds a server that is still ending, and waits."""
    data = tmp_path / "data"
    kill_a_holder_of(data)

    async with open_embedded(data) as server, open_database(server.dsn) as db:
        assert await db.read(read_value) == 42


async def test_a_server_that_dies_is_started_again_at_the_same_address(tmp_path: Path) -> None:
    """A killed server comes back by itself, the observer hears of it, and the data are there."""
    news: list[News] = []
    async with open_embedded(tmp_path / "data", observer=news.append) as server:
        async with open_database(server.dsn) as db:
            await db.run(write_value)
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await server.wait_exited()
        await server.wait_ready()
        async with open_database(server.dsn) as db:
            assert await db.read(read_value) == 42

        assert server.pid != first
        assert server.restarts == 1

    assert news == ["ready", "died", "ready"]


async def test_a_restart_that_was_asked_for_is_no_death(tmp_path: Path) -> None:
    """`restart` returns with another server process at the same address."""
    news: list[News] = []
    async with open_embedded(tmp_path / "data", observer=news.append) as server:
        first = server.pid
        await server.restart()

        assert server.pid not in (None, first)
        assert server.restarts == 0

    assert news == ["ready", "ready"]


async def test_a_server_that_cannot_be_kept_running_ends_the_body(tmp_path: Path) -> None:
    """After a few vain starts the body is cancelled and told what the server said."""
    with pytest.raises(EmbeddedError, match=r"died 3 times in a row[^$]*nonsense"):  # noqa: PT012
        async with open_embedded(tmp_path / "data", backoff_s=(0.0, 0.0)) as server:
            (tmp_path / "data/cluster/parley.conf").write_text("nonsense = 'on'\n")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await trio.sleep_forever()


async def test_a_first_start_that_fails_says_why(tmp_path: Path) -> None:
    """What Postgres complains of is in the error."""
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        async with open_embedded(tmp_path / "data", settings={"no_such_setting": "1"}):
            pass


async def test_an_error_of_the_body_comes_out_as_it_is(tmp_path: Path) -> None:
    """The supervisor's nursery does not show in the caller's errors, and the server is stopped."""
    with pytest.raises(ZeroDivisionError):
        async with open_embedded(tmp_path / "data"):
            raise ZeroDivisionError

    assert processes_in(tmp_path / "data/cluster") == []


async def test_an_innocent_process_with_the_old_servers_id_is_left_alone(tmp_path: Path) -> None:
    """A process id in a crashed server's lock file may be anybody's by now: no signal, no refusal."""
    data = tmp_path / "data"
    async with open_embedded(data) as server:
        async with open_database(server.dsn) as db:
            await db.run(write_value)
        assert server.pid is not None
        crashed = (data / "cluster/postmaster.pid").read_text()
    user = choose_identity(data / "cluster", run_as=None)
    # Postgres itself ignores the processes of other users, so the innocent one must be its own user's.
    innocent = start_innocent(user)
    try:
        _, rest = crashed.split("\n", 1)
        pid_file = data / "cluster/postmaster.pid"
        pid_file.write_text(f"{innocent.pid}\n{rest}")
        if user.uid != -1:
            os.chown(pid_file, user.uid, user.gid)
        async with open_embedded(data) as server, open_database(server.dsn) as db:
            assert await db.read(read_value) == 42

        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


async def test_two_cannot_use_one_directory(tmp_path: Path) -> None:
    """The second one is told, and the first one does not notice."""
    async with open_embedded(tmp_path / "data") as server:
        with pytest.raises(EmbeddedError, match="another Parley uses"):
            async with open_embedded(tmp_path / "data"):
                pass

        assert server.pid is not None


async def test_a_directory_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """We never write to a directory that holds something we did not make."""
    (tmp_path / "thesis.txt").write_text("precious")

    with pytest.raises(EmbeddedError, match="not empty and was not made by Parley"):
        async with open_embedded(tmp_path):
            pass

    assert [entry.name for entry in os.scandir(tmp_path)] == ["thesis.txt"]


async def test_a_cluster_that_was_never_completed_is_made_again(tmp_path: Path) -> None:
    """What a first start left behind when it was killed is thrown away."""
    data = tmp_path / "data"
    (data / "cluster.new").mkdir(parents=True)
    (data / "cluster.new/PG_VERSION").write_text("18\n")
    (data / "parley.lock").touch()

    async with open_embedded(data) as server, open_database(server.dsn) as db:
        await db.run(write_value)

    assert not (data / "cluster.new").exists()


async def test_data_of_another_version_are_refused(tmp_path: Path) -> None:
    """The error names the version that made the data and those that are there."""
    data = tmp_path / "data"
    (data / "cluster").mkdir(parents=True)
    (data / "cluster/PG_VERSION").write_text("9\n")
    (data / "parley.lock").touch()
    if os.geteuid() == 0:
        user = choose_identity(data / "absent", run_as=None)
        os.chown(data / "cluster", user.uid, user.gid)

    with pytest.raises(EmbeddedError, match=r"was made by Postgres 9, there is only \d+"):
        async with open_embedded(data):
            pass


async def test_a_directory_without_programs_is_no_bindir(tmp_path: Path) -> None:
    """A wrong `bindir` is named in the error."""
    with pytest.raises(EmbeddedError, match="no postgres and initdb to run"):
        async with open_embedded(tmp_path / "data", bindir=tmp_path):
            pass


async def test_a_deep_directory_is_no_problem_for_the_socket(tmp_path: Path) -> None:
    """A socket's path may have 107 bytes, a directory's many more."""
    async with (
        open_embedded(tmp_path / ("d" * 100) / ("e" * 100)) as server,
        open_database(server.dsn) as db,
    ):
        await db.run(write_value)
