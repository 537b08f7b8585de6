"""Child processes: awaited, signalled and bounded in what they say."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from storage import launch
from storage.child import BoundedLog, Child, Identity, run_to_end


def child(*command: str) -> Child:
    """A child as ourselves, somewhere harmless."""
    return Child(command, identity=Identity(), directory=Path("/"), death_signal=signal.SIGKILL)


async def test_the_status_and_the_last_words_of_a_child_are_told() -> None:
    """A short child is run to its end, and both its streams are kept."""
    assert await run_to_end(child("/bin/sh", "-c", "echo out; echo err >&2; exit 3"), timeout_s=20.0) == (
        3,
        "out\nerr",
    )


async def test_a_child_that_takes_too_long_is_killed() -> None:
    """At the time limit the child is killed and reaped."""
    slow = child("/bin/sleep", "1000")

    assert await run_to_end(slow, timeout_s=0.01) == (None, "")
    assert slow.returncode == -signal.SIGKILL


async def test_several_tasks_may_wait_for_one_child() -> None:
    """Every waiter learns the status."""
    codes: list[int] = []
    waited = child("/bin/sh", "-c", "exit 7")

    async def wait() -> None:
        codes.append(await waited.wait())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)

    assert codes == [7, 7, 7]


async def test_a_child_that_ignores_a_signal_gets_the_next_one() -> None:
    """Stopping goes from polite to forced, each step bounded."""
    stubborn = child("/bin/sh", "-c", "trap '' INT; echo armed; while :; do sleep 0.01; done")
    armed = trio.Event()

    def heard(_chunk: bytes) -> None:
        armed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stubborn.read_output, heard)
        await armed.wait()
        code = await stubborn.stop((signal.SIGINT, 0.05), (signal.SIGKILL, 20.0))
        nursery.cancel_scope.cancel()

    assert code == -signal.SIGKILL


async def test_a_program_that_cannot_be_started_says_so() -> None:
    """The launcher's own failure is told in its words."""
    code, words = await run_to_end(child("/no/such/program"), timeout_s=20.0)

    assert code == 114
    assert "cannot start /no/such/program" in words


def test_a_child_whose_starter_is_gone_already_does_not_start() -> None:
    """The race between the starter's death and the arming of the signal has no winner but the end."""
    not_the_parent = os.getppid()
    command = [sys.executable, "-I", "-S", launch.__file__, str(not_the_parent), "9", "-1", "-1", "/"]

    done = subprocess.run([*command, "/bin/echo", "alive"], stdout=subprocess.PIPE, check=False)

    assert (done.returncode, done.stdout) == (113, b"")


@pytest.mark.parametrize("chunks", [1, 10, 100])
def test_a_log_never_grows_beyond_twice_its_limit(tmp_path: Path, chunks: int) -> None:
    """However much is written, the newest lines are kept and the disk is not filled."""
    log = BoundedLog(tmp_path / "log", limit_bytes=100)
    for number in range(chunks):
        log.write(b"%029d\n" % number)
    log.close()

    kept = b"".join(path.read_bytes() for path in (tmp_path / "log.1", tmp_path / "log") if path.exists())
    assert len(kept) <= 2 * (100 + 30)
    assert kept.endswith(b"%029d\n" % (chunks - 1))
