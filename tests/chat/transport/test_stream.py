"""`ConnectionStream`: the head, the short cut, order, back-pressure, closing."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
import trio_websocket

from chat.transport import CloseCause, ConnectionStream, HeadTimeout, HeadTooLarge, Transport, build_frame
from tests.chat.transport.support import (
    CARRIERS,
    REQUEST,
    Carrier,
    client_frame,
    connected,
    parse_server_frames,
    read_into,
    running_transport,
    settle,
    stall,
)


@dataclass(slots=True)
class Session:
    """An open WebSocket whose messages are noted."""

    stream: ConnectionStream
    client: trio.abc.Stream
    ws: trio_websocket.WebSocketConnection
    messages: list[bytes] = field(default_factory=list)
    causes: list[CloseCause] = field(default_factory=list)
    too_large: list[int] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    output: bytearray = field(default_factory=bytearray)
    full_at: bytes | None = None

    def take(self, payload: bytes, _is_text: bool) -> bool:
        """Note a message; say "full" at the one that was chosen."""
        self.messages.append(payload)
        if payload == b"raise":
            raise LookupError
        return payload != self.full_at

    def frames(self) -> list[tuple[int, bytes]]:
        """Return what the client has received after the handshake."""
        return parse_server_frames(bytes(self.output).partition(b"\r\n\r\n")[2])


@asynccontextmanager
async def session(carrier: Carrier) -> AsyncGenerator[Session]:
    """Open a WebSocket with the short cut enabled before the handshake is answered."""
    async with (
        running_transport(shared_reader=carrier is Carrier.SOCKET_POLLED) as transport,
        connected(transport, carrier) as (stream, client),
        trio.open_nursery() as nursery,
    ):
        await client.send_all(REQUEST)
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        noted = Session(stream, client, ws=None)  # type: ignore[arg-type]  # set three lines below
        stream.enable_short_cut(
            noted.take, on_too_large=noted.too_large.append, on_passed=noted.passed.append
        )
        stream.on_closed(noted.causes.append)
        noted.ws = await request.accept()
        nursery.start_soon(read_into, noted.output, client)
        await settle()
        yield noted
        stream.abort()


# The request head.


@CARRIERS
async def test_a_head_is_read_and_kept_for_the_handshake(carrier: Carrier) -> None:
    """The gateway sees it first, trio-websocket sees exactly the same, the rest waits."""
    async with (
        running_transport(shared_reader=carrier is Carrier.SOCKET_POLLED) as transport,
        connected(transport, carrier) as (stream, client),
    ):
        await client.send_all(REQUEST[:30])
        async with trio.open_nursery() as nursery:

            async def send_rest() -> None:
                await settle()
                await client.send_all(REQUEST[30:] + client_frame(b"early"))

            nursery.start_soon(send_rest)
            assert await stream.read_head() == REQUEST

        assert await stream.receive_some(10) == REQUEST[:10]
        assert await stream.receive_some() == REQUEST[10:]


@CARRIERS
async def test_a_frame_sent_with_the_request_is_not_lost(carrier: Carrier) -> None:
    """Wsproto forgets what comes before it has answered; here it waits and takes the short cut."""
    async with (
        running_transport(shared_reader=carrier is Carrier.SOCKET_POLLED) as transport,
        connected(transport, carrier) as (stream, client),
    ):
        got: list[bytes] = []
        await client.send_all(REQUEST + client_frame(b"early"))
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            await settle()
            stream.enable_short_cut(lambda payload, _is_text: got.append(payload))
            await request.accept()
            await settle()
            stream.abort()

    assert got == [b"early"]


async def test_a_head_without_end_is_too_large() -> None:
    """Told at the limit, and an answer can still be sent."""
    async with running_transport() as transport, connected(transport, Carrier.SOCKET) as (stream, client):
        await client.send_all(b"GET / HTTP/1.1\r\nX: " + b"a" * 100)
        with pytest.raises(HeadTooLarge):
            await stream.read_head(limit_bytes=100)
        await stream.send_all(b"HTTP/1.1 431 Too Large\r\n\r\n")
        await stream.aclose()

        output = bytearray()
        await read_into(output, client)
        assert bytes(output) == b"HTTP/1.1 431 Too Large\r\n\r\n"


async def test_a_slow_head_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """After its time, however many bytes trickle in."""
    async with (
        running_transport() as transport,
        connected(transport, Carrier.MEMORY) as (stream, client),
        trio.open_nursery() as nursery,
    ):

        async def trickle() -> None:
            while True:
                await client.send_all(b"a")
                await trio.sleep(1)

        nursery.start_soon(trickle)
        with pytest.raises(HeadTimeout):
            await stream.read_head(timeout_s=10)
        assert trio.current_time() == 10.0
        nursery.cancel_scope.cancel()
    assert autojump_clock.rate == 0.0


async def test_plain_http_reads_heads_and_bodies_in_turn() -> None:
    """A kept-alive connection: head, body, next head; a bare LF ends lines too."""
    async with running_transport() as transport, connected(transport, Carrier.MEMORY) as (stream, client):
        await client.send_all(b"POST /a HTTP/1.1\r\n\r\nbodyGET /b HTTP/1.1\nX: y\n\n")

        assert await stream.read_head() == b"POST /a HTTP/1.1\r\n\r\n"
        assert await stream.read_body(4) == b"body"
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        assert await stream.read_head() == b"GET /b HTTP/1.1\nX: y\n\n"
        with pytest.raises(HeadTimeout):
            await stream.read_body(1, timeout_s=0)


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_a_connection_that_ends_before_its_head(sent: bytes) -> None:
    """Without a byte it is no error, in the middle it is."""
    async with running_transport() as transport, connected(transport, Carrier.MEMORY) as (stream, client):
        await client.send_all(sent)
        await client.aclose()
        if sent:
            with pytest.raises(trio.BrokenResourceError):
                await stream.read_head()
        else:
            assert await stream.read_head() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.read_body(100)


async def test_trio_websocket_gets_no_head_over_the_limit() -> None:
    """Without `read_head` the default limit holds, and the reader breaks."""
    async with running_transport() as transport, connected(transport, Carrier.MEMORY) as (stream, client):
        await client.send_all(b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


# Receiving.


@CARRIERS
async def test_messages_reach_the_callback_without_trio_websocket(carrier: Carrier) -> None:
    """Several in one read, one in several reads; counted, and the time noted."""
    async with session(carrier) as opened:
        frame = client_frame(b"c" * 1000)
        await opened.client.send_all(client_frame(b"a") + client_frame(b"b") + frame[:500])
        await settle()
        assert opened.messages == [b"a", b"b"]
        await opened.client.send_all(frame[500:])
        await settle()

        assert opened.messages == [b"a", b"b", b"c" * 1000]
        assert opened.stream.frames_in == 3
        assert opened.stream.bytes_in == len(REQUEST) + 7 + 7 + len(frame)
        assert trio.current_time() - opened.stream.last_receive_s < 10


@CARRIERS
async def test_a_full_receiver_stops_the_reading_until_it_resumes(carrier: Carrier) -> None:
    """Back-pressure: nothing behind the message is delivered, and nothing is lost."""
    async with session(carrier) as opened:
        opened.full_at = b"2"
        await opened.client.send_all(b"".join(client_frame(b"%d" % number) for number in range(5)))
        await settle()
        assert (opened.messages, opened.stream.reading_paused) == ([b"0", b"1", b"2"], True)
        await opened.client.send_all(client_frame(b"5"))
        await settle()
        assert len(opened.messages) == 3
        opened.stream.resume_reading()
        opened.stream.resume_reading()
        await settle()

        assert opened.messages == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert not opened.stream.reading_paused


async def test_a_paused_reader_stops_the_peer_in_the_end() -> None:
    """The kernel's buffers fill: the client's send does not finish until reading resumes."""
    async with session(Carrier.SOCKET_POLLED) as opened:
        opened.full_at = b"full"
        opened.stream.max_frame_bytes = 100_000
        await opened.client.send_all(client_frame(b"full"))
        big = client_frame(b"x" * 60_000) * 100
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened.client.send_all, big)
            await settle()
            assert len(nursery.child_tasks) == 1
            opened.stream.resume_reading()

        await settle()
        assert len(opened.messages) == 101


@CARRIERS
async def test_a_flood_of_tiny_frames_does_not_hold_up_other_tasks(carrier: Carrier) -> None:
    """A read full of empty frames is worked off in turns, between which others run."""
    async with session(carrier) as opened:
        seen: list[int] = []
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    seen.append(len(opened.messages))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(watch)
            await opened.client.send_all(client_frame() * 2000)
            while len(opened.messages) < 2000:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert max(steps) <= 256


@pytest.mark.parametrize("opcode", [0, 9, 10], ids=["fragments", "pings", "pongs"])
@CARRIERS
async def test_a_flood_of_frames_for_wsproto_does_not_hold_up_other_tasks(
    carrier: Carrier, opcode: int
) -> None:
    """What the short cut does not take is told frame by frame, a few in a turn."""
    async with session(carrier) as opened:
        seen: list[int] = []
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    seen.append(len(opened.passed))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(watch)
            frame = client_frame(opcode=opcode, fin=opcode != 0)
            await opened.client.send_all(client_frame(b"x", fin=False) + frame * 1000)
            while len(opened.passed) < 1001:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert max(steps) <= 128


@CARRIERS
async def test_a_message_in_endless_fragments_is_told_as_too_large(carrier: Carrier) -> None:
    """Trio-websocket keeps every fragment of a message, so it gets so many and no more."""
    async with session(carrier) as opened:
        await opened.client.send_all(
            client_frame(b"x", fin=False) + client_frame(opcode=0, fin=False) * 20_000
        )
        await settle()

        assert opened.too_large == [1]
        assert len(opened.passed) == 1024


@CARRIERS
async def test_a_ping_is_answered_behind_what_was_queued_before(carrier: Carrier) -> None:
    """The pong takes its place in the outbox: the broadcast comes first."""
    async with session(carrier) as opened:
        stall_free = build_frame(b"broadcast", text=False)
        opened.stream.outbox.push(stall_free)
        await opened.ws.pong(b"behind")
        opened.stream.outbox.push(stall_free)
        await settle()

        assert opened.frames() == [(0x82, b"broadcast"), (0x8A, b"behind"), (0x82, b"broadcast")]


@CARRIERS
async def test_a_ping_among_messages_is_answered(carrier: Carrier) -> None:
    """It goes the slow way, and the messages around it keep to the short cut."""
    async with session(carrier) as opened:
        ping = client_frame(b"p", opcode=9)
        await opened.client.send_all(client_frame(b"1") + ping + client_frame(b"2") + ping)
        await settle()

        assert opened.messages == [b"1", b"2"]
        assert opened.frames() == [(0x8A, b"p"), (0x8A, b"p")]


@CARRIERS
async def test_a_message_too_large_is_told_and_the_close_is_heard(carrier: Carrier) -> None:
    """From the header alone; the gateway's close code reaches the peer in the middle of its send."""
    async with session(carrier) as opened:
        opened.stream.max_frame_bytes = 1000
        big = client_frame(b"x" * 100_000)
        await opened.client.send_all(big[:20])
        await settle()
        assert opened.too_large == [100_000]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened.ws.aclose, 4503)
            await opened.client.send_all(big[20:] + client_frame(b"\x11\x97", opcode=8))

        assert opened.frames() == [(0x88, b"\x11\x97")]
        assert opened.messages == []


