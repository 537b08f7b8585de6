"""PURE: who is typing where, on one node (docs/protocol.md 4: `typing{room, users[<=5], count}`).

No I/O and no clock: `now` (seconds, monotonic) comes in with every call. A room hears at most once in
`interval_s`, and only when what it was told has changed: the first few who began, in the order they began (a
renewal moves nobody), and how many there are. A room with more subscribers than `watchers_max` shows no
typing: there, a request costs one comparison.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from chat.presence_users import SessionId

NAMES_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingLimits:
    """When typing is told, and how long it is believed.

    Attributes:
        interval_s: seconds that changes are collected before a room hears of them.
        expire_s: seconds after which a typist who said no more has stopped; twice what clients wait between
            two notices, so that one may be lost.
        watchers_max: subscribers above which a room shows no typing.
        quiet_s: for which such a room wants no notice: then it may have become smaller.
    """

    interval_s: float = 0.5
    expire_s: float = 6.0
    watchers_max: int = 100
    quiet_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse limits that make no sense.

        Raises:
            ValueError: naming the fields.
        """
        if not 0 < self.interval_s < self.expire_s:
            raise ValueError("interval_s must be above 0 and below expire_s")
        if self.watchers_max < 0:
            raise ValueError("watchers_max must be at least 0")


class Typist(NamedTuple):
    """One of those who are typing."""

    user_id: str
    name: str


class TypingShown(NamedTuple):
    """What a room is to be told.

    Attributes:
        users: the first few who began.
        total: how many type in all.
    """

    room: str
    users: Sequence[Typist]
    total: int


class _Typing:
    """One user in one room, on one device or several."""

    __slots__ = ("sessions", "typist")

    def __init__(self, typist: Typist) -> None:
        self.typist = typist
        self.sessions: dict[SessionId, None] = {}


class _Room:
    __slots__ = ("shown", "users")

    def __init__(self) -> None:
        self.users: dict[str, _Typing] = {}
        self.shown: tuple[Sequence[Typist], int] = ((), 0)


class TypingState:
    """Typing of one node.

    Bounds: one entry for each room that a session typed in within `expire_s`; the session's own limit of
    notices bounds those.
    """

    __slots__ = ("_due", "_expires", "_limits", "_rooms", "_rooms_of")

    def __init__(self, limits: TypingLimits) -> None:
        self._limits = limits
        self._rooms: dict[str, _Room] = {}
        self._rooms_of: dict[str, dict[str, None]] = {}
        # Both in the order of deadlines, for what is added to each is always the same.
        self._expires: dict[tuple[str, SessionId], tuple[float, str]] = {}
        self._due: dict[str, float] = {}

    def start(
        self, room_name: str, session_id: SessionId, typist: Typist, *, watchers: int, now: float
    ) -> None:
        """Take a notice that a session's user is typing, or still is.

        Args:
            room_name: where.
            session_id: on which device.
            typist: who.
            watchers: the room's subscribers; above the limit nothing is kept.
            now: when.
        """
        room = self._rooms.get(room_name)
        if watchers > self._limits.watchers_max:
            if room is not None:
                self._mark(room_name, now)
            return
        if room is None:
            room = self._rooms[room_name] = _Room()
        typing = room.users.get(typist.user_id)
        if typing is None:
            typing = room.users[typist.user_id] = _Typing(typist)
            self._rooms_of.setdefault(typist.user_id, {})[room_name] = None
            self._mark(room_name, now)
        typing.sessions[session_id] = None
        key = (room_name, session_id)
        self._expires.pop(key, None)
        self._expires[key] = (now + self._limits.expire_s, typist.user_id)

    def is_active(self, room_name: str) -> bool:
        """Whether somebody types in the room, or it must still be told that nobody does any more."""
        return room_name in self._rooms

    def stop(self, room_name: str, session_id: SessionId, user_id: str, *, now: float) -> None:
        """Take a notice that a session's user stopped; on another device the user may go on."""
        room = self._rooms.get(room_name)
        typing = None if room is None else room.users.get(user_id)
        if room is None or typing is None or session_id not in typing.sessions:
            return
        del typing.sessions[session_id], self._expires[room_name, session_id]
        if not typing.sessions:
            self._remove(room_name, room, user_id, now)

    def sent(self, room_name: str, user_id: str, *, now: float) -> None:
        """A message of the user is in the room: on none of the devices is it being typed any more."""
        room = self._rooms.get(room_name)
        typing = None if room is None else room.users.get(user_id)
        if room is None or typing is None:
            return
        for session_id in typing.sessions:
            del self._expires[room_name, session_id]
        self._remove(room_name, room, user_id, now)

    def end_session(self, session_id: SessionId, user_id: str, *, now: float) -> None:
        """A session is gone, cleanly or not: it types nowhere."""
        for room_name in list(self._rooms_of.get(user_id, ())):
            self.stop(room_name, session_id, user_id, now=now)

    def silence(self, user_id: str, *, now: float) -> None:
        """Show a user as typing nowhere, as when the user has become invisible."""
        for room_name in list(self._rooms_of.get(user_id, ())):
            self.sent(room_name, user_id, now=now)

    def next_deadline(self) -> float | None:
        """When `advance` has something to do next; None: not before something else happens."""
        due = next(iter(self._due.values()), None)
        expires = next(iter(self._expires.values()), None)
        if expires is None:
            return due
        return expires[0] if due is None else min(due, expires[0])

    def advance(self, *, now: float, watchers_of: Callable[[str], int]) -> Sequence[TypingShown]:
        """End those who said no more, and say what rooms are to be told now.

        Args:
            now: when.
            watchers_of: a room's subscribers; above the limit its typing ends, and it is told so once.
        """
        while self._expires:
            (room_name, session_id), (deadline, user_id) = next(iter(self._expires.items()))
            if deadline > now:
                break
            self.stop(room_name, session_id, user_id, now=now)
        told: list[TypingShown] = []
        while self._due:
            room_name, due = next(iter(self._due.items()))
            if due > now:
                break
            del self._due[room_name]
            room = self._rooms[room_name]
            if room.users and watchers_of(room_name) > self._limits.watchers_max:
                for user_id in list(room.users):
                    self.sent(room_name, user_id, now=now)
                # It is told in this very turn, so the mark that this left is not needed.
                self._due.pop(room_name, None)
            shown = (
                tuple(typing.typist for typing in islice(room.users.values(), NAMES_MAX)),
                len(room.users),
            )
            if shown != room.shown:
                room.shown = shown
                told.append(TypingShown(room_name, *shown))
            if not room.users:
                del self._rooms[room_name]
        return told

    def _mark(self, room_name: str, now: float) -> None:
        self._due.setdefault(room_name, now + self._limits.interval_s)

    def _remove(self, room_name: str, room: _Room, user_id: str, now: float) -> None:
        del room.users[user_id]
        rooms = self._rooms_of[user_id]
        del rooms[room_name]
        if not rooms:
            del self._rooms_of[user_id]
        self._mark(room_name, now)
