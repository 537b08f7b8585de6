"""The rooms of this node: found by name, activated on first use, cleaned up after when one is given up."""

from actors import (
    ActorDied,
    ActorGroup,
    ActorSystem,
    ActorUnavailable,
    Crashed,
    Down,
    ExitReason,
    MailboxFull,
    Ref,
    TooManyActors,
)
from chat.errors import CloseCode, ErrorCode, Refused
from chat.room import RETRY_UNAVAILABLE_S, Room
from chat.room_answers import answer_discarded
from chat.room_messages import RoomMessage
from chat.room_services import RoomServices
from chat.topic import Topics
from storage import StorageError
from storage.model import RoomId


class Rooms:
    """Room actors by name.

    Args:
        system: runs them.
        topics: what is closed when a room is given up.
        mailbox_capacity: messages that may wait for each room.
        reserve_fraction: share of them for control and moderation only.
        idle_s: seconds without a message until a room may leave memory.
        max_active: rooms in memory at a time.
    """

    def __init__(
        self,
        system: ActorSystem,
        topics: Topics,
        *,
        mailbox_capacity: int,
        reserve_fraction: float,
        idle_s: float,
        max_active: int,
    ) -> None:
        self._topics = topics
        self._services: RoomServices | None = None
        self.group: ActorGroup[RoomMessage] = system.group(
            "room",
            self._make,
            mailbox_capacity=mailbox_capacity,
            reserve_fraction=reserve_fraction,
            idle_s=idle_s,
            max_active=max_active,
            on_discard=_discarded,
        )

    def serve(self, services: RoomServices) -> None:
        """Give the rooms what they share; before the first is asked for."""
        self._services = services

    def _make(self, name: str) -> Room:
        if self._services is None:
            raise ActorUnavailable("room", name, None)
        return Room(name, self._services)

    def is_active(self, room: str) -> bool:
        """Whether a room is in memory and needs nothing from storage to answer."""
        return self._topics.get(room) is not None

    def ref(self, room: str) -> Ref[RoomMessage]:
        """A room's address; activates it.

        Raises:
            ActorUnavailable, TooManyActors: it cannot be active now.
        """
        ref = self.group.get(room)
        if ref is None:
            ref = self.group.ref(room)
            ref.monitor(self._ended)
        return ref

    def tell(self, room: str, message: RoomMessage, *, control: bool = False) -> None:
        """Put a message into a room's mailbox, its reserve included where it is for `control`.

        Raises:
            MailboxFull, ActorUnavailable, TooManyActors: it was not taken.
        """
        self.ref(room).tell_nowait(message, control=control)

    def tell_control(self, room_id: RoomId, message: RoomMessage) -> None:
        """Put a message into the reserve of an active room's mailbox, or answer those whom it concerns.

        Raises:
            MailboxFull: it was not taken, and answered.
        """
        name = self._topics.name(room_id)
        if name is None:
            # The room lost its epoch, or was given up, while the writer still held entries of it.
            answer_discarded(message, _unavailable())
            return
        try:
            self.ref(name).tell_nowait(message, control=True)
        except (ActorUnavailable, ActorDied, TooManyActors):
            answer_discarded(message, _unavailable())
        except MailboxFull:
            answer_discarded(message, _unavailable())
            raise

    def hand_on(self, room: str, message: RoomMessage) -> None:
        """Give a message to whichever actor has the name next, or answer it."""
        try:
            self.tell(room, message)
        except (ActorUnavailable, ActorDied, TooManyActors, MailboxFull):
            answer_discarded(message, _unavailable())

    def _ended(self, down: Down) -> None:
        """A room that was given up for crashing too often leaves its subscribers to resume elsewhere."""
        if isinstance(down.reason, Crashed):
            topic = self._topics.close(down.name)
            if topic is not None:
                for peer in list(topic):
                    peer.end(CloseCode.MOVED, "the room is not available")


def _unavailable() -> Refused:
    return Refused(ErrorCode.UNAVAILABLE, "the room is not available now", retry_after_s=RETRY_UNAVAILABLE_S)


def _discarded(message: RoomMessage, reason: ExitReason) -> None:
    """Answer what no room will work on: a temporary error, the same request may work in a moment."""
    if isinstance(reason, Crashed) and not isinstance(reason.exc, StorageError):
        answer_discarded(message, Refused(ErrorCode.INTERNAL, "the room crashed", retry_after_s=1.0))
    else:
        answer_discarded(message, _unavailable())
