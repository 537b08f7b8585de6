"""One task that reads for all connections of a worker, for as long as there is something to read.

`chat.transport.poller` is fair to a server's other tasks: it goes back to trio after every look. A broadcast
reaches a tester's sockets one by one while it reads them, so it would be woken once for every few of them, at
40 us each. This one looks again at once until nothing is there, and lets others run in between.

Linux only.
"""

import select
from typing import Final, NoReturn, Protocol

import trio

EVENTS_PER_TURN: Final = 64
"""Connections read between two checkpoints."""


class Polled(Protocol):
    """What the poller needs of a connection."""

    def on_readable(self, now_s: float) -> None:
        """Read once and deal with it; never blocks, never raises for what the server does."""
        ...


class Poller:
    """Calls `on_readable` of every added connection whose socket has input, until it is removed."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, Polled] = {}

    def add(self, fd: int, connection: Polled) -> None:
        """Watch a descriptor. The owner removes it before closing it."""
        self._epoll.register(fd, select.EPOLLIN)
        self._connections[fd] = connection

    def remove(self, fd: int) -> None:
        """Stop watching a descriptor; nothing happens if it is not watched."""
        if self._connections.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> NoReturn:
        """Read until cancelled."""
        poll, find = self._epoll.poll, self._connections.get
        fd = self._epoll.fileno()
        while True:
            await trio.lowlevel.wait_readable(fd)
            count = 0
            while events := poll(0, EVENTS_PER_TURN):
                now_s = trio.current_time()
                for ready, _flags in events:
                    # One that was read before may have removed this one.
                    connection = find(ready)
                    if connection is not None:
                        connection.on_readable(now_s)
                count += len(events)
                if count >= EVENTS_PER_TURN:
                    count = 0
                    await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Give the descriptor back, when nothing is watched any more."""
        self._epoll.close()
