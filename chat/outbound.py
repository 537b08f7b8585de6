"""PURE: what a client has to say, until it is stored (docs/protocol.md 6).

`queued -> sent -> accepted (own event seen) -> stored (ok)`. A lost connection puts everything that is not
stored back to `queued`, with the same `cid` and `retry`; a temporary error waits; any other error is final.

Order. A room's messages are stored in the order of `post`, whatever connections break, as long as at most
one of them is sent and not yet accepted (`unaccepted_max=1`, the default): the next one goes out only when
the server has ordered the one before. With more, a refusal of one may let a later one pass it. A
message that was accepted and is then refused for a while (storage away) is stored after those that follow
it: only `unstored_max=1` excludes that.

No clock and no I/O: time comes in with every call, in seconds of any monotonic clock.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from operator import attrgetter
from typing import Final, NamedTuple

from chat.client_errors import OutboundFull, RequestRefused

NEVER_ORDERED: Final = frozenset({"rate_limited", "slow_mode", "muted", "busy", "overloaded"})
"""Refused before the room saw it: sending it again needs no look-up of what might be stored."""

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 30.0


class Delivery(Enum):
    """How far a message has come."""

    QUEUED = auto()
    SENT = auto()
    ACCEPTED = auto()
    """Its own event was seen: it has a place in the room's order, and is not yet stored."""
    STORED = auto()
    REFUSED = auto()
    ABANDONED = auto()
    """The client ended first: it may or may not be stored."""

    @property
    def final(self) -> bool:
        """Whether this is how it ends."""
        return self in _FINAL


_FINAL: Final = frozenset({Delivery.STORED, Delivery.REFUSED, Delivery.ABANDONED})


class Stored(NamedTuple):
    """What `ok` says of a message: where it stands for ever.

    Attributes:
        at_ms: the server's time, milliseconds since 1970 UTC.
        dup: the room knew this `cid` already.
    """

    seq: int
    epoch: int
    at_ms: int
    dup: bool


class Outgoing:
    """One message on its way; read its `state` at any time.

    Attributes:
        seq: its place in the room's order, from `accepted` on; 0 before.
        stored: set when it is stored.
        refused: the last refusal, temporary or final; None when none came.
        order: rises with every `post`.
        on_change: called after every change of state, synchronously; must not raise.
    """

    __slots__ = (
        "_attempts",
        "body",
        "cid",
        "on_change",
        "order",
        "refused",
        "reply_to",
        "retry",
        "room",
        "seq",
        "state",
        "stored",
        "thread",
    )

    def __init__(
        self,
        *,
        room: str,
        cid: str,
        body: str,
        reply_to: int | None,
        thread: int | None,
        order: int,
        on_change: Callable[["Outgoing"], None] | None,
    ) -> None:
        self.room = room
        self.cid = cid
        self.body = body
        self.reply_to = reply_to
        self.thread = thread
        self.retry = False
        self.state = Delivery.QUEUED
        self.seq = 0
        self.stored: Stored | None = None
        self.refused: RequestRefused | None = None
        self.on_change = on_change
        self.order = order
        self._attempts = 0

    def fields(self) -> dict[str, object]:
        """The `send` request without its id."""
        fields: dict[str, object] = {"t": "send", "room": self.room, "cid": self.cid, "body": self.body}
        if self.reply_to is not None:
            fields["reply_to"] = self.reply_to
        if self.thread is not None:
            fields["thread"] = self.thread
        if self.retry:
            fields["retry"] = True
        return fields

    def precedes(self, other: "Outgoing") -> bool:
        """Whether it was posted before the other."""
        return self.order < other.order

    def failed_again(self) -> float:
        """Count a refusal without `retry_after`; seconds to wait, doubling."""
        wait_s = min(RETRY_FIRST_S * 2.0 ** min(self._attempts, 10), RETRY_MAX_S)
        self._attempts += 1
        return wait_s

    def become(self, state: Delivery) -> None:
        """Change the state and say so; for `Outbound` alone."""
        self.state = state
        if self.on_change is not None:
            self.on_change(self)


