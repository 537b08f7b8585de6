"""What the transport tests share: raw client frames, socket pairs, open WebSockets, and an echo server.

The echo server is trio-websocket over a `ConnectionStream`, with or without the short cut, or over
trio's own stream: the reference for all differential tests.
"""

import contextlib
import fcntl
import random
import socket
import ssl
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import pytest
import trio
import trio.testing
import trio_websocket
import trustme

from chat.transport import CloseCause, ConnectionStream, Transport, WebSocket, build_frame
from chat.transport.wire import Wire

GUARD_S = 20.0
"""An absolute bound, never reached by a passing test."""

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def headers_of(request: bytes) -> dict[bytes, bytes]:
    """A request's headers, by their names in small letters."""
    return {
        name.lower(): value
        for name, _, value in (line.partition(b": ") for line in request.split(b"\r\n")[1:] if line)
    }


HEADERS = headers_of(REQUEST)


def client_frame(  # every bit of a header can be set wrong
    payload: bytes = b"",
    *,
    opcode: int = 2,
    fin: bool = True,
    reserved: int = 0,
    key: bytes | None = b"\x11\x22\x33\x44",
    width: int | None = None,
) -> bytes:
    """Build a client's frame, wrong on demand.

    Args:
        payload: Unmasked payload.
        opcode: 0 to 15.
        fin: The FIN bit.
        reserved: 0 to 7, the RSV bits.
        key: The mask, or None for an unmasked frame.
        width: Force 0, 2 or 8 bytes of extended length; by default the shortest.
    """
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    mask_bit = 0 if key is None else 0x80
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    if width == 0:
        head = bytes((first, mask_bit | size))
    elif width == 2:
        head = bytes((first, mask_bit | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first, mask_bit | 127)) + struct.pack("!Q", size)
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """Build a close frame's payload."""
    return struct.pack("!H", code) + reason


def parse_server_frames(data: bytes, *, may_be_cut: bool = False) -> list[tuple[int, bytes]]:
    """Split a server's output into (first byte, payload); the end must be a frame boundary."""
    frames: list[tuple[int, bytes]] = []
    offset = 0
    while offset < len(data):
        first, size = data[offset], data[offset + 1]
        offset += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[offset : offset + width], "big")
            offset += width
        assert may_be_cut or offset + size <= len(data), "a server frame was cut"
        frames.append((first, data[offset : offset + size]))
        offset += size
    return frames


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected loopback TCP pair, (server's, client's), with small kernel buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return server, client


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context over a certificate made for this test."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Carrier(Enum):
    """What carries the bytes in a test."""

    SOCKET_POLLED = "socket, shared reader"
    SOCKET = "socket, own reader"
    MEMORY = "memory stream"


CARRIERS = pytest.mark.parametrize("carrier", list(Carrier), ids=lambda carrier: carrier.name)


class Path(Enum):
    """Which server answers."""

    LATE = "short cut, trio-websocket only when it is needed"
    SHORT_CUT = "short cut"
    SLOW = "our stream without the short cut"
    STOCK = "trio-websocket on trio's stream"


@dataclass(slots=True)
class Echo:
    """What an echo server did."""

    received: list[tuple[bytes, bool]]
    """Messages in the order in which the application saw them, and whether each was text."""
    taken: int = 0
    """How many of them came by the short cut."""


@asynccontextmanager
async def running_transport(**options: object) -> AsyncGenerator[Transport]:
    """Run a transport for the length of the block, under the guard."""
    transport = Transport(**options)  # type: ignore[arg-type]  # passed through by name
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run)
            yield transport
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    transport: Transport, carrier: Carrier
) -> AsyncGenerator[tuple[ConnectionStream, trio.abc.Stream]]:
    """Connect a client to a `ConnectionStream`; both are closed afterwards."""
    if carrier is Carrier.MEMORY:
        client: trio.abc.Stream
        client, server = trio.testing.memory_stream_pair()
        stream = transport.wrap(server)
    else:
        server_socket, client_socket = tcp_pair()
        client_socket.setblocking(False)  # noqa: FBT003  the standard library's signature
        client = trio.SocketStream(trio.socket.from_stdlib_socket(client_socket))
        stream = transport.adopt(server_socket, "test")
    try:
        yield stream, client
    finally:
        stream.abort()
        await trio.aclose_forcefully(client)


