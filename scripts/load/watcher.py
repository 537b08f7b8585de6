"""A simulated user who watches who is in a room, and watches again whenever something was missed."""

from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Final

from chat.client_session import ClientSession
from chat.client_state import Envelope
from scripts.load.meter import NS
from scripts.load.presence_check import Picture
from scripts.load.world import World

WATCH_LIMIT: Final = 100


class Watcher:
    """See the module.

    Args:
        room: the room's name.
        flush: sends what the session has to say.

    Attributes:
        picture: what is shown now.
    """

    __slots__ = ("_asked", "_flush", "_room", "_session", "_world", "picture")

    def __init__(self, room: str, world: World, session: ClientSession, flush: Callable[[], None]) -> None:
        self._room = room
        self._world = world
        self._session = session
        self._flush = flush
        # Rises with every request: an answer to an earlier one says nothing of this connection.
        self._asked = 0
        self.picture = Picture()

    def begin(self) -> None:
        """Watch, on a connection that is welcomed."""
        if not self._session.attached:
            return
        self._asked += 1
        self._world.pending += 1
        self.picture.version = 0
        self._session.ask(
            {"t": "watch", "room": self._room, "limit": WATCH_LIMIT}, partial(self._watched, self._asked)
        )
        self._flush()

    def _watched(self, asked: int, reply: Envelope | None) -> None:
        world = self._world
        world.pending -= 1
        if asked != self._asked or reply is None:
            return
        if reply["t"] != "error":
            self.picture.begin(reply)
            return
        world.meter.errors[str(reply["code"])] += 1
        if reply.get("temporary") is True:
            world.wheel.at(monotonic_ns() + NS, self.begin)

    def noticed(self, envelope: Envelope) -> None:
        """Take a notice, if it is one of presence in this room."""
        if envelope["t"] != "presence":
            return
        mine = envelope.get("room") == self._room or envelope.get("all") is True
        # While an answer is awaited the version is 0, and what it will say is newer.
        if mine and self.picture.version and not self.picture.take(envelope):
            self.begin()
