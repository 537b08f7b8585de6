"""The flusher on real sockets: order, slow peers, shedding, errors."""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from chat.transport import CloseCause, Flusher, Outbox, Transport
from tests.chat.transport.support import Carrier, connected, running_transport, stall

CARRIERS = pytest.mark.parametrize(
    "carrier", [Carrier.SOCKET, Carrier.MEMORY], ids=lambda carrier: carrier.name
)


async def receive_exactly(client: trio.abc.Stream, size: int) -> bytes:
    """Read until `size` bytes came."""
    data = bytearray()
    while len(data) < size:
        chunk = await client.receive_some(size - len(data))
        assert chunk, "the connection ended early"
        data += chunk
    return bytes(data)


@CARRIERS
async def test_frames_of_one_turn_leave_together(carrier: Carrier) -> None:
    """Three pushes, one flush, one send, in order."""
    async with running_transport() as transport, connected(transport, carrier) as (stream, client):
        for frame in (b"one", b"two", b"three"):
            stream.outbox.push(frame)
        assert await receive_exactly(client, 11) == b"onetwothree"
        await trio.testing.wait_all_tasks_blocked()
        statistics = transport.statistics()

    assert (statistics.flushes, statistics.frames, statistics.bytes) == (1, 3, 11)
    assert stream.outbox.queued_bytes == 0


@CARRIERS
async def test_who_waits_for_what_is_queued_hears_of_a_flush_that_takes_everything(carrier: Carrier) -> None:
    """No drain is needed to wake it."""
    async with running_transport() as transport, connected(transport, carrier) as (stream, client):
        stream.outbox.push(b"x" * 1000)
        await stream.outbox.wait_sent()

        assert stream.outbox.queued_bytes == 0
        assert await receive_exactly(client, 1000) == b"x" * 1000


async def test_who_waits_while_a_flush_takes_a_part_hears_of_the_rest() -> None:
    """What the flush took and what the drain took are its bytes together, and not one byte more."""
    async with (
        running_transport(outbox_bytes=4_000_000) as transport,
        connected(transport, Carrier.SOCKET) as (stream, client),
        trio.open_nursery() as nursery,
    ):
        # Below the size that goes to a drain at once, above what the kernel takes at once.
        stream.outbox.push(b"x" * 250_000)
        nursery.start_soon(receive_exactly, client, 250_000)
        await stream.outbox.wait_sent()

        assert transport.statistics().partial == 1
        assert stream.outbox.queued_bytes == 0


@CARRIERS
async def test_a_broadcast_reaches_every_member(carrier: Carrier) -> None:
    """The same bytes for all, behind what each had queued."""
    async with (
        running_transport() as transport,
        connected(transport, carrier) as (one, one_client),
        connected(transport, carrier) as (two, two_client),
    ):
        one.outbox.push(b"first,")
        transport.broadcast({one.outbox, two.outbox}, b"all")
        transport.broadcast([one.outbox], b"!", ephemeral=True)

        assert await receive_exactly(one_client, 10) == b"first,all!"
        assert await receive_exactly(two_client, 3) == b"all"


async def test_a_partial_send_keeps_the_order_of_bytes() -> None:
    """More than the kernel takes: the rest follows from a draining task, nothing lost or doubled."""
    frames = [bytes((number % 256,)) * 1000 for number in range(3000)]
    async with (
        running_transport(outbox_bytes=4_000_000) as transport,
        connected(transport, Carrier.SOCKET) as (stream, client),
    ):
        for frame in frames[:100]:
            stream.outbox.push(frame)
        await trio.testing.wait_all_tasks_blocked()
        assert transport.statistics().draining == 1
        for frame in frames[100:]:
            stream.outbox.push(frame)
        received = await receive_exactly(client, 3_000_000)
        await trio.testing.wait_all_tasks_blocked()

        assert received == b"".join(frames)
        assert stream.outbox.queued_bytes == 0
        assert stream.outbox.clean
        assert transport.statistics().frames == 3000
        assert transport.statistics().draining == 0
        stream.outbox.push(b"after")
        assert await receive_exactly(client, 5) == b"after"