class _Lane:
    """One room's messages: those that wait, those that are on the wire."""

    __slots__ = ("blocked_until_s", "flying", "queue", "unaccepted")

    def __init__(self) -> None:
        self.queue: deque[Outgoing] = deque()
        self.flying: dict[str, Outgoing] = {}
        self.unaccepted = 0
        self.blocked_until_s = 0.0

    def requeue(self, outgoing: Outgoing) -> None:
        index = 0
        while index < len(self.queue) and self.queue[index].precedes(outgoing):
            index += 1
        self.queue.insert(index, outgoing)

    def land(self, outgoing: Outgoing) -> bool:
        """Take a message off the wire; False when it was not on it."""
        if self.flying.get(outgoing.cid) is not outgoing:
            return False
        del self.flying[outgoing.cid]
        if outgoing.state is Delivery.SENT:
            self.unaccepted -= 1
        return True


class Outbound:
    """Every message of one client that is not stored yet.

    Args:
        queued_max: unfinished messages at once, over all rooms; `post` refuses above it.
        unaccepted_max: of one room, sent and not yet seen in the room's log.
        unstored_max: of one room, sent and not yet answered.
    """

    __slots__ = (
        "_blocked",
        "_count",
        "_lanes",
        "_orders",
        "_queued_max",
        "_ready",
        "_unaccepted_max",
        "_unstored_max",
    )

    def __init__(self, *, queued_max: int = 1000, unaccepted_max: int = 1, unstored_max: int = 64) -> None:
        if min(queued_max, unaccepted_max, unstored_max) < 1:
            raise ValueError("queued_max, unaccepted_max and unstored_max must be at least 1")
        self._queued_max = queued_max
        self._unaccepted_max = unaccepted_max
        self._unstored_max = unstored_max
        self._lanes: dict[str, _Lane] = {}
        self._ready: dict[str, _Lane] = {}
        self._blocked: dict[str, _Lane] = {}
        self._count = 0
        self._orders = 0

    @property
    def unfinished(self) -> int:
        """How many messages are neither stored nor refused."""
        return self._count

    def post(
        self,
        room: str,
        cid: str,
        body: str,
        *,
        reply_to: int | None = None,
        thread: int | None = None,
        on_change: Callable[[Outgoing], None] | None = None,
    ) -> Outgoing:
        """Queue a message.

        Raises:
            OutboundFull: `queued_max` messages are unfinished; nothing was queued.
        """
        if self._count >= self._queued_max:
            raise OutboundFull(f"{self._count} messages wait to be stored")
        lane = self._lanes.get(room)
        if lane is None:
            lane = self._lanes[room] = _Lane()
        self._orders += 1
        outgoing = Outgoing(
            room=room,
            cid=cid,
            body=body,
            reply_to=reply_to,
            thread=thread,
            order=self._orders,
            on_change=on_change,
        )
        lane.queue.append(outgoing)
        self._count += 1
        self._ready[room] = lane
        return outgoing

    def due(self, now_s: float) -> list[Outgoing]:
        """The messages to send now, in order; they count as sent from here on."""
        for room, lane in list(self._blocked.items()):
            if lane.blocked_until_s <= now_s:
                del self._blocked[room]
                self._ready[room] = lane
        taken: list[Outgoing] = []
        for room, lane in self._ready.items():
            if lane.blocked_until_s > now_s:
                self._blocked[room] = lane
                continue
            while (
                lane.queue
                and lane.unaccepted < self._unaccepted_max
                and len(lane.flying) < self._unstored_max
            ):
                if lane.queue[0].cid in lane.flying:
                    # The caller's own cid, twice: the second one waits for what becomes of the first.
                    break
                outgoing = lane.queue.popleft()
                lane.flying[outgoing.cid] = outgoing
                lane.unaccepted += 1
                taken.append(outgoing)
        self._ready.clear()
        for outgoing in taken:
            outgoing.become(Delivery.SENT)
        return taken

    @property
    def ready(self) -> bool:
        """Whether `due` may have something now."""
        return bool(self._ready)

    def next_due_s(self) -> float | None:
        """When a room that waits after a temporary refusal may go on; None when none waits."""
        return min((lane.blocked_until_s for lane in self._blocked.values()), default=None)

    def accepted(self, room: str, cid: str, seq: int) -> None:
        """Our own event was seen; unknown ones (another session's, or from before) are ignored."""
        lane = self._lanes.get(room)
        outgoing = None if lane is None else lane.flying.get(cid)
        if lane is None or outgoing is None or outgoing.state is not Delivery.SENT:
            return
        lane.unaccepted -= 1
        outgoing.seq = seq
        self._touch(room, lane)
        outgoing.become(Delivery.ACCEPTED)

    def stored(self, outgoing: Outgoing, stored: Stored) -> None:
        """`ok` came."""
        lane = self._lanes.get(outgoing.room)
        if lane is not None and lane.land(outgoing):
            outgoing.seq = stored.seq
            outgoing.stored = stored
            self._finish(lane, outgoing, Delivery.STORED)

    def refused(self, outgoing: Outgoing, refused: RequestRefused, now_s: float) -> None:
        """`error` came: final, or to be sent again when it may have passed."""
        lane = self._lanes.get(outgoing.room)
        if lane is None or not lane.land(outgoing):
            return
        outgoing.refused = refused
        if not refused.temporary:
            self._finish(lane, outgoing, Delivery.REFUSED)
            return
        wait_s = refused.retry_after_s if refused.retry_after_s is not None else outgoing.failed_again()
        lane.blocked_until_s = max(lane.blocked_until_s, now_s + wait_s)
        outgoing.retry = outgoing.retry or refused.code not in NEVER_ORDERED
        outgoing.seq = 0
        lane.requeue(outgoing)
        self._ready.pop(outgoing.room, None)
        self._blocked[outgoing.room] = lane
        outgoing.become(Delivery.QUEUED)

    def rewound(self, room: str, keep: int) -> None:
        """The room's events above `keep` did not survive: accepted ones among them are only sent again."""
        lane = self._lanes.get(room)
        if lane is None:
            return
        for outgoing in list(lane.flying.values()):
            if outgoing.state is Delivery.ACCEPTED and outgoing.seq > keep:
                outgoing.seq = 0
                lane.unaccepted += 1
                outgoing.become(Delivery.SENT)

    def lost(self) -> None:
        """The connection broke: whatever is not stored is queued again, in order, as a retry."""
        for room, lane in list(self._lanes.items()):
            if not lane.flying:
                continue
            again = sorted(lane.flying.values(), key=attrgetter("order"))
            lane.flying.clear()
            lane.unaccepted = 0
            for outgoing in again:
                outgoing.retry = True
                outgoing.seq = 0
                lane.requeue(outgoing)
            self._touch(room, lane)
            for outgoing in again:
                outgoing.become(Delivery.QUEUED)

    def abandon(self) -> None:
        """The client ends: nothing more will be sent or heard of what is unfinished."""
        lanes, self._lanes = self._lanes, {}
        self._ready.clear()
        self._blocked.clear()
        self._count = 0
        for lane in lanes.values():
            for outgoing in (*lane.flying.values(), *lane.queue):
                outgoing.become(Delivery.ABANDONED)

    def _touch(self, room: str, lane: _Lane) -> None:
        if lane.queue and room not in self._blocked:
            self._ready[room] = lane

    def _finish(self, lane: _Lane, outgoing: Outgoing, state: Delivery) -> None:
        self._count -= 1
        if lane.queue or lane.flying:
            self._touch(outgoing.room, lane)
        elif lane.blocked_until_s == 0.0:
            # An idle lane costs memory in a client of many rooms; a blocked one must be remembered.
            del self._lanes[outgoing.room]
        outgoing.become(state)
