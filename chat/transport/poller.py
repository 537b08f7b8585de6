"""One task that watches every idle socket, so that receiving costs no task switch a message.

trio arms and disarms its epoll for each wait and schedules a task for each message: 7 us of a
receive. Here a second epoll, itself watched by trio, holds all parked connections level-triggered:
one wake-up serves all that are ready, and their frames are taken in this task. Under load it looks
less often than it could (`read_pace`).

Linux only; elsewhere `available` is false and every connection waits for itself.
"""

import select
from typing import Final, NoReturn, Protocol

import trio

from chat.transport.read_pace import ReadPace

EVENTS_PER_TURN: Final = 64
"""Connections served between two checkpoints."""

_EVENTS_AT_ONCE: Final = 512


class PolledStream(Protocol):
    """What the poller needs of a connection."""

    def on_readable(self, now_s: float) -> None:
        """Read once and deal with it; never blocks, never raises."""
        ...

    def on_poller_gone(self) -> None:
        """Stop counting on the poller: wait by yourself."""
        ...


class Poller:
    """Calls `on_readable` of every added stream whose socket has input, until it is removed."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._streams: dict[int, PolledStream] = {}
        self._pace = ReadPace()

    @property
    def running(self) -> bool:
        """Whether streams may be added."""
        return self._epoll is not None

    def add(self, fd: int, stream: PolledStream) -> None:
        """Watch a descriptor. The owner removes it before closing it.

        Raises:
            OSError: The descriptor cannot be watched; nothing changed.
        """
        assert self._epoll is not None  # noqa: S101  callers ask `running` in the same turn
        self._epoll.register(fd, select.EPOLLIN)
        self._streams[fd] = stream

    def remove(self, fd: int) -> None:
        """Stop watching a descriptor; nothing happens if it is not watched."""
        if self._streams.pop(fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(fd)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve until cancelled; then every stream watched is told to wait for itself."""
        if not hasattr(select, "epoll"):
            task_status.started()
            await trio.sleep_forever()
        with select.epoll() as epoll:
            self._epoll = epoll
            try:
                task_status.started()
                while True:
                    await trio.lowlevel.wait_readable(epoll.fileno())
                    while events := epoll.poll(0, _EVENTS_AT_ONCE):
                        await self._serve(events)
                        pause_s = self._pace.after_look(len(events))
                        if not pause_s:
                            break
                        await trio.sleep(pause_s)
            finally:
                self._epoll = None
                streams, self._streams = self._streams, {}
                for stream in streams.values():
                    stream.on_poller_gone()

    async def _serve(self, events: list[tuple[int, int]]) -> None:
        find = self._streams.get
        now_s = trio.current_time()
        for start in range(0, len(events), EVENTS_PER_TURN):
            if start:
                await trio.lowlevel.checkpoint()
                now_s = trio.current_time()
            for fd, _flags in events[start : start + EVENTS_PER_TURN]:
                # A stream served before may have closed this one, and the number may even be
                # another connection's by now: reading that one finds nothing, which is harmless.
                stream = find(fd)
                if stream is not None:
                    stream.on_readable(now_s)
