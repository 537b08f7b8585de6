"""Processes that the bench starts: on a core of their own, output in files, never left behind."""

import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from scripts.running import Running, pinned, tied


class BenchError(Exception):
    """A measurement cannot be made; the message says why."""


class Process(Running):
    """A running child. Made by `open_process`.

    Attributes:
        out: the file with its standard output.
        log: the file with its standard error.
    """

    def __init__(self, popen: subprocess.Popen[bytes], *, out: Path, log: Path) -> None:
        super().__init__(popen)
        self.out = out
        self.log = log


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
    with out.open("wb") as out_file, log.open("wb") as log_file, pinned(core):
        popen = subprocess.Popen(  # noqa: S603, ASYNC220  a command of ours; why from here: see above
            tied(command),
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