class StalledWire(Wire):
    """A wire that takes nothing any more, as to a peer that stopped reading."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(self._take_nothing, chunk_bytes=wire.chunk_bytes, kernel_socket=None)
        self._wire = wire

    def _take_nothing(self, data: bytes | memoryview) -> int:
        raise BlockingIOError(len(data))

    async def send_some(self, data: bytes | memoryview) -> int:
        """Wait for ever."""
        assert data
        await trio.sleep_forever()

    async def receive(self) -> bytes:
        """Receive as before."""
        return await self._wire.receive()

    async def aclose(self) -> None:
        """Close the wire."""
        await self._wire.aclose()

    def abort(self) -> None:
        """Abort the wire."""
        self._wire.abort()


def stall(stream: ConnectionStream) -> None:
    """Let the peer of a stream take nothing any more."""
    wire = StalledWire(stream.outbox.wire)
    stream.outbox.wire = wire
    stream.outbox.send = wire.send


async def serve_echo_late(stream: ConnectionStream, *, max_bytes: int, echo: Echo) -> None:
    """As `serve_echo`, by the `WebSocket` that the gateway uses."""

    def answer(payload: bytes, is_text: bool) -> None:
        echo.received.append((payload, is_text))
        stream.outbox.push(build_frame(payload, text=is_text))

    def take(payload: bytes, is_text: bool) -> None:
        echo.taken += 1
        answer(payload, is_text)

    async with trio.open_nursery() as nursery:
        await stream.read_head()
        ws = WebSocket(nursery, stream, subprotocol=None, message_max_bytes=max_bytes)
        await ws.examine(HEADERS)
        stream.max_frame_bytes = max_bytes
        stream.enable_short_cut(take)
        await ws.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                message = await ws.get_message()
                is_text = isinstance(message, str)
                answer(message.encode() if isinstance(message, str) else message, is_text)
                stream.slow_message_delivered()
        await ws.aclose(1000, "")


async def serve_echo(stream: trio.abc.Stream, path: Path, *, max_bytes: int, echo: Echo) -> None:
    """Answer one WebSocket client: every message comes back with its own opcode, until it ends."""
    if path is Path.LATE:
        assert isinstance(stream, ConnectionStream)
        await serve_echo_late(stream, max_bytes=max_bytes, echo=echo)
        return
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream, max_message_size=max_bytes)

        def answer(payload: bytes, is_text: bool) -> None:
            echo.received.append((payload, is_text))
            assert isinstance(stream, ConnectionStream)
            stream.outbox.push(build_frame(payload, text=is_text))

        def take(payload: bytes, is_text: bool) -> None:
            echo.taken += 1
            answer(payload, is_text)

        if isinstance(stream, ConnectionStream):
            stream.max_frame_bytes = max_bytes
            if path is Path.SHORT_CUT:
                stream.enable_short_cut(take)
        ws = await request.accept()
        try:
            while True:
                message = await ws.get_message()
                is_text = isinstance(message, str)
                payload = message.encode() if isinstance(message, str) else message
                if isinstance(stream, ConnectionStream):
                    answer(payload, is_text)
                    stream.slow_message_delivered()
                else:
                    echo.received.append((payload, is_text))
                    await ws.send_message(message)
        except trio_websocket.ConnectionClosed:
            pass
        await ws.aclose()


async def read_into(output: bytearray, client: trio.abc.Stream) -> None:
    """Add what comes to `output`, until the end, a reset, or the client's own close."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for chunk in client:
            output += chunk


async def converse(
    carrier: Carrier,
    path: Path,
    pieces: list[bytes],
    *,
    max_bytes: int = 1 << 20,
) -> tuple[Echo, list[tuple[int, bytes]]]:
    """Have a raw client send `pieces`, one write each, then end; return what both sides saw.

    The server has taken in each piece before the next is written, so that every carrier sees the
    same cuts. The answer's head is checked and removed.
    """
    echo = Echo(received=[])
    output = bytearray()
    async with (
        running_transport(shared_reader=carrier is Carrier.SOCKET_POLLED) as transport,
        connect(transport, carrier, path) as (served, client),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serve, served, path, max_bytes, echo)
        nursery.start_soon(read_into, output, client)
        try:
            await client.send_all(REQUEST)
            while b"\r\n\r\n" not in output:
                await wait_settled(served, client)
            for piece in pieces:
                await client.send_all(piece)
                await wait_settled(served, client)
            await end_of_input(client)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the server has failed the connection already
    head, _, rest = bytes(output).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    # Plain trio-websocket closes under its own echo when the peer fails; our stream does not.
    return echo, parse_server_frames(rest, may_be_cut=path is Path.STOCK)


_SIOCOUTQNSD: Final = 0x894B
"""Linux, linux/sockios.h."""


async def wait_settled(*ends: trio.abc.Stream) -> None:
    """Wait until nothing is left to do, nor on its way in the kernel, or an end is closed.

    Small buffers stall for a moment, in which everybody sleeps and nothing is over.
    """
    while True:
        await trio.testing.wait_all_tasks_blocked(0.0005)
        descriptors = [descriptor for end in ends if (descriptor := _descriptor(end)) is not None]
        if -1 in descriptors or not any(map(_bytes_under_way, descriptors)):
            return


