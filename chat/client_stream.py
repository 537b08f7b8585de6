"""The client's short cut below trio-websocket: whole messages go straight to the client.

Reading a message through wsproto, a memory channel and a second task costs 50-75 us; the client's budget is
12. So the stream that trio-websocket reads takes every data frame out of the bytes itself and hands its
payload to `on_message`; handshake, control frames and whatever RFC 6455 forbids pass on to wsproto untouched,
which answers pings, closes, and fails the connection.
"""

import os
from collections.abc import Callable
from typing import Final

import trio

from chat.client_errors import ServerMisbehaved
from chat.client_frames import ServerFrames
from chat.transport.poller import Poller

HEAD_MAX_BYTES: Final = 16 * 1024
RECEIVE_BYTES: Final = 8 * 1024
"""Read at once. More would be allocated anew for every message, most of it for nothing."""

_HEAD_END: Final = b"\r\n\r\n"


def masked_frame(payload: bytes, *, text: bool) -> bytes:
    """One final masked data frame (RFC 6455, 5.2 and 5.3), its key from the system's randomness."""
    return _masked(0x81 if text else 0x82, payload)


def close_frame(code: int = 1000) -> bytes:
    """A masked close frame (RFC 6455, 5.5.1)."""
    return _masked(0x88, code.to_bytes(2))


def _masked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    key = os.urandom(4)
    if size < 126:  # noqa: PLR2004  RFC 6455, 5.2: 7, 16 or 64 bits of length
        head = bytes((first, 0x80 | size)) + key
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2) + key
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8) + key
    wide = (key * ((size + 3) >> 2))[:size]
    return head + (int.from_bytes(payload, "little") ^ int.from_bytes(wide, "little")).to_bytes(
        size, "little"
    )


class ClientStream(trio.abc.Stream):
    """What trio-websocket is given as its stream.

    Args:
        inner: the bytes' stream; owned from here on.
        text: whether messages are text frames; any other kind is refused.
        on_message: called with every message's payload, synchronously, from the reading task. A raise ends
            the stream and is kept as `failure`.
        on_quiet: called when trio-websocket asks for more, which is when a close shows, and at the end.
        poller: reads for many streams in one task, at a third of the price; used for TCP without TLS, while
            it runs.

    Attributes:
        ended: the peer has sent its last byte, or the connection is broken.
        failure: what `on_message` raised, or that the frames could not be read.
        received_at_s: trio's clock when bytes last came.

    Cancellation: a cancelled `send_all` may have sent a part of a frame; the stream is then closed.
    """

    __slots__ = (
        "_head",
        "_inner",
        "_on_quiet",
        "_others",
        "_polled_fd",
        "_poller",
        "_sending",
        "_take",
        "_woken",
        "ended",
        "failure",
        "received_at_s",
    )

    def __init__(
        self,
        inner: trio.abc.Stream,
        *,
        text: bool,
        on_message: Callable[[bytes], None],
        on_quiet: Callable[[], None],
        poller: Poller | None = None,
    ) -> None:
        self._inner = inner
        self._take = ServerFrames(text=text, on_message=on_message).take
        self._on_quiet = on_quiet
        self._head: bytes | None = b""
        self._others = b""
        self._sending = trio.Lock()
        self._poller = poller
        self._polled_fd = -1
        self._woken = trio.Event()
        self.ended = False
        self.failure: Exception | None = None
        self.received_at_s = trio.current_time()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it, after what others are sending."""
        async with self._sending:
            try:
                await self._inner.send_all(data)
            except trio.Cancelled:
                # Perhaps half a frame has left: nothing may follow it.
                self._end()
                await trio.aclose_forcefully(self._inner)
                raise

    async def wait_send_all_might_not_block(self) -> None:
        """As the inner stream's."""
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Bytes for wsproto: the handshake, control frames, and what breaks the rules; b"" at the end."""
        del max_bytes
        while True:
            # wsproto has dealt with what it was given: the moment to look whether that was a close.
            self._on_quiet()
            if self._others or self.ended:
                others, self._others = self._others, b""
                await trio.lowlevel.checkpoint()
                return others
            if self._head is None and self._park():
                await self._woken.wait()
                continue
            try:
                data = bytes(await self._inner.receive_some(RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end()
                raise
            self.received_at_s = trio.current_time()
            self._take_all(data)

    def _take_all(self, data: bytes) -> None:
        """Hand on the messages in what came, and keep what is wsproto's."""
        if not data:
            self._end()
            return
        try:
            self._others += self._take(data) if self._head is None else self._take_head(data)
        except Exception as exc:  # noqa: BLE001  kept for the connection's owner, who raises it
            # Raised here it would pass through trio-websocket, where a Cancelled may replace it.
            self.failure = exc
            self._end()

    # -- with a poller -----------------------------------------------------------------------------------

    def _park(self) -> bool:
        """Let the poller watch the socket; False where there is none that could."""
        poller = self._poller
        if poller is None or not poller.running or not isinstance(self._inner, trio.SocketStream):
            return False
        self._woken = trio.Event()
        if self._polled_fd < 0:
            handle = self._inner.socket.fileno()
            poller.add(handle, self)
            self._polled_fd = handle
        return True

    def _unpark(self) -> None:
        if self._polled_fd >= 0:
            if self._poller is not None:
                self._poller.remove(self._polled_fd)
            self._polled_fd = -1
        self._woken.set()

    def on_readable(self, now_s: float) -> None:
        """The poller's call: read once."""
        try:
            data = os.read(self._polled_fd, RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.received_at_s = now_s
        self._take_all(data)
        if self._others:
            self._woken.set()

    def on_poller_gone(self) -> None:
        """The poller's call: it has stopped, so the reading task waits by itself."""
        self._polled_fd = -1
        self._woken.set()

    # -- the end -----------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the inner stream."""
        self._end()
        await self._inner.aclose()

    def _end(self) -> None:
        self._unpark()
        if not self.ended:
            self.ended = True
            self._on_quiet()

    # -- frames ------------------------------------------------------------------------------------------

    def _take_head(self, data: bytes) -> bytes:
        """Pass the HTTP answer on; when it switches protocols, what follows it is frames."""
        before = self._head or b""
        head, found, rest = (before + data).partition(_HEAD_END)
        if not found:
            if len(head) > HEAD_MAX_BYTES:
                raise ServerMisbehaved("the handshake's answer has no end")
            self._head = head
            return data
        if b" 101" not in head[:16]:
            # Refused: all that follows is the refusal's body.
            return data
        self._head = None
        return data[: len(data) - len(rest)] + (self._take(rest) if rest else b"")
