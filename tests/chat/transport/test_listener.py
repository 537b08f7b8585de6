"""Accepting connections."""

import errno
import socket

import pytest
import trio
import trio.testing

from chat.transport import ConnectionListener, ConnectionStream, Transport
from chat.transport.wire import SocketWire
from tests.chat.transport.support import running_transport


async def test_a_listener_accepts_connections_that_talk() -> None:
    """With the peer's address, TCP_NODELAY, and through `trio.serve_listeners`."""
    peers: list[str] = []

    async def serve(stream: ConnectionStream) -> None:
        peers.append(stream.peer)
        head = await stream.read_head()
        await stream.send_all(b"got " + head)

    async with running_transport() as transport, trio.open_nursery() as nursery:
        listeners = await transport.listen("127.0.0.1", 0)
        await nursery.start(trio.serve_listeners, serve, listeners)
        host, port = listeners[0].address
        async with await trio.open_tcp_stream(host, port) as client:
            await client.send_all(b"GET /\r\n\r\n")
            answer = b"".join([chunk async for chunk in client])
        nursery.cancel_scope.cancel()

    assert (answer, peers) == (b"got GET /\r\n\r\n", ["127.0.0.1"])


async def test_all_addresses_of_a_name_share_one_port() -> None:
    """Port 0 picks one for all of them."""
    transport = Transport()
    listeners = await transport.listen("localhost", 0)
    ports = {listener.address[1] for listener in listeners}
    for listener in listeners:
        await listener.aclose()

    assert len(ports) == 1
    assert 0 not in ports


async def test_a_port_in_use_is_refused_and_nothing_stays_open() -> None:
    """The error says so at start."""
    transport = Transport()
    (listener,) = await transport.listen("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await transport.listen("127.0.0.1", listener.address[1])
    await listener.aclose()


async def test_a_closed_listener_ends_a_waiting_accept() -> None:
    """With trio's own error, then and later."""
    transport = Transport()
    (listener,) = await transport.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()
    await listener.aclose()

    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


class FailingSocket(socket.socket):
    """A listening socket whose first accepts fail as told."""

    def __init__(self, *failures: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.failures = list(failures)

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, or accept."""
        if self.failures:
            raise OSError(self.failures.pop(0), "as told")
        return super().accept()


async def test_connections_that_died_in_the_queue_are_skipped() -> None:
    """Their errors concern nobody else."""
    transport = Transport()
    sock = FailingSocket(errno.ECONNABORTED, errno.ECONNRESET, errno.EPERM)
    listener = ConnectionListener(sock, transport.adopt)
    async with await trio.open_tcp_stream(*listener.address):
        stream = await listener.accept()
    stream.abort()
    await listener.aclose()

    assert stream.peer == "127.0.0.1"


async def test_a_shortage_of_descriptors_is_for_serve_listeners(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """EMFILE comes out of accept; `trio.serve_listeners` waits and the connection is served."""
    served = trio.Event()

    async def serve(_stream: ConnectionStream) -> None:
        await trio.lowlevel.checkpoint()
        served.set()

    transport = Transport()
    sock = FailingSocket(errno.EMFILE, errno.ENFILE)
    listener = ConnectionListener(sock, transport.adopt)
    with socket.create_connection(listener.address):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            await served.wait()
            nursery.cancel_scope.cancel()

    assert trio.current_time() >= 0.2
    assert len(caplog.records) == 2
    assert autojump_clock.rate == 0.0


async def test_a_connection_that_cannot_be_set_up_is_closed_and_the_next_one_served() -> None:
    """One broken socket does not end the listening."""
    transport = Transport()
    broken: list[socket.socket] = []

    def adopt(sock: socket.socket, peer: str) -> ConnectionStream:
        if not broken:
            broken.append(sock)
            raise OSError(errno.EINVAL, "reset before it began")
        return transport.adopt(sock, peer)

    listener = ConnectionListener(FailingSocket(), adopt)
    with socket.create_connection(listener.address), socket.create_connection(listener.address):
        stream = await listener.accept()
    assert broken[0].fileno() == -1
    assert isinstance(stream.outbox.wire, SocketWire)
    stream.abort()
    await listener.aclose()
