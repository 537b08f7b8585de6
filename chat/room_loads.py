"""How busy each room in memory is: what nobody labels a metric with."""

from collections.abc import Iterable
from heapq import nlargest
from typing import NamedTuple

from actors import Ref
from chat.room_messages import RoomMessage
from chat.topic import Topics


class RoomLoad(NamedTuple):
    """One look at a room.

    Attributes:
        subscribers: connections that it delivers to here.
        waiting: messages in its mailbox.
        wait_s: how long the oldest of them has waited.
        messages: worked on since it became active.
        turn_s: seconds that they took, in all.
        turn_max_s: seconds that the longest turn took.
    """

    room: str
    subscribers: int
    waiting: int
    wait_s: float
    messages: int
    turn_s: float
    turn_max_s: float


def busiest(rooms: Iterable[Ref[RoomMessage]], topics: Topics, limit: int) -> list[RoomLoad]:
    """The rooms in which something waits longest, then those with most subscribers.

    Costs time in proportion to the rooms in memory, as a scrape of the metrics does.
    """
    return nlargest(
        limit,
        (_look(ref, topics) for ref in rooms),
        key=lambda load: (load.wait_s, load.waiting, load.subscribers, load.messages),
    )


def _look(ref: Ref[RoomMessage], topics: Topics) -> RoomLoad:
    seen = ref.statistics()
    topic = topics.get(ref.name)
    return RoomLoad(
        ref.name,
        0 if topic is None else len(topic),
        seen.mailbox.depth,
        seen.mailbox.oldest_wait_s,
        seen.messages,
        seen.turn_s,
        seen.turn_max_s,
    )