@CARRIERS
async def test_what_the_callback_raises_comes_out_of_the_reader(carrier: Carrier) -> None:
    """A bug in a session ends its own connection and nothing else."""
    causes: list[CloseCause] = []
    messages: list[bytes] = []
    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        async with session(carrier) as opened:
            causes, messages = opened.causes, opened.messages
            await opened.client.send_all(client_frame(b"raise") + client_frame(b"never"))
            await trio.sleep_forever()

    assert messages == [b"raise"]
    assert causes == [CloseCause.ABORTED]


async def test_a_reader_goes_on_when_the_poller_ends() -> None:
    """Connections outlive the shared reader: they wait for themselves."""
    async with session(Carrier.SOCKET_POLLED) as opened:
        opened.stream.on_poller_gone()
        await settle()
        await opened.client.send_all(client_frame(b"still"))
        await settle()

        assert opened.messages == [b"still"]


async def test_two_readers_are_a_bug_that_is_told() -> None:
    """As with any trio stream."""
    async with session(Carrier.SOCKET_POLLED) as opened:
        with pytest.raises(trio.BusyResourceError):
            await opened.stream.receive_some()


# Ending.


@CARRIERS
async def test_on_closed_is_called_once_when_the_peer_goes(carrier: Carrier) -> None:
    """EOF is enough; abort and aclose afterwards add nothing."""
    async with session(carrier) as opened:
        await trio.aclose_forcefully(opened.client)
        await settle()
        opened.stream.abort()
        await opened.stream.aclose()

    assert len(opened.causes) == 1
    assert opened.causes[0] in (CloseCause.EOF, CloseCause.RESET)


