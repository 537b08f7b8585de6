"""PURE: one room's log as a client follows it (docs/protocol.md 5): what to show, what to ask next.

A `RoomLog` takes the answers to `subscribe`, live events and pages of `history`, in whatever order they
come, and gives updates that keep a reader's list right: every seq once, in order, nothing that the server
took back. What it needs from the server stands in `want`. It keeps a position, not the events.

No I/O and no clock. Envelopes are the server's: a missing field raises KeyError, a wrong type TypeError, and
the client drops such a connection.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias, cast

from chat.client_errors import RequestRefused, ServerMisbehaved

Envelope: TypeAlias = dict[str, object]

HELD_MAX: Final = 1024
"""Live events kept while an answer is awaited; above it they are dropped and asked for again."""

FILL_MAX: Final = 10_000
"""Events of a hole that are fetched; older ones are told as a `Hole`: nobody reads up on a year at once."""

STALLS_MAX: Final = 5
"""Pages in a row that bring nothing before the rest of a hole is told instead."""


class EventAdded(NamedTuple):
    """The room's next event. `event` is shared and must not be changed."""

    room: str
    event: Envelope


class EventVoided(NamedTuple):
    """The event at `seq`, added before, did not survive: drop it."""

    room: str
    seq: int


class Rewound(NamedTuple):
    """Every event above `keep` did not survive: drop them; what follows continues from there."""

    room: str
    keep: int


class WasReset(NamedTuple):
    """This is not the log that was known: drop all of it; what follows starts anew."""

    room: str


class Hole(NamedTuple):
    """The events from `first` to `last` exist and could not be had; what follows comes after them."""

    room: str
    first: int
    last: int


class OutOfOrder(NamedTuple):
    """A live event of the log's own owner was not the next one, which no server should let happen.

    Nothing has to be done: what is missing is asked for, what comes twice is ignored. It is for those who
    watch servers.

    Attributes:
        after: the last seq that was handed on.
        seq: of the event that came.
    """

    room: str
    after: int
    seq: int


class Left(NamedTuple):
    """The room's events have ended for this client: its subscription was refused for good."""

    room: str
    refused: RequestRefused


LogUpdate: TypeAlias = EventAdded | EventVoided | Rewound | WasReset | Hole | OutOfOrder


class Phase(Enum):
    """What a log is doing."""

    DETACHED = auto()
    """Receives nothing: a `subscribe` is due."""
    SYNCING = auto()
    """`subscribe` was sent; live events are held until its answer."""
    FILLING = auto()
    """A hole is read from `history`; what follows it is held."""
    LIVE = auto()
    PAUSED = auto()
    """The reader is behind: live events pass by, and are asked for when it has caught up."""


class Want(Enum):
    """What the log needs from the server."""

    NOTHING = auto()
    SUBSCRIBE = auto()
    HISTORY = auto()


def seq_of(event: Mapping[str, object]) -> int:
    """An event's seq."""
    return cast("int", event["seq"])


