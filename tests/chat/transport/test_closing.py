"""Closing a WebSocket, bounded."""

import pytest
import trio
import trio.testing
import trio_websocket

from chat.transport import CloseCause, Transport
from chat.transport.closing import close_websocket
from tests.chat.transport.support import (
    CARRIERS,
    REQUEST,
    Carrier,
    client_frame,
    connected,
    opened,
    parse_server_frames,
    read_into,
    running_transport,
    serve_late,
)


@CARRIERS
@pytest.mark.parametrize("answers", [True, False])
async def test_a_close_is_said_and_ends_whether_the_peer_answers_or_not(
    carrier: Carrier,
    answers: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The code arrives behind what was queued; without an answer the time is up after two seconds."""
    causes: list[CloseCause] = []
    output = bytearray()
    async with (
        running_transport(shared_reader=carrier is Carrier.SOCKET_POLLED) as transport,
        connected(transport, carrier) as (stream, client),
        trio.open_nursery() as nursery,
    ):
        await client.send_all(REQUEST)
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        stream.on_closed(causes.append)
        stream.enable_short_cut(lambda _payload, _is_text: None)
        ws = await request.accept()
        nursery.start_soon(read_into, output, client)
        stream.outbox.push(b"\x82\x03bye")
        if answers:
            await client.send_all(client_frame(b"ignored") + client_frame(b"\x0f\xa0", opcode=8))
        started_s = trio.current_time()
        await close_websocket(ws, stream, 4000, "shutdown")
        lasted_s = trio.current_time() - started_s
        await close_websocket(ws, stream, 4000)

    frames = parse_server_frames(bytes(output).partition(b"\r\n\r\n")[2])
    assert frames[0] == (0x82, b"bye")
    assert frames[1][0] == 0x88
    assert causes == [CloseCause.LOCAL]
    assert lasted_s == (0.0 if answers else 2.0)
    assert autojump_clock.rate == 0.0


@CARRIERS
@pytest.mark.parametrize("answers", [True, False])
async def test_a_connection_that_trio_websocket_never_saw_is_closed_alike(
    carrier: Carrier,
    answers: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The same code behind what was queued, the same patience; what still comes is dropped."""
    async with opened(carrier) as served, trio.open_nursery() as nursery:
        nursery.start_soon(read_into, served.output, served.client)
        served.stream.outbox.push(b"\x82\x03bye")
        await served.client.send_all(client_frame(b"ignored") + client_frame(b"too", opcode=9))
        if answers:
            await served.client.send_all(client_frame(b"\x0f\xa0", opcode=8))
        started_s = trio.current_time()
        await served.ws.aclose(4000, "shutdown")
        lasted_s = trio.current_time() - started_s
        await served.ws.aclose(4000, "")
        assert not served.ws.attended

    assert served.frames() == [(0x82, b"bye"), (0x88, b"\x0f\xa0shutdown")]
    assert served.causes == [CloseCause.LOCAL]
    assert served.taken == []
    assert lasted_s == (0.0 if answers else 2.0)
    assert autojump_clock.rate == 0.0


async def test_a_cancelled_server_still_says_why(autojump_clock: trio.testing.MockClock) -> None:
    """The goodbye is shielded, and bounded."""
    output = bytearray()
    async with (
        running_transport() as transport,
        connected(transport, Carrier.SOCKET) as (stream, client),
        trio.open_nursery() as nursery,
    ):
        await client.send_all(REQUEST)
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        ws = await request.accept()
        nursery.start_soon(read_into, output, client)
        with trio.CancelScope() as scope:
            scope.cancel()
            await close_websocket(ws, stream, 4000)

    frames = parse_server_frames(bytes(output).partition(b"\r\n\r\n")[2])
    assert frames == [(0x88, b"\x0f\xa0")]
    assert autojump_clock.rate == 0.0


async def test_without_trio_websocket_a_cancelled_server_says_why_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The flusher runs no more, and the peer does not answer."""
    output = bytearray()
    heard_s: list[float] = []

    async def hear(client: trio.abc.Stream) -> None:
        while not output.endswith(b"\x0f\xa0why"):
            output.extend(await client.receive_some())
        heard_s.append(trio.current_time())

    async with (
        connected(Transport(shared_reader=False), Carrier.SOCKET) as (stream, client),
        serve_late(stream, client) as served,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(hear, client)
        started_s = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            await served.ws.aclose(4000, "why")
        await trio.testing.wait_all_tasks_blocked()

    assert heard_s == [started_s]
    assert autojump_clock.rate == 0.0
