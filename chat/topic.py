"""This node's delivery of one room's events: who receives them here. It decides nothing.

The room actor (who decides) and the topic (who delivers) are separate: with several nodes a room lives on
one of them, and every node has a topic of its own.
"""

from collections.abc import Collection, Iterator
from typing import Protocol

from chat.errors import CloseCode
from chat.measures import Counts
from chat.peers import Broadcast, Peer
from chat.transport import Flusher, Outbox
from storage.model import RoomId


class Subscriber(Peer, Protocol):
    """A peer that a topic delivers to."""

    @property
    def outbox(self) -> Outbox:
        """Where its frames go."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection, saying why; never blocks."""
        ...


class Topic:
    """The subscribers of one room on this node.

    Attributes:
        room_id: the room's number in storage.
        last_seq: the last seq that was published; a room that was rebuilt continues after it.
        epoch: the room's, under which it was published.
        staff: the users whose commands may use the reserve of the room's mailbox.
    """

    __slots__ = (
        "_counts",
        "_flusher",
        "_outboxes",
        "_subscribers",
        "epoch",
        "last_seq",
        "room",
        "room_id",
        "staff",
    )

    def __init__(self, room: str, room_id: RoomId, flusher: Flusher, counts: Counts) -> None:
        self.room = room
        self._flusher = flusher
        self._counts = counts
        self.room_id = room_id
        self.last_seq = 0
        self.epoch = 0
        self.staff: Collection[str] = ()
        # By encoding, so that a broadcast is one loop over outboxes with one frame; dicts keep removal cheap.
        self._outboxes: tuple[dict[Outbox, None], dict[Outbox, None]] = ({}, {})
        self._subscribers: dict[Subscriber, None] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._subscribers)

    def __contains__(self, peer: object) -> bool:
        return peer in self._subscribers

    def add(self, peer: Subscriber) -> None:
        """Deliver to a peer from now on; no effect for one that is there."""
        self._subscribers[peer] = None
        self._outboxes[peer.encoding_index][peer.outbox] = None

    def discard(self, peer: Subscriber) -> None:
        """Deliver to a peer no more; no effect for one that is not there."""
        if self._subscribers.pop(peer, peer) is None:
            self._outboxes[peer.encoding_index].pop(peer.outbox, None)

    def publish(self, message: Broadcast, seq: int) -> None:
        """Deliver a log event to everybody; never blocks."""
        for index, outboxes in enumerate(self._outboxes):
            if outboxes:
                self._counts.deliveries += len(outboxes)
                self._flusher.broadcast(outboxes, message.frame(index))
        # Last: a crash above makes the room publish it again, and twice is better than not at all.
        self.last_seq = seq

    def publish_ephemeral(self, message: Broadcast) -> None:
        """Deliver something that a full outbox may shed."""
        for index, outboxes in enumerate(self._outboxes):
            if outboxes:
                shed = self._flusher.shed
                self._flusher.broadcast(outboxes, message.frame(index), ephemeral=True)
                self._counts.ephemeral_deliveries += len(outboxes) - (self._flusher.shed - shed)


class Topics:
    """The topics of this node: by room, and by the room's number in storage."""

    def __init__(self, flusher: Flusher, counts: Counts) -> None:
        self._flusher = flusher
        self._counts = counts
        self._topics: dict[str, Topic] = {}
        self._names: dict[RoomId, str] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def get(self, room: str) -> Topic | None:
        """A room's topic, if the room is active here."""
        return self._topics.get(room)

    def name(self, room_id: RoomId) -> str | None:
        """The name of an active room."""
        return self._names.get(room_id)

    def open(self, room: str, room_id: RoomId) -> Topic:
        """A room's topic, made when there is none."""
        topic = self._topics.get(room)
        if topic is None:
            topic = self._topics[room] = Topic(room, room_id, self._flusher, self._counts)
            self._names[room_id] = room
        return topic

    def close(self, room: str) -> Topic | None:
        """Forget a room's topic; the one that was there."""
        topic = self._topics.pop(room, None)
        if topic is not None:
            self._names.pop(topic.room_id, None)
        return topic