class RoomLog:
    """One room, from the first `subscribe` on.

    Attributes:
        phase: what it is doing.
        epoch: of the room's owner as last heard; 0 before the first answer.
        seq: the last one that was handed on.
    """

    __slots__ = (
        "_head",
        "_held",
        "_known",
        "_overflowed",
        "_requested",
        "_stalls",
        "_upto",
        "epoch",
        "phase",
        "room",
        "seq",
    )

    def __init__(self, room: str, since: tuple[int, int] | None = None) -> None:
        self.room = room
        self.phase = Phase.DETACHED
        self.epoch, self.seq = since or (0, 0)
        # Events of the last answer that wait for a hole before them, and live ones that came meanwhile.
        self._known: Sequence[Envelope] = ()
        self._held: list[Envelope] = []
        self._overflowed = False
        self._requested = since is not None
        self._upto = 0
        self._head = 0
        self._stalls = 0

    @property
    def position(self) -> tuple[int, int] | None:
        """What `since` is to say; None before the first answer."""
        return (self.epoch, self.seq) if self._requested else None

    @property
    def want(self) -> Want:
        """What to ask now. After asking for a subscription call `subscribing`."""
        if self.phase is Phase.DETACHED:
            return Want.SUBSCRIBE
        return Want.HISTORY if self.phase is Phase.FILLING else Want.NOTHING

    @property
    def stalls(self) -> int:
        """Pages in a row that brought nothing: how patiently to ask again."""
        return self._stalls

    # -- the connection ----------------------------------------------------------------------------------

    def subscribing(self) -> None:
        """A `subscribe` or `join` with `position` was sent."""
        self.phase = Phase.SYNCING
        self._known = ()
        self._held = []
        self._overflowed = False

    def detach(self) -> None:
        """Nothing more will come of what was asked: the connection broke, or something went by."""
        self.phase = Phase.DETACHED
        self._known = ()
        self._held = []
        self._overflowed = False

    def pause(self) -> None:
        """The reader is behind: let events pass by until `resume`. The position stays."""
        self.detach()
        self.phase = Phase.PAUSED

    def resume(self) -> None:
        """The reader has caught up: a `subscribe` is due."""
        if self.phase is Phase.PAUSED:
            self.phase = Phase.DETACHED

    # -- what came ---------------------------------------------------------------------------------------

    def take(self, event: Envelope) -> bool:
        """The hot path: True when this live event is simply the next, and is now counted as handed on.

        Otherwise nothing changed, and `live` is to be asked.
        """
        if (
            self.phase is Phase.LIVE
            and event["seq"] == self.seq + 1
            and event["epoch"] == self.epoch
            and event["kind"] != "void"
        ):
            self.seq += 1
            return True
        return False

    def live(self, event: Envelope) -> list[LogUpdate]:
        """A live event, in any phase."""
        updates: list[LogUpdate] = []
        match self.phase:
            case Phase.LIVE:
                if event["epoch"] == self.epoch and self._is_odd(event):
                    updates.append(OutOfOrder(self.room, self.seq, seq_of(event)))
                self._live(event, updates)
            case Phase.SYNCING | Phase.FILLING:
                if len(self._held) < HELD_MAX:
                    self._held.append(event)
                else:
                    self._overflowed = True
            case Phase.DETACHED | Phase.PAUSED:
                # What is asked for next will bring it.
                pass
        return updates

    def answer(self, ok: Envelope) -> list[LogUpdate]:
        """The answer to `subscribe` or `join`.

        Raises:
            ServerMisbehaved: a mode that the protocol does not know.
        """
        if self.phase is not Phase.SYNCING:
            return []
        updates: list[LogUpdate] = []
        mode = cast("str", ok["mode"])
        events = cast("list[Envelope]", ok["events"])
        head = cast("int", ok["head"])
        latest_from = seq_of(events[0]) - 1 if events else head
        match mode:
            case "fresh":
                self.seq = latest_from
            case "reset":
                updates.append(WasReset(self.room))
                self.seq = latest_from
            case "rewind":
                keep = cast("int", ok["keep"])
                if keep < self.seq:
                    updates.append(Rewound(self.room, keep))
                    self.seq = keep
            case "tail" | "gap":
                pass
            case _:
                raise ServerMisbehaved(f"subscribe was answered with the mode {mode!r}")
        self.epoch = cast("int", ok["epoch"])
        self._requested = True
        self._known = events
        self._head = head
        self._go_on(updates)
        return updates

    def page_after(self) -> tuple[int, int]:
        """The hole to be filled: (`after`, how many events are missing)."""
        return self.seq, self._upto - self.seq

    def page(self, ok: Envelope) -> list[LogUpdate]:
        """The answer to `history` with `after` = `page_after()[0]`."""
        if self.phase is not Phase.FILLING:
            return []
        updates: list[LogUpdate] = []
        if cast("int", ok["epoch"]) > self.epoch:
            # Another owner: what survived of our events is for `subscribe` to say.
            self.detach()
            return updates
        before = self.seq
        for event in cast("list[Envelope]", ok["items"]):
            seq = seq_of(event)
            if self.seq < seq <= self._upto:
                if seq > self.seq + 1:
                    updates.append(Hole(self.room, self.seq + 1, seq - 1))
                self._add(event, updates)
        self._stalls = 0 if self.seq > before else self._stalls + 1
        if self._stalls >= STALLS_MAX:
            self.give_up(updates)
        elif self.seq >= self._upto:
            self._go_on(updates)
        return updates

    def give_up(self, updates: list[LogUpdate]) -> None:
        """Tell the rest of the hole instead of filling it."""
        if self.phase is Phase.FILLING and self.seq < self._upto:
            updates.append(Hole(self.room, self.seq + 1, self._upto))
            self.seq = self._upto
            self._go_on(updates)

    # -- inside ------------------------------------------------------------------------------------------

    def _go_on(self, updates: list[LogUpdate]) -> None:
        """Hand on what is known up to the next hole; live again after the last of it."""
        known = self._known
        for index, event in enumerate(known):
            seq = seq_of(event)
            if seq > self.seq + 1:
                self._known = known[index:]
                self._fill(seq - 1, updates)
                return
            self._add_known(event, updates)
        self._known = ()
        if self.seq < self._head:
            self._fill(self._head, updates)
            return
        self.phase = Phase.LIVE
        held, self._held = self._held, []
        for event in held:
            if self.phase is Phase.LIVE:
                self._live(event, updates)
        if self._overflowed:
            self.detach()

    def _fill(self, upto: int, updates: list[LogUpdate]) -> None:
        if upto - self.seq > FILL_MAX:
            skipped_to = upto - FILL_MAX
            updates.append(Hole(self.room, self.seq + 1, skipped_to))
            self.seq = skipped_to
        self._upto = upto
        self._stalls = 0
        self.phase = Phase.FILLING

    def _is_odd(self, event: Envelope) -> bool:
        """Whether an event of our epoch, come while live, is not the next; telling of a `void` is fair."""
        seq = seq_of(event)
        return seq > self.seq + 1 or (seq <= self.seq and event["kind"] != "void")

    def _live(self, event: Envelope, updates: list[LogUpdate]) -> None:
        epoch = cast("int", event["epoch"])
        if epoch > self.epoch:
            # A new owner: whether it kept all that we have is for `subscribe` to say.
            self.detach()
        elif seq_of(event) > self.seq + 1:
            # A hole. `subscribe` with our position tells what happened and brings what is missing.
            self.detach()
        elif epoch < self.epoch and seq_of(event) > self.seq:
            # From an owner that we know to be replaced: not to be trusted, nor to be lost.
            self.detach()
        else:
            self._add_known(event, updates)

    def _add_known(self, event: Envelope, updates: list[LogUpdate]) -> None:
        if seq_of(event) == self.seq + 1:
            self._add(event, updates)
        elif event["kind"] == "void" and "of" not in event:
            updates.append(EventVoided(self.room, seq_of(event)))

    def _add(self, event: Envelope, updates: list[LogUpdate]) -> None:
        self.seq = seq_of(event)
        if event["kind"] == "void":
            of = event.get("of")
            if isinstance(of, int) and of < self.seq:
                updates.append(EventVoided(self.room, of))
        updates.append(EventAdded(self.room, event))
