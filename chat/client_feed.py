"""What a client tells its user: a bounded buffer of updates with one reader."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import trio

from chat.client_state import Envelope, EventAdded, EventVoided, Hole, Left, OutOfOrder, Rewound, WasReset


class Connected(NamedTuple):
    """Welcomed. `again`: after a lost connection; rooms resume by themselves."""

    welcome: Envelope
    again: bool


class Disconnected(NamedTuple):
    """The connection is gone and will be tried again in `retry_in_s`.

    Attributes:
        code: the close code (docs/protocol.md 8); 1006 where none was sent.
        reason: the server's words, or what failed.
    """

    code: int
    reason: str
    retry_in_s: float


class Notice(NamedTuple):
    """Something outside of the rooms that are followed, by its `t` (docs/protocol.md 4). May be lost."""

    envelope: Envelope


class Ended(NamedTuple):
    """The client has ended by itself, for `error`: the last update of `on_update`. `events` raises it."""

    error: Exception


Update: TypeAlias = (
    EventAdded
    | EventVoided
    | Rewound
    | WasReset
    | Hole
    | OutOfOrder
    | Left
    | Connected
    | Disconnected
    | Notice
    | Ended
)


class Feed:
    """Updates from the client to one reader.

    When `size` of them wait it is `full`: then the client lets rooms pause (their events are fetched when the
    reader has caught up, nothing is lost) and drops notices. Only what a server's answer brings in one piece
    may exceed the size.

    Args:
        size: updates that may wait.
        on_room: called when a full feed has been read down to a quarter.
    """

    __slots__ = ("_ended", "_on_room", "_queue", "_size", "_starved", "_wake", "dropped")

    def __init__(self, size: int, on_room: Callable[[], None]) -> None:
        if size < 1:
            raise ValueError("size must be at least 1")
        self._size = size
        self._queue: deque[Update] = deque()
        self._wake: trio.Event | None = None
        self._on_room = on_room
        self._starved = False
        self._ended: Exception | None = None
        self.dropped = 0

    @property
    def full(self) -> bool:
        """Whether an update must not be added now; asking when it is makes `on_room` due."""
        if len(self._queue) < self._size:
            return False
        self._starved = True
        return True

    def put(self, update: Update) -> None:
        """Add an update."""
        self._queue.append(update)
        if self._wake is not None:
            self._wake.set()

    def offer(self, update: Update) -> None:
        """Add an update, or count it as dropped when full."""
        if self.full:
            self.dropped += 1
        else:
            self.put(update)

    def end(self, error: Exception | None) -> None:
        """No more will come: the reader gets what waits, then `error`, or the end where it is None."""
        if self._ended is None:
            self._ended = error or trio.EndOfChannel()
        if self._wake is not None:
            self._wake.set()

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> Update:
        """The next update; ends with the client.

        Raises:
            ClientError: what ended the client, after the last update.
            RuntimeError: another reader is waiting.

        Cancellation: no update is lost.
        """
        if self._queue or self._ended is not None:
            await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._ended is not None:
                if isinstance(self._ended, trio.EndOfChannel):
                    raise StopAsyncIteration
                raise self._ended
            if self._wake is not None:
                raise RuntimeError("events() has one reader")
            self._wake = trio.Event()
            try:
                # Ends with the client at the latest: `end` wakes it.
                await self._wake.wait()
            finally:
                self._wake = None
        update = self._queue.popleft()
        if self._starved and len(self._queue) <= self._size // 4:
            self._starved = False
            self._on_room()
        return update
