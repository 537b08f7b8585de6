"""One nickname of a replay: its connection, from coming to going, in a task of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from chat.client import Client, ClientOptions, Dial, Encoding, open_client
from chat.client_errors import ClientError
from chat.client_feed import Ended, Update
from chat.client_state import Envelope, EventAdded, Hole
from chat.outbound import Delivery, Outgoing
from chat.transport.poller import Poller

REQUEST_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Tally:
    """What all rooms of a replay count together.

    Attributes:
        ok_s: of every stored message, from its first sending to its `ok`.
    """

    messages: int = 0
    deliveries: int = 0
    reconnects: int = 0
    ok_s: list[float] = field(default_factory=list[float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What every connection of a replay is made with.

    Attributes:
        speed: times as fast as the channel was; None: as fast as it goes.
        advance: called for every message that was accepted.
        handshakes: how many connections are made at once.
        poller: reads for all of them.
    """

    url: str
    encoding: Encoding
    speed: float | None
    rng: Random
    dial: Dial | None
    decode: Callable[[bytes], Envelope]
    tally: Tally
    advance: Callable[[], None]
    handshakes: trio.CapacityLimiter
    poller: Poller | None

    def options(self) -> ClientOptions:
        """Of every client: patient, for thousands of them share the machine with the server."""
        return ClientOptions(
            connect_timeout_s=REQUEST_TIMEOUT_S,
            request_timeout_s=REQUEST_TIMEOUT_S,
            idle_timeout_s=3 * REQUEST_TIMEOUT_S,
        )


class Person:
    """One nickname in one room.

    Args:
        token: of the guest that this nickname was before; None for a new one.

    Attributes:
        here: set when the room is joined, or will never be: see `error`.
        gone: set when the connection is closed.
        error: why there is no connection.
        missed: what the room could not tell this connection.
    """

    def __init__(self, name: str, room: str, wiring: Wiring, *, token: str | None) -> None:
        self.name = name
        self.token = token
        self.user_id = ""
        self.here = trio.Event()
        self.gone = trio.Event()
        self.error: Exception | None = None
        self.missed: list[str] = []
        self._room = room
        self._wiring = wiring
        self._client: Client | None = None
        self._leave = trio.Event()
        self._unfinished = 0
        self._changed = trio.Event()

    async def run(self) -> None:
        """Connect, join, stay until `leave`, leave. Trouble with the server is kept as `error`."""
        wiring = self._wiring
        await wiring.handshakes.acquire_on_behalf_of(self)
        shaking = True
        try:
            async with open_client(
                wiring.url,
                token=self.token,
                guest=self.name if self.token is None else None,
                encoding=wiring.encoding,
                rng=wiring.rng,
                client_name="parley-replay",
                options=wiring.options(),
                on_update=self._on_update,
                dial=wiring.dial,
                decode=wiring.decode,
                poller=wiring.poller,
            ) as client:
                await client.join(self._room, limit=1)
                wiring.handshakes.release_on_behalf_of(self)
                shaking = False
                await self._stay(client)
        except ClientError as exc:
            self.error = exc
        finally:
            if shaking:
                wiring.handshakes.release_on_behalf_of(self)
            self._client = None
            self.here.set()
            self.gone.set()
            self._changed.set()

    async def _stay(self, client: Client) -> None:
        self._client = client
        self.user_id = client.user_id
        self.token = client.guest_token
        self.here.set()
        try:
            await self._leave.wait()
            await self.wait_stored()
            await client.leave(self._room)
        finally:
            self._wiring.tally.reconnects += client.statistics().connections - 1

    def leave(self) -> None:
        """Go when all that was said is stored; `gone` tells when that is done."""
        self._leave.set()

    @property
    def seen(self) -> int:
        """The seq up to which the room's events have come."""
        position = None if self._client is None else self._client.position(self._room)
        return 0 if position is None else position[1]

    async def wait_stored(self) -> None:
        """Wait until nothing is on its way, or the connection has ended; the caller sets the deadline."""
        while self._unfinished and self.error is None:
            self._changed = trio.Event()
            await self._changed.wait()

    async def say(self, body: str) -> Outgoing:
        """Send a message and wait until the room has ordered it, or refused it, or the connection has ended.

        The caller sets the deadline and looks at the message's state.
        """
        client = self._client
        if client is None:
            raise self.error or ClientError(f"{self.name} has no connection")
        tally = self._wiring.tally
        settled = trio.Event()
        sent_at_s = 0.0

        def on_change(outgoing: Outgoing) -> None:
            nonlocal sent_at_s
            match outgoing.state:
                case Delivery.SENT:
                    sent_at_s = sent_at_s or trio.current_time()
                case Delivery.ACCEPTED:
                    settled.set()
                case Delivery.STORED | Delivery.REFUSED | Delivery.ABANDONED:
                    if outgoing.state is Delivery.STORED:
                        tally.messages += 1
                        tally.ok_s.append(trio.current_time() - sent_at_s)
                    self._unfinished -= 1
                    self._changed.set()
                    settled.set()
                case Delivery.QUEUED:
                    pass

        self._unfinished += 1
        outgoing = client.post(self._room, body, on_change=on_change)
        await settled.wait()
        return outgoing

    def _on_update(self, update: Update) -> None:
        if type(update) is EventAdded:
            self._wiring.tally.deliveries += 1
        elif isinstance(update, Hole):
            self.missed.append(f"{self.name} missed #{update.first} to #{update.last}")
        elif isinstance(update, Ended):
            self.error = update.error
            self._changed.set()
