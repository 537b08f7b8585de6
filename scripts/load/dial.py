"""A WebSocket to the server: TCP, TLS where asked for, and the handshake; then a bare non-blocking socket."""

import base64
import errno
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import trio

from chat.client_options import authority, split_url
from chat.client_stream import HEAD_MAX_BYTES
from chat.transport.upgrade import accept_proof

_BIND_LATE: Final = 24
"""IP_BIND_ADDRESS_NO_PORT (ip(7)): the port is chosen when the other end is known, and may be shared."""
_SOURCES_MAX: Final = 200
_REFUSALS: Final = {
    "404": "there is no chat server at this path; it is /ws",
    "429": "too many connections from here: start the server with --no-rate-limits",
    "503": "the server is starting, stopping or overloaded",
}
_NO_PORT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})

T = TypeVar("T")
Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int]]


class DialFailed(Exception):
    """There is no connection.

    Attributes:
        code: for counting: `connect_refused`, `http_503`...
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Dialed:
    """An open WebSocket.

    Attributes:
        sock: non-blocking; an `ssl.SSLSocket` where asked for.
        rest: what came behind the handshake.
    """

    sock: socket.socket
    rest: bytes


class Dialer:
    """Opens connections to one server, from as many source addresses as its ports need (loopback only).

    Args:
        url: the server's.
    """

    def __init__(self, url: str) -> None:
        self._tls, self._host, self._port, self._resource = split_url(url)
        self._context = ssl.create_default_context() if self._tls else None
        self._addresses: list[Address] = []
        self._source = 1

    async def _resolve(self) -> list[Address]:
        if not self._addresses:
            try:
                found = await trio.socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            except socket.gaierror as error:
                raise DialFailed("no_such_host", f"{self._host}: {error.strerror}") from error
            self._addresses = [
                (family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found
            ]
        return self._addresses

    async def dial(self, subprotocol: str) -> Dialed:
        """Connect and shake hands; the caller bounds the time.

        Raises:
            DialFailed: there is no connection; nothing is left open.

        Cancellation: closes what was open.
        """
        sock = await self._connect_any(await self._resolve())
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(
                    sock, server_hostname=self._host, do_handshake_on_connect=False
                )
                await _tls_handshake(sock)
            return Dialed(sock, await self._upgrade(sock, subprotocol))
        except ssl.SSLError as error:
            sock.close()
            raise DialFailed("tls", f"TLS: {error.reason or error}") from error
        except OSError as error:
            sock.close()
            raise DialFailed("connect_broken", f"the handshake broke: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise

    async def _connect_any(self, addresses: list[Address]) -> socket.socket:
        """Try a name's addresses in turn; the one that answers is tried first from then on."""
        for address in addresses[:-1]:
            try:
                sock = await self._connect(*address)
            except DialFailed:
                continue
            self._addresses = [address]
            return sock
        return await self._connect(*addresses[-1])

    async def _connect(self, family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
        while True:
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                raise DialFailed("no_files", f"no socket: {error.strerror}; raise `ulimit -n`") from error
            source = self._source
            try:
                sock.settimeout(0)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if source > 1:
                    sock.setsockopt(socket.IPPROTO_IP, _BIND_LATE, 1)
                    sock.bind((f"127.0.0.{source}", 0))
                await _connected(sock, address)
            except OSError as error:
                sock.close()
                if error.errno in _NO_PORT and self._next_source(address[0], source):
                    continue
                raise _refused(error, authority(self._host, self._port)) from error
            except BaseException:
                sock.close()
                raise
            return sock

    def _next_source(self, host: str, tried: int) -> bool:
        """Go on from another address of loopback's: each has the ports of its own."""
        if not host.startswith("127.") or tried >= _SOURCES_MAX:
            return False
        self._source = max(self._source, tried + 1)
        return True

    async def _upgrade(self, sock: socket.socket, subprotocol: str) -> bytes:
        key = base64.b64encode(os.urandom(16))
        request = (
            f"GET {self._resource} HTTP/1.1\r\nHost: {authority(self._host, self._port)}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        ).encode()
        await _ready(sock, lambda: sock.send(request))
        data = b""
        while b"\r\n\r\n" not in data:
            more = await _ready(sock, lambda: sock.recv(HEAD_MAX_BYTES))
            if not more or len(data) > HEAD_MAX_BYTES:
                raise DialFailed("no_websocket", "the server closed the connection in the handshake")
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        _check_head(head, key, subprotocol)
        return rest


def _check_head(head: bytes, key: bytes, subprotocol: str) -> None:
    """Refuse an answer that is not the one of RFC 6455, 4.1, with our subprotocol."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1."):  # noqa: PLR2004  version and status
        raise DialFailed("no_websocket", "what answers there does not speak HTTP")
    if parts[1] != "101":
        what = _REFUSALS.get(parts[1], "it is no chat server, or not one for us")
        raise DialFailed(f"http_{parts[1]}", f"what answers there says HTTP {parts[1]}: {what}")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("sec-websocket-accept") != accept_proof(key).decode():
        raise DialFailed("no_websocket", "what answers there is no WebSocket server")
    if headers.get("sec-websocket-protocol") != subprotocol:
        raise DialFailed("no_parley", f"the server does not speak {subprotocol}: it is another product")


def _refused(error: OSError, where: str) -> DialFailed:
    match error.errno:
        case errno.ECONNREFUSED:
            return DialFailed("connect_refused", f"{where} refuses connections: does a server run there?")
        case errno.EADDRNOTAVAIL | errno.EADDRINUSE:
            return DialFailed(
                "no_ports",
                "this machine has no more local ports for that address:"
                " widen net.ipv4.ip_local_port_range, set net.ipv4.tcp_tw_reuse=1, or use a second machine",
            )
        case errno.ECONNRESET:
            return DialFailed("connect_broken", f"{where} reset the connection")
        case errno.ETIMEDOUT:
            return DialFailed("connect_timeout", f"{where} does not answer")
        case _:
            return DialFailed("connect_failed", f"{where}: {error.strerror}")


async def _connected(sock: socket.socket, address: tuple[str, int]) -> None:
    number = sock.connect_ex(address)
    if number == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


async def _tls_handshake(sock: ssl.SSLSocket) -> None:
    def shake() -> bytes:
        sock.do_handshake()
        return b""

    await _ready(sock, shake)


async def _ready(sock: socket.socket, call: Callable[[], T]) -> T:
    """Call until it does not have to wait."""
    while True:
        try:
            return call()
        except (BlockingIOError, ssl.SSLWantReadError):
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
