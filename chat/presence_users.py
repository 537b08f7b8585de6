"""PURE: what a user's sessions add up to: several devices, lost connections, invisibility.

No I/O and no clock: `now` (seconds, monotonic) and `at_ms` (milliseconds since 1970 UTC) come in with every
call. Knows nothing of rooms or watchers, so that several nodes can later share users out among them.

The rules:
- The most available of a user's sessions is the user's status: online, then away, dnd, invisible.
- The text is the user's, not the device's: the last one set counts, until the last session has ended.
- Invisible is the user's, too, and the last word counts: set by any device, it hides the user until some
  device asks for another status. Opening one more device does not reveal who is hidden, nor does closing the
  device that hid.
- A session that ends cleanly is gone at once. One whose connection was lost counts for `grace_s` as if
  nothing had happened; the next session of the user takes its place.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from chat.protocol import Status

SessionId = int | str
Seen = Literal["online", "away", "dnd", "invisible", "offline"]

_RANK: Final[Mapping[Status, int]] = {"online": 3, "away": 2, "dnd": 1, "invisible": 0}


class View(NamedTuple):
    """How a user is seen.

    Attributes:
        status: `invisible` only in the user's own view.
        text: what the user says beside it; None for offline.
        since_ms: when that status began; 0 for offline, which never tells when.
    """

    status: Seen
    text: str | None
    since_ms: int


OFFLINE: Final = View("offline", None, 0)


class Change(NamedTuple):
    """What one step did to one user.

    Attributes:
        before: how the others saw the user.
        after: how they see the user now; equal to `before` when only the user's own view changed.
    """

    user_id: str
    before: View
    after: View


class _User:
    __slots__ = ("hidden", "live", "lost", "name", "own", "public", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.live: dict[SessionId, Status] = {}
        self.lost: dict[SessionId, Status] = {}
        self.hidden = False
        self.text: str | None = None
        self.public = OFFLINE
        self.own = OFFLINE


class UserBook:
    """Every user with a session on this node, or with one lost a moment ago.

    Bounded by the sessions that are open plus those lost within `grace_s`; a user who comes and goes takes up
    no more lost ones than it had sessions open at once.

    Args:
        grace_s: seconds that a lost connection still counts; 0 or more.
    """

    __slots__ = ("_grace_s", "_lost_until", "_owner", "_users")

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._users: dict[str, _User] = {}
        self._owner: dict[SessionId, str] = {}
        # The grace is the same for all, so the order of insertion is the order of deadlines.
        self._lost_until: dict[SessionId, float] = {}

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, session_id: SessionId) -> bool:
        return session_id in self._owner and session_id not in self._lost_until

    def public(self, user_id: str) -> View:
        """How everyone else sees the user."""
        user = self._users.get(user_id)
        return OFFLINE if user is None else user.public

    def own(self, user_id: str) -> View:
        """How the user's own sessions see the user."""
        user = self._users.get(user_id)
        return OFFLINE if user is None else user.own

    def name(self, user_id: str) -> str | None:
        """The display name that the user's latest session had; None without a session."""
        user = self._users.get(user_id)
        return None if user is None else user.name

    def sessions(self, user_id: str) -> Sequence[SessionId]:
        """The user's open sessions."""
        user = self._users.get(user_id)
        return () if user is None else tuple(user.live)

    def open(
        self, session_id: SessionId, user_id: str, name: str, status: Status, text: str | None, *, at_ms: int
    ) -> Change | None:
        """Add a session; one that is known already changes nothing.

        Args:
            session_id: never used before.
            user_id: whose it is.
            name: the user's display name.
            status: what its `hello` said.
            text: None leaves the user's text as it is.
            at_ms: when.

        Returns:
            What changed, or None.
        """
        if session_id in self._owner:
            return None
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User(name)
        user.name = name
        self._owner[session_id] = user_id
        self._take_over(user, status)
        user.live[session_id] = status
        if status == "invisible":
            user.hidden = True
        if text is not None:
            user.text = text or None
        return self._settle(user_id, user, at_ms)

    def say(self, session_id: SessionId, status: Status, text: str | None, *, at_ms: int) -> Change | None:
        """Take a session's new status, and the user's new text (None: no text).

        Returns:
            What changed, or None, which is also the answer for a session that is not open.
        """
        if session_id not in self:
            return None
        user_id = self._owner[session_id]
        user = self._users[user_id]
        user.live[session_id] = status
        user.hidden = status == "invisible"
        user.text = text or None
        return self._settle(user_id, user, at_ms)

    def close(self, session_id: SessionId, *, clean: bool, now: float, at_ms: int) -> Change | None:
        """End a session: at once when `clean`, else after the grace. Unknown ones change nothing."""
        if session_id not in self:
            return None
        user_id = self._owner[session_id]
        user = self._users[user_id]
        status = user.live.pop(session_id)
        if not clean and self._grace_s > 0:
            user.lost[session_id] = status
            self._lost_until[session_id] = now + self._grace_s
            return None
        del self._owner[session_id]
        return self._settle(user_id, user, at_ms)

    def expire(self, *, now: float, at_ms: int) -> list[Change]:
        """End every lost session whose grace is over."""
        over: list[SessionId] = []
        for session_id, until in self._lost_until.items():
            if until > now:
                break
            over.append(session_id)
        changes: list[Change] = []
        for session_id in over:
            user_id = self._owner[session_id]
            user = self._users[user_id]
            self._forget_lost(user, session_id)
            change = self._settle(user_id, user, at_ms)
            if change is not None:
                changes.append(change)
        return changes

    def next_deadline(self) -> float | None:
        """When the next grace ends; None when nobody is in one."""
        return next(iter(self._lost_until.values()), None)

    def _take_over(self, user: _User, status: Status) -> None:
        # A device that comes back says what it said before, so its like is replaced before the oldest.
        if user.lost:
            lost = next((one for one, said in user.lost.items() if said == status), next(iter(user.lost)))
            self._forget_lost(user, lost)

    def _forget_lost(self, user: _User, session_id: SessionId) -> None:
        del user.lost[session_id], self._lost_until[session_id], self._owner[session_id]

    def _settle(self, user_id: str, user: _User, at_ms: int) -> Change | None:
        before, own_before = user.public, user.own
        said: list[Status] = [*user.live.values(), *user.lost.values()]
        if not said:
            del self._users[user_id]
            user.own = user.public = OFFLINE
        else:
            best: Status = "invisible" if user.hidden else max(said, key=_rank)
            user.own = _view(own_before, best, user.text, at_ms)
            user.public = OFFLINE if best == "invisible" else _view(before, best, user.text, at_ms)
        if user.public == before and user.own == own_before:
            return None
        return Change(user_id, before, user.public)


def _rank(status: Status) -> int:
    return _RANK[status]


def _view(before: View, status: Seen, text: str | None, at_ms: int) -> View:
    return View(status, text, before.since_ms if before.status == status else at_ms)
