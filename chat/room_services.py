"""What every room on a node shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chat.house import House
from chat.measures import Counts
from chat.peers import Peer
from chat.presence_port import PresencePort
from chat.read_pointers import ReadPointers
from chat.review_queue import ReviewQueue
from chat.room_messages import RoomMessage
from chat.rule_book import RuleBook
from chat.topic import Topics
from storage.store import Store
from storage.writer_pool import WriterPool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomServices:
    """What every room on this node shares.

    Attributes:
        reads: stores read pointers.
        sessions_of: a user's sessions on this node.
        now_ms: the wall clock, milliseconds since 1970.
        successor: hand a message to whichever actor has the room's name next.
        tail_events: entries a room keeps in memory beyond what is not stored yet.
        members_max: members a room takes.
        house: what holds server-wide.
        activation_s: how long an activation waits for a database that is away.
        rule_book: compiles rules of automatic moderation, and has those of every room.
        reviews: takes what moderators are to look at.
    """

    store: Store
    writers: WriterPool[object]
    topics: Topics
    presence: PresencePort
    reads: ReadPointers
    sessions_of: Callable[[str], Sequence[Peer]]
    counts: Counts
    now_ms: Callable[[], int]
    successor: Callable[[str, RoomMessage], None]
    house: House
    tail_events: int
    members_max: int
    activation_s: float
    rule_book: RuleBook
    reviews: ReviewQueue