@CARRIERS
async def test_on_closed_is_called_once_in_the_turn_of_an_abort(carrier: Carrier) -> None:
    """Synchronously, so that a session leaves routing before anything else."""
    async with session(carrier) as opened:
        opened.stream.abort()
        assert opened.causes == [CloseCause.ABORTED]
        opened.stream.abort()
        await opened.stream.aclose()
        assert opened.causes == [CloseCause.ABORTED]
        assert not opened.stream.outbox.push(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await opened.stream.send_all(b"late")


@CARRIERS
async def test_on_closed_set_late_is_called_at_once(carrier: Carrier) -> None:
    """Nobody misses the end."""
    late: list[CloseCause] = []
    async with session(carrier) as opened:
        await opened.stream.aclose()
        opened.stream.on_closed(late.append)

    assert (late, opened.causes) == ([CloseCause.LOCAL], [CloseCause.LOCAL])


async def test_what_on_closed_raises_is_logged_and_the_close_goes_on() -> None:
    """A bug there must not keep a socket open."""

    def fail(_cause: CloseCause) -> None:
        raise LookupError

    async with running_transport() as transport, connected(transport, Carrier.SOCKET) as (stream, client):
        stream.on_closed(fail)
        await stream.aclose()

        assert await client.receive_some() == b""


@CARRIERS
async def test_closing_sends_what_is_queued(carrier: Carrier) -> None:
    """`bye` and the close frame are not thrown away."""
    async with running_transport() as transport, connected(transport, carrier) as (stream, client):
        stream.outbox.push(b"bye")
        await stream.aclose()
        output = bytearray()
        await read_into(output, client)

    assert bytes(output) == b"bye"


@CARRIERS
async def test_closing_in_the_middle_of_a_drain_is_bounded(
    carrier: Carrier, autojump_clock: trio.testing.MockClock
) -> None:
    """A peer that takes nothing holds up the close for a second, then it is aborted."""
    async with running_transport() as transport, connected(transport, carrier) as (stream, _):
        stall(stream)
        stream.outbox.push(b"x" * 100)
        await trio.testing.wait_all_tasks_blocked()
        started_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.aclose)
            nursery.start_soon(stream.aclose)

        assert trio.current_time() - started_s == 1.0
        assert transport.statistics().draining == 1
        assert stream.close_cause is CloseCause.LOCAL
    assert autojump_clock.rate == 0.0


