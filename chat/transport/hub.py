"""The transport of one server: its two shared tasks, and the making of connections."""

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import trio

from chat.transport.flusher import (
    DEFAULT_SEND_TIMEOUT_S,
    Flusher,
    FlusherStatistics,
    FlushObserver,
)
from chat.transport.listener import DEFAULT_BACKLOG, ConnectionListener, bind_sockets, listen, over_tls
from chat.transport.outbox import DEFAULT_LIMIT_BYTES, Outbox
from chat.transport.poller import Poller
from chat.transport.stream import ConnectionStream
from chat.transport.wire import SocketWire, StreamWire, Wire


class Transport:
    """Everything of this package that a server has once.

    Args:
        outbox_bytes: The bound of each connection's outbox.
        send_timeout_s: A peer that takes nothing for this long is aborted as slow.
        observer: Hears of every flush.
        clock: Seconds for pacing and measuring flushes; trio's by default.
        shared_reader: Let one task watch all sockets (Linux); without it each waits for itself.
    """

    def __init__(
        self,
        *,
        outbox_bytes: int = DEFAULT_LIMIT_BYTES,
        send_timeout_s: float = DEFAULT_SEND_TIMEOUT_S,
        observer: FlushObserver | None = None,
        clock: Callable[[], float] = trio.current_time,
        shared_reader: bool = True,
    ) -> None:
        self.flusher = Flusher(send_timeout_s=send_timeout_s, observer=observer, clock=clock)
        self._poller = Poller() if shared_reader else None
        self._outbox_bytes = outbox_bytes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the flusher and the poller until cancelled; connections need it running.

        Cancellation: connections that are being drained are aborted, the others stay as they are
        and can still be closed (`aclose` sends what the kernel takes at once).
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.flusher.run)
            if self._poller is not None:
                await nursery.start(self._poller.run)
            task_status.started()

    async def listen(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> list[ConnectionListener]:
        """Open listeners on all addresses of `host`, for `trio.serve_listeners`.

        Raises:
            OSError: An address cannot be resolved or bound; nothing stays open.
        """
        sockets = await bind_sockets(host, port)
        try:
            return self.listen_on(sockets, ssl_context=ssl_context, backlog=backlog)
        except OSError:
            for sock in sockets:
                sock.close()
            raise

    def listen_on(
        self,
        sockets: Sequence[socket.socket],
        *,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> list[ConnectionListener]:
        """As `listen`, on sockets from `bind_sockets`, which belong to the listeners from here on.

        Raises:
            OSError: Another process was faster; the sockets stay the caller's.
        """
        listen(sockets, backlog=backlog)
        adopt = self.adopt if ssl_context is None else partial(self._adopt_tls, ssl_context)
        return [ConnectionListener(sock, adopt) for sock in sockets]

    def adopt(self, sock: socket.socket, peer: str) -> ConnectionStream:
        """Make the stream of a connected socket, which it owns from here on."""
        return self._connect(SocketWire(sock), peer)

    def wrap(self, stream: trio.abc.Stream, *, peer: str = "memory") -> ConnectionStream:
        """Make the stream over any other stream (TLS, memory), owned from here on."""
        return self._connect(StreamWire(stream, partial(self.flusher.close_forcefully, stream)), peer)

    def broadcast(self, outboxes: Iterable[Outbox], frame: bytes, *, ephemeral: bool = False) -> None:
        """Push one frame to many outboxes; see `Flusher.broadcast`."""
        self.flusher.broadcast(outboxes, frame, ephemeral=ephemeral)

    def statistics(self) -> FlusherStatistics:
        """Return the flusher's totals so far."""
        return self.flusher.statistics()

    def _adopt_tls(self, context: ssl.SSLContext, sock: socket.socket, peer: str) -> ConnectionStream:
        sock.settimeout(0)
        return self.wrap(over_tls(sock, context), peer=peer)

    def _connect(self, wire: Wire, peer: str) -> ConnectionStream:
        outbox = Outbox(wire, self.flusher, limit_bytes=self._outbox_bytes)
        return ConnectionStream(wire, outbox, self.flusher, self._poller, peer=peer)
