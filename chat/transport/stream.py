"""The stream that trio-websocket drives, with the short cuts beside it.

A connection's life: `read_head`; then either plain HTTP (`read_body`, `send_all`, `aclose`), or a WebSocket
(`chat.transport.websocket`): `enable_short_cut`, then one of two ways. Usually `answer_upgrade`, and
trio-websocket comes in with `shake_hands_again` when there is something for it (`wait_passed`), if ever. Or
`trio_websocket.wrap_server_stream(nursery, stream)` and `accept` at once: it sees the head exactly as it
came. Either way it sees nothing more until it has answered the handshake, then every byte that the short cut
does not take.

Data frames are delivered in the task of the poller (or, without one, in trio-websocket's reader
task): context variables bound by a connection's own task are not visible in `on_message`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

import structlog
import trio

from chat.transport.errors import HeadTimeout, HeadTooLarge, TransportError
from chat.transport.frames import build_pong, is_close_frame
from chat.transport.intake import Intake
from chat.transport.outbox import Outbox
from chat.transport.wire import RECEIVE_BYTES, CloseCause, Wire

if TYPE_CHECKING:
    from chat.transport.flusher import Flusher
    from chat.transport.poller import Poller

DEFAULT_HEAD_BYTES: Final = 16 * 1024
DEFAULT_HEAD_TIMEOUT_S: Final = 10.0
DEFAULT_MAX_FRAME_BYTES: Final = 8 * 1024
CLOSE_TIMEOUT_S: Final = 1.0

_ACCEPTED: Final = b"HTTP/1.1 101"
_NOT_POLLED: Final = -1

_log = structlog.get_logger()


class ConnectionStream(trio.abc.Stream):
    """One accepted connection. Made by `ConnectionListener.accept` or `Transport.wrap`.

    Args:
        wire: What carries the bytes; owned from here on.
        outbox: The connection's outbox over the same wire.
        flusher: The server's flusher; its `run` must be running.
        poller: The server's poller, or None to wait for input in the reader's task.
        peer: The peer's address, for logs and limits.
    """

    __slots__ = (
        "_aborted",
        "_cause",
        "_ended",
        "_error",
        "_flusher",
        "_head",
        "_head_given",
        "_inbox",
        "_intake",
        "_on_closed",
        "_on_overflow",
        "_polled_fd",
        "_poller",
        "_reader",
        "_ready",
        "_said_close",
        "_shaken",
        "_socket",
        "_upgraded",
        "_wire",
        "_wire_open",
        "bytes_in",
        "last_receive_s",
        "outbox",
        "peer",
    )

    def __init__(
        self, wire: Wire, outbox: Outbox, flusher: "Flusher", poller: "Poller | None", *, peer: str
    ) -> None:
        self._wire = wire
        self._flusher = flusher
        self._poller = poller
        self._intake = Intake(max_frame_bytes=DEFAULT_MAX_FRAME_BYTES)
        self._inbox = b""
        """Received before the handshake was answered, not yet looked at."""
        self._head: bytes | None = None
        """The request head, until trio-websocket has had it."""
        self._head_given = False
        self._upgraded = False
        """The handshake was accepted: before that nothing but the head goes to trio-websocket."""
        self._shaken = False
        """The handshake was answered already: what trio-websocket says of it is not sent."""
        self._ready = b""
        """Bytes that trio-websocket is to have next."""
        self._reader: trio.lowlevel.Task | None = None
        self._polled_fd = _NOT_POLLED
        self._socket = wire.kernel_socket
        self._wire_open = True
        self._aborted = False
        self._cause: CloseCause | None = None
        self._error: Exception | None = None
        self._ended: trio.Event | None = None
        self._said_close = False
        self._on_closed: Callable[[CloseCause], None] | None = None
        self._on_overflow: Callable[[], None] | None = None
        self.outbox = outbox
        outbox.listener = self
        self.peer = peer
        self.bytes_in = 0
        self.last_receive_s = trio.current_time()
        """When bytes last came, by trio's clock; the heartbeat reads it."""

    def __repr__(self) -> str:
        state = "open" if self._cause is None else self._cause.value
        return f"<ConnectionStream {self.peer} {state}>"

    # What the gateway sets up.

    @property
    def close_cause(self) -> CloseCause | None:
        """Why the connection ended, or None while it is open."""
        return self._cause

    @property
    def frames_in(self) -> int:
        """Data frames taken by the short cut."""
        return self._intake.frames_in

    @property
    def max_frame_bytes(self) -> int:
        """The largest inbound message in bytes, fragments summed; may be set at any time."""
        return self._intake.max_frame_bytes

    @max_frame_bytes.setter
    def max_frame_bytes(self, value: int) -> None:
        self._intake.max_frame_bytes = value

    @property
    def reading_paused(self) -> bool:
        """Whether nothing is read because `on_message` returned False: pongs cannot be judged."""
        return self._intake.paused

    def on_closed(self, callback: Callable[[CloseCause], None]) -> None:
        """Have `callback(cause)` called exactly once, in the turn in which the connection ends.

        It comes before anything else is cleaned up, so that a session leaves routing first, and at
        once if the connection has ended already. It must not block; a raise is logged.
        """
        self._on_closed = callback
        if self._cause is not None:
            self._tell_closed(self._cause)

    async def wait_ended(self) -> None:
        """Wait until either side has ended the connection; what is queued may still be on its way."""
        if self._cause is None:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
        else:
            await trio.lowlevel.checkpoint()

    def on_overflow(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called once when the peer is too slow, from the flusher's task.

        The outbox has dropped what had not begun to leave, so a close frame (4002) can still be
        sent; when the peer takes nothing for the send timeout the connection is aborted right after
        the call. Without a callback the connection is aborted. A raise is logged and aborts.
        """
        self._on_overflow = callback

    def enable_short_cut(
        self,
        on_message: Callable[[bytes, bool], bool | None],
        *,
        on_too_large: Callable[[int], None] | None = None,
        on_passed: Callable[[int], None] | None = None,
    ) -> None:
        """Deliver data frames to `on_message(payload, is_text)` instead of trio-websocket.

        Best called before `WebSocketRequest.accept`: then no data frame takes the slow way but
        fragmented ones. Those come from `WebSocketConnection.get_message`; call
        `slow_message_delivered` after handling each, until then everything takes the slow way.

        Args:
            on_message: Must not block. Text is not checked for UTF-8: what the decoder refuses is
                an undecodable frame (fragmented text is checked by wsproto, which closes 1007).
                Returning False says "this one taken, no more": reading stops, and so in the end
                does the peer, until `resume_reading`. A raise ends the connection and comes out of
                `receive_some`, in trio-websocket's reader task.
            on_too_large: Called from the header alone with the size in bytes of a message above
                `max_frame_bytes`, or with the size so far of one in more than 1024 fragments; that
                message and all later ones are then dropped unread, so that a close handshake (4503)
                can follow. Without it wsproto gets the message and trio-websocket's own limit
                decides, which is on bytes only.
            on_passed: Called with the opcode of every frame that neither is nor completes a
                message: control frames (8 close, 9 ping, 10 pong) and fragments (0, 1, 2). Count
                them to the client's rate; together with the messages every frame is then counted
                once. It may abort the stream or discard its messages.
        """
        self._intake.enable(on_message, on_too_large, on_passed, self._on_ping)

    def slow_message_delivered(self) -> None:
        """Report that a message from `get_message` was handled; the short cut may go on."""
        self._intake.slow_message_delivered()

    def discard_messages(self) -> None:
        """Drop all data frames from here on; control frames are dealt with as before.

        For closing: the peer's close frame is found behind whatever it was sending. Ends a pause.
        """
        self._intake.discard()
        self._wake()

    def resume_reading(self) -> None:
        """Go on after `on_message` returned False; no effect otherwise. Not from inside it."""
        if self._intake.paused:
            self._intake.paused = False
            self._wake()

    # A WebSocket whose handshake was answered here.

    def answer_upgrade(self, answer: bytes) -> None:
        """Send the handshake's answer (101); frames count from here on. After `read_head`."""
        self._head = None
        self._head_given = True
        self._upgraded = True
        self.outbox.push_control(answer)
        self._flusher.flush_now(self.outbox)

    async def wait_passed(self) -> bool:
        """Wait until there are bytes that the short cut does not take; False: the connection has ended.

        Frames are read meanwhile. Raises what `on_message` raised. Cancellation: nothing is lost.
        """
        if not self._ready:
            try:
                self._ready = await self._next_bytes()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
        return bool(self._ready)

    def shake_hands_again(self, head: bytes) -> None:
        """Let trio-websocket believe that `head` came just now; its answer goes nowhere.

        For `wrap_server_stream` after `answer_upgrade`, once.
        """
        self._head = head
        self._head_given = False
        self._upgraded = False
        self._shaken = True

    def send_close(self, frame: bytes) -> None:
        """Have a close frame leave behind all that is queued, and nothing behind it; once, while open."""
        if self._said_close:
            return
        self._said_close = True
        self.outbox.push_control(frame)
        self.outbox.seal()
        self._flusher.flush_now(self.outbox)

    # HTTP before, or instead of, the handshake.

    async def read_head(
        self,
        limit_bytes: int = DEFAULT_HEAD_BYTES,
        timeout_s: float = DEFAULT_HEAD_TIMEOUT_S,
    ) -> bytes:
        """Read one request head, up to and including its empty line, and keep it for the handshake.

        `wrap_server_stream` afterwards sees exactly this head. Called again (a kept-alive plain
        connection), it reads the next one.

        Returns:
            The head; b"" when the peer closed without sending anything.

        Raises:
            HeadTooLarge: No end within `limit_bytes`; an answer can still be sent.
            HeadTimeout: No end within `timeout_s`; an answer can still be sent.
            trio.BrokenResourceError: The connection ended in the middle.
            trio.ClosedResourceError: It was closed here.

        Cancellation: what has come is kept; the call may be repeated.
        """
        with trio.move_on_after(timeout_s):
            scanned = 0
            while True:
                end = _head_end(self._inbox, max(0, scanned - 3))
                if end > limit_bytes or (end < 0 and len(self._inbox) >= limit_bytes):
                    raise HeadTooLarge(f"no head within {limit_bytes} bytes")
                if end >= 0:
                    self._head, self._inbox = self._inbox[:end], self._inbox[end:]
                    return self._head
                scanned = len(self._inbox)
                if not await self._read_more():
                    if self._inbox:
                        raise trio.BrokenResourceError("the connection ended inside a head")
                    return b""
        raise HeadTimeout(f"no head within {timeout_s} s")

    async def read_body(self, size: int, *, timeout_s: float = DEFAULT_HEAD_TIMEOUT_S) -> bytes:
        """Read the `size` bytes after the head; the caller has checked `size` against its limit.

        Raises:
            HeadTimeout: They did not come in time.
            trio.BrokenResourceError: The connection ended before.
        """
        with trio.move_on_after(timeout_s):
            while len(self._inbox) < size:
                if not await self._read_more():
                    raise trio.BrokenResourceError("the connection ended inside a body")
            body, self._inbox = self._inbox[:size], self._inbox[size:]
            return body
        raise HeadTimeout(f"no body within {timeout_s} s")

    # trio.abc.Stream, for trio-websocket.

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send through the outbox, behind what is queued; return when the wire has taken it all.

        Not bounded by the outbox's limit: the caller waits. After a close frame nothing more is
        queued; what comes then goes nowhere.

        Raises:
            trio.BrokenResourceError: The connection broke, or the peer took nothing for the
                flusher's send timeout.
            trio.ClosedResourceError: It was closed here.

        Cancellation: the data stays queued, whole, and will leave in its place.
        """
        self._check_open()
        data = bytes(data)
        if data and self._shaken and not self._upgraded:
            # Goes nowhere, so it waits for nothing: a slow peer may take minutes for what is queued.
            self._answered(data)
            await trio.lowlevel.checkpoint()
            return
        if data and not self._said_close:
            self.outbox.push_control(data)
            if not self._upgraded:
                self._answered(data)
            elif is_close_frame(data):
                self._said_close = True
                self.outbox.seal()
            self._flusher.flush_now(self.outbox)
        await self.outbox.wait_sent()
        self._check_open()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the outbox is empty. Raises as `send_all`."""
        self._check_open()
        await self.outbox.wait_sent()
        self._check_open()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes for trio-websocket: the head, then what the short cut passes on.

        Meanwhile data frames go to `on_message`. Returns b"" when the peer finished sending.

        Raises:
            trio.BrokenResourceError: The connection broke, or sent no proper request head.
            trio.ClosedResourceError: It was closed here.
            Exception: What `on_message` raised; the connection is aborted.

        Cancellation: nothing is lost; the call may be repeated.
        """
        if not self._head_given:
            head = await self._give_head()
            if max_bytes is not None and len(head) > max_bytes:
                self._head, self._head_given = head[max_bytes:], False
                return head[:max_bytes]
            return head
        if self._ready and self._upgraded:
            await trio.lowlevel.checkpoint()
        else:
            self._ready = await self._next_bytes()
        data = self._ready
        if max_bytes is not None and len(data) > max_bytes:
            self._ready = data[max_bytes:]
            return data[:max_bytes]
        self._ready = b""
        return data

    async def aclose(self) -> None:
        """Close: tell `on_closed`, send what is queued, close the wire. Idempotent.

        Ends within twice `CLOSE_TIMEOUT_S`; what could not be sent within the first is thrown away,
        and so it is when cancelled. Tasks waiting on this stream get trio.ClosedResourceError.
        """
        if not self._wire_open:
            if self._aborted:
                # For a stream wire: aborting only began to close it, or could not.
                with trio.move_on_after(CLOSE_TIMEOUT_S):
                    await self._wire.aclose()
            await trio.lowlevel.checkpoint()
            return
        self._wire_open = False
        self._end(CloseCause.LOCAL)
        sent = False
        try:
            if self.outbox.queued_bytes:
                self._flusher.flush_now(self.outbox)
                with trio.move_on_after(CLOSE_TIMEOUT_S):
                    await self.outbox.wait_sent()
            sent = not self.outbox.queued_bytes
        finally:
            self.outbox.shut()
            if not sent:
                self._wire.abort()
            with trio.move_on_after(CLOSE_TIMEOUT_S):
                await self._wire.aclose()

    def abort(self, cause: CloseCause = CloseCause.ABORTED) -> None:
        """End the connection at once: nothing more is sent, the peer sees a reset. Idempotent."""
        if not self._wire_open:
            return
        self._wire_open = False
        self._aborted = True
        self._end(cause)
        self.outbox.shut()
        self._wire.abort()

    # For the flusher and the poller.

    def on_outbox_overflow(self) -> None:
        """Tell the gateway, or abort if it does not want to know. See `on_overflow`."""
        if self._on_overflow is None:
            self.abort(CloseCause.SLOW)
            return
        try:
            self._on_overflow()
        except Exception:  # noqa: BLE001  the boundary of foreign code
            _log.exception("transport.on_overflow_failed", peer=self.peer)
            self.abort(CloseCause.SLOW)

    def on_outbox_failed(self, cause: CloseCause) -> None:
        """End the connection: its wire is gone."""
        self.abort(cause)

    def on_readable(self, now_s: float) -> None:
        """Read once and deliver; wake the reader for whatever is not a data frame."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.abort(CloseCause.RESET)
            return
        if not data:
            self._end(CloseCause.EOF)
            return
        self.last_receive_s = now_s
        self.bytes_in += len(data)
        self._ready = self._feed(data)
        intake = self._intake
        if self._ready or intake.pending or intake.paused or not intake.fast:
            self._unpoll()
            self._wake()

    def on_poller_gone(self) -> None:
        """Wait for input in the reader's task from now on."""
        self._polled_fd = _NOT_POLLED
        self._wake()

    # Inside.

    async def _give_head(self) -> bytes:
        if self._head is None:
            try:
                await self.read_head()
            except TransportError as error:
                raise trio.BrokenResourceError("no proper request head") from error
        else:
            await trio.lowlevel.checkpoint()
        head, self._head = self._head, None
        self._head_given = True
        return head or b""

    async def _next_bytes(self) -> bytes:
        intake = self._intake
        while True:
            if self._error is not None:
                raise self._error
            if self._ready and self._upgraded:
                ready, self._ready = self._ready, b""
                return ready
            if self._cause is CloseCause.EOF and self._wire_open:
                return b""
            self._check_open()
            if not self._upgraded or intake.paused:
                await self._park()
            elif self._inbox or intake.pending:
                data, self._inbox = self._inbox, b""
                # Kept before anything can be cancelled, by what is called in here above all.
                self._ready = self._feed(data)
                await trio.lowlevel.checkpoint()
            elif self._poll():
                await self._park()
            else:
                await self._read_more()

    def _on_ping(self, payload: bytes) -> None:
        self.outbox.push(build_pong(payload))

    def _feed(self, data: bytes) -> bytes:
        try:
            return self._intake.feed(data)
        except Exception as error:  # noqa: BLE001  raised by the reader, where it belongs
            self._error = error
            self.abort()
            return b""

    async def _read_more(self) -> bool:
        """Add what comes next to the inbox; False at the end."""
        self._check_open()
        try:
            data = await self._wire.receive()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.abort(CloseCause.RESET)
            raise self._gone() from error
        if not data:
            self._end(CloseCause.EOF)
            return False
        self.last_receive_s = trio.current_time()
        self.bytes_in += len(data)
        self._inbox += data
        return True

    def _answered(self, data: bytes) -> None:
        """Let frames through once the handshake was accepted; wsproto loses those before."""
        if data.startswith(_ACCEPTED):
            self._upgraded = True
            self._wake()

    def _poll(self) -> bool:
        """Have the poller watch the socket, if that serves; False: wait by yourself."""
        if self._poller is None or self._socket is None or not self._intake.fast:
            return False
        if self._polled_fd == _NOT_POLLED:
            if not self._poller.running:
                return False
            fd = self._socket.fileno()
            try:
                self._poller.add(fd, self)
            except OSError:
                return False  # the system's limit on watches: slower, not wrong
            self._polled_fd = fd
        return True

    def _unpoll(self) -> None:
        if self._polled_fd != _NOT_POLLED and self._poller is not None:
            self._poller.remove(self._polled_fd)
            self._polled_fd = _NOT_POLLED

    async def _park(self) -> None:
        if self._reader is not None:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort_park)

    def _abort_park(self, _raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        self._reader = None
        self._unpoll()
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        task = self._reader
        if task is not None:
            self._reader = None
            trio.lowlevel.reschedule(task)

    def _end(self, cause: CloseCause) -> None:
        """Note why the connection ended, once; nothing is delivered from here on."""
        self._unpoll()
        if self._cause is None:
            self._cause = cause
            if self._ended is not None:
                self._ended.set()
            self._intake.discard()
            self._tell_closed(cause)
        self._wake()

    def _tell_closed(self, cause: CloseCause) -> None:
        callback, self._on_closed = self._on_closed, None
        if callback is not None:
            try:
                callback(cause)
            except Exception:  # noqa: BLE001  the boundary of foreign code
                _log.exception("transport.on_closed_failed", peer=self.peer)

    def _check_open(self) -> None:
        if not self._wire_open:
            raise self._gone()

    def _gone(self) -> Exception:
        if self._cause in (CloseCause.RESET, CloseCause.SLOW):
            return trio.BrokenResourceError(f"the connection is gone: {self._cause.value}")
        return trio.ClosedResourceError("the connection was closed here")


def _head_end(data: bytes, start: int) -> int:
    """Return the offset after the first empty line at or after `start`, or -1.

    A bare LF ends a line too, as RFC 9112 2.2 allows and h11 does.
    """
    ends = [found + len(mark) for mark in (b"\n\r\n", b"\n\n") if (found := data.find(mark, start)) >= 0]
    return min(ends, default=-1)
