"""Naive twins for presence: who is seen how, computed anew each time; and a client that believes diffs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from chat.presence_pages import Counts, Delta, Item
from chat.presence_state import Snapshot
from chat.protocol import Status

RANKS: Sequence[Status] = ("online", "away", "dnd", "invisible")


class Row(NamedTuple):
    """A row of a roster."""

    user_id: str
    name: str


class Unreadable(Sequence[Row]):
    """A roster that must not be read, or that a bug in a room made so."""

    def __len__(self) -> int:
        raise AssertionError("read")

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        """Fail."""
        raise AssertionError("read")


@dataclass(slots=True)
class NaiveSession:
    """One session, open or lost."""

    session_id: int
    user_id: str
    status: Status
    until: float | None = None


@dataclass(slots=True)
class NaivePresence:
    """Sessions in a list, every question answered by looking at all of them."""

    grace_s: float
    sessions: list[NaiveSession] = field(default_factory=list[NaiveSession])
    hidden: set[str] = field(default_factory=set[str])
    texts: dict[str, str] = field(default_factory=dict[str, str])

    def open(self, session_id: int, user_id: str, status: Status) -> None:
        """Add a session; it replaces a lost one, its like before the one lost first."""
        lost = [one for one in self.sessions if one.user_id == user_id and one.until is not None]
        if lost:
            alike = [one for one in lost if one.status == status]
            self.sessions.remove((alike or lost)[0])
        self.sessions.append(NaiveSession(session_id, user_id, status))
        if status == "invisible":
            self.hidden.add(user_id)

    def say(self, session_id: int, status: Status, text: str | None) -> None:
        """Change a session's status and its user's text."""
        session = self.find(session_id)
        session.status = status
        self.hidden.discard(session.user_id)
        self.texts.pop(session.user_id, None)
        if status == "invisible":
            self.hidden.add(session.user_id)
        if text:
            self.texts[session.user_id] = text

    def close(self, session_id: int, *, clean: bool, now: float) -> None:
        """End a session."""
        session = self.find(session_id)
        # At the end of the list, so that the lost ones stand in the order in which they were lost.
        self.sessions.remove(session)
        if not clean and self.grace_s:
            session.until = now + self.grace_s
            self.sessions.append(session)
        self._forget_gone()

    def expire(self, now: float) -> None:
        """End the graces that are over."""
        self.sessions = [one for one in self.sessions if one.until is None or one.until > now]
        self._forget_gone()

    def find(self, session_id: int) -> NaiveSession:
        """An open session."""
        return next(one for one in self.sessions if one.session_id == session_id and one.until is None)

    def own(self, user_id: str) -> tuple[str, str | None]:
        """Status and text as the user's own sessions see them."""
        said = [one.status for one in self.sessions if one.user_id == user_id]
        if not said:
            return "offline", None
        status = "invisible" if user_id in self.hidden else min(said, key=RANKS.index)
        return status, self.texts.get(user_id)

    def public(self, user_id: str) -> tuple[str, str | None]:
        """Status and text as everyone else sees them."""
        status, text = self.own(user_id)
        return ("offline", None) if status == "invisible" else (status, text)

    def counts(self, members: Iterable[str]) -> Mapping[str, int]:
        """A room's counts."""
        seen = [self.public(user_id)[0] for user_id in members]
        return {**{status: seen.count(status) for status in RANKS[:3]}, "total": len(seen)}

    def _forget_gone(self) -> None:
        here = {one.user_id for one in self.sessions}
        self.hidden &= here
        self.texts = {user_id: text for user_id, text in self.texts.items() if user_id in here}


def seen(items: Iterable[Item]) -> Mapping[object, tuple[object, object]]:
    """Status and text by user, of items."""
    return {item["user"]: (item["status"], item.get("text")) for item in items}


@dataclass(slots=True)
class Believer:
    """A client's copy of one watch: a snapshot, and every diff after it."""

    items: dict[object, Item]
    version: int
    counts: Mapping[str, int] | None
    next: str | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Believer":
        """Begin with what `watch` answered."""
        counts = None if snapshot.counts is None else snapshot.counts.to_wire()
        return cls({item["user"]: item for item in snapshot.items}, snapshot.version, counts, snapshot.next)

    def apply(self, delta: Delta) -> None:
        """Take one diff; it must be the next one, and must say something new."""
        assert delta.version == self.version + 1
        assert delta.changes or delta.counts or delta.next
        self.version = delta.version
        touched = [change["user"] for change in delta.changes]
        assert len(touched) == len(set(touched))
        for change in delta.changes:
            user_id = change["user"]
            if change.get("left"):
                del self.items[user_id]
                continue
            assert ("joined" in change) == (user_id not in self.items)
            item = {name: value for name, value in change.items() if name != "joined"}
            old = self.items.get(user_id, {})
            assert (old.get("status"), old.get("text")) != (item["status"], item.get("text"))
            self.items[user_id] = item
        if delta.counts is not None:
            assert isinstance(delta.counts, Counts)
            assert delta.counts.to_wire() != self.counts
            self.counts = delta.counts.to_wire()
        if delta.next is not None:
            (self.next,) = delta.next
