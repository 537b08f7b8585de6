"""What follows from a room's log, in memory: as migrations 0004, 0006 and 0007 have it in Postgres."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from storage.model import (
    COUNTED_MAX,
    FoldedMessage,
    LogEntry,
    ReactionCount,
    ReactionRow,
    StateRow,
)


@dataclass(slots=True)
class _Facts:
    """One message's row in `message_facts`, and its edits."""

    version: int = 1
    edits: list[int] = field(default_factory=list)
    delete_seq: int | None = None
    pin_seq: int | None = None
    thread_count: int = 0
    thread_last: int | None = None


@dataclass(slots=True)
class Projections:
    """The present of one room.

    Attributes:
        state: by key, as in `room_state`.
    """

    state: dict[str, StateRow] = field(default_factory=dict)
    _facts: dict[int, _Facts] = field(default_factory=dict)
    _reactions: dict[int, dict[tuple[str, str], ReactionRow]] = field(default_factory=dict)
    _first: dict[tuple[int, str], int] = field(default_factory=dict)  # seq of an emoji's first reaction
    _mentions: dict[int, tuple[str, set[str]]] = field(default_factory=dict)  # author, and users, by seq

    def project(self, entry: LogEntry) -> Sequence[int]:
        """Take in an entry that was stored; the seqs whose texts are to be erased."""
        if entry.kind == "message":
            if entry.thread is not None:
                root = self._facts.setdefault(entry.thread, _Facts())
                root.thread_count += 1
                root.thread_last = entry.seq
            self._mention(entry, entry.seq, _fields_of_message(entry))
            return ()
        if entry.kind == "purge":
            return self._purge(entry)
        if entry.kind not in {"edit", "delete", "react", "pin", "state"}:
            return ()
        fields = _fields_of(entry)
        if fields is None:
            return ()
        if entry.kind == "state":
            self._set(entry, fields)
            return ()
        seq = cast("int", fields["of"])
        if entry.kind == "react":
            self._react(entry, seq, cast("str", fields["emoji"]), remove=bool(fields.get("remove")))
            return ()
        facts = self._facts.setdefault(seq, _Facts())
        if entry.kind == "edit":
            facts.version = cast("int", fields["version"])
            facts.edits.append(entry.seq)
            self._mention(entry, seq, fields)
        elif entry.kind == "pin":
            facts.pin_seq = None if fields.get("remove") else entry.seq
        else:
            return self._delete(seq, entry.seq)
        return ()

    def _purge(self, entry: LogEntry) -> Sequence[int]:
        if entry.data is None or not entry.data.startswith("{"):
            return ()
        seqs = cast("dict[str, list[int]]", json.loads(entry.data)).get("seqs")
        gone: list[int] = []
        for seq in seqs if isinstance(seqs, list) else ():
            if seq >= entry.seq:
                # What comes later in the log is not meant.
                continue
            before = self._facts.get(seq, _Facts()).delete_seq
            gone += self._delete(seq, entry.seq if before is None else before)
        return gone

    def _delete(self, seq: int, delete_seq: int) -> Sequence[int]:
        """Take note that a message is gone; the seqs of its texts."""
        facts = self._facts.setdefault(seq, _Facts())
        facts.delete_seq, facts.pin_seq = delete_seq, None
        self._mentions.pop(seq, None)
        for emoji, _ in self._reactions.pop(seq, {}):
            self._first.pop((seq, emoji), None)
        return (seq, *facts.edits)

    def _mention(self, entry: LogEntry, seq: int, fields: dict[str, object]) -> None:
        """Note whom the message at `seq` mentions; the empty user is everybody."""
        self._mentions.pop(seq, None)
        mentions = fields.get("mentions")
        users = {str(user) for user in mentions} - {entry.by} if isinstance(mentions, list) else set[str]()
        if fields.get("here") is True:
            users = {""}
        if users:
            self._mentions[seq] = (entry.by, users)

    def count_mentions(self, user_id: str, after: int) -> int:
        """How many messages of others after a seq mention a user; see `Membership.mentions`."""
        found = sorted(
            (user, seq, author)
            for seq, (author, users) in self._mentions.items()
            for user in users & {"", user_id}
            if seq > after
        )
        return sum(author != user_id for _, _, author in found[:COUNTED_MAX])

    def _set(self, entry: LogEntry, fields: dict[str, object]) -> None:
        key, version = cast("str", fields["key"]), cast("int", fields["version"])
        if fields["value"] is None:
            self.state.pop(key, None)
            before = self.state.get("")
            highest = version if before is None else max(version, before.version)
            self.state[""] = StateRow("", None, highest, entry.seq)
        else:
            text = (entry.data or "").partition('"value":')[2]
            value, end = json.JSONDecoder().raw_decode(text)
            del value
            self.state[key] = StateRow(key, text[:end], version, entry.seq)

    def _react(self, entry: LogEntry, seq: int, emoji: str, *, remove: bool) -> None:
        reactions = self._reactions.setdefault(seq, {})
        key = (emoji, entry.by)
        if remove:
            reactions.pop(key, None)
            if not any(other == emoji for other, _ in reactions):
                self._first.pop((seq, emoji), None)
        elif key not in reactions:
            reactions[key] = ReactionRow(emoji, entry.by, entry.name, entry.seq)
            self._first.setdefault((seq, emoji), entry.seq)

    def fold(self, entry: LogEntry, log: Sequence[LogEntry], user_id: str) -> FoldedMessage:
        """An event's present; `log` holds the event of seq s at s - 1."""
        facts = self._facts.get(entry.seq, _Facts())
        edit = log[facts.edits[-1] - 1] if facts.edits else None
        body = entry.body if edit is None else edit.body
        return FoldedMessage(
            entry.seq,
            entry.kind,
            entry.by,
            None if facts.delete_seq is not None else body,
            facts.version,
            None if edit is None else edit.at_ms,
            None if edit is None else edit.data,
            facts.delete_seq,
            facts.pin_seq,
            facts.thread_count,
            facts.thread_last,
            self._counts(entry.seq, user_id),
        )

    def _counts(self, seq: int, user_id: str) -> list[ReactionCount]:
        reactions = self._reactions.get(seq, {})
        emojis = sorted({emoji for emoji, _ in reactions}, key=lambda emoji: self._first[seq, emoji])
        found: list[ReactionCount] = []
        for emoji in emojis:
            own = reactions.get((emoji, user_id))
            count = sum(other == emoji for other, _ in reactions)
            found.append(ReactionCount(emoji, count, None if own is None else own.seq))
        return found

    def reactions(self, seq: int, emoji: str | None, after: tuple[str, str] | None) -> list[ReactionRow]:
        """Who reacted to a message, by emoji and user id."""
        reactions = self._reactions.get(seq, {})
        keys = sorted(key for key in reactions if emoji is None or key[0] == emoji)
        return [reactions[key] for key in (keys if after is None else keys[bisect_right(keys, after) :])]

    def pins(self, before: int | None) -> Iterable[int]:
        """Pinned messages, the latest pin first."""
        pins = ((facts.pin_seq, seq) for seq, facts in self._facts.items() if facts.pin_seq is not None)
        return (seq for pin, seq in sorted(pins, reverse=True) if before is None or pin < before)


_NEEDED = {"edit": ("version",), "react": ("emoji",), "state": ("key", "version")}


def _fields_of_message(entry: LogEntry) -> dict[str, object]:
    if entry.data is None or not entry.data.startswith("{"):
        return {}
    return cast("dict[str, object]", json.loads(entry.data))


def _fields_of(entry: LogEntry) -> dict[str, object] | None:
    """An event's fields; None for one that does not say what it is about."""
    if entry.data is None or not entry.data.startswith("{"):
        return None
    fields = cast("dict[str, object]", json.loads(entry.data))
    if any(fields.get(name) is None for name in _NEEDED.get(entry.kind, ())):
        return None
    of = fields.get("of")
    return fields if entry.kind == "state" or (isinstance(of, int) and of > 0) else None
