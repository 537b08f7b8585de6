"""PURE: what was done to the messages that a room still remembers: the present of each, folded from the log.

A message of the tail needs no look into storage: whatever was done to it came after it, so that is in the
tail, too. When it leaves the tail its facts, or its author alone when nothing was done to it, are remembered
for a while longer. Of an older one storage knows all up to some seq (`FoldedPage.durable_seq`); what came
after that is in the tail, or the tail has gone on and storage must be asked again.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from storage.model import FoldedMessage, FoldedPage, LogEntry

KIND_EDIT: Final = "edit"
KIND_DELETE: Final = "delete"
KIND_REACT: Final = "react"
KIND_PIN: Final = "pin"
KIND_PURGE: Final = "purge"
KIND_STATE: Final = "state"
_ERASING: Final = frozenset({KIND_DELETE, KIND_PURGE})
KINDS_OF_MESSAGES: Final = frozenset({KIND_EDIT, KIND_DELETE, KIND_REACT, KIND_PIN, KIND_PURGE})
"""Events that say something about the message at `of`, or about those at `seqs`."""


class _Data(msgspec.Struct, frozen=True):
    """What the log keeps of such an event beside its columns."""

    of: int = 0
    seqs: tuple[int, ...] = ()
    version: int = 0
    emoji: str = ""
    remove: bool = False

    @property
    def about(self) -> tuple[int, ...]:
        """The seqs of the messages that the event is about."""
        return self.seqs or (self.of,)


_decode: Final = msgspec.json.Decoder(_Data).decode


def _data_of(entry: LogEntry) -> _Data | None:
    """What an event of the log says; None for one that does not say what it is about, as storage has it."""
    try:
        data = _decode(entry.data or "")
    except msgspec.MsgspecError:
        return None
    return data if data.of or data.seqs else None


class MessageFacts:
    """One message's present.

    Attributes:
        author: who wrote it.
        body: the present text; None when it was erased, or is not remembered.
        version: 1, and one more with each edit.
        delete_seq: the event that deleted it; None: it is there.
        pin_seq: the event that pinned it; None: it is not pinned.
        emojis: how many reacted with each emoji.
        reactions: the event by which a user reacted, by (emoji, user). Of a message that is older than the
            tail it holds the reactions of one user, the one who asks, and what came since.
    """

    __slots__ = ("author", "body", "delete_seq", "emojis", "pin_seq", "reactions", "version")

    def __init__(self, author: str, body: str | None) -> None:
        self.author = author
        self.body = body
        self.version = 1
        self.delete_seq: int | None = None
        self.pin_seq: int | None = None
        self.emojis: dict[str, int] = {}
        self.reactions: dict[tuple[str, str], int] = {}

    @classmethod
    def stored(cls, folded: FoldedMessage, user_id: str) -> "MessageFacts":
        """What storage knows, as asked for by a user."""
        facts = cls(folded.author, folded.body)
        facts.version = folded.version
        facts.delete_seq = folded.delete_seq
        facts.pin_seq = folded.pin_seq
        for emoji, total, own_seq in folded.reactions:
            facts.emojis[emoji] = total
            if own_seq is not None:
                facts.reactions[emoji, user_id] = own_seq
        return facts

    def take(self, entry: LogEntry, data: _Data) -> None:
        """Take in an event about this message."""
        match entry.kind:
            case "edit":
                self.body = entry.body
                self.version = data.version
            case "delete" | "purge":
                self.delete_seq = self.delete_seq or entry.seq
                self.body = self.pin_seq = None
                self.emojis.clear()
                self.reactions.clear()
            case "pin":
                self.pin_seq = None if data.remove else entry.seq
            case _:
                self._react(entry, data)

    def _react(self, entry: LogEntry, data: _Data) -> None:
        emoji, key = data.emoji, (data.emoji, entry.by)
        if not data.remove:
            self.reactions[key] = entry.seq
            self.emojis[emoji] = self.emojis.get(emoji, 0) + 1
            return
        self.reactions.pop(key, None)
        left = self.emojis.get(emoji, 0) - 1
        if left > 0:
            self.emojis[emoji] = left
        else:
            self.emojis.pop(emoji, None)


class TailFacts:
    """What was done to messages, as far as a room's tail tells.

    Args:
        tail: the room's latest entries, oldest first.
        remembered: how many seqs below the tail are remembered.

    Attributes:
        erased: seqs of the messages and edits in the tail that were deleted, and the event that did it: once
            that is stored their texts are not to be shown any more.
    """

    __slots__ = ("_authors", "_changes", "_facts", "_remembered", "erased")

    def __init__(self, tail: Iterable[LogEntry], *, remembered: int) -> None:
        self._remembered = remembered
        self._changes: dict[int, tuple[LogEntry, _Data]] = {}
        # Of messages to which something was done.
        self._facts: dict[int, MessageFacts] = {}
        # Of the entries just below the tail, in order; empty for what is no message.
        self._authors: deque[str] = deque(maxlen=remembered)
        self.erased: dict[int, int] = {}
        self._fold(tail)

    def _author(self, seq: int, first: int) -> str | None:
        """Who wrote the message at a seq below the tail, which begins with `first`; None: not remembered."""
        place = seq - (first - len(self._authors))
        return (self._authors[place] or None) if 0 <= place < len(self._authors) else None

    def _fold(self, tail: Iterable[LogEntry]) -> None:
        messages: dict[int, LogEntry] = {}
        for entry in tail:
            if entry.kind == "message":
                messages[entry.seq] = entry
            elif entry.kind in KINDS_OF_MESSAGES and (data := _data_of(entry)) is not None:
                self._changes[entry.seq] = (entry, data)
                for seq in data.about:
                    message = messages.get(seq)
                    untouched = None if message is None else MessageFacts(message.by, message.body)
                    self._record(entry, data, seq, self._facts.get(seq) or untouched)
                if entry.kind in _ERASING:
                    self._erase(entry, data, [seq for seq in data.about if seq in messages])

    def record(self, entry: LogEntry, tail: Sequence[LogEntry]) -> None:
        """Take in an event about a message that was just put at the end of the tail."""
        data = _decode(entry.data or "")
        first = tail[0].seq
        self._changes[entry.seq] = (entry, data)
        about = data.about
        for seq in about:
            self._record(entry, data, seq, self._facts.get(seq) or self._untouched(seq, tail, first))
        if entry.kind in _ERASING:
            self._erase(entry, data, [seq for seq in about if seq >= first])

    def _untouched(self, seq: int, tail: Sequence[LogEntry], first: int) -> MessageFacts | None:
        """A remembered message to which nothing was done, its text if it is in the tail; None: no message."""
        if seq >= first:
            entry = tail[seq - first]
            return MessageFacts(entry.by, entry.body) if entry.kind == "message" else None
        author = self._author(seq, first)
        return None if author is None else MessageFacts(author, None)

    def _record(self, entry: LogEntry, data: _Data, seq: int, facts: MessageFacts | None) -> None:
        if facts is not None:
            self._facts[seq] = facts
            facts.take(entry, data)

    def _erase(self, entry: LogEntry, data: _Data, in_tail: Iterable[int]) -> None:
        """Note whose texts an event erases: messages of the tail, and edits there of any message."""
        for seq in in_tail:
            self.erased.setdefault(seq, entry.seq)
        gone = set(data.about)
        for seq, (change, of) in self._changes.items():
            if change.kind == KIND_EDIT and of.of in gone:
                self.erased.setdefault(seq, entry.seq)

    def leave(self, entry: LogEntry) -> None:
        """An entry has left the tail; the oldest of those that have is forgotten."""
        self._authors.append(entry.by if entry.kind == "message" else "")
        if self._facts or self._changes:
            seq = entry.seq
            self._changes.pop(seq, None)
            self._facts.pop(seq - self._remembered, None)
            self.erased.pop(seq, None)

    def void(self, seq: int, tail: Sequence[LogEntry]) -> None:
        """The event at a seq turned out void.

        Args:
            seq: which.
            tail: after it was made void there.
        """
        is_old = not tail or seq < tail[0].seq
        if is_old or seq in self._changes or seq in self._facts:
            # What older messages were before cannot be told from the tail.
            self._authors.clear()
            self._changes.clear()
            self._facts.clear()
            self.erased.clear()
            self._fold(tail)

    def find(
        self, seq: int, tail: Sequence[LogEntry], head_seq: int, user_id: str, stored: FoldedPage | None
    ) -> MessageFacts | None:
        """The present of the message at a seq; None when storage has to be asked (again).

        Args:
            seq: where it is.
            tail: up to `head_seq`.
            head_seq: of the room.
            user_id: who asks.
            stored: what storage said.

        Raises:
            LookupError: there is no message at this seq.
        """
        if not 0 < seq <= head_seq:
            raise LookupError(seq)
        first = head_seq - len(tail) + 1
        if seq >= first:
            facts = self._facts.get(seq) or self._untouched(seq, tail, first)
            if facts is None:
                raise LookupError(seq)
            return facts
        if stored is None or stored.durable_seq + 1 < first:
            return self._facts.get(seq) or self._untouched(seq, tail, first)
        folded = stored.messages.get(seq)
        if folded is None or folded.kind != "message":
            raise LookupError(seq)
        facts = MessageFacts.stored(folded, user_id)
        for at, (entry, data) in self._changes.items():
            if seq in data.about and at > stored.durable_seq:
                facts.take(entry, data)
        return facts
