"""Accepting connections with the standard library's sockets, watched by trio."""

import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from chat.transport.stream import ConnectionStream

DEFAULT_BACKLOG: Final = 4096

_log = structlog.get_logger()

# accept(2) reports these for a connection that died in the queue, or that the network or a firewall
# spoiled: they concern that connection only.
_THEIR_FAULT: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EPERM",
        "EPROTO",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)


class ConnectionListener(trio.abc.Listener[ConnectionStream]):
    """A listening TCP socket whose `accept` yields `ConnectionStream`s; for `trio.serve_listeners`.

    Args:
        sock: Bound and listening; owned from here on.
        adopt: Makes the stream of an accepted socket and its peer's address.
    """

    def __init__(self, sock: socket.socket, adopt: Callable[[socket.socket, str], ConnectionStream]) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._adopt = adopt

    @property
    def address(self) -> tuple[str, int]:
        """The host and port bound to."""
        host, port, *_ = self._socket.getsockname()
        return str(host), int(port)

    async def accept(self) -> ConnectionStream:
        """Wait for the next connection.

        Raises:
            OSError: The process or the system is short of descriptors or memory (EMFILE, ENFILE,
                ENOBUFS, ENOMEM): try again a moment later.
            trio.ClosedResourceError: The listener was closed.

        Cancellation: no connection is lost.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._socket.fileno() == -1:
                raise trio.ClosedResourceError("this listener was closed")
            try:
                sock, address = self._socket.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as error:
                if error.errno not in _THEIR_FAULT:
                    raise
            else:
                try:
                    return self._adopt(sock, str(address[0]))
                except OSError as error:
                    # Gone before it was set up; the next one may live.
                    _log.debug("transport.adopt_failed", error=repr(error))
                    sock.close()

    async def aclose(self) -> None:
        """Stop listening; connections accepted before live on."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()


async def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Take a port on every address of `host`, the same on all of them, also when `port` is 0.

    Nobody can connect yet: see `listen`.

    Raises:
        OSError: An address cannot be resolved or bound, with words that name it; nothing stays open.
    """
    opened: list[socket.socket] = []
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in found:
            sock = socket.socket(family, socket.SOCK_STREAM)
            opened.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            port = sock.getsockname()[1]
    except BaseException as error:
        for sock in opened:
            sock.close()
        if isinstance(error, OSError):
            raise _cannot_listen(host, port, error) from error
        raise
    return opened


def listen(sockets: Sequence[socket.socket], *, backlog: int) -> None:
    """Let clients connect to bound sockets; they wait to be accepted.

    Raises:
        OSError: Another process was faster, with words that name the address; the sockets stay open.
    """
    for sock in sockets:
        try:
            sock.listen(backlog)
        except OSError as error:
            host, port, *_ = sock.getsockname()
            raise _cannot_listen(str(host), int(port), error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> OSError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return OSError(error.errno, f"cannot listen on {where}: {error.strerror}")


def over_tls(sock: socket.socket, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    """Wrap an accepted socket as a TLS server's stream; the handshake comes with the first read."""
    transport = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    return trio.SSLStream(transport, context, server_side=True, https_compatible=True)
