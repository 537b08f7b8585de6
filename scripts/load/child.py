"""A process that cannot outlive this one, by the kernel's word; its errors go to a file."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Final

import trio

from storage import launch

TAIL_BYTES: Final = 2000
KILL_S: Final = 5.0


class ChildProcess:
    """A running process. Made by `open_child`.

    Attributes:
        stdin: a pipe to it; closing it is its business and its end.
        stdout: a pipe from it.
    """

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self._log = log
        self.stdin = trio.lowlevel.FdStream(_own(popen.stdin))
        self.stdout = trio.lowlevel.FdStream(_own(popen.stdout))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal's number after a signal; None while it runs."""
        return self._popen.poll()

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_text(errors="replace")[-TAIL_BYTES:].strip()

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
        """Close its standard input, ask it to end, then kill it."""
        await self.stdin.aclose()
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
            if self.returncode is None:
                self._popen.send_signal(number)
                with trio.move_on_after(wait_s):
                    await self.wait()
        await self.stdout.aclose()


@asynccontextmanager
async def open_child(
    command: Sequence[str],
    *,
    log: Path,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    grace_s: float = 1.0,
) -> AsyncGenerator[ChildProcess]:
    """Run a program for as long as the body runs.

    Resource handling: one process, in a session of its own, so that Ctrl-C is for us alone. It is asked to
    end, then killed; when this process ends in any other way the kernel kills it, which is why it is started
    from this very thread and not from a worker's.

    Args:
        command: the program and its arguments.
        log: gets its standard error.
        core: for all of its threads; None: any.
        environment: this process's own by default.
        grace_s: from asking it to end until it is killed.
    """
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGKILL))]
    with log.open("wb") as log_file, _pinned(core):
        popen = subprocess.Popen(  # noqa: S603, ASYNC220  a command of ours; why from here: see above
            [*launcher, "-1", "-1", str(Path.cwd()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env=environment,
            start_new_session=True,
        )
    child = ChildProcess(popen, log)
    try:
        yield child
    finally:
        with trio.CancelScope(shield=True):  # bounded by `stop`
            await child.stop(grace_s=grace_s)


@contextmanager
def _pinned(core: int | None) -> Generator[None]:
    """Start what the body starts on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _own(pipe: IO[bytes] | None) -> int:
    """A descriptor of our own for a pipe, which is closed."""
    assert pipe is not None  # noqa: S101  asked for above
    with pipe:
        return os.dup(pipe.fileno())
