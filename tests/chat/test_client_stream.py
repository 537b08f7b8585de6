"""The client's short cut: every message out, in order, however the bytes are cut; the rest is wsproto's."""

from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, TextMessage

from chat.client_errors import ServerMisbehaved
from chat.client_frames import MESSAGE_MAX_BYTES
from chat.client_stream import ClientStream, close_frame, masked_frame
from chat.transport.frames import PING_FRAME, build_frame
from chat.transport.poller import Poller

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Taken:
    """A stream over a memory pipe, and what it handed on."""

    def __init__(self, *, text: bool = False) -> None:
        self.messages: list[bytes] = []
        inner, self.server = trio.testing.memory_stream_pair()
        self.stream = ClientStream(inner, text=text, on_message=self.messages.append, on_quiet=lambda: None)

    async def read(self) -> bytes:
        """Everything that is wsproto's, to the end."""
        others = b""
        while data := await self.stream.receive_some():
            others += data
        return others


async def give(taken: Taken, chunks: list[bytes]) -> bytes:
    """Send chunks and end; what was wsproto's."""

    async def send() -> None:
        for chunk in chunks:
            await taken.server.send_all(chunk)
            await trio.testing.wait_all_tasks_blocked()
        await taken.server.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        seen = await taken.read()
    return seen  # noqa: RET504  a return inside a nursery waits for its tasks, unseen


def cut(data: bytes, points: list[int]) -> list[bytes]:
    """The data in pieces."""
    places = sorted({point % (len(data) + 1) for point in points} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places) if end > start]


def filled(size: int, pattern: bytes) -> bytes:
    """A long payload of little chance: hypothesis refuses to draw so many bytes one by one."""
    return (pattern * (size // len(pattern) + 1))[:size]


@settings(max_examples=60, deadline=None)
@given(
    payloads=st.lists(
        st.one_of(
            st.binary(max_size=200), st.builds(filled, st.integers(65_500, 65_600), st.binary(min_size=1))
        ),
        max_size=5,
    ),
    points=st.lists(st.integers(0, 400_000), max_size=6),
)
def test_messages_survive_every_cut_of_the_bytes(payloads: list[bytes], points: list[int]) -> None:
    """Handshake, pings and messages of all three length forms, cut anywhere: nothing is lost or mixed up."""
    frames = b"".join(PING_FRAME + build_frame(payload, text=False) for payload in payloads)

    async def main() -> None:
        taken = Taken()
        others = await give(taken, cut(HEAD + frames, points))

        assert taken.messages == payloads
        assert others == HEAD + PING_FRAME * len(payloads)

    trio.run(main, clock=MockClock(autojump_threshold=0.01))


async def test_fragments_become_one_message() -> None:
    """A server that fragments is understood, control frames in between included."""
    taken = Taken(text=True)
    parts = b"\x01\x03abc" + PING_FRAME + b"\x00\x02de" + b"\x80\x01f" + build_frame(b"next", text=True)
    others = await give(taken, [HEAD, parts])

    assert taken.messages == [b"abcdef", b"next"]
    assert others == HEAD + PING_FRAME


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\x81\x01x", id="text where binary was agreed"),
        pytest.param(b"\x80\x01x", id="a continuation of nothing"),
        pytest.param(b"\xc2\x01x", id="a reserved bit"),
        pytest.param(b"\x02\x01x" + build_frame(b"y", text=False), id="a message within a message"),
        pytest.param(b"\x82\x7f" + (MESSAGE_MAX_BYTES + 1).to_bytes(8), id="larger than any answer"),
    ],
)
async def test_what_the_server_must_not_send_ends_the_stream(bad: bytes) -> None:
    """The failure is kept for the owner, and nothing more is handed on."""
    taken = Taken()
    await give(taken, [HEAD, bad + build_frame(b"after", text=False)])

    assert isinstance(taken.stream.failure, ServerMisbehaved)
    assert b"after" not in taken.messages


async def test_a_masked_frame_is_left_to_wsproto() -> None:
    """A server must not mask (RFC 6455, 5.1): wsproto knows how to fail that."""
    taken = Taken()
    masked = masked_frame(b"x", text=False)
    assert await give(taken, [HEAD, masked]) == HEAD + masked


async def test_a_refused_handshake_passes_with_its_body() -> None:
    """Without 101 there are no frames: all bytes are the HTTP answer."""
    taken = Taken()
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n\x82\x00"
    assert await give(taken, [refusal[:20], refusal[20:]]) == refusal
    assert taken.messages == []


