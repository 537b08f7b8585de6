"""The async client: requests, rooms that resume, sends that arrive once (docs/protocol.md).

    async with open_client("ws://127.0.0.1:8000/ws", guest="ada", rng=random.Random()) as client:
        await client.join("lobby", create=True)
        stored = await client.send("lobby", "hello")
        async for update in client.events(): ...

Two tasks a connection: trio-websocket's reader, which calls the session for every message, and the one that
connects, writes and reconnects. Updates come to one reader (`events`) or to a callback (`on_update`), which
is cheaper and holds everything up while it runs.
"""

import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, cast

import trio
import trio_websocket

from chat.backoff import Backoff
from chat.client_errors import (
    ClientClosed,
    ClientError,
    ConnectFailed,
    ConnectionEnded,
    ConnectionLost,
    RequestRefused,
    RequestTimeout,
    ServerMisbehaved,
)
from chat.client_feed import Connected, Disconnected, Ended, Feed, Update
from chat.client_governing import ClientGoverning
from chat.client_options import (
    DEFAULT_OPTIONS,
    ClientOptions,
    ClientStatistics,
    Dial,
    Encoding,
    authority,
    dial_tcp,
    split_url,
)
from chat.client_session import ClientSession
from chat.client_state import Envelope
from chat.client_stream import ClientStream, close_frame, masked_frame
from chat.codec import CODECS, Codec
from chat.outbound import Outbound
from chat.protocol import SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK
from chat.transport.poller import Poller

SEND_TIMEOUT_S: Final = 10.0
"""The kernel takes nothing more for this long: the peer is gone, whatever TCP still hopes."""

CLOSE_TIMEOUT_S: Final = 1.0
STEADY_S: Final = 30.0
"""A connection that held this long was no failure: the next wait begins small again."""

_ABNORMAL: Final = 1006
_POLICY: Final = 1008
_TERMINAL: Final = range(4500, 5000)
_NOT_HERE: Final = frozenset({400, 401, 403, 404, 405, 410, 421, 426})
"""Statuses of the handshake that asking again does not change."""
_REFUSALS: Final[Mapping[int, str]] = {
    403: "the server lets nobody in from here (403)",
    404: "there is no chat server at this path (404); it is /ws",
    421: "the server is not meant to be reached by this name (421)",
    429: "too many connections from here (429)",
    502: "the server behind the proxy is away (502)",
    503: "the server is starting, stopping or overloaded (503)",
}
"""What an HTTP answer to the handshake means."""


@dataclass(slots=True)
class _End:
    """How one connection ended."""

    code: int = _ABNORMAL
    reason: str = ""
    retry_after_s: float | None = None
    final: bool = False
    not_here: bool = False
    """The server said that this is no address of its own, or no place for us: HTTP 4xx."""
    welcomed_at_s: float | None = None


