"""The operators' port, in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair

from chat.health import Readiness
from chat.metrics import Metrics
from chat.ops import CONNECTIONS_MAX, HEAD_MAX_BYTES, open_ops_listeners, serve_ops

MemoryStream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts connections that a test makes."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[MemoryStream](100)

    def connect(self) -> MemoryStream:
        """A client's end of a new connection."""
        client, server = memory_stream_pair()
        self._send.send_nowait(server)
        return client

    async def accept(self) -> trio.abc.Stream:
        """The next connection."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Accept no more."""
        await self._receive.aclose()


class Port:
    """A served port, and what stands behind it."""

    def __init__(self) -> None:
        self.listener = MemoryListener()
        self.metrics = Metrics()
        self.readiness = Readiness()

    async def ask(self, request: bytes) -> bytes:
        """Send a request on a connection of its own; return all that comes until it is closed."""
        client = self.listener.connect()
        try:
            await client.send_all(request)
        except trio.BrokenResourceError:
            return b""
        return await read_all(client)


async def read_all(client: MemoryStream) -> bytes:
    """Everything until the end of the stream, however that comes."""
    answer = b""
    try:
        while chunk := await client.receive_some():
            answer += chunk
    except trio.BrokenResourceError:
        pass
    return answer


@asynccontextmanager
async def serving() -> AsyncGenerator[Port]:
    """An operators' port in memory."""
    port = Port()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve_ops, [port.listener], metrics=port.metrics, readiness=port.readiness)
        )
        yield port
        nursery.cancel_scope.cancel()


def get(path: str, method: str = "GET") -> bytes:
    """A request."""
    return f"{method} {path} HTTP/1.1\r\nHost: ops\r\n\r\n".encode()


async def test_metrics_are_text_for_prometheus() -> None:
    """`/metrics` shows what was counted, this request included."""
    async with serving() as port:
        port.metrics.counts.sends = 7
        head, _, body = (await port.ask(get("/metrics?x=1"))).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head
    assert f"content-length: {len(body)}".encode() in head
    assert b"parley_sends_total 7.0" in body
    assert b"parley_http_requests_total 1.0" in body


async def test_health_and_readiness() -> None:
    """The process is healthy from the start, and ready once it has started."""
    async with serving() as port:
        assert (await port.ask(get("/healthz"))).endswith(b"\r\n\r\nok\n")
        starting = await port.ask(get("/readyz"))
        port.readiness.started()
        ready = await port.ask(get("/readyz"))

    assert starting.startswith(b"HTTP/1.1 503")
    assert starting.endswith(b'{"state": "starting"}\n')
    assert ready.startswith(b"HTTP/1.1 200")


async def test_head_has_the_head_only() -> None:
    """HEAD answers as GET does, without the body."""
    async with serving() as port:
        answer = await port.ask(get("/healthz", "HEAD"))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"content-length: 3" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_", [get("/"), get("/metrics/x"), get("/metrics", "POST"), get("/a?/metrics")]
)
async def test_anything_else_is_not_found(request_: bytes) -> None:
    """Other paths and other methods are 404."""
    async with serving() as port:
        assert (await port.ask(request_)).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\nBad Header\r\n\r\n",
        b"GET /" + b"x" * HEAD_MAX_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 4000 + b"\r\n",
    ],
)
async def test_nonsense_is_closed_and_hurts_nobody(request_: bytes) -> None:
    """What is no HTTP, or a head over 16 KiB, gets no answer; the next operator does."""
    async with serving() as port:
        assert await port.ask(request_) == b""
        assert (await port.ask(get("/healthz"))).startswith(b"HTTP/1.1 200")


async def test_who_says_nothing_is_closed_after_ten_seconds(autojump_clock: MockClock) -> None:
    """A connection without a whole request is closed when its time is over."""
    async with serving() as port:
        started_s = autojump_clock.current_time()
        assert await port.ask(b"GET /metr") == b""

        assert autojump_clock.current_time() - started_s == pytest.approx(10.0)


async def test_who_hangs_up_hurts_nobody() -> None:
    """A client that goes away before, within or after its request leaves the port working."""
    async with serving() as port:
        for part in (b"", b"GET /me", get("/metrics")):
            client = port.listener.connect()
            await client.send_all(part)
            await client.aclose()

        assert (await port.ask(get("/healthz"))).startswith(b"HTTP/1.1 200")


async def test_a_crowd_is_turned_away(autojump_clock: MockClock) -> None:
    """Above the bound a connection is closed at once; when places are free again it is served."""
    async with serving() as port:
        idle = [port.listener.connect() for _ in range(CONNECTIONS_MAX)]
        await trio.testing.wait_all_tasks_blocked()
        assert await port.ask(get("/healthz")) == b""
        assert autojump_clock.current_time() < 1.0

        await idle[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await port.ask(get("/healthz"))).startswith(b"HTTP/1.1 200")


async def test_a_taken_port_is_an_error_or_another_port() -> None:
    """A port that was asked for must be free; the automatic one gives way."""
    first = await open_ops_listeners("127.0.0.1", 0)
    port = first[0].socket.getsockname()[1]
    with pytest.raises(OSError, match="use"):
        await open_ops_listeners("127.0.0.1", port)
    second = await open_ops_listeners("127.0.0.1", port, any_if_taken=True)

    assert second[0].socket.getsockname()[1] != port
    for listener in (*first, *second):
        await listener.aclose()