async def test_an_endless_head_is_given_up() -> None:
    """A server that never ends its headers does not fill memory."""
    taken = Taken()
    await give(taken, [b"x" * 10_000, b"y" * 10_000])
    assert isinstance(taken.stream.failure, ServerMisbehaved)


async def test_a_raising_listener_ends_the_stream_and_is_kept() -> None:
    """A bug in the callback is not lost in trio-websocket: the owner finds it."""
    inner, server = trio.testing.memory_stream_pair()

    def fail(payload: bytes) -> None:
        raise ZeroDivisionError(payload)

    stream = ClientStream(inner, text=False, on_message=fail, on_quiet=lambda: None)
    await server.send_all(HEAD + build_frame(b"x", text=False))
    assert await stream.receive_some() == HEAD or stream.failure is not None
    assert await stream.receive_some() == b""
    assert isinstance(stream.failure, ZeroDivisionError)
    assert stream.ended


async def test_a_cancelled_send_closes_the_stream(autojump_clock: MockClock) -> None:
    """Half a frame may have left, so nothing may follow it."""
    del autojump_clock
    inner, _server = trio.testing.lockstep_stream_pair()
    stream = ClientStream(inner, text=False, on_message=lambda _payload: None, on_quiet=lambda: None)
    with trio.move_on_after(1):
        await stream.send_all(b"nobody reads this")

    assert stream.ended
    with pytest.raises(trio.ClosedResourceError):
        await inner.send_all(b"x")


@given(size=st.sampled_from([0, 1, 125, 126, 65_535, 65_536]), text=st.booleans())
@settings(deadline=None)
def test_our_frames_are_read_by_an_independent_parser(size: int, text: bool) -> None:
    """wsproto, as a server, reads every length form, masked; and our close."""
    server = Connection(ConnectionType.SERVER)
    server.receive_data(masked_frame(b"x" * size, text=text) + close_frame())
    *messages, last = list[Event](server.events())

    kind = TextMessage if text else BytesMessage
    assert all(isinstance(message, kind) for message in messages)
    whole = [message.data for message in messages if isinstance(message, TextMessage | BytesMessage)]
    assert sum(map(len, whole)) == size
    assert isinstance(last, CloseConnection)
    assert last.code == 1000


async def test_a_poller_reads_for_many_streams() -> None:
    """Over TCP one task reads for all: messages, control frames and the end come as without it."""
    poller = Poller()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    received: dict[int, list[bytes]] = {0: [], 1: []}
    streams: list[ClientStream] = []

    async def serve(server: trio.SocketStream) -> None:
        await server.send_all(HEAD)
        await server.receive_some()
        await server.send_all(build_frame(b"one", text=False) + PING_FRAME + build_frame(b"two", text=False))
        await server.receive_some()
        await server.aclose()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
            for number in (0, 1):
                inner = await trio.open_tcp_stream("127.0.0.1", port)
                streams.append(
                    ClientStream(
                        inner,
                        text=False,
                        on_message=received[number].append,
                        on_quiet=lambda: None,
                        poller=poller,
                    )
                )
            for stream in streams:
                assert await stream.receive_some() == HEAD
                await stream.send_all(b"go")
            for stream in streams:
                assert await stream.receive_some() == PING_FRAME
                await stream.send_all(b"end")
                assert await stream.receive_some() == b""
                await stream.aclose()
            nursery.cancel_scope.cancel()

    assert received == {0: [b"one", b"two"], 1: [b"one", b"two"]}


async def test_a_stream_outlives_its_poller() -> None:
    """When the poller stops, the reading task waits for itself."""
    poller = Poller()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def serve(server: trio.SocketStream) -> None:
        await server.send_all(HEAD)
        await server.receive_some()
        await server.send_all(PING_FRAME)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            polling = trio.CancelScope()

            async def poll(*, task_status: trio.TaskStatus[None]) -> None:
                with polling:
                    await poller.run(task_status=task_status)

            await nursery.start(poll)
            nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
            inner = await trio.open_tcp_stream("127.0.0.1", port)
            stream = ClientStream(
                inner, text=False, on_message=lambda _payload: None, on_quiet=lambda: None, poller=poller
            )
            assert await stream.receive_some() == HEAD
            heard: list[bytes] = []

            async def read() -> None:
                heard.append(await stream.receive_some())
                await stream.aclose()
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            polling.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"go")

    assert heard == [PING_FRAME]
