"""Connections to sessions: plain HTTP, the WebSocket handshake, and the boundary that no failure crosses.

Whatever goes wrong with one connection ends here: a handler's exception would otherwise end the server
(trio-websocket 0.12 runs handlers in its own nursery).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import h11
import structlog
import trio
import trio_websocket

from chat.accounts_api import AccountsApi
from chat.addresses import address_key
from chat.codec import CODECS, JSON, Codec
from chat.config import is_loopback
from chat.errors import CloseCode
from chat.health import Readiness
from chat.metrics import Metrics
from chat.ops import Answer, json_answer, text_answer
from chat.protocol import AnyRequest
from chat.rate_limit import KeyedBuckets
from chat.session import Session
from chat.session_line import WaitingLine
from chat.session_services import SessionServices
from chat.transport import (
    CloseCause,
    ConnectionStream,
    HeadTimeout,
    HeadTooLarge,
    TransportError,
    WebSocket,
    build_close,
)

log = structlog.stdlib.get_logger("chat.gateway")

RETRY_CRASHED_S: Final = 1.0
"""When a client whose connection failed here may come back."""
LAST_WORDS_S: Final = 1.0
"""For what is queued on a connection that is being closed already."""

_HEALTH: Final = (b"/healthz", b"/readyz")
"""Asked for by machines under any name, and no secret."""
_API: Final = b"/api/"
_CLOSED: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio_websocket.ConnectionClosed)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits:
    """What a connection may take before its session decides.

    Attributes:
        connections_max: connections at a time.
        hello_timeout_s: from the upgrade to the `hello`.
        hello_frame_max_bytes: a frame before the welcome.
        frame_max_bytes: a frame after it.
        allowed_origins: web origins that may connect besides the server's own.
        hosts_served: names that `Host` may hold besides loopback's; None: any.
        bye_retry_after_s: when a client may come back that came while the server was stopping.
    """

    connections_max: int
    handshake_timeout_s: float
    hello_timeout_s: float
    hello_frame_max_bytes: int
    frame_max_bytes: int
    allowed_origins: Sequence[str]
    hosts_served: Collection[str] | None
    bye_retry_after_s: float


class Gateway:
    """Accepts connections and runs their sessions.

    Args:
        sessions: where those that are open are kept, by id.
        finish: does what a session waits for (`SessionDesk.finish`).
        new_session_id: unique among this server's sessions.
        spread: a factor about 1 for each session's times, so that they do not beat together.
        by_address: the limit on new connections from one address (`address_key`); None: no limit.
        accounts_api: answers what is asked under `/api/`.
    """

    def __init__(
        self,
        *,
        services: SessionServices,
        sessions: dict[str, Session],
        finish: Callable[[Session, AnyRequest], Awaitable[None]],
        limits: GatewayLimits,
        readiness: Readiness,
        metrics: Metrics,
        new_session_id: Callable[[], str],
        spread: Callable[[], float],
        by_address: KeyedBuckets[str] | None,
        accounts_api: AccountsApi,
    ) -> None:
        self._services = services
        self._finish = finish
        self._limits = limits
        self._readiness = readiness
        self._new_session_id = new_session_id
        self._by_address = by_address
        self._accounts_api = accounts_api
        self._metrics = metrics
        self._counts = metrics.counts
        self._spread = spread
        self._connections = 0
        self._sessions = sessions

    # -- the boundary ----------------------------------------------------------------------------------

    async def handle(self, stream: ConnectionStream) -> None:
        """Serve one connection to its end; never raises but `Cancelled`.

        Cancellation: the connection is closed, bounded in time.
        """
        self._connections += 1
        try:
            await self._serve(stream)
        except* _CLOSED:
            # The peer is gone: every part of the connection may say so.
            log.debug("gateway.gone", peer=stream.peer)
        except* TransportError as group:
            log.debug("gateway.bad_request", peer=stream.peer, error=repr(group.exceptions[0]))
        except* Exception:
            log.exception("gateway.connection_crashed", peer=stream.peer)
        finally:
            self._connections -= 1
            stream.abort()

    async def _serve(self, stream: ConnectionStream) -> None:
        by_address = self._by_address
        if (
            by_address is not None
            and not is_loopback(stream.peer)
            and by_address.take(address_key(stream.peer), self._services.clock())
        ):
            self._counts.handshakes_failed += 1
            return
        try:
            head = await stream.read_head(timeout_s=self._limits.handshake_timeout_s)
        except HeadTooLarge:
            await self._refuse(stream, text_answer(431, "the request's head is too large"))
            return
        except HeadTimeout:
            self._counts.handshakes_failed += 1
            return
        if not head:
            return
        try:
            request = _parse(head)
        except h11.RemoteProtocolError:
            await self._refuse(stream, text_answer(400, "that is not HTTP"))
            return
        path = request.target.partition(b"?")[0]
        headers = _by_name(request)
        if path not in _HEALTH and not self._host_served(headers):
            await self._refuse(stream, text_answer(421, "this server has another name (allowed_hosts)"))
        elif path != b"/ws":
            await self._answer_http(stream, request, headers)
        else:
            await self._answer_upgrade(stream, request, headers)

    async def _answer_upgrade(
        self, stream: ConnectionStream, request: h11.Request, headers: Mapping[bytes, bytes]
    ) -> None:
        codec = self._choose_codec(headers)
        if b"websocket" not in headers.get(b"upgrade", b"").lower():
            answer = text_answer(426, "this address speaks WebSocket")
        elif request.method != b"GET" or request.http_version < b"1.1":
            answer = text_answer(400, "a WebSocket begins with a GET of HTTP/1.1 (RFC 6455, 4.1)")
        elif b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            answer = text_answer(400, "a handshake has no body: it would be read as frames")
        elif codec is None:
            answer = text_answer(400, "none of the subprotocols is known")
        elif not self._origin_allowed(headers):
            answer = text_answer(403, "that origin may not connect")
        elif not self._readiness.is_ready or self._connections > self._limits.connections_max:
            answer = json_answer(503, {"error": "overloaded"})
        else:
            await self._serve_websocket(stream, codec, headers)
            return
        await self._refuse(stream, answer)

    # -- HTTP ------------------------------------------------------------------------------------------

    async def _answer_http(
        self, stream: ConnectionStream, request: h11.Request, headers: Mapping[bytes, bytes]
    ) -> None:
        self._counts.http_requests += 1
        path = request.target.partition(b"?")[0]
        if path.startswith(_API):
            answer = await self._accounts_api.answer(
                request, headers, stream, peer=stream.peer, origin_allowed=self._origin_allowed(headers)
            )
            await _send(stream, answer, head_only=request.method == b"HEAD")
            return
        match path if request.method in {b"GET", b"HEAD"} else b"":
            case b"/healthz":
                answer = text_answer(200, "ok")
            case b"/readyz":
                answer = json_answer(*self._readiness.answer())
            case _:
                answer = text_answer(404, "not found")
        await _send(stream, answer, head_only=request.method == b"HEAD")

    async def _refuse(self, stream: ConnectionStream, answer: Answer) -> None:
        self._counts.handshakes_failed += 1
        await _send(stream, answer, head_only=False)

    def _choose_codec(self, headers: Mapping[bytes, bytes]) -> Codec | None:
        """The first subprotocol offered that is known; JSON where none was offered (protocol.md 1)."""
        offered = headers.get(b"sec-websocket-protocol")
        if offered is None:
            return JSON
        names = [name.strip() for name in offered.decode("ascii", "replace").split(",")]
        return next((CODECS[name] for name in names if name in CODECS), None)

    def _origin_allowed(self, headers: Mapping[bytes, bytes]) -> bool:
        origin = headers.get(b"origin")
        if origin is None:
            return True
        text = origin.decode("ascii", "replace").lower()
        if text in self._limits.allowed_origins:
            return True
        try:
            scheme, netloc = urlsplit(text)[:2]
        except ValueError:
            return False
        if scheme not in {"http", "https"}:
            return False
        return netloc == headers.get(b"host", b"").decode("ascii", "replace").lower() != ""

    def _host_served(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the request was meant for this server, and not for a name that was made to lead here."""
        hosts = self._limits.hosts_served
        if hosts is None:
            return True
        name = _host_name(headers.get(b"host", b""))
        return is_loopback(name) or name in hosts

    # -- WebSocket -------------------------------------------------------------------------------------

    async def _serve_websocket(
        self, stream: ConnectionStream, codec: Codec, headers: Mapping[bytes, bytes]
    ) -> None:
        limits = self._limits
        session: Session | None = None
        accepted = False
        handshake = trio.CancelScope()

        def on_closed(cause: CloseCause) -> None:
            # A handshake that was refused, or whose peer left, has no more to wait for.
            handshake.cancel()
            if cause is CloseCause.LOCAL and ws.closed_with is not None:
                # trio-websocket 0.12 ends a connection whose peer breaks the framing without a close frame.
                # Where one was sent the outbox takes nothing more, and this has no effect.
                stream.outbox.push(build_close(ws.closed_with))
            if session is not None:
                session.on_transport_closed(cause)

        async with trio.open_nursery() as nursery:
            ws = WebSocket(
                nursery,
                stream,
                subprotocol=codec.subprotocol if b"sec-websocket-protocol" in headers else None,
                message_max_bytes=limits.frame_max_bytes + 1,
            )
            try:
                stream.on_closed(on_closed)
                handshake.deadline = trio.current_time() + limits.handshake_timeout_s
                with handshake:
                    await ws.examine(headers)
                    session = self._open_session(stream, codec, nursery)
                    stream.max_frame_bytes = limits.hello_frame_max_bytes
                    stream.enable_short_cut(
                        session.on_frame, on_too_large=session.on_too_large, on_passed=session.on_control
                    )
                    stream.on_overflow(session.on_overflow)
                    await ws.accept()
                    accepted = True
                if accepted and session is not None:
                    self._enter(session)
                    await self._pump(ws, stream, session)
            except Exception:
                if session is not None:
                    session.end(CloseCode.INTERNAL, "internal error", RETRY_CRASHED_S)
                raise
            finally:
                # Also when the peer leaves, or stalls, between the request and the answer to it.
                if session is not None:
                    self._forget(session)
                if accepted and session is not None:
                    await self._close(ws, stream, session)  # noqa: ASYNC102  shields itself, bounded
                else:
                    self._counts.handshakes_failed += 1
                nursery.cancel_scope.cancel()

    def _open_session(self, stream: ConnectionStream, codec: Codec, nursery: trio.Nursery) -> Session:
        session_id = self._new_session_id()
        self._counts.connections_opened += 1
        session = Session(
            session_id,
            stream,
            codec,
            self._services,
            hello_due_s=self._services.clock() + self._limits.hello_timeout_s,
            spread=self._spread(),
        )
        if session.encoding_index:
            self._counts.sessions_json += 1
        else:
            self._counts.sessions_msgpack += 1
        session.start_worker = lambda line: nursery.start_soon(self._work, session, line)
        return session

    def _enter(self, session: Session) -> None:
        """Put a session into the books, now that it can be told something: a `bye` above all."""
        self._sessions[session.session_id] = session
        if self._readiness.state == "draining":
            # It was let in before the drain began, which has passed it by.
            session.end(CloseCode.SHUTDOWN, "the server is stopping", self._limits.bye_retry_after_s)

    async def _work(self, session: Session, line: WaitingLine) -> None:
        await session.work(line, self._finish)

    async def _pump(self, ws: WebSocket, stream: ConnectionStream, session: Session) -> None:
        """Hand over the messages that took the slow way (fragments); ends with the session."""
        with session.scope:
            while not session.is_closed:
                try:
                    message = await ws.get_message()
                except trio_websocket.ConnectionClosed:
                    return
                is_text = isinstance(message, str)
                payload = message.encode() if isinstance(message, str) else message
                if not session.on_frame(payload, is_text):
                    await session.wait_resumed()
                stream.slow_message_delivered()

    def _forget(self, session: Session) -> None:
        """Take a session that `_open_session` made out of the books."""
        session.detach(clean=True)
        self._sessions.pop(session.session_id, None)
        self._counts.connections_closed += 1
        if session.encoding_index:
            self._counts.sessions_json -= 1
        else:
            self._counts.sessions_msgpack -= 1

    async def _close(self, ws: WebSocket, stream: ConnectionStream, session: Session) -> None:
        """Say why, where there is something to say, and be gone; bounded and shielded."""
        ended = session.ended_with
        if ended is None:
            code, reason = CloseCode.NORMAL, ""
        else:
            code, reason = ended
            self._metrics.closed[code] += 1
        await ws.aclose(int(code), reason)
        with trio.move_on_after(LAST_WORDS_S, shield=True):
            # trio-websocket's reader may be closing the stream: it is cancelled next, and its sending too.
            await stream.aclose()
            await stream.outbox.wait_sent()


def _host_name(host: bytes) -> str:
    """The name in a `Host` header, without port, brackets and the root's dot; "" for what is none."""
    try:
        name = urlsplit(b"//" + host).hostname
    except ValueError:
        return ""
    return "" if name is None else name.decode("ascii", "replace").removesuffix(".")


def _by_name(request: h11.Request) -> Mapping[bytes, bytes]:
    """The headers; the lines of a list that came as several are joined (RFC 9110, 5.3)."""
    headers: dict[bytes, bytes] = {}
    for name, value in request.headers:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _parse(head: bytes) -> h11.Request:
    """A request's head, as h11 reads it.

    Raises:
        h11.RemoteProtocolError: it is none.
    """
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    if not isinstance(event, h11.Request):
        raise h11.RemoteProtocolError("not a request")
    return event


async def _send(stream: ConnectionStream, answer: Answer, *, head_only: bool) -> None:
    """Answer a plain request and close."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    if answer.status != HTTPStatus.NO_CONTENT:
        lines += [f"content-type: {answer.content_type}", f"content-length: {len(answer.body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = "".join(f"{line}\r\n" for line in (*lines, "connection: close", ""))
    await stream.send_all(head.encode("ascii") + (b"" if head_only else answer.body))
    await stream.aclose()
