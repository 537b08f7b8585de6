"""What carries a connection's bytes: a kernel socket, or any trio stream (TLS, memory).

`SocketWire` sends and receives without any trio object in between: the listener accepted the
standard library's socket itself, so nothing private is touched and no descriptor is duplicated.
`StreamWire` never takes bytes at once; its outbox is always drained by a task of its own.
"""

import abc
import errno
import socket
import struct
from collections.abc import Callable
from enum import Enum
from typing import Final

import trio

RECEIVE_BYTES: Final = 16 * 1024
"""Read at most this at once: nothing is kept between reads, and one peer cannot fill a turn."""

_STREAM_CHUNK_BYTES: Final = 16 * 1024
_SOCKET_CHUNK_BYTES: Final = 64 * 1024
_LINGER_NOT: Final = struct.pack("ii", 1, 0)
_UNREAD_READS: Final = 16


class CloseCause(Enum):
    """Who ended a connection, as its `on_closed` is told."""

    EOF = "eof"
    """The peer finished sending."""
    RESET = "reset"
    """The connection broke under a send or a receive."""
    SLOW = "slow"
    """The peer took nothing for the send timeout."""
    LOCAL = "local"
    """`aclose` here."""
    ABORTED = "aborted"
    """`abort` here."""


class Wire(abc.ABC):
    """The small interface between the outbox, the stream and what carries the bytes."""

    __slots__ = ("chunk_bytes", "kernel_socket", "send")

    def __init__(
        self,
        send: Callable[[bytes | memoryview], int],
        *,
        chunk_bytes: int,
        kernel_socket: socket.socket | None,
    ) -> None:
        self.send = send
        """Hand over what can be at once; BlockingIOError when nothing can, OSError when broken."""
        self.chunk_bytes = chunk_bytes
        """The most that `send_some` should be given: progress is judged chunk by chunk."""
        self.kernel_socket = kernel_socket
        """The socket that a poller may watch, if there is one."""

    @abc.abstractmethod
    async def send_some(self, data: bytes | memoryview) -> int:
        """Wait until something of `data` was taken and return how much (bytes, at least 1).

        Raises:
            OSError, trio.BrokenResourceError, trio.ClosedResourceError: The wire is gone.

        Cancellation: a socket has taken nothing; a stream may have sent a part and must be aborted.
        """

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """Wait for bytes, at most RECEIVE_BYTES; b"" at the end. Raises as `send_some`."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Close; a checkpoint. When cancelled the wire is closed all the same."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Close at once, unsent data thrown away; never blocks, never raises. Idempotent."""


class SocketWire(Wire):
    """A connected, non-blocking TCP (or unix) socket, owned from here on."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # The flusher decides what leaves together; the kernel must not wait for more.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock.send, chunk_bytes=_SOCKET_CHUNK_BYTES, kernel_socket=sock)
        self._sock = sock

    async def send_some(self, data: bytes | memoryview) -> int:
        """Wait for room in the kernel's buffer and send; see `Wire`."""
        while True:
            await trio.lowlevel.wait_writable(self._sock)
            try:
                return self.send(data)
            except BlockingIOError:
                continue  # a spurious wake-up

    async def receive(self) -> bytes:
        """Read once, at once where something is there already; see `Wire`.

        A request mostly comes with its connection: not waiting for it saves a tenth of the price of both.
        Lets other tasks run only when it has to wait.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)

    async def aclose(self) -> None:
        """Close so that the peer reads all that was sent, as far as one side can see to it."""
        self._close_after_sending()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Reset the connection: SO_LINGER 0, so that no unsent byte keeps memory."""
        if self._sock.fileno() == -1:
            return
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        except OSError as error:
            # The peer's reset came first; closing needs no linger then.
            if error.errno not in (errno.EINVAL, errno.ENOTCONN, errno.ENOPROTOOPT):
                raise
        self._close()

    def _close_after_sending(self) -> None:
        """Shut down, read away what lies unread, close.

        Linux answers unread input at close with a reset, which may overtake the last bytes sent (a
        close frame, an HTTP error) and hide them from the peer.
        """
        if self._sock.fileno() == -1:
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
            for _ in range(_UNREAD_READS):
                if not self._sock.recv(RECEIVE_BYTES):
                    break
        except OSError:
            pass  # nothing unread (BlockingIOError), or the peer has gone: both are what we want
        self._close()

    def _close(self) -> None:
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class StreamWire(Wire):
    """Any `trio.abc.Stream`, owned from here on: TLS, or memory streams in tests.

    Args:
        stream: The stream; its `send_all` and `receive_some` are each used by one task at a time.
        force_close: Starts closing the stream at once and returns; called by `abort`.
    """

    __slots__ = ("_force_close", "_stream")

    def __init__(self, stream: trio.abc.Stream, force_close: Callable[[], None]) -> None:
        super().__init__(_take_nothing, chunk_bytes=_STREAM_CHUNK_BYTES, kernel_socket=None)
        self._stream = stream
        self._force_close = force_close

    async def send_some(self, data: bytes | memoryview) -> int:
        """Send all of `data`; see `Wire`."""
        await self._stream.send_all(data)
        return len(data)

    async def receive(self) -> bytes:
        """Receive from the stream; see `Wire`."""
        return bytes(await self._stream.receive_some(RECEIVE_BYTES))

    async def aclose(self) -> None:
        """Close the stream in good order (for TLS, with its goodbye)."""
        await self._stream.aclose()

    def abort(self) -> None:
        """Have the stream closed forcefully."""
        self._force_close()


def _take_nothing(_data: bytes | memoryview) -> int:
    raise BlockingIOError(errno.EAGAIN, "a stream takes bytes only from a task that waits")
