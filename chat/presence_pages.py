"""PURE: what watchers were shown, and the versioned diffs that bring them up to date.

Two kinds of watch share one idea. Whoever watches has been *shown* items, at a *version*. What happens later
is only marked; `flush` compares the marked users with what was shown, and when something differs the version
rises by one and one diff tells it. So: what was shown at version v, plus the diffs after v, is what is shown
now; a change that was undone in between is no diff; and a newcomer is handed what the others were shown,
never something newer that a later diff would not correct.

- `RoomPage`: one page of one room's members, shared by all who watch it (one encoding for all of them).
- `UserList`: the users that one session watches by id, and its own user.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from chat.presence_order import MemberOrder
from chat.presence_users import SessionId, View

Item = Mapping[str, object]
"""One user as the wire has it: `user`, `name?`, `status`, `text?`, `since?`. Never changed once made."""

FIRST_VERSION: Final = 1
"""The version of a fresh watch. 0 is never reached by counting: it says that the server lost its watches."""

ViewOf = Callable[[str], View]


class Member(Protocol):
    """A row of a room's roster."""

    @property
    def user_id(self) -> str:
        """Who."""
        ...

    @property
    def name(self) -> str:
        """The display name."""
        ...


class Counts(NamedTuple):
    """A room's members by how they are seen; the rest of `total` is offline, or hidden."""

    online: int
    away: int
    dnd: int
    total: int

    def to_wire(self) -> Mapping[str, int]:
        """The `counts` field."""
        return self._asdict()


class Delta(NamedTuple):
    """One diff of one watch.

    Attributes:
        room: None for a watch by user ids.
        version: one above that of the diff before.
        changes: items; with `joined` for a new member, `{user, left}` for one not on the page any more.
        counts: the room's, when they changed.
        next: (the cursor of the following page, or None,) when that changed, else None.
        watchers: the sessions to tell.
    """

    room: str | None
    version: int
    changes: Sequence[Item]
    counts: Counts | None
    next: tuple[str | None] | None
    watchers: Iterable[SessionId]


def item(user_id: str, name: str | None, view: View) -> Item:
    """A user as the wire has it."""
    made: dict[str, object] = {"user": user_id}
    if name is not None:
        made["name"] = name
    made["status"] = view.status
    if view.text is not None:
        made["text"] = view.text
    if view.since_ms:
        made["since"] = view.since_ms
    return made


def _differs(shown: Item, view: View) -> bool:
    # Not by `since`: a blip that nobody was told of does not count as a new beginning either.
    return shown["status"] != view.status or shown.get("text") != view.text


class WatchedRoom:
    """The members of a room that somebody watches, their counts, and its watched pages; empty at first.

    Args:
        name: the room.
        epoch: the ownership under which the room actor gave the roster.

    Attributes:
        members: with their display names.
        pages: by the cursor after which they begin, and their size.
        changed: who came or went since the roster that is being read; None when none is.
        due: when the next diffs are due; None when nothing waits.
        earliest: no diffs before this time: what the last ones cost.
    """

    __slots__ = (
        "away",
        "changed",
        "dnd",
        "due",
        "earliest",
        "epoch",
        "members",
        "name",
        "online",
        "pages",
    )

    def __init__(self, name: str, epoch: int) -> None:
        self.name = name
        self.epoch = epoch
        self.members = MemberOrder()
        self.online = self.away = self.dnd = 0
        self.pages: dict[tuple[str, int], RoomPage] = {}
        self.changed: set[str] | None = None
        self.due: float | None = None
        self.earliest = float("-inf")

    @property
    def counts(self) -> Counts:
        """The room's counts now."""
        return Counts(self.online, self.away, self.dnd, len(self.members))

    def window(self, after: str, limit: int) -> tuple[Sequence[str], str | None]:
        """The first `limit` members after a cursor, by user id, and the cursor of those that follow."""
        users, more = self.members.window(after, limit)
        return users, users[-1] if more else None

    def move(self, before: View, after: View) -> None:
        """Count a member whose view changed."""
        self._count(before, -1)
        self._count(after, 1)

    def join(self, user_id: str, name: str, view: View) -> bool:
        """Add a member; False when it was one already (its name is taken over for later)."""
        if not self.members.add(user_id, name):
            return False
        self._count(view, 1)
        self._repage(user_id)
        return True

    def leave(self, user_id: str, view: View) -> bool:
        """Remove a member; False when it was none."""
        if not self.members.remove(user_id):
            return False
        self._count(view, -1)
        self._repage(user_id)
        return True

    def _repage(self, user_id: str) -> None:
        # A page holds the first so many members after its cursor, so those that begin later do not move.
        for page in self.pages.values():
            if page.after < user_id:
                page.moved = True

    def _count(self, view: View, by: int) -> None:
        match view.status:
            case "online":
                self.online += by
            case "away":
                self.away += by
            case "dnd":
                self.dnd += by
            case _:
                pass


