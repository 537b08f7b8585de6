"""`parley serve` with rooms that crash when somebody says the word: run by tests as a program.

    python -m tests.faults.crashing_server --data-dir DIR --port PORT

The server is the product's, unchanged; what is exchanged are the objects that it is composed of. Each word
works once, so that what is sent again after the crash gets through.
"""

import sys
from functools import partial
from typing import Final
from unittest.mock import patch

import chat.node
from actors import Actor
from actors.testing import InjectedCrash, Saboteur
from chat.cli import main
from chat.peers import Broadcast
from chat.room_messages import RoomMessage, SendMessage
from chat.rooms import Rooms
from chat.topic import Topic, Topics
from storage.model import RoomId

TIMES: Final = 20
BEFORE: Final = tuple(f"crash before taking this {number}" for number in range(TIMES))
"""The room crashes before it has looked at such a message: it is nobody's yet."""
WITHIN: Final = tuple(f"crash while ordering this {number}" for number in range(TIMES))
"""The room crashes in the midst of its turn: the writer has the message, no subscriber has seen it."""

_saboteur: Final = Saboteur[RoomMessage]()
_within: Final = set(WITHIN)


class CrashingRooms(Rooms):
    """Rooms whose actors crash before a message of `BEFORE`."""

    def _make(self, name: str) -> Actor[RoomMessage]:  # type: ignore[override]  # an actor is all they need
        return _saboteur.wrap(super()._make)(name)


class CrashingTopic(Topic):
    """A topic that crashes the room which publishes a message of `WITHIN`."""

    __slots__ = ()

    def publish(self, message: Broadcast, seq: int) -> None:
        """Deliver, or raise."""
        body = message.envelope.get("body")
        if body in _within:
            _within.discard(str(body))
            raise InjectedCrash
        super().publish(message, seq)


class CrashingTopics(Topics):
    """Topics that are all `CrashingTopic`s."""

    def open(self, room: str, room_id: RoomId) -> Topic:
        """A room's topic, made when there is none."""
        if self.get(room) is None:
            self._topics[room] = CrashingTopic(room, room_id, self._flusher, self._counts)
            self._names[room_id] = room
        return super().open(room, room_id)


def _says(body: str, message: RoomMessage) -> bool:
    return isinstance(message, SendMessage) and message.body == body


def run() -> int:
    """Serve as `parley serve` does."""
    for body in BEFORE:
        _saboteur.crash_on(partial(_says, body))
    with (
        patch.object(chat.node, "Rooms", CrashingRooms),
        patch.object(chat.node, "Topics", CrashingTopics),
    ):
        return main(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(run())