@CARRIERS
async def test_a_cancelled_close_closes_all_the_same(carrier: Carrier) -> None:
    """As trio asks of every resource."""
    async with running_transport() as transport, connected(transport, carrier) as (stream, client):
        stall(stream)
        stream.outbox.push(b"x")
        await trio.aclose_forcefully(stream)
        output = bytearray()
        await read_into(output, client)

    assert bytes(output) == b""


@CARRIERS
async def test_nothing_follows_a_close_frame(carrier: Carrier) -> None:
    """RFC 6455 5.5.1: a broadcast that comes after it is not queued."""
    async with session(carrier) as opened, trio.open_nursery() as nursery:
        nursery.start_soon(opened.ws.aclose, 4000)
        await settle()
        assert not opened.stream.outbox.push(build_frame(b"late", text=False))
        await settle()

        assert opened.frames() == [(0x88, b"\x0f\xa0")]
        nursery.cancel_scope.cancel()


@CARRIERS
async def test_an_overflowed_connection_can_still_say_why(carrier: Carrier) -> None:
    """The queue is dropped, so 4002 follows what had begun to leave."""
    async with (
        running_transport(outbox_bytes=100) as transport,
        connected(transport, carrier) as (stream, client),
    ):
        stream.on_overflow(lambda: None)
        stream.outbox.push(b"x" * 101)
        await stream.send_all(b"\x88\x02\x0f\xa2")
        await stream.aclose()
        output = bytearray()
        await read_into(output, client)

    assert bytes(output) == b"\x88\x02\x0f\xa2"


async def test_an_aborted_stream_wire_is_closed_without_a_flusher_too() -> None:
    """`trio.serve_listeners` closes what its handler leaves: nothing may stay open."""
    transport = Transport()
    async with connected(transport, Carrier.MEMORY) as (stream, client):
        stream.abort()
        await stream.aclose()

        assert await client.receive_some() == b""


async def test_an_overflow_nobody_wants_to_know_of_is_an_abort() -> None:
    """Without `on_overflow` the connection does not linger."""
    async with (
        running_transport(outbox_bytes=100) as transport,
        connected(transport, Carrier.SOCKET) as (stream, _),
    ):
        stream.outbox.push(b"x" * 101)
        await trio.testing.wait_all_tasks_blocked()

        assert stream.close_cause is CloseCause.SLOW


@CARRIERS
async def test_a_cancelled_send_leaves_whole(carrier: Carrier) -> None:
    """What was queued is sent in its place; the stream stays usable."""
    async with running_transport() as transport, connected(transport, carrier) as (stream, client):
        with trio.move_on_after(0):
            await stream.send_all(b"one,")
        await stream.send_all(b"two")
        await stream.send_all(b"")
        await stream.wait_send_all_might_not_block()
        await stream.aclose()
        output = bytearray()
        await read_into(output, client)

    assert bytes(output) == b"one,two"


async def test_a_stream_says_what_it_is_in_a_log() -> None:
    """trio-websocket prints it."""
    async with running_transport() as transport, connected(transport, Carrier.SOCKET) as (stream, _):
        assert repr(stream) == "<ConnectionStream test open>"
        stream.abort()
        assert repr(stream) == "<ConnectionStream test aborted>"
