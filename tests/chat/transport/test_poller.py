"""The shared reader by itself."""

import socket

import pytest
import trio
import trio.testing

from chat.transport.poller import EVENTS_PER_TURN, Poller


class Reader:
    """A polled stream that notes what happens to it."""

    def __init__(self, sock: socket.socket, log: list[object]) -> None:
        self.sock = sock
        self.log = log

    def on_readable(self, now_s: float) -> None:
        """Read once."""
        assert now_s <= trio.current_time()
        self.log.append(self.sock.recv(100))

    def on_poller_gone(self) -> None:
        """Note it."""
        self.log.append("gone")


async def test_every_stream_with_input_is_served() -> None:
    """Also more of them than fit in one turn."""
    pairs = [socket.socketpair() for _ in range(EVENTS_PER_TURN + 10)]
    log: list[object] = []
    poller = Poller()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        for near, _ in pairs:
            poller.add(near.fileno(), Reader(near, log))
        for number, (_, far) in enumerate(pairs):
            far.sendall(b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for near, far in pairs:
        near.close()
        far.close()

    served, gone = log[: len(pairs)], log[len(pairs) :]
    assert sorted(served, key=repr) == sorted((b"%d" % number for number in range(len(pairs))), key=repr)
    assert gone == ["gone"] * len(pairs)


async def test_a_removed_stream_is_left_alone() -> None:
    """Removing twice, or what was never added, is nothing."""
    near, far = socket.socketpair()
    log: list[object] = []
    poller = Poller()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        poller.add(near.fileno(), Reader(near, log))
        poller.remove(near.fileno())
        poller.remove(near.fileno())
        far.sendall(b"x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    near.close()
    far.close()

    assert log == []


async def test_a_descriptor_that_cannot_be_watched_is_refused() -> None:
    """The stream waits by itself then."""
    poller = Poller()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        near, far = socket.socketpair()
        fd = near.fileno()
        near.close()
        with pytest.raises(OSError, match="Bad file"):
            poller.add(fd, Reader(near, []))
        far.close()
        nursery.cancel_scope.cancel()

    assert not poller.running
