"""The machine that measures: its cores, limits and versions."""

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.machine import cpu_model, describe_software

_SPARE_FILES: Final = 200
"""File descriptors that a server or a client needs besides its connections'."""
_PACKAGES: Final = ("parley", "trio", "trio-websocket", "msgpack", "msgspec", "asyncpg", "uvloop")


def raise_file_limit() -> int:
    """Lift this process's limit of open files to the hard one, for its children too; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def connections_possible(files: int) -> int:
    """How many connections one process can hold within a limit of open files."""
    return max(0, files - _SPARE_FILES)


def favour(pid: int, nice: int) -> None:
    """Give a process and all that it started this priority over what else runs on the machine.

    Where the kernel groups processes by session (sched(7), autogroup), it is the groups' priority that
    counts between sessions, and every Postgres backend is a session of its own. Processes that end meanwhile
    are passed over.

    Raises:
        PermissionError: a priority above the usual one is root's to give.
    """
    with suppress(ProcessLookupError, FileNotFoundError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():
            group.write_text(str(nice))
        # After its own priority, which what it starts from here on has from it.
        for child in _children(pid):
            favour(child, nice)


def family(pid: int) -> Sequence[int]:
    """A process and all that descend from it now; those that end meanwhile are passed over."""
    found = [pid]
    with suppress(ProcessLookupError, FileNotFoundError):
        for child in _children(pid):
            found += family(child)
    return found


def cpu_s(pid: int) -> float:
    """CPU time so far of a process and all that descend from it, those that have ended included (proc(5))."""
    ticks = 0
    for member in family(pid):
        with suppress(ProcessLookupError, FileNotFoundError):
            # The name before may hold blanks and brackets.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> Iterator[int]:
    """What each thread of a process has started (proc(5)); looked up while it is iterated.

    Raises:
        ProcessLookupError, FileNotFoundError: the process or a thread of it has ended.
    """
    for thread in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (thread / "children").read_text().split())


def describe(cores: tuple[int, int]) -> Mapping[str, str]:
    """What to print above figures, so that they can be compared later.

    Args:
        cores: the server's, and the client's and Postgres'.
    """
    cpu = cpu_model()
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores; server on {cores[0]}, client and Postgres on {cores[1]}",
        **describe_software(_PACKAGES),
        "load": "{:.2f} {:.2f} {:.2f} before the run".format(*os.getloadavg()),
    }
