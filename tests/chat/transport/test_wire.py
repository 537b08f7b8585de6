"""The two wires."""

import contextlib
import socket

import pytest
import trio
import trio.testing

from chat.transport.wire import SocketWire, StreamWire
from tests.chat.transport.support import tcp_pair


def fill(wire: SocketWire) -> int:
    """Send until the kernel takes no more; return how much it took."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += wire.send(b"x" * 1_000_000)
    return sent


def read_all(client: socket.socket) -> bytes:
    """Read to the end."""
    data = b""
    while chunk := client.recv(100):
        data += chunk
    return data


async def test_a_socket_takes_what_the_kernel_takes_and_then_nothing() -> None:
    """BlockingIOError is "not now"; `send_some` waits until it is."""
    server, client = tcp_pair()
    wire = SocketWire(server)
    with client:
        sent = fill(wire)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send_some, b"y")
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            while sent:
                sent -= len(client.recv(min(sent, 1 << 20)))
        assert client.recv(10) == b"y"
        await wire.aclose()


async def test_an_aborted_socket_resets_its_peer() -> None:
    """No byte lingers in the kernel; twice is once."""
    server, client = tcp_pair()
    wire = SocketWire(server)
    wire.send(b"unread")
    wire.abort()
    wire.abort()

    with client, pytest.raises(ConnectionResetError):
        read_all(client)


async def test_a_closed_socket_lets_its_peer_read_all_although_input_lies_unread() -> None:
    """Linux would answer unread input with a reset, and the last words would be lost."""
    server, client = tcp_pair()
    wire = SocketWire(server)
    with client:
        client.sendall(b"never read")
        wire.send(b"last words")
        await wire.aclose()
        await wire.aclose()

        assert client.recv(100) == b"last words"
        assert client.recv(100) == b""


async def test_closing_wakes_whoever_waits_on_the_socket() -> None:
    """Both directions, with trio's own error."""
    server, client = tcp_pair()
    wire = SocketWire(server)
    with client:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await wire.receive()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            wire.abort()


async def test_other_sockets_than_tcp_will_do() -> None:
    """A unix socket has no TCP_NODELAY, and needs none."""
    one, two = socket.socketpair()
    wire = SocketWire(one)
    with two:
        assert wire.send(b"hello") == 5
        assert two.recv(10) == b"hello"
        two.sendall(b"back")
        assert await wire.receive() == b"back"
        await wire.aclose()


async def test_a_stream_takes_nothing_at_once() -> None:
    """Its outbox is drained by a task that waits."""
    near, far = trio.testing.memory_stream_pair()
    aborted: list[bool] = []
    wire = StreamWire(near, lambda: aborted.append(True))

    with pytest.raises(BlockingIOError):
        wire.send(b"now")
    assert await wire.send_some(b"waiting") == 7
    assert await far.receive_some() == b"waiting"
    await far.send_all(b"back")
    assert await wire.receive() == b"back"
    wire.abort()
    assert aborted == [True]
    await wire.aclose()
    assert await far.receive_some() == b""
