"""Programs that the scripts start: on a core of their own where that is asked for, never left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from storage import launch

KILL_S: Final = 5.0


class Running:
    """A process that this one has started and may end."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

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
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
            if self.returncode is None:
                self._popen.send_signal(number)
                with trio.move_on_after(wait_s):
                    await self.wait()


def tied(command: Sequence[str]) -> list[str]:
    """The command, to be started from trio's own thread, so that the kernel kills it when that thread ends.

    A worker's thread would not do: it ends whenever trio tidies up.
    """
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGKILL))]
    return [*launcher, "-1", "-1", str(Path.cwd()), *command]


@contextmanager
def pinned(core: int | None) -> Generator[None]:
    """Whatever is started in the body runs on this core; None: on any."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
