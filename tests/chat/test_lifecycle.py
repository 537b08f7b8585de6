"""A server from its first port to its last word, on a store in memory and sockets on loopback."""

import errno
import gc
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import structlog
import trio

from chat.client import open_client
from chat.config import Config
from chat.errors import ChatError
from chat.front import Front, open_front
from chat.garbage import GcKeeper
from chat.server import Addresses, CannotListen, serve_store
from storage.memory import MemoryStore
from storage.testing import Fault, FaultyStore

DEADLINE_S = 30.0
CONFIG = Config(port=0, ops_port=0, bye_retry_after_s=0.1)


class Running:
    """A server that runs beside the test.

    Attributes:
        at: where it answers.
        faults: what happens to calls of its store.
        stop: set it.
        stopped: set when it has returned.
    """

    def __init__(self, at: Addresses, faults: dict[str, Fault], stop: trio.Event) -> None:
        self.at = at
        self.faults = faults
        self.stop = stop
        self.stopped = trio.Event()

    async def get(self, path: str) -> tuple[int, str]:
        """An answer of the operators' port: status and body."""
        assert self.at.ops_port is not None
        return await get(self.at.ops_host, self.at.ops_port, path)


async def get(host: str, port: int, path: str) -> tuple[int, str]:
    """Ask by HTTP: status and body."""
    with trio.fail_after(DEADLINE_S):
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = b"".join([bytes(chunk) async for chunk in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body.decode()


@asynccontextmanager
async def running(config: Config = CONFIG) -> AsyncGenerator[Running]:
    """Serve on a store in memory; stopped in order at the end, if the test has not done it."""
    faults: dict[str, Fault] = {}
    stop = trio.Event()
    store = FaultyStore(MemoryStore(), faults.get)
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[Addresses]) -> None:
            await serve_store(config, store, "memory", stop=stop, task_status=task_status)
            server.stopped.set()

        with trio.fail_after(DEADLINE_S):
            server = Running(await nursery.start(run), faults, stop)
            yield server
            stop.set()
            await server.stopped.wait()


async def test_operators_are_answered_during_a_drain() -> None:
    """`/readyz` says `draining` with 503 while storage holds the stop up, and `/metrics` still counts."""
    async with running() as server:
        # A machine that is late for a moment says so first.
        while (ready := await server.get("/readyz"))[0] != 200:
            await trio.lowlevel.checkpoint()
        assert ready == (200, '{"state": "ready"}\n')
        async with open_client(server.at.url, guest="ann", rng=Random(1)) as client:  # noqa: S311
            await client.join("lobby", create=True)
            server.faults["append"] = Fault(before_s=0.2)
            outgoing = client.post("lobby", "on its way")
            while not outgoing.seq:
                await trio.lowlevel.checkpoint()
            server.stop.set()
            while (ready := await server.get("/readyz"))[0] == 200:
                await trio.lowlevel.checkpoint()
            status, metrics = await server.get("/metrics")
            await server.stopped.wait()

    assert (ready[0], json.loads(ready[1])) == (503, {"state": "draining"})
    assert status == 200
    assert "parley_acks_total" in metrics
    assert outgoing.stored is not None


async def test_operators_are_answered_before_there_is_a_server() -> None:
    """While the database starts `/readyz` says `starting`; clients cannot connect yet."""
    async with open_front(CONFIG) as front:
        assert front.ops_port is not None
        assert await get("127.0.0.1", front.ops_port, "/readyz") == (503, '{"state": "starting"}\n')
        with pytest.raises(OSError, match="attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", front.port)


async def test_ports_that_cannot_be_had_are_told_in_words() -> None:
    """With the address, the reason, and the setting that chooses another."""
    async with open_front(CONFIG) as front:
        port = front.port
        async with running() as server:
            taken = [
                (Config(port=server.at.port), f"127.0.0.1:{server.at.port}", "--port"),
                (Config(port=0, ops_port=front.ops_port or 0), "for operators", "PARLEY_OPS_PORT"),
                (Config(host="192.0.2.1", port=0), "192.0.2.1:0", "--host"),
                (Config(host="no.such.host.invalid", port=0), "no.such.host.invalid:0", "--host"),
                (Config(port=0, ops_host="192.0.2.1"), "for operators", "PARLEY_OPS_HOST"),
            ]
            for config, place, setting in taken:
                with pytest.raises(ChatError) as refused:
                    async with open_front(config):
                        pytest.fail("it was had")
                assert isinstance(refused.value, CannotListen)
                words = str(refused.value)
                assert words.startswith("cannot listen on ")
                assert place in words
                assert words.endswith(f"; choose another with {setting}")
    async with open_front(Config(port=port, ops_port="off")) as again:
        assert (again.port, again.ops_port) == (port, None)


async def test_an_automatic_operators_port_gives_way() -> None:
    """The port above the clients' own is only a wish."""
    for _ in range(20):
        async with open_front(Config(port=0, ops_port=0)) as other:
            assert other.ops_port is not None
            with structlog.testing.capture_logs():
                try:
                    async with open_front(Config(port=other.ops_port - 1)) as front:
                        assert front.ops_port not in {None, other.ops_port}
                        return
                except CannotListen:
                    continue  # somebody else on this machine has the one below
    pytest.fail("no two neighbouring ports are free")


async def test_a_shortage_of_descriptors_is_counted_and_rarely_told() -> None:
    """Hundreds of failed accepts are one line every few seconds, and two counters."""
    async with open_front(CONFIG) as front:
        with structlog.testing.capture_logs() as logged:
            for _ in range(300):
                front.on_shortage(OSError(errno.EMFILE, "Too many open files"))
        shown = front.metrics.render().decode()

    assert [(entry["event"], entry["error"]) for entry in logged] == [
        ("server.accept_failed", "Too many open files")
    ]
    assert "parley_accepts_failed_total 300.0" in shown
    assert "parley_logs_dropped_total 299.0" in shown


@pytest.mark.parametrize("tuned", [True, False])
async def test_the_collector_is_left_alone_unless_it_is_to_be_tuned(
    tuned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gc_tune = off` neither changes thresholds nor runs the keeper of old garbage."""
    keepers: list[object] = []

    def note(connections: Callable[[], tuple[int, int]]) -> GcKeeper:
        keepers.append(connections)
        return GcKeeper(connections)

    monkeypatch.setattr("chat.node.GcKeeper", note)
    before = gc.get_threshold()
    async with running(Config(port=0, ops_port=0, gc_tune=tuned)):
        during = gc.get_threshold()

    assert (during != before, len(keepers)) == ((True, 1) if tuned else (False, 0))
    assert gc.get_threshold() == before


def test_a_front_without_sockets_counts_nothing_yet() -> None:
    """Everything that operators read hangs off the front: two of them count apart."""
    one, other = Front(CONFIG, []), Front(CONFIG, [])
    one.metrics.counts.sends += 1

    assert other.metrics.counts.sends == 0
