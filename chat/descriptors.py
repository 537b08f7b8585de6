"""File descriptors: every connection takes one, and the system gives a process only so many.

`allow_files` asks for enough of them at the start; `PatientListener` waits where they run out all the same.
"""

import errno
import resource
import sys
from collections.abc import Callable
from typing import Final, TypeVar

import trio

PAUSE_S: Final = 0.1
"""Until a listener tries again: connections that end meanwhile give their descriptors back."""

_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

StreamT = TypeVar("StreamT", bound=trio.abc.AsyncResource)


def allow_files(wanted: int) -> int:
    """Raise this process's soft limit on open files to `wanted`, or as near as its hard limit lets it.

    It is never lowered.

    Returns:
        The limit that holds now; `sys.maxsize` where there is none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    if soft >= wanted:
        return soft
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        # macOS has a limit of the kernel's below the hard one that it tells.
        return soft
    return raised


class PatientListener(trio.abc.Listener[StreamT]):
    """A listener whose `accept` waits while there are no descriptors or no memory for another connection.

    `trio.serve_listeners` would wait too, but log a traceback ten times a second.

    Args:
        inner: the listener; closed with this one.
        on_shortage: told of each failed attempt, ten a second; must not raise.
    """

    def __init__(self, inner: trio.abc.Listener[StreamT], on_shortage: Callable[[OSError], None]) -> None:
        self._inner = inner
        self._on_shortage = on_shortage

    async def accept(self) -> StreamT:
        """Wait for the next connection; raises as the inner listener, but for shortages."""
        while True:
            try:
                return await self._inner.accept()
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    raise
                self._on_shortage(error)
            await trio.sleep(PAUSE_S)

    async def aclose(self) -> None:
        """Close the inner listener."""
        await self._inner.aclose()
