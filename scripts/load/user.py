"""One simulated user: comes, does what its plan says when it is due, goes, and comes back."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random
from time import monotonic_ns
from typing import Final, assert_never, cast

import trio

from chat.backoff import Backoff
from chat.client_errors import OutboundFull, RequestRefused
from chat.client_feed import Notice, Update
from chat.client_session import ClientSession
from chat.client_state import (
    Envelope,
    EventAdded,
    EventVoided,
    Hole,
    Left,
    OutOfOrder,
    Phase,
    Rewound,
    WasReset,
)
from chat.codec import JSON, MSGPACK
from chat.outbound import Delivery, Outbound, Outgoing
from scripts.load.behaviours import Seat
from scripts.load.checks import Fate
from scripts.load.connection import Closed, Connection
from scripts.load.dial import DialFailed
from scripts.load.message import TOO_LARGE, padded_body, spoken_body
from scripts.load.meter import NS
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
from scripts.load.world import DUE, World

DIAL_TIMEOUT_S: Final = 15.0
WELCOME_TIMEOUT_S: Final = 30.0
"""From `hello` until every room is caught up; then the attempt counts as failed, and another is made."""
ANSWER_S: Final = 30.0
STORE_S: Final = 60.0
CLOSE_S: Final = 2.0
IDLE_S: Final = 90.0
"""Without a byte from the server, which pings after 25 s (+-20 %)."""
STEADY_NS: Final = 30 * NS
BACKLOG_MAX: Final = 100
"""Operations that wait for the first welcome; above it they count as errors (`not_connected`)."""
WATCH_LIMIT: Final = 100
_FINAL_CODES: Final = range(4500, 5000)


class User:
    """See the module.

    Attributes:
        joined: whether all rooms were joined once.
        welcomed: whether there is a connection, and every room is caught up.
        away: gone by plan.
        out: gone for good: the server will not have it.
    """

    __slots__ = (
        "_backlog",
        "_backoff",
        "_catching_up",
        "_cids",
        "_connection",
        "_dial_ns",
        "_dialing",
        "_excused_ns",
        "_known",
        "_plan",
        "_refused_hello",
        "_rng",
        "_rooms",
        "_serial",
        "_text",
        "_timer_ns",
        "_token",
        "_visit",
        "_watching",
        "_welcomed_ns",
        "_world",
        "away",
        "joined",
        "out",
        "picture",
        "seat",
        "session",
        "status",
        "welcomed",
    )

    def __init__(
        self, seat: Seat, world: World, plan: Iterator[Operation], rng: Random, token: str | None
    ) -> None:
        self.seat = seat
        self._world = world
        self._plan = plan
        self._rng = rng
        self._token = token
        codec = JSON if seat.json else MSGPACK
        self._text = codec.is_text
        self._connection: Connection | None = None
        self.session = ClientSession(
            decode=world.decoders[seat.json],
            encode=codec.encode,
            outbound=Outbound(),
            feed=None,
            on_update=self._on_update,
            now_s=trio.current_time,
            wake=self._wake,
            answer_s=ANSWER_S,
            store_s=STORE_S,
        )
        self._known = world.decoders[seat.json].known
        self._rooms = self.session.rooms
        self._backoff = Backoff()
        self._backlog: list[Operation] = []
        self._catching_up: set[str] = set()
        self._cids = 0
        self._dial_ns = 0
        self._dialing = False
        # What was due before this is not timed here: by plan the user was away or deaf until then.
        self._excused_ns = 0
        self._visit = 0
        self._serial = 0
        self._timer_ns = 0
        self._watching = False
        self._welcomed_ns = 0
        self._refused_hello = ""
        self.status = "online"
        self.picture = Picture() if seat.watches else None
        self.joined = False
        self.welcomed = False
        self.away = True
        self.out = False

    @property
    def name(self) -> str:
        """The display name."""
        return f"load {self.seat.user}"

    @property
    def public_status(self) -> str:
        """How others are to see this user, once presence has converged."""
        return self.status if self.session.attached else OFFLINE

    # -- coming ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take one's place in the plan; called once, before the start."""
        world = self._world
        due_ns = world.at_s(self.seat.join_s)
        world.wheel.at(due_ns, partial(self._come, self._visit, due_ns))
        self._schedule()

    def _come(self, visit: int, due_ns: int) -> None:
        """Dial, unless there were other plans meanwhile."""
        if self.out or visit != self._visit or self._connection is not None:
            return
        self.away = False
        self._dial_ns = due_ns
        if not self._dialing:
            self._dialing = True
            self._world.nursery.start_soon(self._dial)

    async def _dial(self) -> None:
        """Dial and say hello; what follows is told by messages and by `_check_welcomed`."""
        world = self._world
        codec = JSON if self.seat.json else MSGPACK
        try:
            async with world.dials:
                with trio.fail_after(DIAL_TIMEOUT_S):
                    dialed = await world.dialer.dial(codec.subprotocol)
        except (DialFailed, trio.TooSlowError) as error:
            self._dialing = False
            self._failed(error.code if isinstance(error, DialFailed) else "connect_timeout")
            return
        self._dialing = False
        if self.away or self.out:
            dialed.sock.close()
            return
        now_s = trio.current_time()
        self._serial += 1
        serial = self._serial
        self._connection = connection = Connection(
            dialed.sock,
            session=self.session,
            on_message=self._on_message,
            text=self._text,
            poller=world.poller,
            on_closed=self._on_closed,
            on_flushed=self._on_flushed,
            now_s=now_s,
        )
        hello: Envelope = {"t": "hello", "client": "parley-load", "status": self.status}
        hello.update({"guest": self.name} if self._token is None else {"token": self._token})
        self._refused_hello = ""
        world.wheel.at(
            monotonic_ns() + int(WELCOME_TIMEOUT_S * NS), partial(self._check_welcomed, connection, serial)
        )
        connection.begin(dialed.rest, now_s)
        connection.say(self.session.greet(hello, self._greeted))

    def _greeted(self, reply: Envelope | None) -> None:
        if reply is None:
            return
        world = self._world
        if reply["t"] == "error":
            refused = RequestRefused.from_envelope(reply)
            world.meter.errors[refused.code] += 1
            self.out = self.out or not refused.temporary
            self._refused_hello = refused.code
            return
        token = reply.get("token")
        if isinstance(token, str):
            self._token = token
        self._welcomed_ns = monotonic_ns()
        session = self.session
        session.attach(reply)
        names = [world.room_names[room] for room in self.seat.rooms]
        self._catching_up = set(names)
        for name in names:
            session.follow(
                name,
                joining=not self.joined,
                create=True,
                limit=1,
                on_answer=partial(self._followed, name, self._serial),
            )
        self._watching = False
        if self.picture is not None:
            self.picture.version = 0

    def _followed(self, room: str, serial: int, answer: Envelope | RequestRefused) -> None:
        if isinstance(answer, RequestRefused):
            self._world.meter.errors[answer.code] += 1
        elif serial == self._serial:
            self._check_caught_up()

    def _check_caught_up(self) -> None:
        rooms = self.session.rooms
        behind = self._catching_up
        for name in [name for name in behind if name in rooms and rooms[name].log.phase is Phase.LIVE]:
            behind.discard(name)
        if behind or self.welcomed:
            return
        meter = self._world.meter
        now_ns = monotonic_ns()
        self.welcomed = True
        if self.joined:
            meter.resumes += 1
            meter.took("resume", self._dial_ns, now_ns)
        else:
            self.joined = True
            meter.connects += 1
            meter.took("connect", self._dial_ns, now_ns)
            backlog, self._backlog = self._backlog, []
            for operation in backlog:
                self._do(operation)
        if self.picture is not None:
            self._watch()

    def _check_welcomed(self, connection: Connection, serial: int) -> None:
        if serial == self._serial and connection.open and not self.welcomed and not self.away:
            connection.abort()
            self._gone()
            self._failed("connect_timeout")

    def _failed(self, code: str) -> None:
        """No connection this time: try again, unless that is of no use."""
        self._world.meter.errors[code] += 1
        self._come_again(None)

    def _come_again(self, retry_after_s: float | None) -> None:
        if self.out or self.away:
            return
        wait_s = self._backoff.next_s(self._rng.random(), retry_after_s)
        due_ns = monotonic_ns() + int(wait_s * NS)
        self._world.wheel.at(due_ns, partial(self._come, self._visit, due_ns))

    # -- going -------------------------------------------------------------------------------------------

    def _on_closed(self, closed: Closed) -> None:
        was_away = self.away
        self._gone()
        if was_away:
            return
        if not self._refused_hello:
            self._world.meter.errors[f"close_{closed.code}"] += 1
        self.out = self.out or closed.code in _FINAL_CODES
        if self._welcomed_ns and monotonic_ns() - self._welcomed_ns >= STEADY_NS:
            self._backoff.reset()
        self._come_again(closed.retry_after_s)

    def _gone(self) -> None:
        self._connection = None
        self._serial += 1
        self.welcomed = False
        self.session.detach()

    def _go(self, away_s: float, *, politely: bool) -> None:
        """Leave by plan, and come back later."""
        connection = self._connection
        self.away = True
        self._visit += 1
        due_ns = monotonic_ns() + int(away_s * NS)
        self._excused_ns = max(self._excused_ns, due_ns)
        if connection is None:
            pass
        elif politely:
            connection.close()
            self._world.wheel.at(
                monotonic_ns() + int(CLOSE_S * NS), partial(self._give_up_closing, connection)
            )
        else:
            connection.abort()
            self._gone()
        self._world.wheel.at(due_ns, partial(self._return, self._visit, due_ns))

    def _give_up_closing(self, connection: Connection) -> None:
        if connection.open:
            connection.abort()
            if self._connection is connection:
                self._gone()

    def _return(self, visit: int, due_ns: int) -> None:
        if visit == self._visit and self._connection is not None:
            # Still closing: the server takes its time.
            self._give_up_closing(self._connection)
        self._come(visit, due_ns)

    def settle(self) -> None:
        """The plan has ended: read on."""
        if self._connection is not None:
            self._connection.resume()

    def end(self) -> None:
        """Close for good."""
        self.away = self.out = True
        if self._connection is not None:
            self._connection.close()

    def check_idle(self, now_s: float) -> None:
        """Give a connection up from which nothing has come for too long, and retry what did not go out."""
        connection = self._connection
        if connection is None:
            return
        if now_s - connection.received_at_s > IDLE_S:
            connection.abort()
            self._gone()
            self._failed("idle_timeout")
        elif connection.blocked_since_s is not None:
            connection.flush(now_s)

    # -- doing -------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        operation = next(self._plan, None)
        if operation is not None:
            self._world.wheel.at(self._world.at_s(operation.due_s), partial(self._due, operation))

    def _due(self, operation: Operation) -> None:
        world = self._world
        if world.stopped:
            return
        world.meter.began(world.at_s(operation.due_s), monotonic_ns())
        if self.joined or isinstance(operation, Drop | Leave | Stall):
            self._do(operation)
        elif len(self._backlog) < BACKLOG_MAX:
            self._backlog.append(operation)
        else:
            world.meter.errors["not_connected"] += 1
        self._schedule()

    def _do(self, operation: Operation) -> None:
        due_ns = self._world.at_s(operation.due_s)
        if due_ns <= self._excused_ns:
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
                self.status = operation.status
                if self.session.attached:
                    self._ask({"t": "presence", "status": operation.status})
            case ReadHistory():
                self._read(operation, due_ns)
            case Drop():
                self._go(operation.away_s, politely=False)
            case Leave():
                self._go(operation.away_s, politely=True)
            case Stall():
                self._stall(operation.for_s)
            case _:
                assert_never(operation)
        self._flush()

    def _send(self, room: int, body: str, due_ns: int, *, expected: str = "") -> None:
        world = self._world
        cid = f"{self.seat.user:x}-{self._cids:x}"
        self._cids += 1
        world.meter.sends += 1
        try:
            self.session.outbound.post(
                world.room_names[room], cid, body, on_change=_Sent(self, room, due_ns, expected)
            )
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
        world = self._world
        name = world.room_names[operation.room]
        entry = self.session.rooms.get(name)
        seq = 0 if entry is None else entry.log.seq
        before = max(1, int(seq * (1 - operation.back))) + 1
        world.pending += 1
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

    def _stall(self, for_s: float) -> None:
        connection = self._connection
        if connection is not None:
            until_ns = monotonic_ns() + int(for_s * NS)
            self._excused_ns = max(self._excused_ns, until_ns)
            connection.pause()
            self._world.wheel.at(until_ns, connection.resume)

    # -- watching ----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watching or not self.session.attached or not self.joined:
            return
        self._watching = True
        self._world.pending += 1
        room = self._world.room_names[self.seat.rooms[0]]
        self.session.ask(
            {"t": "watch", "room": room, "limit": WATCH_LIMIT}, partial(self._watched, self._serial)
        )
        self._flush()

    def _watched(self, serial: int, reply: Envelope | None) -> None:
        world = self._world
        world.pending -= 1
        if serial != self._serial or reply is None or self.picture is None:
            return
        self._watching = False
        if reply["t"] == "error":
            world.meter.errors[str(reply["code"])] += 1
            if reply.get("temporary") is True:
                world.wheel.at(monotonic_ns() + NS, self._watch)
            return
        self.picture.begin(reply)

    def _noticed(self, envelope: Envelope) -> None:
        picture = self.picture
        if picture is None or envelope["t"] != "presence":
            return
        room = envelope.get("room")
        mine = room == self._world.room_names[self.seat.rooms[0]] or envelope.get("all") is True
        if mine and not self._watching and not picture.take(envelope):
            self._watch()

    # -- what comes --------------------------------------------------------------------------------------

    def _on_message(self, payload: bytes) -> None:
        """The hot path: a broadcast that another client of this worker got before, of somebody else's message.

        What `ClientSession.on_message` would do comes to this; everything else it does itself.
        """
        event = self._known(payload)
        if event is not None and event["by"] != self.session.user_id:
            entry = self._rooms.get(cast("str", event["room"]))
            if entry is not None and entry.log.take(event):
                meter = self._world.meter
                meter.deliveries += 1
                due_ns = cast("int", event[DUE])
                if due_ns > self._excused_ns:
                    meter.took("delivery", due_ns, monotonic_ns())
                return
        self.session.on_message(payload)

    def _on_update(self, update: Update) -> None:
        if type(update) is EventAdded:
            event = update.event
            meter = self._world.meter
            meter.deliveries += 1
            due_ns = cast("int | None", event.get(DUE))
            if due_ns is None:
                # A part of an answer: what a resume brings is timed as a whole.
                self._world.witnesses[update.room].see(event, self.name)
            elif due_ns > self._excused_ns and event["by"] != self.session.user_id:
                meter.took("delivery", due_ns, monotonic_ns())
        else:
            self._on_rarer(update)
        if self._catching_up:
            self._check_caught_up()

    def _on_rarer(self, update: Update) -> None:
        world = self._world
        match update:
            case Notice():
                self._noticed(update.envelope)
            case OutOfOrder():
                skips = update.seq > update.after
                world.accuse(
                    "gap" if skips else "order",
                    update.room,
                    f"{self.name} got #{update.seq} after #{update.after}",
                    f"user {self.session.user_id}, live",
                )
            case Hole():
                world.meter.errors["hole"] += 1
            case Rewound():
                world.meter.errors["rewind"] += 1
            case WasReset():
                world.meter.errors["reset"] += 1
            case Left():
                world.meter.errors[update.refused.code] += 1
                self.out = True
            case EventVoided():
                pass
            case _:
                pass

    # -- sending -----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._connection is not None:
            self._connection.wake()

    def _flush(self) -> None:
        if self._connection is not None:
            self._connection.flush(trio.current_time())

    def _on_flushed(self, now_s: float) -> None:
        """Have another flush when the session wants one."""
        due_s = self.session.next_due_s()
        if due_s is None:
            return
        due_ns = monotonic_ns() + int(max(due_s - now_s, 0.001) * NS)
        if not self._timer_ns or due_ns < self._timer_ns:
            self._timer_ns = due_ns
            self._world.wheel.at(due_ns, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_ns = 0
        self._flush()

    def tell_lag(self, room: int, head: int) -> str | None:
        """How far this user's log of a room is behind its head; None: it is not, or it has no connection."""
        entry = self.session.rooms.get(self._world.room_names[room])
        if entry is None or not self.session.attached or entry.log.seq >= head:
            return None
        return f"{self.name} ({self.session.user_id}) saw up to #{entry.log.seq} of #{head}"


class _Sent:
    """Takes note of what becomes of one message."""

    __slots__ = ("_due_ns", "_expected", "_room", "_user")

    def __init__(self, user: User, room: int, due_ns: int, expected: str) -> None:
        self._user = user
        self._room = room
        self._due_ns = due_ns
        self._expected = expected

    def __call__(self, outgoing: Outgoing) -> None:
        world = self._user._world  # noqa: SLF001  a part of the user
        match outgoing.state:
            case Delivery.STORED:
                world.pending -= 1
                world.meter.oks += 1
                if self._due_ns > self._user._excused_ns:  # noqa: SLF001
                    world.meter.took("ok", self._due_ns, monotonic_ns())
                world.fates[self._room][outgoing.cid] = outgoing.seq
            case Delivery.REFUSED:
                world.pending -= 1
                code = "" if outgoing.refused is None else outgoing.refused.code
                if code != self._expected:
                    world.meter.errors[code] += 1
                if not outgoing.retry:
                    world.fates[self._room][outgoing.cid] = Fate.REFUSED
            case Delivery.QUEUED:
                # Also after a lost connection, which is counted by itself.
                if outgoing.refused is not None and self._user.session.attached:
                    world.meter.errors[outgoing.refused.code] += 1
            case _:
                pass
