"""One simulated user: does what its plan says when it is due, and takes what comes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random
from time import monotonic_ns
from typing import Final, assert_never, cast

import trio

from chat.client_errors import OutboundFull
from chat.client_feed import Notice, Update
from chat.client_session import ClientSession
from chat.client_state import Envelope, EventAdded, Hole, Left, OutOfOrder, Rewound, WasReset
from chat.codec import JSON, MSGPACK
from chat.outbound import Outbound
from scripts.load.behaviours import Seat
from scripts.load.checks import Fate
from scripts.load.message import TOO_LARGE, padded_body, spoken_body
from scripts.load.operations import (
    Drop,
    Leave,
    Operation,
    ReadHistory,
    Say,
    Send,
    SendTooLarge,
    SetStatus,
    Stall,
    Type,
)
from scripts.load.presence_check import OFFLINE, Picture
from scripts.load.sending import Sending
from scripts.load.visits import Visits
from scripts.load.watcher import Watcher
from scripts.load.world import DUE, World

ANSWER_S: Final = 30.0
STORE_S: Final = 60.0
BACKLOG_MAX: Final = 100
"""Operations that wait for the first welcome; above it they count as errors (`not_connected`)."""


class User:
    """See the module.

    Args:
        plan: what it does.
        rng: for the jitter of coming back.
        token: of a registered user; None: a guest comes.

    Attributes:
        visits: its comings and goings.
    """

    __slots__ = (
        "_backlog",
        "_cids",
        "_plan",
        "_rooms",
        "_watcher",
        "_world",
        "seat",
        "session",
        "visits",
    )

    def __init__(
        self, seat: Seat, world: World, plan: Iterator[Operation], rng: Random, token: str | None
    ) -> None:
        self.seat = seat
        self._world = world
        self._plan = plan
        self._backlog: list[Operation] = []
        self._cids = 0
        decoder = world.decoders[seat.json]
        self.session = ClientSession(
            decode=decoder,
            encode=(JSON if seat.json else MSGPACK).encode,
            outbound=Outbound(),
            feed=None,
            on_update=self._on_update,
            now_s=trio.current_time,
            wake=self._wake,
            answer_s=ANSWER_S,
            store_s=STORE_S,
        )
        self._rooms = self.session.rooms
        self.visits = Visits(
            seat,
            world,
            self.session,
            on_broadcast=self._on_broadcast,
            on_caught_up=self._on_caught_up,
            rng=rng,
            token=token,
        )
        self._watcher = (
            Watcher(world.room_names[seat.rooms[0]], world, self.session, self.visits.flush)
            if seat.watches
            else None
        )

    @property
    def name(self) -> str:
        """What the evidence calls it."""
        return f"user {self.seat.user}"

    @property
    def public_status(self) -> str:
        """How others are to see this user, once presence has converged."""
        return self.visits.status if self.session.attached else OFFLINE

    @property
    def picture(self) -> Picture | None:
        """What it shows of its first room's members, if it watches them."""
        return None if self._watcher is None else self._watcher.picture

    # -- doing -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take one's place in the plan; called once, at the start."""
        self.visits.come_at(self._world.at_s(self.seat.join_s))
        self._schedule()

    def _schedule(self) -> None:
        operation = next(self._plan, None)
        if operation is not None:
            self._world.wheel.at(self._world.at_s(operation.due_s), partial(self._due, operation))

    def _due(self, operation: Operation) -> None:
        world = self._world
        if world.stopped:
            return
        world.meter.began(world.at_s(operation.due_s), monotonic_ns())
        if self.visits.joined or isinstance(operation, Drop | Leave | Stall):
            self._do(operation)
        elif len(self._backlog) < BACKLOG_MAX:
            self._backlog.append(operation)
        else:
            world.meter.errors["not_connected"] += 1
        self._schedule()

    def _do(self, operation: Operation) -> None:
        due_ns = self._world.at_s(operation.due_s)
        if due_ns <= self.visits.excused_ns:
            due_ns = 0
        match operation:
            case Send():
                self._send(operation.room, padded_body(due_ns, operation.body_bytes), due_ns)
            case Say():
                self._send(operation.room, spoken_body(due_ns, operation.text), due_ns)
            case SendTooLarge():
                self._send(operation.room, TOO_LARGE, due_ns, expected="too_large")
            case Type():
                if self.session.attached:
                    self._ask({"t": "typing", "room": self._world.room_names[operation.room]})
            case SetStatus():
                self.visits.status = operation.status
                if self.session.attached:
                    self._ask({"t": "presence", "status": operation.status})
            case ReadHistory():
                self._read(operation, due_ns)
            case Drop():
                self.visits.go(operation.away_s, politely=False)
            case Leave():
                self.visits.go(operation.away_s, politely=True)
            case Stall():
                self.visits.stall(operation.for_s)
            case _:
                assert_never(operation)
        self.visits.flush()

    def _send(self, room: int, body: str, due_ns: int, *, expected: str = "") -> None:
        world = self._world
        cid = f"{self.seat.user:x}-{self._cids:x}"
        self._cids += 1
        world.meter.sends += 1
        sending = Sending(world, self.visits, self.session, room=room, due_ns=due_ns, expected=expected)
        try:
            self.session.outbound.post(world.room_names[room], cid, body, on_change=sending)
        except OutboundFull:
            world.meter.errors["outbound_full"] += 1
            return
        world.fates[room][cid] = Fate.UNKNOWN
        world.pending += 1

    def _ask(self, request: Envelope) -> None:
        self._world.pending += 1
        self.session.ask(request, self._answered)

    def _answered(self, reply: Envelope | None) -> None:
        world = self._world
        world.pending -= 1
        if reply is not None and reply["t"] == "error":
            world.meter.errors[str(reply["code"])] += 1

    def _read(self, operation: ReadHistory, due_ns: int) -> None:
        name = self._world.room_names[operation.room]
        entry = self._rooms.get(name)
        seq = 0 if entry is None else entry.log.seq
        before = max(1, int(seq * (1 - operation.back))) + 1
        self._world.pending += 1
        self.session.ask(
            {"t": "history", "room": name, "before": before, "limit": operation.limit},
            partial(self._was_read, name, due_ns),
        )

    def _was_read(self, room: str, due_ns: int, reply: Envelope | None) -> None:
        world = self._world
        world.pending -= 1
        if reply is None:
            world.meter.errors["connection_lost"] += 1
        elif reply["t"] == "error":
            world.meter.errors[str(reply["code"])] += 1
        else:
            if due_ns:
                world.meter.took("history", due_ns, monotonic_ns())
            witness = world.witnesses[room]
            for event in cast("Sequence[Mapping[str, object]]", reply["items"]):
                witness.see(event, self.name)

    # -- what comes --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self.visits.wake()

    def _on_caught_up(self) -> None:
        backlog, self._backlog = self._backlog, []
        for operation in backlog:
            self._do(operation)
        if self._watcher is not None:
            self._watcher.begin()

    def _on_broadcast(self, event: Envelope) -> bool:
        """The hot path: an event that another client of this worker got before; False: it is not so simple.

        What `ClientSession.on_message` would do for somebody else's next event comes to this.
        """
        entry = self._rooms.get(cast("str", event["room"]))
        if entry is None or event["by"] == self.session.user_id or not entry.log.take(event):
            return False
        meter = self._world.meter
        meter.deliveries += 1
        due_ns = cast("int", event[DUE])
        if due_ns > self.visits.excused_ns:
            meter.took("delivery", due_ns, monotonic_ns())
        return True

    def _on_update(self, update: Update) -> None:
        if type(update) is EventAdded:
            event = update.event
            meter = self._world.meter
            meter.deliveries += 1
            due_ns = cast("int | None", event.get(DUE))
            if due_ns is None:
                # A part of an answer: what a resume brings is timed as a whole.
                self._world.witnesses[update.room].see(event, self.name)
            elif due_ns > self.visits.excused_ns and event["by"] != self.session.user_id:
                meter.took("delivery", due_ns, monotonic_ns())
        else:
            self._on_rarer(update)
        if self.visits.catching_up:
            self.visits.check_caught_up()

    def _on_rarer(self, update: Update) -> None:
        world = self._world
        match update:
            case Notice():
                if self._watcher is not None:
                    self._watcher.noticed(update.envelope)
            case OutOfOrder():
                world.accuse(
                    "gap" if update.seq > update.after else "order",
                    update.room,
                    f"{self.name} got #{update.seq} after #{update.after}, live",
                    self.session.user_id,
                )
            case Hole():
                world.meter.errors["hole"] += 1
            case Rewound():
                world.meter.errors["rewind"] += 1
            case WasReset():
                world.meter.errors["reset"] += 1
            case Left():
                world.meter.errors[update.refused.code] += 1
                self.visits.out = True
            case _:
                pass

    def tell_lag(self, room: int, head: int) -> str | None:
        """How far this user's log of a room is behind its head; None: it is not, or it has no connection."""
        entry = self._rooms.get(self._world.room_names[room])
        if entry is None or not self.session.attached or entry.log.seq >= head:
            return None
        return f"{self.name} ({self.session.user_id}) saw up to #{entry.log.seq} of #{head}"
