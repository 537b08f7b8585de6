"""`WebSocket`: trio-websocket comes in late, and nothing is lost or cut off by its coming."""

import math
import random

import pytest
import trio
import trio.testing
import trio_websocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.transport import CloseCause, build_frame
from chat.transport.listener import over_tls
from tests.chat.transport.support import (
    CARRIERS,
    Carrier,
    client_frame,
    close_payload,
    cut,
    opened,
    parse_server_frames,
    read_into,
    running_transport,
    serve_late,
    settle,
    tcp_pair,
    tls_contexts,
)

BYE = client_frame(close_payload(1000), opcode=8)
FRAGMENTS = client_frame(b"in ", fin=False) + client_frame(b"pieces", opcode=0)
BACKLOG = [build_frame(b"x" * 60_000, text=False)] * 8
"""More than the kernel's buffers of a test's connection take."""


@CARRIERS
async def test_a_peer_that_reads_slowly_is_not_cut_off_for_a_fragment(
    carrier: Carrier, autojump_clock: trio.testing.MockClock
) -> None:
    """Its message comes, and what was queued for it arrives whole, long after trio-websocket came in."""
    async with opened(carrier) as served, trio.open_nursery() as nursery:
        for frame in BACKLOG:
            served.stream.outbox.push(frame)
        await served.client.send_all(FRAGMENTS)
        assert await served.ws.get_message() == b"in pieces"
        assert served.ws.attended
        await trio.sleep(5)
        assert served.causes == []
        nursery.start_soon(read_into, served.output, served.client)
        await settle()
        assert served.frames() == parse_server_frames(b"".join(BACKLOG))
        nursery.cancel_scope.cancel()
    assert autojump_clock.rate == 0.0


@CARRIERS
async def test_a_peer_that_reads_slowly_hears_its_close_answered(
    carrier: Carrier, autojump_clock: trio.testing.MockClock
) -> None:
    """Behind everything that was queued before."""
    async with opened(carrier) as served, trio.open_nursery() as nursery:
        for frame in BACKLOG:
            served.stream.outbox.push(frame)

        async def read_late() -> None:
            await trio.sleep(5)
            await read_into(served.output, served.client)

        nursery.start_soon(read_late)
        await served.client.send_all(BYE)
        with pytest.raises(trio_websocket.ConnectionClosed):
            await served.ws.get_message()
        await trio.sleep(6)
        assert served.frames() == [*parse_server_frames(b"".join(BACKLOG)), (0x88, close_payload(1000))]
        assert served.causes == [CloseCause.LOCAL]
    assert autojump_clock.rate == 0.0


@CARRIERS
async def test_how_a_broken_frame_failed_the_connection_is_known_in_time(carrier: Carrier) -> None:
    """When the end is told, so that a close frame can still go out, whatever is queued before it."""
    async with opened(carrier) as served, trio.open_nursery() as nursery:
        for frame in BACKLOG[:2]:
            served.stream.outbox.push(frame)
        nursery.start_soon(read_into, served.output, served.client)
        await served.client.send_all(client_frame(b"x", reserved=1))
        with pytest.raises(trio_websocket.ConnectionClosed):
            await served.ws.get_message()
        await settle()
        assert served.closed_with == [1002]


@CARRIERS
async def test_a_close_in_the_turn_of_a_cancellation_is_not_lost(
    carrier: Carrier, autojump_clock: trio.testing.MockClock
) -> None:
    """The server's own close finds it, and need not wait for another."""
    async with opened(carrier) as served, trio.open_nursery() as nursery:
        nursery.start_soon(read_into, served.output, served.client)
        # More frames than one turn takes, so that the last are worked through in the reader's task.
        await served.client.send_all(client_frame(b"x") * 64 + client_frame(b"leave") + BYE)
        with served.scope:
            await served.ws.get_message()
        assert served.scope.cancelled_caught
        started_s = trio.current_time()
        await served.ws.aclose(4000, "bye")
        assert trio.current_time() == started_s
        await settle()
        assert served.frames() == [(0x88, close_payload(4000, b"bye"))]
    assert autojump_clock.rate == 0.0