class Client(ClientGoverning):
    """One user's connection to a server, over as many sockets as it takes. Made by `open_client`.

    Attributes:
        welcome: the latest `welcome` (docs/protocol.md 4): limits, rooms, own user, server.
        connected: whether requests go out now.
    """

    __slots__ = (
        "_backoff",
        "_codec",
        "_connections",
        "_dial",
        "_ended",
        "_feed",
        "_hello",
        "_host",
        "_on_update",
        "_options",
        "_poller",
        "_pumping",
        "_resource",
        "_started",
        "_stopped",
        "_text",
        "_waits",
        "_wake",
        "welcome",
    )

    def __init__(
        self,
        *,
        hello: Envelope,
        dial: Dial,
        host: str,
        resource: str,
        codec: Codec,
        decode: Callable[[bytes], Envelope],
        rng: Random,
        options: ClientOptions,
        on_update: Callable[[Update], None] | None,
        poller: Poller | None,
    ) -> None:
        self.welcome: Envelope = {}
        self._hello = hello
        self._dial = dial
        self._host = host
        self._resource = resource
        self._codec = codec
        self._text = codec.is_text
        self._backoff = Backoff(first_s=options.reconnect_first_s, max_s=options.reconnect_max_s)
        self._connections = 0
        self._ended: ClientError | None = None
        self._started = trio.Event()
        self._stopped = trio.Event()
        self._pumping = False
        self._wake = trio.Event()
        self._waits: dict[trio.Event, None] = {}
        self._feed = None if on_update is not None else Feed(options.feed_size, self._resume_paused)
        outbound = Outbound(
            queued_max=options.queued_max,
            unaccepted_max=options.unaccepted_max,
            unstored_max=options.unstored_max,
        )
        session = ClientSession(
            decode=decode,
            encode=codec.encode,
            outbound=outbound,
            feed=self._feed,
            on_update=on_update,
            now_s=trio.current_time,
            wake=self._notify,
            answer_s=options.request_timeout_s,
            store_s=options.store_timeout_s,
        )
        super().__init__(session, rng, options.request_timeout_s)
        self._options = options
        self._on_update = on_update
        self._poller = poller

    @property
    def connected(self) -> bool:
        """Whether there is a welcomed connection now."""
        return self._session.attached

    @property
    def user_id(self) -> str:
        """Who the server says we are."""
        return self._session.user_id

    @property
    def guest_token(self) -> str | None:
        """With this as `token` a guest comes back as the same person; None for a registered user."""
        token = self._hello.get("token")
        return token if isinstance(token, str) and self.user_id.startswith("g_") else None

    def events(self) -> Feed:
        """The updates, for one reader: `async for update in client.events()`.

        Ends when the client is closed; raises `ConnectionEnded` when the server ended it for good.

        Raises:
            RuntimeError: the client was opened with `on_update`.
        """
        if self._feed is None:
            raise RuntimeError("updates go to on_update")
        return self._feed

    def statistics(self) -> ClientStatistics:
        """The counts as of now."""
        return ClientStatistics(
            received=self._session.received,
            connections=self._connections,
            dropped=0 if self._feed is None else self._feed.dropped,
            unfinished=self._session.outbound.unfinished,
        )

    # -- waiting -----------------------------------------------------------------------------------------

    async def _wait(self, event: trio.Event, timeout_s: float) -> bool:
        if self._ended is not None:
            raise self._ended
        self._waits[event] = None
        try:
            with trio.move_on_after(timeout_s):
                await event.wait()
        finally:
            del self._waits[event]
        if event.is_set():
            return True
        await trio.lowlevel.checkpoint_if_cancelled()
        return False

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _has_ended(self) -> bool:
        """Asked again after every wait: another task may have ended the client."""
        return self._ended is not None

    def end(self, error: ClientError) -> None:
        """Let every wait end with `error`, now and from now on; messages on their way are abandoned."""
        if self._ended is not None:
            return
        self._ended = error
        self._session.detach()
        self._session.outbound.abandon()
        for event in list(self._waits):
            event.set()
        if self._feed is not None:
            self._feed.end(None if isinstance(error, ClientClosed) else error)
        elif self._on_update is not None and not isinstance(error, ClientClosed):
            self._on_update(Ended(error))
        self._started.set()
        self._wake.set()

    def _notify(self) -> None:
        self._wake.set()

    def _resume_paused(self) -> None:
        self._session.resume_paused()

    def _say(self, update: Update) -> None:
        if self._feed is not None:
            self._feed.offer(update)
        elif self._on_update is not None:
            self._on_update(update)

    # -- the connection ----------------------------------------------------------------------------------

    async def started(self) -> None:
        """Wait for the first welcome.

        Raises:
            ConnectFailed: there was none within `connect_timeout_s`.
            RequestRefused: `hello` was refused for good.
            ConnectionEnded: the server ended the connection for good.
        """
        await self._started.wait()
        if self._ended is not None:
            raise self._ended

    async def wait_stopped(self) -> None:
        """After `end`: wait until the connection, if there is one, has been closed; bounded."""
        if self._pumping:
            with trio.move_on_after(2 * CLOSE_TIMEOUT_S, shield=True):
                await self._stopped.wait()

    async def run(self) -> None:
        """Connect, serve, reconnect; returns when the client has ended, or when cancelled."""
        try:
            await self._run()
        finally:
            self._stopped.set()

    async def _run(self) -> None:
        give_up_s = trio.current_time() + self._options.connect_timeout_s
        while self._ended is None:
            left_s = give_up_s - trio.current_time()
            timeout_s = self._options.connect_timeout_s if self._connections else max(left_s, 0.0)
            end = await self._connection(timeout_s)
            self._session.detach()
            if self._has_ended():
                return
            if end.final:
                self.end(ConnectionEnded(end.code, end.reason))
                return
            if end.not_here and not self._connections:
                # Later it may be a proxy whose server is being exchanged.
                self.end(ConnectFailed(f"no connection to {self._host}: {end.reason}"))
                return
            now_s = trio.current_time()
            if end.welcomed_at_s is not None and now_s - end.welcomed_at_s >= STEADY_S:
                self._backoff.reset()
            wait_s = self._backoff.next_s(self._rng.random(), end.retry_after_s)
            if self._connections:
                self._say(Disconnected(end.code, end.reason, wait_s))
            elif now_s + wait_s >= give_up_s:
                self.end(ConnectFailed(f"no connection to {self._host}: {end.reason}"))
                return
            await trio.sleep(wait_s)

    async def _connection(self, timeout_s: float) -> _End:
        """One connection from dial to close; failures become its end, for the peer's faults are expected."""
        end = _End()
        try:
            with trio.fail_after(timeout_s):
                inner = await self._dial()
            await self._over(inner, end, timeout_s)
        except* (
            OSError,
            ssl.SSLError,
            trio.TooSlowError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio_websocket.HandshakeError,
            trio_websocket.ConnectionClosed,
            ServerMisbehaved,
        ) as group:
            first = _first(group)
            end.not_here = isinstance(first, trio_websocket.ConnectionRejected) and (
                first.status_code in _NOT_HERE
            )
            if not end.reason:
                end.reason = _in_words(first)
        return end

    async def _over(self, inner: trio.abc.Stream, end: _End, timeout_s: float) -> None:
        deadline_s = trio.current_time() + timeout_s
        greeting = trio.CancelScope(deadline=deadline_s)

        def on_quiet() -> None:
            if stream.ended:
                greeting.cancel()
                self._wake.set()
            elif websocket is not None and websocket.closed is not None:
                self._wake.set()

        websocket: trio_websocket.WebSocketConnection | None = None
        closed: trio_websocket.CloseReason | None = None
        polite = False
        stream = ClientStream(
            inner,
            text=self._text,
            on_message=self._session.on_message,
            on_quiet=on_quiet,
            poller=self._poller,
        )
        try:
            async with trio.open_nursery() as nursery:
                try:
                    with greeting:
                        websocket = await trio_websocket.wrap_client_stream(
                            nursery,
                            # It asks no more of the stream than trio.abc.Stream.
                            cast("trio.SocketStream", stream),
                            self._host,
                            self._resource,
                            subprotocols=[self._codec.subprotocol],
                        )
                        await self._greet(websocket, stream, end)
                    if websocket is not None and end.welcomed_at_s is not None:
                        self._pumping = True
                        await self._pump(websocket, stream)
                        polite = True
                    elif not end.reason:
                        end.reason = "no welcome" if stream.ended else "no welcome in time"
                finally:
                    self._session.attached = False
                    self._pumping = False
                    closed = None if websocket is None else websocket.closed
                    if websocket is not None and not stream.ended:
                        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                            # A cancelled reader would never see the server's half of the handshake.
                            await (websocket.aclose() if polite else stream.send_all(close_frame()))
                    nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)
            self._judge(closed, end)
        if stream.failure is not None:
            raise stream.failure

    def _judge(self, closed: trio_websocket.CloseReason | None, end: _End) -> None:
        """What the close code and `bye` say of coming back (docs/protocol.md 8)."""
        if closed is not None and closed.code != _ABNORMAL:
            end.code = closed.code
            end.reason = closed.reason or end.reason
        bye = self._session.bye
        if bye is not None:
            code, retry_after = bye.get("code"), bye.get("retry_after")
            if isinstance(code, int):
                end.code = code
            end.reason = str(bye.get("reason", end.reason))
            if isinstance(retry_after, int | float):
                end.retry_after_s = float(retry_after)
        self._session.bye = None
        end.final = end.final or end.code in _TERMINAL

    async def _greet(
        self, websocket: trio_websocket.WebSocketConnection, stream: ClientStream, end: _End
    ) -> None:
        if websocket.subprotocol != self._codec.subprotocol:
            raise ServerMisbehaved(f"the server chose {websocket.subprotocol!r}")
        answered = trio.Event()

        def on_reply(reply: Envelope | None) -> None:
            if reply is not None:
                self._greeted(reply, end)
            answered.set()

        hello = self._session.greet(self._hello, on_reply)
        await stream.send_all(masked_frame(hello, text=self._text))
        await answered.wait()

    def _greeted(self, reply: Envelope, end: _End) -> None:
        if reply["t"] == "error":
            refused = RequestRefused.from_envelope(reply)
            end.code, end.reason = _POLICY, str(refused)
            end.retry_after_s = refused.retry_after_s
            if not refused.temporary:
                self.end(refused)
            return
        token = reply.get("token")
        if isinstance(token, str):
            # A guest comes back as the same person by its token, not by its name.
            self._hello = {key: value for key, value in self._hello.items() if key != "guest"}
            self._hello["token"] = token
        self.welcome = reply
        end.welcomed_at_s = trio.current_time()
        self._connections += 1
        self._session.attach(reply)
        self._started.set()
        self._say(Connected(reply, self._connections > 1))

    async def _pump(self, websocket: trio_websocket.WebSocketConnection, stream: ClientStream) -> None:
        """Write what the session has to say until the connection ends."""
        session = self._session
        idle_s = self._options.idle_timeout_s
        while self._ended is None and not stream.ended and websocket.closed is None:
            if self._wake.is_set():
                self._wake = trio.Event()
            now_s = trio.current_time()
            payloads = session.collect(now_s)
            if payloads:
                text = self._text
                with trio.fail_after(SEND_TIMEOUT_S):
                    await stream.send_all(b"".join([masked_frame(each, text=text) for each in payloads]))
                continue
            silent_at_s = stream.received_at_s + idle_s
            if now_s >= silent_at_s:
                raise ServerMisbehaved(f"nothing from the server for {idle_s:g} s")
            due_s = session.next_due_s()
            with trio.CancelScope(deadline=silent_at_s if due_s is None else min(due_s, silent_at_s)):
                await self._wake.wait()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group: the others are its consequences."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def _in_words(exc: BaseException) -> str:
    if isinstance(exc, trio_websocket.ConnectionRejected):
        status = exc.status_code
        return _REFUSALS.get(status, f"the server answered with HTTP {status}")
    return str(exc) or type(exc).__name__


