"""PURE: the rooms that one connection receives, or is about to: what its limit counts, what its end undoes.

A room counts, and is left behind at the end of the session, from the moment it is asked for until its topic
does not hold the session and no answer is outstanding. Request ids are the client's, and may be used twice or
for something else: a room that is asked to deliver is therefore given a number of ours in place of the id.
"""

from collections.abc import Callable, Iterator


class Subscriptions:
    """Rooms by how far they have come.

    Args:
        receives: whether a room's topic delivers to this connection now.
    """

    __slots__ = ("_asked", "_going", "_last_ticket", "_leaves", "_receives", "_rooms")

    def __init__(self, receives: Callable[[str], bool]) -> None:
        self._receives = receives
        self._rooms: set[str] = set()
        self._last_ticket = 0
        # Made when first needed: most of 10,000 connections have asked for nothing at the moment.
        self._asked: dict[int, tuple[str, int]] | None = None
        # The same pairs in both directions: a room has one of them at most, and so has an id.
        self._going: dict[str, int] | None = None
        self._leaves: dict[int, str] | None = None

    def __iter__(self) -> Iterator[str]:
        """Every room whose topic may hold the connection now or soon."""
        return iter(self._rooms)

    def __contains__(self, room: object) -> bool:
        """Whether a room was asked for, and may deliver now or soon."""
        return room in self._rooms

    @property
    def asked(self) -> int:
        """Questions that are not answered yet."""
        return 0 if self._asked is None else len(self._asked)

    def has_place(self, room: str, limit: int) -> bool:
        """Whether a room may be asked: it counts already, or fewer than `limit` others do."""
        rooms, going = self._rooms, self._going
        if room in rooms and (going is None or room not in going):
            return True
        if len(rooms) >= limit:
            self._forget_the_rest()
        return len(self._rooms) - (0 if self._going is None else len(self._going)) < limit

    def ask(self, room: str, request_id: int, limit: int) -> int | None:
        """Note that a room is about to be asked.

        Returns:
            What stands for the request's id in the question and its answer, always negative; None, and
            nothing noted, when there are `limit` rooms already.
        """
        if not self.has_place(room, limit):
            return None
        self._rooms.add(room)
        self._stay(room)
        self._last_ticket -= 1
        if self._asked is None:
            self._asked = {}
        self._asked[self._last_ticket] = (room, request_id)
        return self._last_ticket

    def leave(self, room: str, request_id: int) -> None:
        """Note that a room was asked to deliver no more: what comes next in line may take its place.

        It may only where the room delivers and has nothing else to answer: so that it cannot come back after
        its place was taken. Nothing is noted of rooms that were never asked for.
        """
        if room not in self._rooms or (
            self._asked is not None and any(asked == room for asked, _ in self._asked.values())
        ):
            return
        if not self._receives(room):
            self._rooms.discard(room)
            self._stay(room)
            return
        if self._going is None or self._leaves is None:
            self._going, self._leaves = {}, {}
        if room not in self._going and request_id not in self._leaves:
            self._going[room] = request_id
            self._leaves[request_id] = room

    def stands(self, ticket: object) -> int | None:
        """Note that a room delivers from now on; the id of the request that this answers, if it was asked."""
        asked = self._answered(ticket)
        return None if asked is None else asked[1]

    def refused(self, request_id: int | None) -> int | None:
        """Note that a request was refused, if it was one of these; its id as the client knows it.

        Args:
            request_id: a ticket of `ask`, or any request's id.
        """
        if request_id is None:
            return None
        if request_id >= 0:
            room = None if self._leaves is None else self._leaves.get(request_id)
            if room is not None:
                self._stay(room)
            return request_id
        asked = self._answered(request_id)
        if asked is None:
            return None
        room, client_id = asked
        others = () if self._asked is None else self._asked.values()
        if not self._receives(room) and all(other != room for other, _ in others):
            self._rooms.discard(room)
        return client_id

    def clear(self) -> None:
        """Forget everything: the connection has left all of them."""
        self._rooms.clear()
        self._asked = self._going = self._leaves = None

    def _answered(self, ticket: object) -> tuple[str, int] | None:
        if self._asked is None or not isinstance(ticket, int):
            return None
        asked = self._asked.pop(ticket, None)
        if not self._asked:
            self._asked = None
        return asked

    def _stay(self, room: str) -> None:
        """Take back that a room is going."""
        if self._going is None or self._leaves is None:
            return
        request_id = self._going.pop(room, None)
        if request_id is not None:
            del self._leaves[request_id]
            if not self._going:
                self._going = self._leaves = None

    def _forget_the_rest(self) -> None:
        """Keep the rooms that deliver, and those that have not answered yet."""
        kept = {room for room in self._rooms if self._receives(room)}
        if self._asked is not None:
            kept.update(room for room, _ in self._asked.values())
        for room in self._rooms - kept:
            self._stay(room)
        self._rooms = kept
