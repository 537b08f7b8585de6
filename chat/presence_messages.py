"""What the presence actor is told, by whom, and when; `chat.presence_port` wraps each in a method."""

from collections.abc import Sequence
from dataclasses import dataclass

from chat.errors import Refused
from chat.peers import Peer
from chat.presence_pages import Member
from chat.protocol import Status, error


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """A session was welcomed. From the session, once, before anything else of it.

    Attributes:
        status: what its `hello` said.
        text: None leaves the user's text as it is.
    """

    peer: Peer
    status: Status
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    """A session is over, after everything else of it. Its watches end, it types nowhere.

    Attributes:
        clean: the client closed it (1000, 1001), or the user was thrown out: the user leaves at once. False
            for a lost connection, a missing pong, a slow consumer and a server that stops: the user stays
            for the grace.
    """

    peer: Peer
    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStatus:
    """`presence`, from the session; answered here with `ok` or `error`."""

    peer: Peer
    request_id: int
    status: Status
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRoom:
    """`watch{room}`: session -> room -> here; answered here.

    The room checks that the session may see its members, and adds what it alone knows.

    Attributes:
        epoch: the room's ownership.
        roster: all members as of this turn of the room; need not be sorted, must never change.
        cursor: the request's.
        limit: the request's.
    """

    peer: Peer
    request_id: int
    room: str
    epoch: int
    roster: Sequence[Member]
    cursor: str | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchUsers:
    """`watch{users}`, from the session; answered here."""

    peer: Peer
    request_id: int
    users: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatch:
    """`unwatch`, from the session; answered here.

    Attributes:
        request_id: None: nobody waits for an answer.
        room: the room to watch no more, if any.
        users: the users to watch no more.
    """

    peer: Peer
    request_id: int | None
    room: str | None = None
    users: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWatch:
    """From the room, in the turn in which a user lost the right to see its members."""

    room: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChanged:
    """From the room, in the turn in which its members changed, watched or not."""

    room: str
    joined: Sequence[Member]
    left: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """`typing`, from a session that is subscribed to the room; answered here.

    Attributes:
        request_id: None: nobody waits for an answer.
    """

    peer: Peer
    request_id: int | None
    room: str
    stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent:
    """From the room: a message of the user is in its log."""

    room: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPressure:
    """From whoever measures the node's load: a new level, 0 to 4."""

    level: int


@dataclass(frozen=True, slots=True)
class Tick:
    """From the alarm: something is due."""


PresenceMessage = (
    SessionOpened
    | SessionClosed
    | SetStatus
    | WatchRoom
    | WatchUsers
    | Unwatch
    | EndWatch
    | MembersChanged
    | Typing
    | MessageSent
    | SetPressure
    | Tick
)


def refuse(message: PresenceMessage, refused: Refused) -> None:
    """Answer a request with an error; nothing happens for what is no request."""
    match message:
        case SetStatus() | WatchRoom() | WatchUsers() | Unwatch() | Typing():
            if message.request_id is not None:
                refused.request_id = message.request_id
                message.peer.reply(error(refused))
        case _:
            pass
