"""PURE: presence of one node: sessions in, versioned diffs for watchers out (docs/protocol.md 3-4).

No I/O and no clock: `now` (seconds, monotonic) and `at_ms` (milliseconds since 1970 UTC) come in with every
call. Who is how available is `presence_users`' business, what watchers were shown is `presence_pages`', who
is a member is `presence_rosters`'; this file joins them: it knows which pages and lists show whom, marks
them, and says when their diffs are due.

A change of one user costs one mark for each page and list that shows the user, and one count for each watched
room that the user is a member of; a diff costs what it carries, once for a page, however many watch it.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple, TypeVar

from chat.errors import ErrorCode, Refused
from chat.presence_limits import PresenceLimits, diff_interval_s
from chat.presence_pages import Counts, Delta, Item, Member, RoomPage, UserList, WatchedRoom, item
from chat.presence_rosters import Rosters
from chat.presence_users import Change, SessionId, UserBook, View
from chat.pressure_state import LEVEL_MAX
from chat.protocol import Status

K = TypeVar("K")
V = TypeVar("V")


class Snapshot(NamedTuple):
    """What a watcher is shown first.

    Attributes:
        items: the users.
        version: the diffs that follow begin one above it.
        counts: the room's; None for a watch by user ids.
        next: the cursor of the following page; None: nobody follows.
    """

    items: Sequence[Item]
    version: int
    counts: Counts | None = None
    next: str | None = None


class PresenceStatistics(NamedTuple):
    """One look at what is held.

    Attributes:
        sessions: that are open.
        users: with a session that is open or in its grace.
        rooms: whose members are known: watched now, or a moment ago.
        pages: of them that are watched.
        members: in the rosters of those rooms, each room counted by itself.
        shown: users shown on a page or watched by id, each counted by itself.
    """

    sessions: int
    users: int
    rooms: int
    pages: int
    members: int
    shown: int


class PresenceState:
    """Presence of one node.

    Bounds: users by the sessions that are open or in their grace; watches by `limits` for each session;
    rosters as `Rosters` says. What is marked is bounded by what is shown.

    Args:
        limits: how much a session may watch, and how patient presence is.
        hidden: is kept to be the users who are here, but invisible to others; empty at first.
    """

    __slots__ = (
        "_book",
        "_due",
        "_hid",
        "_hidden",
        "_level",
        "_limits",
        "_listed_by",
        "_lists",
        "_rosters",
        "_serial",
        "_shown_on",
        "_steps",
    )

    def __init__(self, limits: PresenceLimits, hidden: set[str] | None = None) -> None:
        self._limits = limits
        self._book = UserBook(grace_s=limits.grace_s)
        self._lists: dict[SessionId, UserList] = {}
        self._rosters = Rosters(limits, view_of=self._book.public)
        self._shown_on: dict[str, dict[RoomPage, None]] = {}
        self._listed_by: dict[str, dict[UserList, None]] = {}
        # The serial settles ties, so that two feeds are never compared.
        self._due: list[tuple[float, int, WatchedRoom | UserList]] = []
        self._serial = 0
        self._hidden = set[str]() if hidden is None else hidden
        self._hid: list[str] = []
        self._level = 0
        self._steps = 0

    def open(
        self,
        session_id: SessionId,
        user_id: str,
        name: str,
        status: Status,
        text: str | None,
        *,
        now: float,
        at_ms: int,
    ) -> None:
        """Add a session, which from now on hears of its own user; a known one changes nothing."""
        if session_id in self._lists:
            return
        # What the client believes; where the truth differs, because of other devices, the first diff says so.
        own = item(user_id, name, View(status, text or None, at_ms))
        feed = self._lists[session_id] = UserList(session_id, user_id, own)
        self._apply(self._book.open(session_id, user_id, name, status, text, at_ms=at_ms), now)
        # Listed only now, so that the session's own coming is no news to it.
        self._listed_by.setdefault(user_id, {})[feed] = None
        truth = self._book.own(user_id)
        if (truth.status, truth.text) != (status, text or None):
            feed.marked[user_id] = None
            self._schedule(feed, now)

    def close(self, session_id: SessionId, *, clean: bool, now: float, at_ms: int) -> None:
        """End a session and all that it watches; its user leaves at once if `clean`, else after the grace."""
        feed = self._lists.pop(session_id, None)
        if feed is None:
            return
        for page in feed.rooms.values():
            self._drop_watcher(page, session_id, now)
        for user_id in feed.shown:
            self._unlist(user_id, feed)
        feed.due = None
        self._apply(self._book.close(session_id, clean=clean, now=now, at_ms=at_ms), now)

    def say(self, session_id: SessionId, status: Status, text: str | None, *, now: float, at_ms: int) -> None:
        """Take a session's new status and its user's new text (None: no text).

        Raises:
            Refused: `unavailable` when the session is not known here (yet).
        """
        self._feed(session_id)
        self._apply(self._book.say(session_id, status, text, at_ms=at_ms), now)

    def statistics(self) -> PresenceStatistics:
        """Take one look; costs a step for each user, for a scrape now and then."""
        return PresenceStatistics(
            sessions=len(self._lists),
            users=len(self._book),
            rooms=sum(1 for _ in self._rosters.rooms),
            pages=sum(len(room.pages) for room in self._rosters.rooms),
            members=self._rosters.members,
            shown=sum(map(len, self._shown_on.values())) + sum(map(len, self._listed_by.values())),
        )

    def is_hidden(self, user_id: str) -> bool:
        """Whether the user is here, but invisible to others."""
        return user_id in self._hidden

    def take_hidden(self) -> Sequence[str]:
        """The users who changed while invisible since the last call: let nothing else tell on them."""
        hid, self._hid = self._hid, []
        return hid

    def set_level(self, level: int) -> None:
        """Take the node's level of pressure (clamped to 0-4); it counts for diffs not yet due."""
        self._level = max(0, min(level, LEVEL_MAX))

    def open_room(
        self,
        session_id: SessionId,
        room_name: str,
        *,
        epoch: int,
        roster: Sequence[Member],
        cursor: str | None,
        now: float,
    ) -> bool:
        """Check what `watch_room` is going to ask for, and have the room's members read, if need be.

        Args:
            session_id: who is to watch.
            room_name: the room.
            epoch: the room's ownership; another one than before replaces the roster.
            roster: every member; read only when the room is not known, or `epoch` is new.
            cursor: see `watch_room`.
            now: when.

        Returns:
            Whether the room can be watched now; False: `work` will name it when it can.

        Raises:
            Refused: as `watch_room`, and `busy` when too many rooms are being read. Nothing changed.
        """
        self._check_watch(session_id, room_name, cursor)
        rosters = self._rosters
        before = rosters.find(room_name)
        known = before is not None and before.epoch == epoch
        ready = rosters.read(room_name, epoch, roster, now=now)
        room = None if known else rosters.find(room_name)
        if room is not None:
            self._schedule_if_watched(room, now)
        return ready

    def watch_room(
        self, session_id: SessionId, room_name: str, *, cursor: str | None, limit: int
    ) -> Snapshot:
        """Watch a page of a room's members, instead of the page of that room that the session watched.

        Args:
            session_id: who watches.
            room_name: a room that can be watched (`open_room`).
            cursor: `next` of the page before; None: the first page.
            limit: members to show; more when the room is small enough to be shown whole.

        Raises:
            Refused: `unavailable` for an unknown session or a room that cannot be watched (any more),
                `forbidden` for one room too many, `bad_cursor`. Nothing changed.
        """
        feed = self._check_watch(session_id, room_name, cursor)
        limits = self._limits
        room = self._rosters.find(room_name)
        if room is None:
            raise Refused(ErrorCode.UNAVAILABLE, "the room's members are not known", retry_after_s=1.0)
        if cursor is None and len(room.members) <= limits.full_list_max:
            limit = limits.full_list_max
        key = (cursor or "", min(limit, limits.full_list_max))
        page = room.pages.get(key)
        if page is None:
            self._rosters.watched(room)
            page = room.pages[key] = RoomPage(room, *key, view_of=self._book.public)
            for user_id in page.shown:
                self._shown_on.setdefault(user_id, {})[page] = None
        old = feed.rooms.get(room_name)
        feed.rooms[room_name] = page
        page.watchers[session_id] = None
        if old is not None and old is not page:
            self._drop_page_watcher(old, session_id)
        self._steps += len(page.shown)
        return Snapshot(page.items(), page.version, page.counts, page.next)

    def watch_users(self, session_id: SessionId, user_ids: Sequence[str]) -> Snapshot:
        """Add users to those that the session watches by id.

        Raises:
            Refused: `unavailable` for an unknown session, `bad_request` for too many users in one request,
                `forbidden` for too many in all. Nothing changed.
        """
        feed = self._feed(session_id)
        limits = self._limits
        if len(user_ids) > limits.request_users_max:
            raise Refused(
                ErrorCode.BAD_REQUEST, f"at most {limits.request_users_max} users at once", field="users"
            )
        wanted = dict.fromkeys(user_ids)
        # One more than the limit, for the session's own user is always among them.
        if len(feed.shown) + sum(one not in feed.shown for one in wanted) > limits.users_max + 1:
            raise Refused(ErrorCode.FORBIDDEN, f"a session watches {limits.users_max} users at most")
        for user_id in wanted:
            if user_id not in feed.shown:
                feed.shown[user_id] = self._item(feed.user_id, user_id)
                self._listed_by.setdefault(user_id, {})[feed] = None
        self._steps += len(wanted)
        return Snapshot([feed.shown[one] for one in wanted], feed.version)

    def unwatch_room(self, session_id: SessionId, room_name: str, *, now: float) -> None:
        """Watch a room no more; nothing happens when it was not watched."""
        feed = self._lists.get(session_id)
        page = None if feed is None else feed.rooms.pop(room_name, None)
        if page is not None:
            self._drop_watcher(page, session_id, now)

    def end_watch(self, room_name: str, user_id: str, *, now: float) -> Sequence[SessionId]:
        """End the watches of a room by all sessions of a user, who may see it no more.

        Returns:
            The user's sessions.
        """
        sessions = self._book.sessions(user_id)
        for session_id in sessions:
            self.unwatch_room(session_id, room_name, now=now)
        return sessions

    def unwatch_users(self, session_id: SessionId, user_ids: Sequence[str]) -> None:
        """Watch users by id no more; nothing happens for those that were not watched, or are oneself."""
        feed = self._lists.get(session_id)
        if feed is not None:
            for user_id in user_ids:
                if user_id != feed.user_id and feed.shown.pop(user_id, None) is not None:
                    self._unlist(user_id, feed)

    def members_changed(
        self, room_name: str, joined: Iterable[Member], left: Iterable[str], *, now: float
    ) -> None:
        """Take joins, then leaves, of a room; one whose members are not known costs nothing."""
        known = self._rosters.members_changed(room_name, joined, left)
        if known is not None and known[1]:
            self._schedule_if_watched(known[0], now)

    @property
    def busy(self) -> bool:
        """Whether there is something to `work` on."""
        return self._rosters.busy

    def work(self, *, now: float) -> Sequence[str]:
        """Go on, for about a millisecond, with what is too long for one turn: large rosters.

        Returns:
            Rooms that can be watched from now on.
        """
        ready: list[str] = []
        for room in self._rosters.work(now=now):
            self._schedule_if_watched(room, now)
            if room.changed is None:
                ready.append(room.name)
        return ready

    def take_steps(self) -> int:
        """What was done since the last call: members read and forgotten, items shown; 1 to 2 us each."""
        steps = self._steps + self._rosters.steps
        self._steps = self._rosters.steps = 0
        return steps

    def next_deadline(self) -> float | None:
        """When `advance` has something to do next; None: not before something else happens."""
        deadlines = [
            at for at in (self._book.next_deadline(), self._rosters.next_deadline()) if at is not None
        ]
        if self._due:
            deadlines.append(self._due[0][0])
        return min(deadlines, default=None)

    def advance(self, *, now: float, at_ms: int) -> Sequence[Delta]:
        """Do what is due: end graces, and make the diffs whose interval is over, earliest first.

        Also puts rooms that nobody has watched for long enough on the list of `work`.
        """
        self._rosters.expire(now=now)
        for change in self._book.expire(now=now, at_ms=at_ms):
            self._apply(change, now)
        deltas: list[Delta] = []
        while self._due and self._due[0][0] <= now:
            due, _, feed = heappop(self._due)
            if feed.due != due:
                continue  # it is watched no more
            feed.due = None
            if isinstance(feed, WatchedRoom):
                self._flush_room(feed, now, deltas)
            elif (delta := feed.flush(item_of=self._item)) is not None:
                feed.earliest = now + self._interval_s(1, len(delta.changes))
                deltas.append(delta)
        return deltas

    def _check_watch(self, session_id: SessionId, room_name: str, cursor: str | None) -> UserList:
        feed = self._feed(session_id)
        rooms_max = self._limits.rooms_max
        if cursor is not None and not cursor.startswith(("u_", "g_")):
            raise Refused(ErrorCode.BAD_CURSOR, "that cursor is not of this list", field="cursor")
        if room_name not in feed.rooms and len(feed.rooms) >= rooms_max:
            raise Refused(ErrorCode.FORBIDDEN, f"a session watches {rooms_max} rooms at most")
        return feed

    def _feed(self, session_id: SessionId) -> UserList:
        feed = self._lists.get(session_id)
        if feed is None:
            raise Refused(ErrorCode.UNAVAILABLE, "presence does not know this session yet", retry_after_s=1.0)
        return feed

    def _item(self, watcher_id: str, user_id: str) -> Item:
        book = self._book
        if watcher_id == user_id:
            return item(user_id, book.name(user_id), book.own(user_id))
        view = book.public(user_id)
        # Without a name when offline: else a name would tell an invisible user from an absent one.
        return item(user_id, None if view.status == "offline" else book.name(user_id), view)

    def _apply(self, change: Change | None, now: float) -> None:
        if change is None:
            return
        user_id, before, after = change
        if self._book.own(user_id).status == "invisible":
            self._hidden.add(user_id)
            self._hid.append(user_id)
        else:
            self._hidden.discard(user_id)
        if before.status != after.status:
            for room in self._rosters.of_user(user_id):
                room.move(before, after)
                self._schedule_if_watched(room, now)
        if before != after:
            for page in self._shown_on.get(user_id, ()):
                page.marked[user_id] = None
                self._schedule(page.room, now)
        for feed in self._listed_by.get(user_id, ()):
            if before != after or feed.user_id == user_id:
                feed.marked[user_id] = None
                self._schedule(feed, now)

    def _schedule_if_watched(self, room: WatchedRoom, now: float) -> None:
        if room.pages:
            self._schedule(room, now)

    def _schedule(self, feed: WatchedRoom | UserList, now: float) -> None:
        if feed.due is None:
            # What the last diffs cost is waited out from then on: after a quiet time it is over.
            feed.due = max(now + self._interval_s(0, 0), feed.earliest)
            self._serial += 1
            heappush(self._due, (feed.due, self._serial, feed))

    def _interval_s(self, deliveries: int, items: int) -> float:
        limits = self._limits
        return diff_interval_s(
            deliveries=deliveries,
            items=items,
            level=self._level,
            min_s=limits.interval_min_s,
            max_s=limits.interval_max_s,
        )

    def _flush_room(self, room: WatchedRoom, now: float, deltas: list[Delta]) -> None:
        deliveries = items = 0
        added: list[str] = []
        removed: list[str] = []
        for page in room.pages.values():
            delta = page.flush(view_of=self._book.public, added=added, removed=removed)
            for user_id in removed:
                self._unshow(user_id, page)
            for user_id in added:
                self._shown_on.setdefault(user_id, {})[page] = None
            added.clear()
            removed.clear()
            if delta is not None:
                deltas.append(delta)
                deliveries += len(page.watchers)
                items += len(page.watchers) * len(delta.changes)
        room.earliest = now + self._interval_s(deliveries, items)

    def _drop_watcher(self, page: RoomPage, session_id: SessionId, now: float) -> None:
        self._drop_page_watcher(page, session_id)
        room = page.room
        if not room.pages:
            room.due = None
            self._rosters.unwatched(room, now=now)

    def _drop_page_watcher(self, page: RoomPage, session_id: SessionId) -> None:
        page.watchers.pop(session_id, None)
        if page.watchers:
            return
        del page.room.pages[page.after, page.limit]
        for user_id in page.shown:
            self._unshow(user_id, page)

    def _unshow(self, user_id: str, page: RoomPage) -> None:
        _discard(self._shown_on, user_id, page)

    def _unlist(self, user_id: str, feed: UserList) -> None:
        _discard(self._listed_by, user_id, feed)


def _discard(index: dict[K, dict[V, None]], key: K, value: V) -> None:
    values = index[key]
    del values[value]
    if not values:
        del index[key]
