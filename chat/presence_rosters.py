"""PURE: the members of the rooms that somebody watches, or watched a moment ago.

Reading a roster costs a step for each member, and so does forgetting it, which for a large room is more than
one turn may take: both are done in slices, `work` by `work`. Between two watches of a room its members are
kept for a while, so that who watches, unwatches and watches again does not have them read each time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from chat.errors import ErrorCode, Refused
from chat.presence_limits import PresenceLimits
from chat.presence_order import MemberOrder
from chat.presence_pages import Member, ViewOf, WatchedRoom

READING_MAX: Final = 256
"""Rooms that may be read at once; each one holds a roster that a room actor may have replaced."""
RETRY_S: Final = 1.0


_SHARDS: Final = 64
"""A dict of 100,000 users takes several milliseconds to grow; one of so many takes its share."""


class _RoomsOf:
    """The rooms of each user: mostly one, so that one needs no list."""

    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards: tuple[dict[str, tuple[WatchedRoom, ...] | WatchedRoom], ...] = tuple(
            {} for _ in range(_SHARDS)
        )

    def get(self, user_id: str) -> tuple[WatchedRoom, ...]:
        rooms = self._shards[hash(user_id) % _SHARDS].get(user_id, ())
        return rooms if isinstance(rooms, tuple) else (rooms,)

    def add(self, user_id: str, room: WatchedRoom) -> None:
        shard = self._shards[hash(user_id) % _SHARDS]
        shard[user_id] = room if user_id not in shard else (*self.get(user_id), room)

    def remove(self, user_id: str, room: WatchedRoom) -> None:
        shard = self._shards[hash(user_id) % _SHARDS]
        if shard[user_id] is room:
            del shard[user_id]
        else:
            first, *others = (one for one in self.get(user_id) if one is not room)
            shard[user_id] = (first, *others) if others else first


class _Kept(NamedTuple):
    until: float
    members: int


class Rosters:
    """The rooms whose members are known. Every one is watched, being read, or kept for a while.

    Bounds: the rooms that are watched, `READING_MAX` that are read, and those kept (`limits`).

    Args:
        limits: how much is read at once, and for how long how much is kept.
        view_of: how a user is seen by others.

    Attributes:
        steps: members read and forgotten since the owner last set it to 0.
    """

    __slots__ = (
        "_by_name",
        "_jobs",
        "_kept",
        "_kept_members",
        "_limits",
        "_of",
        "_reading",
        "_view_of",
        "steps",
    )

    def __init__(self, limits: PresenceLimits, *, view_of: ViewOf) -> None:
        self._limits = limits
        self._view_of = view_of
        self._by_name: dict[str, WatchedRoom] = {}
        self._of = _RoomsOf()
        # In the order in which they have their next slice; a room has one job at most.
        self._jobs: dict[WatchedRoom, Iterator[None]] = {}
        self._reading = 0
        # All are kept equally long, so the order of insertion is the order of deadlines.
        self._kept: dict[WatchedRoom, _Kept] = {}
        self._kept_members = 0
        self.steps = 0

    @property
    def rooms(self) -> Iterable[WatchedRoom]:
        """The rooms whose members are known, or being read."""
        return self._by_name.values()

    @property
    def members(self) -> int:
        """Members of all rooms, each room counted by itself."""
        return sum(len(room.members) for room in self._by_name.values())

    @property
    def busy(self) -> bool:
        """Whether there is something to `work` on."""
        return bool(self._jobs)

    def find(self, name: str) -> WatchedRoom | None:
        """A room whose members are known."""
        room = self._by_name.get(name)
        return None if room is None or room.changed is not None else room

    def of_user(self, user_id: str) -> Sequence[WatchedRoom]:
        """The rooms in which the user is counted."""
        return self._of.get(user_id)

    def read(self, name: str, epoch: int, roster: Sequence[Member], *, now: float) -> bool:
        """Have a room's members read, unless they are known as of `epoch`; begin anew for another epoch.

        Returns:
            Whether they are known now; False: `work` will tell.

        Raises:
            Refused: `busy` when too many rooms are being read.
        """
        room = self._by_name.get(name)
        if room is not None and room.epoch == epoch:
            return room.changed is None
        if self._reading >= READING_MAX and (room is None or room.changed is None):
            raise Refused(ErrorCode.BUSY, "too many rooms are being read", retry_after_s=RETRY_S)
        if room is None:
            room = self._by_name[name] = WatchedRoom(name, epoch)
        room.epoch = epoch
        if room.changed is None:
            self._reading += 1
        else:
            del self._jobs[room]
        self._unkeep(room)
        room.changed = set()
        self._go_on(room, self._reconcile(room, roster, room.changed), now)
        return room not in self._jobs

    def watched(self, room: WatchedRoom) -> None:
        """Take note that a known room is watched from now on."""
        self._unkeep(room)

    def unwatched(self, room: WatchedRoom, *, now: float) -> None:
        """Take note that nobody watches a room any more: it is kept for a while, others perhaps not."""
        limits = self._limits
        if room.changed is not None:
            return  # when it has been read is soon enough
        self._kept[room] = kept = _Kept(now + limits.keep_s, len(room.members))
        self._kept_members += kept.members
        while len(self._kept) > limits.keep_rooms_max or (
            len(self._kept) > 1 and self._kept_members > limits.keep_members_max
        ):
            self._forget(next(iter(self._kept)))

    def members_changed(
        self, name: str, joined: Iterable[Member], left: Iterable[str]
    ) -> tuple[WatchedRoom, bool] | None:
        """Take joins, then leaves, of a room.

        Returns:
            The room and whether anything changed; None for a room whose members nobody asked for.
        """
        room = self._by_name.get(name)
        if room is None:
            return None
        changed = False
        for member in joined:
            if room.changed is not None:
                room.changed.add(member.user_id)
            changed |= self._join(room, member)
        for user_id in left:
            if room.changed is not None:
                room.changed.add(user_id)
            changed |= self._leave(room, user_id)
        return room, changed

    def next_deadline(self) -> float | None:
        """When a room was kept for long enough; None when none is."""
        return next((kept.until for kept in self._kept.values()), None)

    def expire(self, *, now: float) -> None:
        """Forget the rooms that nobody has watched for long enough."""
        while (until := self.next_deadline()) is not None and until <= now:
            self._forget(next(iter(self._kept)))

    def work(self, *, now: float) -> Sequence[WatchedRoom]:
        """Do one turn's worth of reading and forgetting, every room in its turn.

        Returns:
            The rooms whose members changed or are known now.
        """
        until = self.steps + self._limits.slice_members
        touched: dict[WatchedRoom, None] = {}
        while self._jobs and self.steps < until:
            room, job = next(iter(self._jobs.items()))
            del self._jobs[room]
            self.steps += 1
            self._go_on(room, job, now)
            if self._by_name.get(room.name) is room:
                touched[room] = None
        return tuple(touched)

    def _go_on(self, room: WatchedRoom, job: Iterator[None], now: float) -> None:
        for _ in job:
            self._jobs[room] = job
            return
        if room.changed is not None:
            room.changed = None
            self._reading -= 1
            if not room.pages:
                self.unwatched(room, now=now)

    def _reconcile(self, room: WatchedRoom, roster: Sequence[Member], changed: set[str]) -> Iterator[None]:
        """Make the roster the room's members, but for those of whom something newer is known."""
        size = self._limits.slice_members
        known = room.members.ids()
        present = MemberOrder()
        for start in range(0, len(roster), size):
            if start:
                yield
            part = roster[start : start + size]
            self.steps += len(part)
            for member in part:
                if known:
                    present.add(member.user_id, member.name)
                if member.user_id not in changed:
                    self._join(room, member)
        for start in range(0, len(known), size):
            yield
            gone = known[start : start + size]
            self.steps += len(gone)
            for user_id in gone:
                if user_id not in present and user_id not in changed:
                    self._leave(room, user_id)

    def _forget(self, room: WatchedRoom) -> None:
        self._unkeep(room)
        del self._by_name[room.name]
        self._jobs[room] = self._unlist(room)

    def _unlist(self, room: WatchedRoom) -> Iterator[None]:
        size = self._limits.slice_members
        known = room.members.ids()
        for start in range(0, len(known), size):
            if start:
                yield
            gone = known[start : start + size]
            self.steps += len(gone)
            for user_id in gone:
                self._of.remove(user_id, room)

    def _unkeep(self, room: WatchedRoom) -> None:
        kept = self._kept.pop(room, None)
        if kept is not None:
            self._kept_members -= kept.members

    def _join(self, room: WatchedRoom, member: Member) -> bool:
        user_id = member.user_id
        if not room.join(user_id, member.name, self._view_of(user_id)):
            return False
        self._of.add(user_id, room)
        return True

    def _leave(self, room: WatchedRoom, user_id: str) -> bool:
        if not room.leave(user_id, self._view_of(user_id)):
            return False
        self._of.remove(user_id, room)
        return True
