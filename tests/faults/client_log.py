"""What one client shows of one room, kept as docs/protocol.md 5 tells a client to, and what it may not be."""

from collections.abc import Mapping
from typing import NamedTuple

from chat.client_feed import Disconnected, Ended, Update
from chat.client_state import Envelope, EventAdded, EventVoided, Hole, Left, Rewound, WasReset


class Event(NamedTuple):
    """One event of a room's log; `cid` and `body` are None where it carries nothing any more."""

    seq: int
    epoch: int
    by: str
    cid: str | None
    body: str | None

    @property
    def is_message(self) -> bool:
        """Whether it is a message, and not void."""
        return self.cid is not None


def event_of(envelope: Envelope) -> Event:
    """An `event` envelope as compared here: a `void` carries nothing but its place."""
    seq, epoch, by = envelope["seq"], envelope["epoch"], envelope["by"]
    cid, body = envelope.get("cid"), envelope.get("body")
    assert isinstance(seq, int)
    assert isinstance(epoch, int)
    assert isinstance(by, str)
    if envelope["kind"] != "message":
        return Event(seq, epoch, by, None, None)
    assert isinstance(cid, str)
    assert isinstance(body, str)
    return Event(seq, epoch, by, cid, body)


class Rewind(NamedTuple):
    """What a client was told to drop."""

    keep: int
    dropped: tuple[Event, ...]


class ClientLog:
    """The updates of one room, applied as they come: an `on_update`.

    Attributes:
        events: by seq, what the client shows; complete from the first one on.
        voided: seqs that it dropped because it was told of their `void`.
        rewinds: every rewind that it was told.
        ends: the close code of every connection that ended.
        wrong: what no client may ever be told, in words.
        seen: events added so far.
    """

    def __init__(self, room: str) -> None:
        self.room = room
        self.events: dict[int, Event] = {}
        self.voided: set[int] = set()
        self.rewinds: list[Rewind] = []
        self.ends: list[int] = []
        self.wrong: list[str] = []
        self.seen = 0
        self._head = 0

    @property
    def head(self) -> int:
        """The last seq that is shown."""
        return self._head

    def __call__(self, update: Update) -> None:
        """Apply an update."""
        match update:
            case EventAdded():
                self._add(event_of(update.event))
            case EventVoided():
                if update.seq not in self.events:
                    self.wrong.append(f"#{update.seq} was taken back and had never been told")
                self.voided.add(update.seq)
            case Rewound():
                self._rewind(update.keep)
            case WasReset() | Hole() | Left() | Ended():
                self.wrong.append(f"at #{self.head}: {update}")
            case Disconnected():
                self.ends.append(update.code)
            case _:
                pass

    def shown(self) -> Mapping[int, tuple[str, str, str] | None]:
        """What the user sees: by seq, author, cid and body; None for what carries nothing."""
        return {
            seq: (event.by, event.cid or "", event.body or "")
            if event.is_message and seq not in self.voided
            else None
            for seq, event in self.events.items()
        }

    def _add(self, event: Event) -> None:
        self.seen += 1
        if self._head and event.seq != self._head + 1:
            self.wrong.append(f"after #{self.head} came #{event.seq}")
        self._head = event.seq
        self.events[event.seq] = event
        self.voided.discard(event.seq)

    def _rewind(self, keep: int) -> None:
        if keep >= self.head:
            self.wrong.append(f"at #{self.head} came a rewind to #{keep}, which drops nothing")
        dropped = tuple(self.events.pop(seq) for seq in range(keep + 1, self.head + 1))
        self.voided -= {event.seq for event in dropped}
        self.rewinds.append(Rewind(keep, dropped))
        self._head = min(self.head, keep)
