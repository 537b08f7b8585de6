"""What an earlier server left behind in a cluster: processes that still end, lock files of the dead."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from storage.errors import EmbeddedError

_STATUS_LINE: Final = 7  # miscadmin.h: LOCK_FILE_LINE_PM_STATUS, there counted from 1
_PROC: Final = Path("/proc")


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server with this process id takes connections: it says so in its postmaster.pid."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return lines[:1] == [str(pid)] and [line.strip() for line in lines[_STATUS_LINE:]] == ["ready"]


async def settle(data: Path, socket_dir: Path, *, timeout_s: float) -> None:
    """Wait until what an earlier server left running has ended, and disarm what it left lying.

    Nothing is signalled. Whether the data are in use is still judged by Postgres, by the shared memory
    that postmaster.pid names; but the process id in there may meanwhile belong to an innocent process,
    which Postgres cannot tell from a server. It is then replaced by ours: Postgres, as our
    child, knows us to be no rival.

    Only to be called by who holds the directory's lock, while no server of ours runs.

    Raises:
        EmbeddedError: after `timeout_s` a Postgres still runs in this directory.
    """
    pid_file = data / "postmaster.pid"
    if not _exists(pid_file):
        return
    with trio.move_on_after(timeout_s):
        for pid in _postgres_in(data):
            await _wait_gone(pid)
    if (rival := next(_postgres_in(data), None)) is not None:
        raise EmbeddedError(f"another Postgres (process {rival}) runs in {data}; stop it, then start again")
    _disarm(pid_file)
    for leftover in socket_dir.iterdir():  # noqa: ASYNC240  a handful of names in memory
        leftover.unlink()


def _exists(path: Path) -> bool:
    return path.exists()


def _disarm(pid_file: Path) -> None:
    with suppress(FileNotFoundError), pid_file.open("r+") as file:
        lines = file.read().splitlines(keepends=True)
        if not lines:
            pid_file.unlink()  # its writer died before it wrote; Postgres would refuse to judge it
        elif _is_foreign(lines[0].strip(), pid_file.parent):
            file.seek(0)  # in place: the file keeps its owner
            file.write("".join((f"{os.getpid()}\n", *lines[1:])))
            file.truncate()


def _postgres_in(data: Path) -> Iterator[int]:
    """Processes of any Postgres server that works in this directory, as far as we may see them."""
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # gone meanwhile, or not ours to see
                if _works_in(process, data):
                    yield int(process.name)


def _is_foreign(pid: str, data: Path) -> bool:
    """Whether a process has this id and is visibly no server of this directory, or not any more."""
    try:
        return pid.isdecimal() and not _works_in(_PROC / pid, data)
    except OSError:
        return _is_zombie(_PROC / pid)


def _is_zombie(process: Path) -> bool:
    """Whether it has ended and is not reaped: when its starter was killed too, nobody may be quick to.

    It holds nothing any more, and yet Postgres would take it for a living server.
    """
    with suppress(OSError):
        return (process / "stat").read_text().rpartition(")")[2].split()[:1] == ["Z"]
    return False


def _works_in(process: Path, data: Path) -> bool:
    program = (process / "exe").readlink().name.removesuffix(" (deleted)")
    return program == "postgres" and (process / "cwd").samefile(data)


async def _wait_gone(pid: int) -> None:
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
