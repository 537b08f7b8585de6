"""Watches of rooms whose members are being read: they wait in line for their answers."""

from collections import deque
from dataclasses import replace
from typing import Final

from chat.errors import ErrorCode, Refused
from chat.presence_messages import WatchRoom

WAITING_MAX: Final = 4096
RETRY_S: Final = 1.0


class WaitingWatches:
    """Watches in the order in which they came, room by room; no rosters.

    Bounds: `WAITING_MAX` in all; who comes then is refused. Whoever takes a watch out answers it.
    """

    __slots__ = ("_lines", "_open", "_size")

    def __init__(self) -> None:
        self._lines: dict[str, deque[WatchRoom]] = {}
        self._open: dict[str, None] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, room: str) -> bool:
        """Whether somebody waits for that room."""
        return room in self._lines

    @property
    def next(self) -> WatchRoom | None:
        """The next one that may go; None when there is none. `pop` it when it was answered."""
        room = next(iter(self._open), None)
        return None if room is None else self._lines[room][0]

    def add(self, message: WatchRoom) -> None:
        """Put a watch behind the others of its room.

        Raises:
            Refused: `busy`.
        """
        if self._size >= WAITING_MAX:
            raise Refused(ErrorCode.BUSY, "too many watches are waiting", retry_after_s=RETRY_S)
        self._size += 1
        # Rooms make a new roster when their members change: a line of watches must not keep them all.
        self._lines.setdefault(message.room, deque()).append(replace(message, roster=()))

    def open(self, room: str) -> None:
        """Let those who wait for a room go."""
        if room in self._lines:
            self._open[room] = None

    def hold(self, room: str) -> None:
        """Let those who wait for a room wait on."""
        self._open.pop(room, None)

    def pop(self) -> None:
        """Take out the `next` one; there must be one."""
        room = next(iter(self._open))
        line = self._lines[room]
        line.popleft()
        self._size -= 1
        if not line:
            del self._lines[room], self._open[room]

    def withdraw(
        self, room: str, *, session_id: int | str | None = None, user_id: str | None = None
    ) -> list[WatchRoom]:
        """Take out those of a session, or of a user, that wait for a room."""
        line = self._lines.get(room)
        if line is None:
            return []
        out = [one for one in line if one.peer.session_id == session_id or one.peer.user_id == user_id]
        if len(out) == len(line):
            del self._lines[room]
            self._open.pop(room, None)
        elif out:
            self._lines[room] = deque(one for one in line if one not in out)
        self._size -= len(out)
        return out

    def clear(self) -> list[WatchRoom]:
        """Take out all."""
        out = [message for line in self._lines.values() for message in line]
        self._lines.clear()
        self._open.clear()
        self._size = 0
        return out
