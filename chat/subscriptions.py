"""PURE: the rooms that one connection receives, or is about to: what its limit counts, what its end undoes.

A room is left behind at the end of a session when its topic may hold the session: so it is remembered from
the moment it is asked for until nobody delivers, whatever is answered to what in between. Request ids are the
client's, and may be wrong: they move what the limit counts, never what is left behind.
"""

from collections.abc import Callable, Iterator

_NONE: frozenset[str] = frozenset()


class Subscriptions:
    """Rooms by how far they have come.

    Args:
        receives: whether a room's topic delivers to this connection now.
    """

    __slots__ = ("_asked", "_going", "_receives", "_rooms")

    def __init__(self, receives: Callable[[str], bool]) -> None:
        self._receives = receives
        self._rooms: set[str] = set()
        # Made when first needed: most of 10,000 connections have asked for nothing at the moment.
        self._asked: dict[int, str] | None = None
        self._going = _NONE

    def __iter__(self) -> Iterator[str]:
        """Every room whose topic may hold the connection now or soon."""
        return iter(self._rooms)

    @property
    def asked(self) -> int:
        """Rooms that have not answered yet."""
        return 0 if self._asked is None else len(self._asked)

    def ask(self, room: str, request_id: int, limit: int) -> bool:
        """Note that a room is about to be asked; False, and nothing noted, when there are `limit` already."""
        rooms = self._rooms
        if room in rooms and room not in self._going:
            return True
        if len(rooms) >= limit:
            self._forget_the_rest()
            if len(self._rooms - self._going) >= limit:
                return False
        self._rooms.add(room)
        if self._asked is None:
            self._asked = {}
        self._asked[request_id] = room
        if room in self._going:
            self._going -= {room}
        return True

    def leave(self, room: str) -> None:
        """Note that a room was asked to deliver no more: what comes next in line may take its place."""
        self._going |= {room}

    def stands(self, room: str, request_id: object) -> None:
        """Note that a room delivers from now on."""
        self._answered(request_id)
        self._rooms.add(room)

    def refused(self, request_id: object) -> None:
        """Note that a request was refused, if it was one of these."""
        room = self._answered(request_id)
        if room is not None and not self._receives(room):
            self._rooms.discard(room)

    def clear(self) -> None:
        """Forget everything: the connection has left all of them."""
        self._rooms.clear()
        self._asked = None
        self._going = _NONE

    def _answered(self, request_id: object) -> str | None:
        if self._asked is None or not isinstance(request_id, int):
            return None
        room = self._asked.pop(request_id, None)
        if not self._asked:
            self._asked = None
        return room

    def _forget_the_rest(self) -> None:
        """Keep the rooms that deliver, and those that have not answered yet."""
        kept = {room for room in self._rooms if self._receives(room)}
        if self._asked is not None:
            kept.update(self._asked.values())
        self._rooms &= kept
        self._going &= kept
