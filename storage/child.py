"""A child process of ours that cannot outlive us: started, awaited and signalled without races.

Linux only: it stands on prctl(PR_SET_PDEATHSIG) and pidfd_open.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from storage import launch
from storage.errors import EmbeddedError

_KEPT_LINES: Final = 20
_CHUNK_BYTES: Final = 65536
_LOG_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a child runs as: a user and its group, or ourselves."""

    uid: int = -1
    gid: int = -1
    name: str = ""


class BoundedLog:
    """A log file that never takes more than about twice its limit: the older half is kept beside it."""

    def __init__(self, path: Path, *, limit_bytes: int = _LOG_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._file = path.open("ab", buffering=0)

    def write(self, chunk: bytes) -> None:
        """Append, and begin a new file when the limit is reached."""
        self._file.write(chunk)
        if self._file.tell() >= self._limit_bytes:
            self._file.close()
            self._path.rename(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()


class Child:
    """One child process. Its output, both streams in one, is read by `read_output` and nothing else."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        identity: Identity,
        directory: Path,
        death_signal: signal.Signals,
    ) -> None:
        """Start it, from this very thread.

        The child gets `death_signal` when the thread that runs trio ends, for whatever reason,
        `kill -9` of the process included. A worker thread would not do: it ends whenever trio
        tidies up.

        Raises:
            EmbeddedError: this is no Linux, or there is no Python to start it with.
        """
        if sys.platform != "linux":
            raise EmbeddedError("an embedded Postgres needs Linux; elsewhere name a server's address")
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        self._popen = subprocess.Popen(  # noqa: S603  a command of ours, no shell
            [
                *launcher,
                str(int(death_signal)),
                str(identity.uid),
                str(identity.gid),
                str(directory),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,  # Ctrl-C at a terminal is for us alone: the child is stopped last
        )
        if self._popen.stdout is None:
            raise EmbeddedError("the child has no output")
        with self._popen.stdout as pipe:
            self._output = trio.lowlevel.FdStream(os.dup(pipe.fileno()))
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self.silent = trio.Event()
        """Set once nobody can write to the output any more: the child and all its children are gone."""

    @property
    def pid(self) -> int:
        """The process id; ours to signal only through `send_signal`."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal's number after a signal; None while it runs."""
        return self._popen.poll()

    @property
    def last_words(self) -> str:
        """The last lines of its output."""
        return "\n".join(self._tail)

    async def wait(self) -> int:
        """Wait for its end and reap it; any number of tasks may. Cancellation leaves it running."""
        await trio.lowlevel.checkpoint()
        while (code := self._popen.poll()) is None:
            pidfd = os.pidfd_open(self._popen.pid)  # safe: only `poll`, on this thread, reaps it
            try:
                await trio.lowlevel.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        return code

    async def read_output(self, sink: Callable[[bytes], None]) -> None:
        """Pass its output to `sink` until the last writer has closed it."""
        rest = b""
        async with self._output:
            while chunk := await self._output.receive_some(_CHUNK_BYTES):
                sink(chunk)
                *lines, rest = (rest + chunk)[-_CHUNK_BYTES:].split(b"\n")
                self._tail.extend(line.decode(errors="replace") for line in lines)
        self.silent.set()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended: a process id that was given to another is never touched."""
        self._popen.send_signal(number)

    async def stop(self, *steps: tuple[signal.Signals, float]) -> int | None:
        """Send each signal in turn and wait the given seconds for the end; None if all were in vain."""
        for number, wait_s in steps:
            self.send_signal(number)
            with trio.move_on_after(wait_s):
                return await self.wait()
        return None


async def run_to_end(child: Child, *, timeout_s: float) -> tuple[int | None, str]:
    """Wait for a short-lived child; its exit status (None: it was killed at the time limit) and last words.

    Cancellation: the child is killed and reaped.
    """
    try:
        with trio.move_on_after(timeout_s):
            await child.read_output(lambda _chunk: None)
            return await child.wait(), child.last_words
        return None, child.last_words
    finally:
        with trio.CancelScope(shield=True):
            await child.stop((signal.SIGKILL, 5.0))


def _environment() -> dict[str, str]:
    """What the child sees: no PG* variable and no locale of ours may change what it does."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "TZ", "TMPDIR"}}
    return {**kept, "LC_ALL": "C"}
