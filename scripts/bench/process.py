"""Processes that the bench starts: on a core of their own, output in files, never left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from scripts.bench.machine import pinned
from storage import launch


class BenchError(Exception):
    """A measurement cannot be made; the message says why."""


class Process:
    """A running child. Made by `open_process`.

    Attributes:
        out: the file with its standard output.
        log: the file with its standard error.
    """

    def __init__(self, popen: subprocess.Popen[bytes], *, out: Path, log: Path) -> None:
        self._popen = popen
        self.out = out
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal's number after a signal; None while it runs."""
        return self._popen.poll()

    async def wait(self) -> int:
        """Wait for its end; the exit status. Cancellation leaves it running."""
        await trio.lowlevel.checkpoint()
        while (code := self._popen.poll()) is None:
            pidfd = os.pidfd_open(self._popen.pid)  # safe: only `poll`, on this thread, reaps it
            try:
                await trio.lowlevel.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        return code

    async def stop(self, *, grace_s: float) -> None:
        """Ask it to end, then kill it."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
            if self.returncode is None:
                self._popen.send_signal(number)
                with trio.move_on_after(wait_s):
                    await self.wait()


@asynccontextmanager
async def open_process(
    command: Sequence[str],
    *,
    core: int,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    grace_s: float = 1.0,
) -> AsyncGenerator[Process]:
    """Run a program on one core for as long as the body runs, or until it ends.

    Resource handling: one process. It is asked to end, then killed; when this process ends in any other way
    the kernel kills it, which is why it is started from this very thread and not from a worker's.

    Args:
        command: the program and its arguments.
        core: for all of its threads.
        directory: gets the two files with its output.
        environment: this process's own by default.
        grace_s: from asking it to end until it is killed.
    """
    out, log = directory / "out", directory / "log"
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGKILL))]
    with out.open("wb") as out_file, log.open("wb") as log_file, pinned(core):
        popen = subprocess.Popen(  # noqa: S603, ASYNC220  a command of ours; why from here: see above
            [*launcher, "-1", "-1", str(Path.cwd()), *command],
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=log_file,
            env=environment,
        )
    process = Process(popen, out=out, log=log)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):  # bounded by `stop`
            await process.stop(grace_s=grace_s)
