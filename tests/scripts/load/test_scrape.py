"""The scraper, against servers of every kind."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from chat.health import Readiness
from chat.metrics import Metrics
from chat.ops import open_ops_listeners, serve_ops
from scripts.http_address import BODY_MAX_BYTES
from scripts.load.record import ServerTick
from scripts.load.scrape import TIMEOUT_S, Scraper

URL = "http://127.0.0.1:9000/metrics"
Handler = Callable[[trio.abc.Stream], Awaitable[None]]


def answer(body: bytes, *, status: bytes = b"200 OK") -> bytes:
    """An HTTP response."""
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


def sends(data: bytes) -> Handler:
    """A server that answers with these bytes and hangs up."""

    async def handle(stream: trio.abc.Stream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(data)
        await stream.aclose()

    return handle


async def ask(handler: Handler, *, pid: int | None = None) -> tuple[ServerTick | None, str]:
    """One scrape of a server that does what the handler does: its result, and the problem told."""
    async with trio.open_nursery() as nursery:

        async def connect(host: str, port: int) -> trio.abc.Stream:
            assert (host, port) == ("127.0.0.1", 9000)
            client, server = memory_stream_pair()
            nursery.start_soon(handler, server)
            return client

        scraper = Scraper(URL, pid=pid, connect=connect)
        tick = await scraper.tick()
        nursery.cancel_scope.cancel()
    return tick, scraper.problem


async def test_it_reads_what_the_server_answers() -> None:
    """Gauges with the first scrape."""
    assert await ask(sends(answer(b"parley_connections 5\n"))) == (ServerTick(connections=5), "")


async def test_chunks_are_put_together() -> None:
    """A proxy may send a body in pieces."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    body = head + b"11\r\nparley_connection\r\n4\r\ns 5\n\r\n0\r\n\r\n"

    assert await ask(sends(body)) == (ServerTick(connections=5), "")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "hung up"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nparley_conn", "closed"),
        (answer(b"not found", status=b"404 Not Found"), "it answers 404"),
        (answer(b"x" * (BODY_MAX_BYTES + 1)), "larger than"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, "too long"),
    ],
)
async def test_a_server_that_is_none_gives_nothing(data: bytes, problem: str) -> None:
    """It hangs up, speaks another protocol, breaks off, has no metrics, or far too many."""
    tick, told = await ask(sends(data))

    assert tick is None
    assert problem in told


async def test_a_silent_server_costs_a_second_at_most(autojump_clock: MockClock) -> None:
    """The run does not wait for it."""
    del autojump_clock
    began_s = trio.current_time()

    async def hold(stream: trio.abc.Stream) -> None:
        await stream.receive_some(4096)
        await trio.sleep_forever()

    assert await ask(hold) == (None, "no answer within 1 s")
    assert trio.current_time() - began_s == pytest.approx(TIMEOUT_S)


async def test_a_trickling_server_costs_a_second_at_most(autojump_clock: MockClock) -> None:
    """The limit is for the whole answer, not for each piece of it."""
    del autojump_clock
    began_s = trio.current_time()

    async def trickle(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"#")
            await trio.sleep(0.3)

    assert (await ask(trickle))[0] is None
    assert trio.current_time() - began_s == pytest.approx(TIMEOUT_S)


async def test_a_port_that_nobody_listens_at_is_told() -> None:
    """The error's words are the problem."""

    async def refuse(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError(f"nobody at {host}:{port}")

    scraper = Scraper(URL, connect=refuse)

    assert await scraper.tick() is None
    assert scraper.problem == "nobody at 127.0.0.1:9000"


async def test_a_missed_scrape_leaves_no_hole_in_the_rates(autojump_clock: MockClock) -> None:
    """The next one tells of both seconds."""
    del autojump_clock
    answers = iter([b"process_cpu_seconds_total 1\n", b"", b"process_cpu_seconds_total 2\n"])
    async with trio.open_nursery() as nursery:

        async def connect(_host: str, _port: int) -> trio.abc.Stream:
            client, server = memory_stream_pair()
            body = next(answers)
            nursery.start_soon(sends(answer(body) if body else b""), server)
            return client

        scraper = Scraper(URL, connect=connect)
        ticks: list[ServerTick | None] = []
        for _ in range(3):
            ticks.append(await scraper.tick())
            await trio.sleep(1)

    assert ticks[0] == ServerTick()
    assert ticks[1] is None
    assert ticks[2] is not None
    assert ticks[2].cpu == pytest.approx(0.5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:9000",
        "https://127.0.0.1:9000/metrics",
        "http://",
        "http://h:99999/",
        "http://a b/",
        "http://u:p@h/",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """Not after the run."""
    with pytest.raises(ValueError, match="no address of metrics"):
        Scraper(url)


async def test_without_an_address_nothing_is_asked() -> None:
    """A server may have no operators' port."""
    scraper = Scraper(None)

    assert await scraper.tick() is None
    assert scraper.problem


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_a_process_on_this_machine_is_looked_at_itself(autojump_clock: MockClock) -> None:
    """CPU from the second look on, memory at once; this process stands for the server."""
    del autojump_clock
    scraper = Scraper(None, pid=os.getpid())
    first = await scraper.tick()
    await trio.sleep(1)
    second = await scraper.tick()

    assert first is not None
    assert first.cpu is None
    assert first.memory_bytes is not None
    assert first.memory_bytes > 1 << 20
    assert second is not None
    assert second.cpu is not None
    assert second.cpu >= 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_the_servers_own_word_counts_more_than_proc() -> None:
    """What it says may be of another machine."""
    tick, _ = await ask(sends(answer(b"process_resident_memory_bytes 77\n")), pid=os.getpid())

    assert tick is not None
    assert tick.memory_bytes == 77


async def test_a_process_that_has_ended_gives_nothing() -> None:
    """A server that crashed has no figures."""
    beyond_any_pid = 2**22 + 1

    assert await Scraper(None, pid=beyond_any_pid).tick() is None


async def test_the_operators_port_is_understood() -> None:
    """The product's own, over loopback."""
    metrics = Metrics()
    metrics.counts.connections_opened = 4
    listeners = await open_ops_listeners("127.0.0.1", 0)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, listeners, metrics)
        scraper = Scraper(f"http://127.0.0.1:{port}")
        tick = await scraper.tick()
        nursery.cancel_scope.cancel()

    assert scraper.problem == ""
    assert tick is not None
    assert tick.connections == 4


async def _serve(
    listeners: list[trio.SocketListener],
    metrics: Metrics,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_ops(listeners, metrics=metrics, readiness=Readiness(), task_status=task_status)
