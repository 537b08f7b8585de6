"""What every session on a node shares."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chat.errors import ErrorCode
from chat.house import House
from chat.measures import Counts
from chat.people import People
from chat.presence_port import PresencePort
from chat.protocol import BODY_MAX_BYTES, Hello
from chat.room_messages import RoomMessage
from chat.session_state import SessionLimits
from chat.topic import Topics
from chat.user_ledger import UserLedger

if TYPE_CHECKING:
    from chat.session import Session


class RoomDirectory(Protocol):
    """Finds a room's actor, or activates it."""

    def tell(self, room: str, message: RoomMessage, *, control: bool = False) -> None:
        """Put a message into the room's mailbox, its reserve included where it is for `control`.

        Raises:
            MailboxFull, ActorUnavailable, TooManyActors: it was not taken.
        """
        ...


class Newcomers(Protocol):
    """Lets in who brings no token."""

    def welcome_newcomer(self, session: "Session", guest: str, request: Hello) -> None:
        """Answer the `hello` of a guest who is new here, at once.

        Raises:
            Refused: `bad_request` for a bad name.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionServices:
    """What every session on this node shares.

    Attributes:
        clock: seconds, monotonic.
        counts: what is counted on the way.
        refused: errors told, by code.
        pressure: how hard the server is pressed, 0 to 4.
        body_max_bytes: a message's text, in UTF-8.
    """

    clock: Callable[[], float]
    rooms: RoomDirectory
    newcomers: Newcomers
    topics: Topics
    presence: PresencePort
    people: People
    house: House
    ledger: UserLedger["Session"]
    limits: SessionLimits
    counts: Counts
    refused: Counter[ErrorCode]
    pressure: Callable[[], int]
    page_max: int
    subscribe_events: int
    mailbox_capacity: int
    body_max_bytes: int = BODY_MAX_BYTES
