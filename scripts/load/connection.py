"""One user's connection without a task of its own: a socket that the shared poller reads, and a session.

`chat.client.Client` takes 32 KB a connection, for three tasks and what trio-websocket and wsproto keep, and
13 to 24 us of CPU a delivery. Here the same `ClientSession` decides everything that the protocol asks of a
client and the same `ServerFrames` cut the bytes; what is left is this file: 8 to 10 KB, and 7 to 12 us where
there is much to receive.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from chat.client_errors import ServerMisbehaved
from chat.client_frames import ServerFrames
from chat.client_session import ClientSession
from chat.client_state import Envelope
from chat.client_stream import RECEIVE_BYTES, close_frame, masked_frame
from scripts.load.poller import Poller

SEND_TIMEOUT_S: Final = 10.0
"""As `chat.client`'s: the kernel takes nothing more for this long."""

_FIN_PING: Final = 0x89
_FIN_CLOSE: Final = 0x88
_NORMAL: Final = 1000
_ABNORMAL: Final = 1006
_WAIT: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Closed(NamedTuple):
    """How a connection ended.

    Attributes:
        code: the close code, or the one of the server's `bye`; 1006 without either.
        reason: in words.
        retry_after_s: what the server asked for.
    """

    code: int
    reason: str
    retry_after_s: float | None = None


