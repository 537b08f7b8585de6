"""A session's mailbox: the requests that have to wait, and those that must not overtake them."""

from collections.abc import Sequence
from typing import NamedTuple

import trio

from actors import Mailbox
from chat.protocol import AnyRequest, Create, Hello, Invite, Join, Mod, Send, Subscribe, Update


class Waiting(NamedTuple):
    """A request in the line.

    Attributes:
        admitted: whether phase and limits have let it through already.
        ordering: whether later requests must not overtake it.
    """

    request: AnyRequest
    admitted: bool
    ordering: bool


def decides_order(request: AnyRequest) -> bool:
    """Whether what comes after a request must not overtake it while it waits."""
    return isinstance(request, Hello | Join | Subscribe | Create | Send | Update | Invite | Mod)


class WaitingLine:
    """Lives while something waits; most of 10,000 connections have none.

    Full: `put` says so, and the connection is not read until the line has been worked off.

    Args:
        capacity: requests that may wait.

    Attributes:
        orders: how many of those that wait must not be overtaken.
        paused: whether reading was stopped because it was full.
    """

    __slots__ = ("_capacity", "_mailbox", "_resumed", "orders", "paused")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._mailbox: Mailbox[Waiting] = Mailbox(capacity, reserve_fraction=0.0)
        self._resumed: trio.Event | None = None
        self.orders = 0
        self.paused = False

    def put(self, request: AnyRequest, *, admitted: bool) -> bool:
        """Let a request wait; False when the next one would not fit.

        Raises:
            MailboxFull: it did not fit: the False before it was ignored.
        """
        ordering = not admitted or decides_order(request)
        self._mailbox.put_nowait(Waiting(request, admitted, ordering))
        if ordering:
            self.orders += 1
        if len(self._mailbox) < self._capacity:
            return True
        self.paused = True
        return False

    def put_if_spare(self, request: AnyRequest) -> bool:
        """Let an admitted request wait; False, and nothing done, when only the last place is left.

        That is for the connection's reader, which alone can stop reading.
        """
        if len(self._mailbox) + 1 >= self._capacity:
            return False
        return self.put(request, admitted=True)

    def take(self) -> Sequence[Waiting]:
        """Everything that waits now, in order."""
        return self._mailbox.drain()

    def served(self, waiting: Waiting) -> None:
        """Note that a request was answered, or handed to whom will answer it."""
        if waiting.ordering:
            self.orders -= 1

    def resume(self) -> bool:
        """Note that there is room again; whether reading was stopped."""
        if not self.paused:
            return False
        self.paused = False
        if self._resumed is not None:
            self._resumed.set()
        return True

    async def wait_resumed(self) -> None:
        """Wait until there is room again, or the line is closed."""
        if self.paused:
            self._resumed = trio.Event()
            await self._resumed.wait()

    def close(self) -> None:
        """Wake who waits: the session has ended."""
        self.resume()
