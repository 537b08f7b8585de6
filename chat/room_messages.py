"""What a room actor is told. Commands come from sessions; the rest from the server itself.

A command carries whom to answer; each is answered exactly once, by the room or, when the room dies over
it, by `chat.room.answer_discarded`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from actors import ReplyTo
from chat.automod import UNKNOWN, CompiledRules, Standing
from chat.errors import Refused
from chat.protocol import Change, Envelope, ok
from chat.room_governance import Governing
from chat.room_rules import Person
from chat.room_state import Progress
from chat.topic import Subscriber
from storage.model import Entry, FoldedPage, HistoryPage, Receipt, Role, RoomRow
from storage.page import PageAsk


class Member(Subscriber, Protocol):
    """A session as a room sees it."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone; nothing reaches it any more."""
        ...

    def refuse(self, refused: Refused) -> None:
        """Answer a request with an error."""
        ...

    def look_up(self, request: Change) -> None:
        """Ask again, with what storage says of the message: it is older than what the room remembers.

        Raises:
            Refused: `busy`: too much waits already.
        """
        ...

    def reply_events(self, envelope: Envelope, events: Sequence[bytes]) -> None:
        """Answer with `events` as the last field, each encoded already in the peer's encoding."""
        ...


class Sender(Protocol):
    """Whose message it is, and who is answered."""

    @property
    def user_id(self) -> str:
        """The author."""
        ...

    @property
    def name(self) -> str:
        """The author's display name."""
        ...

    def reply(self, envelope: Envelope) -> None:
        """Answer the request."""
        ...

    def refuse(self, refused: Refused) -> None:
        """Answer it with an error."""
        ...


class SendMessage:
    """Put a message into the log. Also the ticket under which its receipt comes back.

    A plain slotted class: there is one for every message sent, and a frozen one costs thrice as much.

    Attributes:
        arrived_s: when it came, on trio's clock, for the one in some that are timed.
        progress: set when the room has ordered it and the writer has it: from then on the receipt answers.
        reviewed: whether a moderator has let it in: the rules are not asked again.
        standing: what the server knows of its author, for the rules.
    """

    __slots__ = (
        "arrived_s",
        "body",
        "cid",
        "peer",
        "progress",
        "reply_to",
        "request_id",
        "reviewed",
        "standing",
        "thread",
    )

    def __init__(
        self,
        peer: Sender,
        request_id: int,
        cid: str,
        body: str,
        reply_to: int | None,
        thread: int | None,
        *,
        reviewed: bool = False,
        standing: Standing = UNKNOWN,
    ) -> None:
        self.peer = peer
        self.request_id = request_id
        self.reviewed = reviewed
        self.standing = standing
        self.cid = cid
        self.body = body
        self.reply_to = reply_to
        self.thread = thread
        self.arrived_s: float | None = None
        self.progress: Progress | None = None


class ChangeRoom:
    """Put a change of a message, or of the shared state, into the log. Also its receipt's ticket.

    Attributes:
        value: of a `set`, the value as JSON text; None removes the key.
        stored: what storage says of the message; None: it was not asked.
        standing: as in `SendMessage`.
        progress: as in `SendMessage`.
    """

    __slots__ = ("peer", "progress", "request", "request_id", "standing", "stored", "value")

    def __init__(
        self,
        peer: Member,
        request: Change,
        *,
        value: str | None = None,
        stored: FoldedPage | None = None,
        standing: Standing = UNKNOWN,
    ) -> None:
        self.peer = peer
        self.standing = standing
        self.request = request
        self.request_id = request.id
        self.value = value
        self.stored = stored
        self.progress: Progress | None = None


class GovernRoom:
    """Change what a room is, or who belongs to it; leaving ends receiving, too. Also its receipt's ticket.

    Attributes:
        actor: who asks.
        target: whom the request names, as far as the server knows.
        seqs: of the messages that are to be purged.
        fields: what its `ok` carries besides.
        then: called in the room's turn when it is ordered, before anybody hears of it.
        progress: as in `SendMessage`.
    """

    __slots__ = ("actor", "fields", "peer", "progress", "request", "request_id", "seqs", "target", "then")

    def __init__(
        self,
        peer: Sender,
        request: Governing,
        *,
        actor: Person,
        target: Person | None = None,
        seqs: Sequence[int] = (),
        fields: Envelope | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        self.peer = peer
        self.request = request
        self.request_id = request.id
        self.actor = actor
        self.target = target
        self.seqs = seqs
        self.fields: Envelope = {} if fields is None else fields
        self.then = then
        self.progress: Progress | None = None


class KnownGovernance:
    """Stands for the peer of a request for what is so already, until it is stored that it is so."""

    __slots__ = ("_message",)

    def __init__(self, message: GovernRoom) -> None:
        self._message = message

    def reply(self, envelope: Envelope) -> None:
        """It is stored: answer the request, not with what another one did."""
        del envelope
        message = self._message
        message.peer.reply(ok(message.request_id, **message.fields))

    def refuse(self, refused: Refused) -> None:
        """It could not be stored."""
        self._message.peer.refuse(refused)


@dataclass(slots=True, kw_only=True)
class JoinRoom:
    """Become a member, then subscribe.

    Attributes:
        must_exist: the room was created a moment ago: an actor that does not know of it hands this on.
        submitted: set when the writer has the membership: from then on the receipt answers.
    """

    peer: Member
    request_id: int
    since: tuple[int, int] | None
    limit: int
    must_exist: bool = False
    submitted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeRoom:
    """Receive what happens from now on.

    Attributes:
        oversees: whether it is one of the server's people, who may read every room.
    """

    peer: Member
    request_id: int
    since: tuple[int, int] | None
    limit: int
    oversees: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeRoom:
    """Receive no more."""

    peer: Member
    request_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRoom:
    """Move a member's read pointer."""

    peer: Member
    request_id: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchMembers:
    """Let presence show the room's members to a watcher."""

    peer: Member
    request_id: int
    cursor: str | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomInfo:
    """What a reader may know of a room, as of one turn.

    Attributes:
        page: of its log, where one was asked for and the room's memory has it.
    """

    row: RoomRow
    epoch: int
    head_seq: int
    head_n: int
    durable_seq: int
    members: int
    role: Role | None
    page: HistoryPage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRoom:
    """Ask what a user may know of the room; fails with `Refused`.

    Attributes:
        oversees: whether it is one of the server's people, who may read every room.
        page: of the log, wanted besides.
    """

    user_id: str
    oversees: bool = False
    reply: ReplyTo[RoomInfo]
    page: PageAsk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRules:
    """Judge by other rules from now on.

    Attributes:
        rules: the room's own, unless it has newer ones; None: those of every room have changed.
        peer: who is answered; None: nobody.
        audit: of the act, for the answer.
    """

    rules: CompiledRules | None
    peer: Member | None = None
    request_id: int = 0
    audit: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEntry:
    """The ticket of a log entry that the room made itself: nobody waits for an answer."""

    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of entries that the writer held, where it is more than `ok` to one sender.

    Attributes:
        results: oldest first; each is taken out when it is dealt with, so that a crash in between answers
            nobody twice.
    """

    results: deque[tuple[Entry, object, Receipt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A strict room's entries are stored: show them.

    Attributes:
        seq: the last of them.
    """

    seq: int


RoomCommand = (
    SendMessage
    | ChangeRoom
    | GovernRoom
    | JoinRoom
    | SubscribeRoom
    | UnsubscribeRoom
    | ReadRoom
    | WatchMembers
    | InspectRoom
    | ApplyRules
)
RoomMessage = RoomCommand | Settled | Published