async def test_an_outbox_too_big_to_join_is_drained_in_chunks() -> None:
    """A resume's worth of frames pushed in one turn arrives whole."""
    async with (
        running_transport(outbox_bytes=2_000_000) as transport,
        connected(transport, Carrier.SOCKET) as (stream, client),
    ):
        for number in range(100):
            stream.outbox.push(b"%4d" % number * 2000)
        received = await receive_exactly(client, 800_000)

    assert received == b"".join(b"%4d" % number * 2000 for number in range(100))


@CARRIERS
async def test_a_client_that_never_reads_is_cut_at_the_bound_and_delays_nobody(carrier: Carrier) -> None:
    """It overflows and hears so once; the other member has every frame meanwhile."""
    overflows: list[str] = []
    frame = b"f" * 1000
    async with (
        running_transport(outbox_bytes=50_000) as transport,
        connected(transport, carrier) as (good, good_client),
        connected(transport, carrier) as (slow, _),
    ):
        if carrier is Carrier.MEMORY:
            stall(slow)  # a memory stream takes everything
        slow.on_overflow(lambda: overflows.append("slow"))
        good.on_overflow(lambda: overflows.append("good"))
        for _ in range(400):
            transport.broadcast([slow.outbox, good.outbox], frame)
            assert await receive_exactly(good_client, len(frame)) == frame
        await trio.testing.wait_all_tasks_blocked()

        assert overflows == ["slow"]
        assert slow.outbox.overflowed
        assert slow.outbox.queued_bytes <= 50_000
        assert not good.outbox.overflowed
        assert transport.statistics().overflowed == 1


async def test_ephemeral_frames_are_shed_on_the_slow_connection_only() -> None:
    """At half full typing is dropped there and counted, messages are kept."""
    async with (
        running_transport(outbox_bytes=400_000) as transport,
        connected(transport, Carrier.SOCKET) as (slow, _),
        connected(transport, Carrier.SOCKET) as (good, good_client),
    ):
        filled = 0
        while slow.outbox.queued_bytes * 2 < 400_000:
            slow.outbox.push(b"m" * 10_000)
            filled += 1
            await trio.testing.wait_all_tasks_blocked()
        transport.broadcast([slow.outbox, good.outbox], b"typing", ephemeral=True)
        transport.broadcast([slow.outbox, good.outbox], b"message")

        assert await receive_exactly(good_client, 13) == b"typingmessage"
        assert (slow.outbox.shed, good.outbox.shed, transport.statistics().shed) == (1, 0, 1)
        assert not slow.outbox.overflowed


@CARRIERS
async def test_a_peer_that_takes_nothing_for_the_send_timeout_is_aborted(
    carrier: Carrier, autojump_clock: trio.testing.MockClock
) -> None:
    """Told as too slow, then closed, at exactly the timeout; nobody waits any longer."""
    heard: list[object] = []
    async with (
        running_transport(send_timeout_s=10.0) as transport,
        connected(transport, carrier) as (stream, _),
    ):
        stall(stream)
        stream.on_overflow(lambda: heard.append(("overflow", trio.current_time() - started_s)))
        stream.on_closed(lambda cause: heard.append((cause, trio.current_time() - started_s)))
        started_s = trio.current_time()
        stream.outbox.push(b"x" * 1_000_000)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"pong")

    assert heard == [("overflow", 10.0), (CloseCause.SLOW, 10.0)]
    assert autojump_clock.rate == 0.0


async def test_a_reset_under_a_send_ends_that_connection_only() -> None:
    """`run` goes on, the others are served, `on_closed` hears RESET once."""
    causes: list[CloseCause] = []
    async with (
        running_transport() as transport,
        connected(transport, Carrier.SOCKET) as (dead, dead_client),
        connected(transport, Carrier.SOCKET) as (good, good_client),
    ):
        dead.on_closed(causes.append)
        await dead_client.aclose()
        for _ in range(3):
            transport.broadcast([dead.outbox, good.outbox], b"hello")
            assert await receive_exactly(good_client, 5) == b"hello"

    assert causes == [CloseCause.RESET]


