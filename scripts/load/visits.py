"""A simulated user's comings and goings: dialling, welcomes, losses, and coming back."""

from collections.abc import Callable
from functools import partial
from random import Random
from time import monotonic_ns
from typing import Final

import trio

from chat.backoff import FIRST_CEILING_S, MAX_CEILING_S, Backoff
from chat.client_errors import RequestRefused
from chat.client_session import ClientSession
from chat.client_state import Envelope, Phase
from chat.codec import JSON, MSGPACK
from scripts.load.behaviours import Seat
from scripts.load.connection import Closed, Connection
from scripts.load.dial import DialFailed
from scripts.load.meter import NS
from scripts.load.world import World

DIAL_TIMEOUT_S: Final = 15.0
WELCOME_TIMEOUT_S: Final = 30.0
"""From `hello` until every room is caught up; then the attempt counts as failed, and another is made."""
CLOSE_S: Final = 2.0
IDLE_S: Final = 90.0
"""Without a byte from the server, which pings after 25 s (+-20 %)."""
BLOCKED_RETRY_S: Final = 0.05
STEADY_NS: Final = 30 * NS
"""A connection that held this long was no failure: the next wait begins small again."""
_FINAL_CODES: Final = range(4500, 5000)


class Visits:
    """See the module.

    Args:
        session: the user's, over all connections.
        on_broadcast: see `Connection`.
        on_caught_up: called whenever all rooms are caught up after a welcome; the first time too.
        rng: for the jitter of coming back.
        token: of a registered user; None: a guest comes.

    Attributes:
        connection: the one that is open, welcomed or not.
        joined: whether all rooms were joined once.
        welcomed: whether there is a connection, and every room is caught up.
        away: gone by plan, or not come yet.
        out: gone for good: the server will not have it.
        status: what `hello` says.
        serial: rises with every connection and every loss.
        excused_ns: what was due before this is not timed: by plan the user was away or deaf until then.
    """

    __slots__ = (
        "_backoff",
        "_catching_up",
        "_dial_ns",
        "_dialing",
        "_on_broadcast",
        "_on_caught_up",
        "_refused_hello",
        "_rng",
        "_seat",
        "_session",
        "_timer_ns",
        "_token",
        "_visit",
        "_welcomed_ns",
        "_world",
        "away",
        "connection",
        "excused_ns",
        "joined",
        "out",
        "serial",
        "status",
        "welcomed",
    )

    def __init__(
        self,
        seat: Seat,
        world: World,
        session: ClientSession,
        *,
        on_broadcast: Callable[[Envelope], bool],
        on_caught_up: Callable[[], None],
        rng: Random,
        token: str | None,
    ) -> None:
        self._seat = seat
        self._world = world
        self._session = session
        self._on_broadcast = on_broadcast
        self._on_caught_up = on_caught_up
        self._rng = rng
        self._token = token
        first_s = world.reconnect_s
        self._backoff = Backoff(first_s=first_s, max_s=first_s * MAX_CEILING_S / FIRST_CEILING_S)
        self._catching_up: set[str] = set()
        self._dial_ns = 0
        self._dialing = False
        self._refused_hello = False
        self._timer_ns = 0
        # Plans of an earlier visit do not concern the one that has begun meanwhile.
        self._visit = 0
        self._welcomed_ns = 0
        self.connection: Connection | None = None
        self.joined = False
        self.welcomed = False
        self.away = True
        self.out = False
        self.status = "online"
        self.serial = 0
        self.excused_ns = 0

    # -- coming ------------------------------------------------------------------------------------------

    def come_at(self, due_ns: int) -> None:
        """Dial then, unless there are other plans until then."""
        self._world.wheel.at(due_ns, partial(self._come, self._visit, due_ns))

    def _come(self, visit: int, due_ns: int) -> None:
        if self.out or visit != self._visit or self.connection is not None:
            return
        self.away = False
        self._dial_ns = due_ns
        if not self._dialing:
            self._dialing = True
            self._world.nursery.start_soon(self._dial)

    async def _dial(self) -> None:
        """Dial and say hello; what follows is told by messages and by `_check_welcomed`."""
        world = self._world
        codec = JSON if self._seat.json else MSGPACK
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
        self.serial += 1
        self.connection = connection = Connection(
            dialed.sock,
            session=self._session,
            on_message=self._session.on_message,
            broadcasts=world.decoders[self._seat.json].broadcasts,
            on_broadcast=self._on_broadcast,
            text=codec.is_text,
            poller=world.poller,
            on_closed=self._on_closed,
            on_flushed=self._on_flushed,
            now_s=now_s,
        )
        hello: Envelope = {"t": "hello", "client": "parley-load", "status": self.status}
        hello.update({"guest": f"load {self._seat.user}"} if self._token is None else {"token": self._token})
        self._refused_hello = False
        deadline_ns = monotonic_ns() + int(WELCOME_TIMEOUT_S * NS)
        world.wheel.at(deadline_ns, partial(self._check_welcomed, connection, self.serial))
        connection.begin(dialed.rest, now_s)
        connection.say(self._session.greet(hello, self._greeted))

    def _greeted(self, reply: Envelope | None) -> None:
        if reply is None:
            return
        world = self._world
        if reply["t"] == "error":
            refused = RequestRefused.from_envelope(reply)
            world.meter.errors[refused.code] += 1
            self.out = self.out or not refused.temporary
            self._refused_hello = True
            return
        token = reply.get("token")
        if isinstance(token, str):
            # A guest comes back as the same person by its token.
            self._token = token
        self._welcomed_ns = monotonic_ns()
        self._session.attach(reply)
        names = [world.room_names[room] for room in self._seat.rooms]
        self._catching_up = set(names)
        for name in names:
            self._session.follow(
                name,
                joining=not self.joined,
                create=True,
                limit=1,
                on_answer=partial(self._followed, self.serial),
            )

    def _followed(self, serial: int, answer: Envelope | RequestRefused) -> None:
        if isinstance(answer, RequestRefused):
            self._world.meter.errors[answer.code] += 1
        elif serial == self.serial:
            self.check_caught_up()

    @property
    def catching_up(self) -> bool:
        """Whether rooms are not caught up yet: then every update may be the last that was missing."""
        return bool(self._catching_up)

    def check_caught_up(self) -> None:
        """See which rooms have caught up since the welcome."""
        rooms = self._session.rooms
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
        self._on_caught_up()

    def _check_welcomed(self, connection: Connection, serial: int) -> None:
        if serial == self.serial and connection.open and not self.welcomed and not self.away:
            self._lose(connection, "connect_timeout")

    def _lose(self, connection: Connection, code: str) -> None:
        connection.abort()
        self._gone()
        self._failed(code)

    def _failed(self, code: str) -> None:
        """No connection this time: try again, unless that is of no use."""
        self._world.meter.errors[code] += 1
        self._come_again(None)

    def _come_again(self, retry_after_s: float | None) -> None:
        if not (self.out or self.away):
            wait_s = self._backoff.next_s(self._rng.random(), retry_after_s)
            self.come_at(monotonic_ns() + int(wait_s * NS))

    # -- going -------------------------------------------------------------------------------------------

    def _on_closed(self, closed: Closed) -> None:
        self._gone()
        if self.away:
            return
        if not self._refused_hello:
            self._world.meter.errors[f"close_{closed.code}"] += 1
        self.out = self.out or closed.code in _FINAL_CODES
        if self._welcomed_ns and monotonic_ns() - self._welcomed_ns >= STEADY_NS:
            self._backoff.reset()
        self._come_again(closed.retry_after_s)

    def _gone(self) -> None:
        self.connection = None
        self.serial += 1
        self.welcomed = False
        self._session.detach()

    def go(self, away_s: float, *, politely: bool) -> None:
        """Leave by plan, and come back later."""
        connection = self.connection
        self.away = True
        self._visit += 1
        due_ns = monotonic_ns() + int(away_s * NS)
        self.excused_ns = max(self.excused_ns, due_ns)
        if connection is not None and politely:
            connection.close()
            deadline_ns = monotonic_ns() + int(CLOSE_S * NS)
            self._world.wheel.at(deadline_ns, partial(self._give_up_closing, connection))
        elif connection is not None:
            connection.abort()
            self._gone()
        self._world.wheel.at(due_ns, partial(self._return, self._visit, due_ns))

    def _give_up_closing(self, connection: Connection) -> None:
        if connection.open:
            connection.abort()
            if self.connection is connection:
                self._gone()

    def _return(self, visit: int, due_ns: int) -> None:
        if visit == self._visit and self.connection is not None:
            # Still closing: the server takes its time.
            self._give_up_closing(self.connection)
        self._come(visit, due_ns)

    def stall(self, for_s: float) -> None:
        """Read nothing for so long."""
        connection = self.connection
        if connection is not None:
            until_ns = monotonic_ns() + int(for_s * NS)
            self.excused_ns = max(self.excused_ns, until_ns)
            connection.pause()
            self._world.wheel.at(until_ns, connection.resume)

    def settle(self) -> None:
        """The plan has ended: read on."""
        if self.connection is not None:
            self.connection.resume()

    def end(self) -> None:
        """Close for good."""
        self.away = self.out = True
        if self.connection is not None:
            self.connection.close()

    def check_idle(self, now_s: float) -> None:
        """Give a connection up from which nothing has come for too long."""
        connection = self.connection
        if connection is not None and now_s - connection.received_at_s > IDLE_S:
            self._lose(connection, "idle_timeout")

    # -- writing -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The session has something to say: it goes out with the end of what is being read."""
        if self.connection is not None:
            self.connection.wake()

    def flush(self) -> None:
        """Send what the session has to say, now."""
        if self.connection is not None:
            self.connection.flush(trio.current_time())

    def _on_flushed(self, now_s: float) -> None:
        """Have another flush when the session wants one, or when the kernel may take more."""
        due_s = self._session.next_due_s()
        if self.connection is not None and self.connection.blocked_since_s is not None:
            due_s = now_s + BLOCKED_RETRY_S
        if due_s is None:
            return
        due_ns = monotonic_ns() + int(max(due_s - now_s, 0.001) * NS)
        if not self._timer_ns or due_ns < self._timer_ns:
            self._timer_ns = due_ns
            self._world.wheel.at(due_ns, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_ns = 0
        self.flush()
