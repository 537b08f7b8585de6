"""A subscriber stopped with SIGSTOP in the midst of everything: it is cut off, and nobody else notices."""

import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from storage.child import Child, Identity
from tests.e2e.server_process import ROOT, ServerProcess, open_server, until
from tests.faults.load import Shape, open_load
from tests.faults.subscriber import READY, THE_END, Verdict

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

SHAPE: Final = Shape(body_bytes=2000)
"""Large enough that what the kernel keeps for a connection is full within seconds."""
SMALL_OUTBOX: Final = "outbox_max_bytes = 131072\n"


async def test_a_stopped_subscriber_is_cut_off_and_resumes_and_delays_nobody(tmp_path: Path) -> None:
    """Stopped, it is ended as slow (4002) while all others go on; continued, it resumes without a gap."""
    async with open_server(tmp_path, settings=SMALL_OUTBOX) as server, open_load(server, SHAPE) as load:
        async with open_subscriber(server, load.rooms) as subscriber:
            await load.more_told(500)
            subscriber.child.send_signal(signal.SIGSTOP)
            await wait_cut(server)
            delivered = load.delivered
            await load.more_told(1000)
            await until(lambda: load.delivered >= delivered + 4000, "the others get nothing")
            cut = await server.metric("parley_closed_total", code="4002")
            subscriber.child.send_signal(signal.SIGCONT)
            await load.more_told(1000)
            await load.settle()
            for talker in {talker.log.room: talker for talker in load.talkers}.values():
                talker.post(THE_END)
            await load.check(in_order=True)
            verdict = await subscriber.verdict()
        rows = await load.read_rows()

        assert cut == 1
        assert not verdict.wrong
        assert verdict.ends
        shown = {
            room: {
                str(row.seq): [row.by, row.cid, row.body] if row.is_message else None
                for row in rows[room][-len(verdict.rooms[room]) :]
            }
            for room in load.rooms
        }
        assert shown == verdict.rooms
        assert all(len(events) > len(rows[room]) // 2 for room, events in shown.items())
        assert [client.statistics().connections for client in load.clients] == [1] * len(load.clients)
        assert server.alive


async def wait_cut(server: ServerProcess) -> None:
    """Wait until the server has ended a connection as slow."""
    with trio.fail_after(60):
        while not await server.metric("parley_slow_consumers_total"):
            await trio.lowlevel.checkpoint()


class Subscriber:
    """The process, and what it printed."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.printed = b""

    def on_output(self, chunk: bytes) -> None:
        """Keep it."""
        self.printed += chunk

    async def verdict(self) -> Verdict:
        """Its last line, when it has ended by itself."""
        with trio.fail_after(60):
            assert await self.child.wait() == 0, self.printed
            await self.child.silent.wait()
        return Verdict(**json.loads(self.printed.splitlines()[-1]))


@asynccontextmanager
async def open_subscriber(server: ServerProcess, rooms: list[str]) -> AsyncGenerator[Subscriber]:
    """A subscriber of the rooms; it ends with the body at the latest."""
    child = Child(
        [sys.executable, "-m", "tests.faults.subscriber", server.url, *rooms],
        identity=Identity(),
        directory=ROOT,
        death_signal=signal.SIGKILL,
    )
    subscriber = Subscriber(child)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.read_output, subscriber.on_output)
        try:
            await until(
                lambda: READY.encode() in subscriber.printed or child.returncode is not None,
                "the subscriber is not ready",
                timeout_s=60.0,
            )
            assert child.returncode is None, subscriber.printed
            yield subscriber
        finally:
            with trio.CancelScope(shield=True):
                await child.stop((signal.SIGKILL, 5.0))
