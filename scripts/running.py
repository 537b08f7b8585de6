"""Programs that the scripts start: on a core of their own where that is asked for, never left behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from storage import launch

KILL_S: Final = 5.0
SERVE: Final = (sys.executable, "-m", "chat.cli", "serve", "--port", "0", "--no-rate-limits")
"""A server of one's own: on a port that is free, and without rate limits."""
SERVES: Final = re.compile(r"serves on (ws://\S+).*metrics: (http://\S+)", re.DOTALL)
"""What it prints when it takes connections: the address for clients, and that of its metrics."""


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


def serve_environment(settings: Mapping[str, str]) -> Mapping[str, str]:
    """What to start `SERVE` with: this process's environment, guests let in, warnings logged, these settings.

    Parley's own variables are left out: they are those of whoever runs the script.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    return {
        **kept,
        "PARLEY_GUESTS": "on",
        "PARLEY_LOG_LEVEL": "warning",
        "PYTHONUNBUFFERED": "1",
        **settings,
    }


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