@asynccontextmanager
async def open_client(
    url: str,
    *,
    rng: Random,
    token: str | None = None,
    guest: str | None = None,
    encoding: Encoding = "msgpack",
    status: Literal["online", "away", "dnd", "invisible"] = "online",
    client_name: str = "parley-client",
    options: ClientOptions = DEFAULT_OPTIONS,
    on_update: Callable[[Update], None] | None = None,
    dial: Dial | None = None,
    decode: Callable[[bytes], Envelope] | None = None,
    poller: Poller | None = None,
) -> AsyncGenerator[Client]:
    """Connect, say hello, and stay connected until the block is left.

    Args:
        url: ws:// or wss://; the path is /ws where it has none.
        rng: for the jitter of reconnecting and the `cid`s of messages: `random.SystemRandom()` but for tests.
        token: of a registered user, or of a guest that comes back.
        guest: a display name, for a new guest.
        encoding: of the protocol.
        status: how available to be from the start.
        client_name: what the server may log of us.
        options: timeouts and bounds.
        on_update: called for every update, synchronously, in place of `events`. A raise ends the client.
        dial: opens the byte streams in place of TCP: tests, tunnels.
        decode: in place of the encoding's: see `DecodeMemo`.
        poller: for processes with many clients, shared by them and run by the caller.

    Raises:
        ValueError: neither or both of `token` and `guest`, or an address that is none.
        ConnectFailed: no connection within `options.connect_timeout_s`.
        RequestRefused: `hello` was refused for good.
        ConnectionEnded: the server ended the first connection for good.

    Resource handling: on leaving, the connection is closed (1000) within a second, also when cancelled;
    messages that are not stored are abandoned. An exception of the block leaves it as it is.
    """
    if (token is None) == (guest is None):
        raise ValueError("give either a token or a guest's name")
    tls, host, port, resource = split_url(url)
    codec = CODECS[SUBPROTOCOL_MSGPACK if encoding == "msgpack" else SUBPROTOCOL_JSON]
    hello: Envelope = {"t": "hello", "client": client_name, "status": status}
    hello.update({"token": token} if token is not None else {"guest": guest})
    client = Client(
        hello=hello,
        dial=dial or dial_tcp(host, port, ssl.create_default_context() if tls else None),
        host=authority(host, port),
        resource=resource,
        codec=codec,
        decode=decode or codec.decode_envelope,
        rng=rng,
        options=options,
        on_update=on_update,
        poller=poller,
    )
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        try:
            await client.started()
            yield client
        except Exception as exc:  # noqa: BLE001  raised again below, out of the nursery's group
            failure = exc
        finally:
            client.end(ClientClosed("the client was closed"))
            await client.wait_stopped()  # noqa: ASYNC102  shields itself, bounded
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


__all__ = [
    "DEFAULT_OPTIONS",
    "Client",
    "ClientOptions",
    "ClientStatistics",
    "ConnectionLost",
    "Dial",
    "Encoding",
    "RequestTimeout",
    "dial_tcp",
    "open_client",
    "split_url",
]