@pytest.mark.parametrize("carrier", [Carrier.SOCKET_POLLED, Carrier.SOCKET], ids=lambda carrier: carrier.name)
@pytest.mark.parametrize("answers", [True, False])
async def test_a_connection_closed_without_trio_websocket_ends_as_one_with_it(
    carrier: Carrier, answers: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """With an end of the stream: a reset can take the close frame from a peer that has not read it yet."""
    async with opened(carrier) as served:
        if answers:
            await served.client.send_all(BYE)
        await served.ws.aclose(4000, "bye")
        assert served.causes == [CloseCause.LOCAL]
        while data := await served.client.receive_some():
            served.output += data
        assert served.frames() == [(0x88, close_payload(4000, b"bye"))]
    assert autojump_clock.rate == 0.0


async def test_closing_reads_on_while_the_peer_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that writes first and reads then gets to its reading."""
    async with opened(Carrier.SOCKET) as served, trio.open_nursery() as nursery:
        for frame in BACKLOG:
            served.stream.outbox.push(frame)
        await settle()

        async def write_then_read() -> None:
            await served.client.send_all(client_frame(b"y" * 8000) * 1000 + BYE)
            await read_into(served.output, served.client)

        nursery.start_soon(write_then_read)
        await served.ws.aclose(4000, "bye")
        await settle()
        assert served.frames() == [
            *parse_server_frames(b"".join(BACKLOG)),
            (0x88, close_payload(4000, b"bye")),
        ]
    assert autojump_clock.rate == 0.0


@CARRIERS
async def test_pings_are_answered_while_messages_are_discarded(carrier: Carrier) -> None:
    """A server that stops reads no more requests, and needs no trio-websocket to stay alive."""
    async with opened(carrier) as served, trio.open_nursery() as nursery:
        nursery.start_soon(read_into, served.output, served.client)
        nursery.start_soon(served.ws.get_message)
        big = client_frame(client_frame(b"no ping", opcode=9) * 400)
        await served.client.send_all(client_frame(b"one") + big[:100])
        await settle()
        served.stream.discard_messages()
        await served.client.send_all(big[100:] + client_frame(b"two"))
        await served.client.send_all(client_frame(b"there?", opcode=9) + client_frame(opcode=10))
        await settle()
        assert served.taken == [b"one"]
        assert served.frames() == [(0x8A, b"there?")]
        assert served.passed == [9, 10]
        assert not served.ws.attended
        nursery.cancel_scope.cancel()


async def test_over_tls_everything_is_alike() -> None:
    """Fragments, pings and the close; a waiting reader may be cancelled before."""
    server_context, client_context = tls_contexts()
    server, plain = tcp_pair()
    server.setblocking(False)  # noqa: FBT003  the standard library's signature
    plain.setblocking(False)  # noqa: FBT003
    client = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(plain)),
        client_context,
        server_hostname="localhost",
        https_compatible=True,
    )
    async with running_transport() as transport, trio.open_nursery() as nursery:
        stream = transport.wrap(over_tls(server, server_context))
        async with serve_late(stream, client) as served:
            nursery.start_soon(read_into, served.output, client)
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_when_settled, scope)
                await served.ws.get_message()
            await client.send_all(client_frame(b"whole") + client_frame(b"?", opcode=9) + FRAGMENTS)
            assert await served.ws.get_message() == b"in pieces"
            stream.slow_message_delivered()
            await client.send_all(client_frame(b"again") + BYE)
            with pytest.raises(trio_websocket.ConnectionClosed):
                await served.ws.get_message()
            await settle()
            assert served.taken == [b"whole", b"again"]
            assert served.frames() == [(0x8A, b"?"), (0x88, close_payload(1000))]
        await trio.aclose_forcefully(client)
        nursery.cancel_scope.cancel()


async def _cancel_when_settled(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)
    scope.cancel()


WHOLE = st.binary(max_size=8).map(client_frame)
PINGS = st.binary(max_size=8).map(lambda payload: client_frame(payload, opcode=9))
PONGS = st.just(client_frame(b"unasked", opcode=10))


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """A message in two or three fragments, with or without a ping between."""
    parts = draw(st.lists(st.binary(max_size=8), min_size=2, max_size=3))
    between = draw(st.one_of(st.just(b""), PINGS))
    frames = [
        client_frame(part, opcode=2 if index == 0 else 0, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    ]
    return between.join(frames)


def unfold(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """The messages and the pings in a client's frames."""
    messages: list[bytes] = []
    pings: list[bytes] = []
    parts: list[bytes] = []
    offset = 0
    while offset < len(data):
        first, size = data[offset], data[offset + 1] & 0x7F
        start = offset + 6
        key, masked = data[offset + 2 : start], data[start : start + size]
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(masked))
        offset = start + size
        if first & 0x0F == 9:
            pings.append(payload)
        elif first & 0x0F < 8:
            parts.append(payload)
            if first & 0x80:
                messages.append(b"".join(parts))
                parts = []
    return messages, pings


@pytest.mark.parametrize("carrier", [Carrier.SOCKET_POLLED, Carrier.MEMORY], ids=lambda carrier: carrier.name)
def test_a_reader_cancelled_anywhere_loses_and_repeats_nothing(carrier: Carrier) -> None:
    """Whatever comes, however it is cut, and whenever its reader is interrupted: every message and pong."""

    async def converse(writes: list[bytes], patience: list[int]) -> tuple[list[bytes], list[bytes]]:
        got: list[bytes] = []
        async with opened(carrier) as served, trio.open_nursery() as nursery:
            nursery.start_soon(read_into, served.output, served.client)
            # Taken and reassembled messages in one list, in their order.
            served.taken = got

            async def write() -> None:
                for piece in writes:
                    await served.client.send_all(piece)
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(write)
            tries = iter(patience)
            while True:
                turns = next(tries, math.inf)
                with trio.CancelScope() as scope:
                    if turns != math.inf:
                        nursery.start_soon(_cancel_after, scope, int(turns))
                    try:
                        message = await served.ws.get_message()
                    except trio_websocket.ConnectionClosed:
                        break
                    assert isinstance(message, bytes)
                    got.append(message)
                    served.stream.slow_message_delivered()
            await settle()
            assert served.causes == [CloseCause.LOCAL]
            frames = served.frames()
            assert frames[-1] == (0x88, close_payload(1000))
            nursery.cancel_scope.cancel()
        return got, [payload for _, payload in frames[:-1]]

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        parts=st.lists(st.one_of(WHOLE, PINGS, PONGS, pieces(), WHOLE.map(lambda one: one * 70)), max_size=8),
        chooser=st.randoms(use_true_random=False),
        most=st.sampled_from((1, 3, 20)),
        patience=st.lists(st.integers(0, 8), max_size=20),
    )
    def holds(parts: list[bytes], chooser: random.Random, most: int, patience: list[int]) -> None:
        sent = b"".join(parts)
        got, pongs = trio.run(converse, cut(sent + BYE, chooser, most=most), patience)
        assert (got, pongs) == unfold(sent)

    holds()


async def _cancel_after(scope: trio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()