def _descriptor(end: trio.abc.Stream) -> int | None:
    """Of a socket, -1 once it is closed; None: it is none."""
    if isinstance(end, ConnectionStream):
        sock = end.outbox.wire.kernel_socket
        return None if sock is None else sock.fileno()
    return end.socket.fileno() if isinstance(end, trio.SocketStream) else None


def _bytes_under_way(descriptor: int) -> int:
    """What was written, and has not been sent yet: on loopback what was sent is there."""
    return int.from_bytes(fcntl.ioctl(descriptor, _SIOCOUTQNSD, bytes(4)), sys.byteorder)


async def serve(stream: trio.abc.Stream, path: Path, max_bytes: int, echo: Echo) -> None:
    """Serve the echo and close the stream, as `trio.serve_listeners` does."""
    try:
        await serve_echo(stream, path, max_bytes=max_bytes, echo=echo)
    finally:
        await trio.aclose_forcefully(stream)


def stock_pair(carrier: Carrier) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Return (server's, client's) ends of trio's own streams."""
    if carrier is Carrier.MEMORY:
        return trio.testing.memory_stream_pair()
    server, client = tcp_pair()
    for sock in (server, client):
        sock.setblocking(False)  # noqa: FBT003  the standard library's signature
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(server)),
        trio.SocketStream(trio.socket.from_stdlib_socket(client)),
    )


@asynccontextmanager
async def connect(
    transport: Transport, carrier: Carrier, path: Path
) -> AsyncGenerator[tuple[trio.abc.Stream, trio.abc.Stream]]:
    """Connect a client to what `path` serves; both ends are closed afterwards."""
    if path is not Path.STOCK:
        async with connected(transport, carrier) as ends:
            yield ends
        return
    server, client = stock_pair(carrier)
    try:
        yield server, client
    finally:
        await trio.aclose_forcefully(server)
        await trio.aclose_forcefully(client)


async def end_of_input(client: trio.abc.Stream) -> None:
    """Finish sending, keep reading."""
    assert isinstance(client, trio.abc.HalfCloseableStream)
    await client.send_eof()


def cut(data: bytes, chooser: random.Random, *, most: int) -> list[bytes]:
    """Cut bytes into 1 to `most` pieces at places that `chooser` picks."""
    places = sorted(chooser.sample(range(1, len(data)), min(most, len(data)) - 1)) if len(data) > 1 else []
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@dataclass(slots=True)
class Served:
    """An open WebSocket that trio-websocket has not seen."""

    stream: ConnectionStream
    client: trio.abc.Stream
    ws: WebSocket
    taken: list[bytes] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    causes: list[CloseCause] = field(default_factory=list)
    closed_with: list[int | None] = field(default_factory=list)
    output: bytearray = field(default_factory=bytearray)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Cancelled by a message that says `leave`, as a session's is when it ends."""

    def take(self, payload: bytes, _is_text: bool) -> None:
        """Note a message."""
        self.taken.append(payload)
        if payload == b"leave":
            self.scope.cancel()

    def end(self, cause: CloseCause) -> None:
        """Note an end, and what the WebSocket says of it."""
        self.causes.append(cause)
        self.closed_with.append(self.ws.closed_with)

    def frames(self) -> list[tuple[int, bytes]]:
        """What the client has received after the handshake."""
        return parse_server_frames(bytes(self.output).partition(b"\r\n\r\n")[2])


@asynccontextmanager
async def serve_late(stream: ConnectionStream, client: trio.abc.Stream) -> AsyncGenerator[Served]:
    """Shake hands in the plain way; the client reads nothing by itself."""
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as opening:
            opening.start_soon(client.send_all, REQUEST)
            await stream.read_head()
        ws = WebSocket(nursery, stream, subprotocol=None, message_max_bytes=1 << 16)
        served = Served(stream, client, ws)
        await ws.examine(HEADERS)
        stream.on_closed(served.end)
        stream.enable_short_cut(served.take, on_passed=served.passed.append)
        await ws.accept()
        yield served
        stream.abort()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(carrier: Carrier) -> AsyncGenerator[Served]:
    """Serve one client over a carrier."""
    async with (
        running_transport(shared_reader=carrier is Carrier.SOCKET_POLLED) as transport,
        connected(transport, carrier) as (stream, client),
        serve_late(stream, client) as served,
    ):
        yield served


async def settle() -> None:
    """Wait until everything that was sent was dealt with."""
    await trio.testing.wait_all_tasks_blocked(0.001)