async def test_what_on_overflow_raises_costs_that_connection_only() -> None:
    """The flusher survives a bug in a session."""

    def fail() -> None:
        raise LookupError

    async with (
        running_transport(outbox_bytes=10) as transport,
        connected(transport, Carrier.SOCKET) as (bad, _),
        connected(transport, Carrier.SOCKET) as (good, good_client),
    ):
        bad.on_overflow(fail)
        bad.outbox.push(b"x" * 11)
        good.outbox.push(b"hello")

        assert await receive_exactly(good_client, 5) == b"hello"
        assert bad.close_cause is CloseCause.SLOW


async def test_an_overflow_is_told_outside_of_the_broadcast() -> None:
    """So that subscribers may be a live set: leaving it happens later."""
    async with (
        running_transport(outbox_bytes=10) as transport,
        connected(transport, Carrier.SOCKET) as (one, _),
        connected(transport, Carrier.SOCKET) as (two, _),
    ):
        members = {one.outbox, two.outbox}
        for stream in (one, two):
            stream.on_overflow(forget(members, stream.outbox))
        transport.broadcast(members, b"x" * 11)
        assert len(members) == 2
        await trio.testing.wait_all_tasks_blocked()

        assert members == set()


def forget(members: set[Outbox], outbox: Outbox) -> Callable[[], None]:
    """Return a callback that takes an outbox out of a set."""
    return lambda: members.discard(outbox)


async def test_a_flusher_under_load_gathers_and_an_idle_one_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By its own clock: flushes that take long are followed by a pause of at most 20 ms."""
    now_s = [0.0]

    def clock() -> float:
        now_s[0] += 0.005
        return now_s[0]

    async with (
        running_transport(clock=clock) as transport,
        connected(transport, Carrier.SOCKET) as (stream, client),
    ):
        stream.outbox.push(b"first")
        await receive_exactly(client, 5)
        assert transport.statistics().wait_s == 0.0
        for _ in range(50):
            stream.outbox.push(b"again")
            await receive_exactly(client, 5)
        statistics = transport.statistics()

    assert statistics.wait_s > 0.0
    assert statistics.last_interval_s <= 0.02
    assert autojump_clock.rate == 0.0


async def test_the_observer_hears_of_every_flush() -> None:
    """Frames, bytes and busy seconds."""

    class Observer:
        def __init__(self) -> None:
            self.heard: list[tuple[int, int]] = []

        def flush(self, frames: int, size_bytes: int, seconds: float) -> None:
            assert seconds >= 0.0
            self.heard.append((frames, size_bytes))

    observer = Observer()
    async with (
        running_transport(observer=observer) as transport,
        connected(transport, Carrier.SOCKET) as (stream, client),
    ):
        stream.outbox.push(b"one")
        stream.outbox.push(b"two")
        await receive_exactly(client, 6)
        await trio.testing.wait_all_tasks_blocked()

    assert observer.heard == [(2, 6)]


async def test_without_a_running_flusher_a_rest_fails_the_connection() -> None:
    """Nobody would ever send it: whoever waits is told at once."""
    transport = Transport()
    async with connected(transport, Carrier.MEMORY) as (stream, _):
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"hello")

        assert stream.close_cause is CloseCause.ABORTED


async def test_cancelling_the_flusher_fails_what_is_being_drained() -> None:
    """A task in `send_all` does not wait for a flusher that is gone."""
    transport = Transport()
    async with connected(transport, Carrier.SOCKET) as (stream, _), trio.open_nursery() as nursery:
        running = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with running:
                await transport.run(task_status=task_status)

        await nursery.start(run)
        stream.outbox.push(b"x" * 1_000_000)
        await trio.testing.wait_all_tasks_blocked()
        running.cancel()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"pong")


def test_statistics_begin_at_zero() -> None:
    """A new flusher has done nothing."""
    statistics = Flusher(clock=lambda: 0.0).statistics()

    assert (statistics.flushes, statistics.frames, statistics.shed, statistics.draining) == (0, 0, 0, 0)
