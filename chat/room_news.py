"""What a room tells, and to whom: events to its subscribers and to those they are about, and who has read.

It decides nothing: the room hands it what is ordered. Each event is encoded once, and the latest are kept for
those who subscribe next.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from chat.house import House
from chat.measures import Counts
from chat.peers import Broadcast, Peer
from chat.protocol import SERVER_ROOM, Envelope, event, has_read, notice
from chat.room_governance import concerned
from chat.room_state import KIND_MESSAGE, RoomState
from chat.topic import Topic
from storage.model import LogEntry

KEPT: Final = 50
"""Encoded events kept for those who subscribe next: one default page."""
RECEIPTS_MAX_MEMBERS: Final = 50
"""Members of a room up to which all of them hear who has read what."""


class RoomNews:
    """One room's.

    Args:
        room: its name.
        sessions_of: a user's sessions on this node.
        house: hears what is done server-wide.
        counts: events and deliveries are counted there.
    """

    __slots__ = ("_counts", "_house", "_hushed", "_kept", "_room", "_sessions_of")

    def __init__(
        self, room: str, *, sessions_of: Callable[[str], Sequence[Peer]], house: House, counts: Counts
    ) -> None:
        self._room = room
        self._sessions_of = sessions_of
        self._house = house
        self._counts = counts
        # Parallel to the end of the tail: seq and the encoded event.
        self._kept: deque[tuple[int, Broadcast]] = deque(maxlen=KEPT)
        # Few: of what is ordered and not shown yet.
        self._hushed: set[int] = set()

    def publish(self, topic: Topic, entry: LogEntry) -> None:
        """Deliver an event to the subscribers, and to whomever it is about."""
        self._counts.events += 1
        message = Broadcast(as_event(self._room, entry))
        self._kept.append((entry.seq, message))
        topic.publish(message, entry.seq)
        if entry.kind != KIND_MESSAGE:
            self._tell_concerned(topic, entry, message)

    def hush(self, seq: int) -> None:
        """Tell nobody but the subscribers of the event at a seq, which comes."""
        self._hushed.add(seq)

    def _tell_concerned(self, topic: Topic, entry: LogEntry, message: Broadcast) -> None:
        user_id = None if entry.seq in self._hushed else concerned(entry)
        self._hushed.discard(entry.seq)
        for session in () if user_id is None else self._sessions_of(user_id):
            if session not in topic:
                # Not as an event, which would be out of the order of what the session has received.
                session.reply(notice(message.envelope))
        if self._room == SERVER_ROOM:
            self._house.hear(message.envelope)

    def forget(self, seq: int) -> None:
        """An event did not survive: nobody is to be told of it any more."""
        self._kept = deque((kept for kept in self._kept if kept[0] != seq), maxlen=KEPT)

    def encoded(self, state: RoomState, entries: Sequence[LogEntry], encoding_index: int) -> Sequence[bytes]:
        """Events as bytes, from the ones that are encoded already where possible."""
        kept = dict(self._kept) if entries else {}
        for seq in state.facts.erased:
            # It may have been broadcast with a text that is not to be said again.
            kept.pop(seq, None)
        return [
            (kept.get(entry.seq) or Broadcast(as_event(self._room, entry))).payload(encoding_index)
            for entry in entries
        ]

    def tell_read(self, state: RoomState, topic: Topic, user_id: str) -> None:
        """Tell all sessions of the reader, and in small rooms those of the other members that subscribed.

        Not every subscriber: anybody may subscribe to a public room, and so fifty readers of each message
        would make fifty frames for each of ten thousand outsiders.
        """
        read = Broadcast(has_read(self._room, user_id, state.members[user_id].read_seq))
        told = list(self._sessions_of(user_id))
        if len(state.members) <= RECEIPTS_MAX_MEMBERS:
            for other in state.members:
                if other != user_id:
                    told += [peer for peer in self._sessions_of(other) if peer in topic]
        self._counts.ephemeral_deliveries += sum(
            peer.push_ephemeral(read.frame(peer.encoding_index)) for peer in told
        )


def as_event(room: str, entry: LogEntry) -> Envelope:
    """A log entry as clients see it."""
    return event(
        room=room,
        epoch=entry.epoch,
        seq=entry.seq,
        at_ms=entry.at_ms,
        by=entry.by,
        kind=entry.kind,
        name=entry.name,
        n=entry.n,
        cid=entry.cid,
        body=entry.body,
        reply_to=entry.reply_to,
        thread=entry.thread,
        data=entry.data,
    )


def snapshot(state: RoomState, user_id: str) -> Envelope:
    """What a subscriber needs to know of a room besides its events."""
    row = state.row
    member = state.members.get(user_id)
    return {
        "kind": row.kind,
        "topic": row.topic,
        "slow": row.slow_s,
        "strict": row.strict,
        "locked": row.locked,
        "archived": row.archived,
        "retention": row.retention_s or 0,
        "members": len(state.members),
        "role": None if member is None else member.role,
        "read": None if member is None else member.read_seq,
    }