class RoomPage:
    """One page of a room's members, the same for all who watch it.

    Attributes:
        room: whose members.
        after: it begins with the first member above this user id; empty: the very first.
        limit: how many members it holds at most.
        shown: what the watchers were shown, by user id.
        counts: the counts they were shown.
        next: the cursor they were shown; None: nobody follows.
        version: of all that.
        watchers: sessions.
        marked: users that were shown and may have changed.
        moved: whether members came or went that may belong here.
    """

    __slots__ = (
        "after",
        "counts",
        "limit",
        "marked",
        "moved",
        "next",
        "room",
        "shown",
        "version",
        "watchers",
    )

    def __init__(self, room: WatchedRoom, after: str, limit: int, *, view_of: ViewOf) -> None:
        self.room = room
        self.after = after
        self.limit = limit
        self.version = FIRST_VERSION
        users, self.next = room.window(after, limit)
        self.shown: dict[str, Item] = {one: item(one, room.members.name(one), view_of(one)) for one in users}
        self.counts = room.counts
        self.watchers: dict[SessionId, None] = {}
        self.marked: dict[str, None] = {}
        self.moved = False

    def items(self) -> Sequence[Item]:
        """What is shown, by user id."""
        return [self.shown[user_id] for user_id in sorted(self.shown)]

    def flush(self, *, view_of: ViewOf, added: list[str], removed: list[str]) -> Delta | None:
        """Compare what was shown with what is; None when nothing differs.

        Args:
            view_of: how a user is seen by others.
            added: gets the users that are shown from now on.
            removed: gets those that are not any more.
        """
        room = self.room
        changes: list[Item] = []
        next_change: tuple[str | None] | None = None
        if self.moved:
            self.moved = False
            users, cursor = room.window(self.after, self.limit)
            if cursor != self.next:
                self.next = cursor
                next_change = (cursor,)
            now = frozenset(users)
            for user_id in [one for one in self.shown if one not in now]:
                del self.shown[user_id]
                removed.append(user_id)
                changes.append({"user": user_id, "left": True})
            for user_id in users:
                if user_id not in self.shown:
                    made = item(user_id, room.members.name(user_id), view_of(user_id))
                    self.shown[user_id] = made
                    added.append(user_id)
                    changes.append({**made, "joined": True})
        for user_id in self.marked:
            shown = self.shown.get(user_id)
            if shown is not None and _differs(shown, view := view_of(user_id)):
                made = item(user_id, room.members.name(user_id), view)
                self.shown[user_id] = made
                changes.append(made)
        self.marked.clear()
        counts = room.counts
        if not changes and next_change is None and counts == self.counts:
            return None
        new_counts = counts if counts != self.counts else None
        self.counts = counts
        self.version += 1
        return Delta(room.name, self.version, changes, new_counts, next_change, self.watchers)


class UserList:
    """What one session watches by user id. Its own user is always among them, and seen as it truly is.

    Attributes:
        session_id: the watcher.
        user_id: its user.
        shown: what it was shown, by user id.
        version: of all that.
        rooms: the page that it watches of each room, by room name.
        due: when the next diff is due; None when nothing waits.
        earliest: no diff before this time.
        marked: users that were shown and may have changed.
    """

    __slots__ = ("due", "earliest", "marked", "rooms", "session_id", "shown", "user_id", "version")

    def __init__(self, session_id: SessionId, user_id: str, own: Item) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.shown: dict[str, Item] = {user_id: own}
        self.version = FIRST_VERSION
        self.rooms: dict[str, RoomPage] = {}
        self.due: float | None = None
        self.earliest = float("-inf")
        self.marked: dict[str, None] = {}

    def flush(self, *, item_of: Callable[[str, str], Item]) -> Delta | None:
        """Compare what was shown with what is; None when nothing differs.

        Args:
            item_of: how the first user sees the second.
        """
        changes: list[Item] = []
        for user_id in self.marked:
            shown = self.shown.get(user_id)
            if shown is None:
                continue
            made = item_of(self.user_id, user_id)
            if shown["status"] != made["status"] or shown.get("text") != made.get("text"):
                self.shown[user_id] = made
                changes.append(made)
        self.marked.clear()
        if not changes:
            return None
        self.version += 1
        return Delta(None, self.version, changes, None, None, (self.session_id,))
