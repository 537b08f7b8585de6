"""A process that cannot outlive this one, by the kernel's word; its errors go to a file."""

import os
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

import trio

from scripts.running import Running, pinned, tied

TAIL_BYTES: Final = 2000


class ChildProcess(Running):
    """A running process. Made by `open_child`.

    Attributes:
        stdin: a pipe to it; closing it is its business and its end.
        stdout: a pipe from it.
    """

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        super().__init__(popen)
        self._log = log
        self.stdin = trio.lowlevel.FdStream(_own(popen.stdin))
        self.stdout = trio.lowlevel.FdStream(_own(popen.stdout))

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_text(errors="replace")[-TAIL_BYTES:].strip()

    async def stop(self, *, grace_s: float) -> None:
        """Close its standard input, ask it to end, then kill it."""
        await self.stdin.aclose()
        await super().stop(grace_s=grace_s)
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
    with log.open("wb") as log_file, pinned(core):
        popen = subprocess.Popen(  # noqa: S603, ASYNC220  a command of ours; why from here: see above
            tied(command),
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


def _own(pipe: IO[bytes] | None) -> int:
    """A descriptor of our own for a pipe, which is closed."""
    assert pipe is not None  # noqa: S101  asked for above
    with pipe:
        return os.dup(pipe.fileno())