class Connection:
    """An open WebSocket, read by the poller. One object for each socket.

    Args:
        sock: connected, non-blocking, owned from here on.
        session: gives what is to be sent.
        on_message: takes every message's payload.
        broadcasts: by their whole frames, those whose frames need not be taken apart again.
        on_broadcast: is given one of them before anything else; False: `on_message` is to have it.
        text: whether messages are text frames.
        poller: running.
        on_closed: called once, when it has ended by itself or by `close`; not by `abort`.
        on_flushed: called after every `flush`: the session may want another one later (`next_due_s`).

    Attributes:
        received_at_s: trio's clock when bytes last came.
        blocked_since_s: since when the kernel takes no more; None: it does.
    """

    __slots__ = (
        "_between",
        "_broadcast",
        "_closing",
        "_code",
        "_dirty",
        "_fd",
        "_frames",
        "_on_broadcast",
        "_on_closed",
        "_on_flushed",
        "_poller",
        "_recv",
        "_session",
        "_sock",
        "_text",
        "_tls",
        "_unsent",
        "blocked_since_s",
        "received_at_s",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        session: ClientSession,
        on_message: Callable[[bytes], None],
        broadcasts: Mapping[bytes, Envelope],
        on_broadcast: Callable[[Envelope], bool],
        text: bool,
        poller: Poller,
        on_closed: Callable[[Closed], None],
        on_flushed: Callable[[float], None],
        now_s: float,
    ) -> None:
        self._sock: socket.socket | None = sock
        self._recv = sock.recv
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._fd = -1
        self._session = session
        self._text = text
        self._broadcast = broadcasts.get
        self._on_broadcast = on_broadcast
        self._between = True
        self._frames = ServerFrames(text=text, on_message=on_message)
        self._poller = poller
        self._on_closed = on_closed
        self._on_flushed = on_flushed
        self._unsent = b""
        self._code = _ABNORMAL
        self._closing = False
        self._dirty = False
        self.blocked_since_s: float | None = None
        self.received_at_s = now_s

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self._sock is not None

    def begin(self, rest: bytes, now_s: float) -> None:
        """Take what came behind the handshake, and read from now on."""
        self.resume()
        if rest:
            self._take(rest, now_s)

    # -- reading -----------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Read nothing until `resume`: TCP tells the server."""
        if self._fd >= 0:
            self._poller.remove(self._fd)
            self._fd = -1

    def resume(self) -> None:
        """Read again."""
        if self._sock is not None and self._fd < 0:
            fd = self._sock.fileno()
            self._poller.add(fd, self)
            self._fd = fd

    def on_readable(self, now_s: float) -> None:
        """The poller's call: read once; all there is, where TLS keeps some back."""
        try:
            data = self._recv(RECEIVE_BYTES)
        except _WAIT:
            return
        except OSError as error:
            self._end(error.strerror or "the connection broke")
            return
        event = self._broadcast(data)
        if event is not None and self._between and self._on_broadcast(event):
            self.received_at_s = now_s
            return
        self._take(data, now_s)
        if self._tls and isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            self.on_readable(now_s)

    def _take(self, data: bytes, now_s: float) -> None:
        self.received_at_s = now_s
        if not data:
            self._end("the server closed the connection")
            return
        try:
            others = self._frames.take(data)
        except ServerMisbehaved as error:
            self._end(str(error))
            return
        self._between = self._frames.between
        if others:
            self._control(others)
        if self._dirty:
            self.flush(now_s)

    def _control(self, frames: bytes) -> None:
        """Answer pings; end at a close (RFC 6455, 5.5)."""
        position = 0
        while position + 2 <= len(frames):
            first, size = frames[position], frames[position + 1]
            payload = frames[position + 2 : position + 2 + size]
            position += 2 + size
            if first == _FIN_PING and size < 126:  # noqa: PLR2004  RFC 6455, 5.5
                self._write(_pong(payload))
            elif first == _FIN_CLOSE and size < 126:  # noqa: PLR2004
                if not self._closing:
                    self._code = int.from_bytes(payload[:2]) if size >= 2 else 1005  # noqa: PLR2004
                    self._write(close_frame())
                self._end(payload[2:].decode(errors="replace"))
                return
            elif first != _FIN_PING + 1:
                self._end(f"a frame beginning with {first:#04x}")
                return

    # -- writing -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The session's call: `flush` is due, and comes with the end of what is being read."""
        self._dirty = True

    def flush(self, now_s: float) -> None:
        """Send what the session has to say."""
        self._dirty = False
        if self._sock is None or self._closing:
            return
        try:
            payloads = self._session.collect(now_s)
        except ServerMisbehaved as error:
            self._end(str(error))
            return
        if payloads:
            text = self._text
            self._write(b"".join([masked_frame(each, text=text) for each in payloads]))
        elif self._unsent:
            self._write(b"")
        if self._unsent:
            self.blocked_since_s = self.blocked_since_s or now_s
            if now_s - self.blocked_since_s > SEND_TIMEOUT_S:
                self._end(f"the server took nothing for {SEND_TIMEOUT_S:g} s")
        else:
            self.blocked_since_s = None
        self._on_flushed(now_s)

    def say(self, payload: bytes) -> None:
        """Send one message now, past the session: `hello`."""
        self._write(masked_frame(payload, text=self._text))

    def _write(self, data: bytes) -> None:
        if self._sock is None:
            return
        self._unsent += data
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except _WAIT:
            pass  # `flush` tries again, and gives up in time
        except OSError as error:
            self._end(error.strerror or "the connection broke")

    # -- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin closing in good order; `on_closed` comes with the server's half, in the caller's time."""
        if self._sock is not None and not self._closing:
            self._closing = True
            self._code = _NORMAL
            self.resume()
            self._write(close_frame())

    def abort(self) -> None:
        """Lose the connection: nothing is said, `on_closed` is not called."""
        self._shut()

    def _shut(self) -> bool:
        sock, self._sock = self._sock, None
        if sock is None:
            return False
        self.pause()
        sock.close()
        return True

    def _end(self, reason: str) -> None:
        if not self._shut():
            return
        bye = self._session.bye or {}
        code, retry_after = bye.get("code"), bye.get("retry_after")
        self._on_closed(
            Closed(
                code if isinstance(code, int) else self._code,
                str(bye.get("reason", reason)),
                float(retry_after) if isinstance(retry_after, int | float) else None,
            )
        )


def _pong(payload: bytes) -> bytes:
    """A masked pong; the key is of zeros, for nothing on loopback or TLS reads along."""
    return bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload
