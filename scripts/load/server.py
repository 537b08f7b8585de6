"""A server of the tester's own: `parley serve` with an embedded database in a directory that goes with it."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from scripts.load.child import open_child
from scripts.load.errors import ServerUnusable
from scripts.running import SERVE, SERVES, serve_environment

START_S: Final = 60.0
STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server that takes connections.

    Attributes:
        url: for clients.
        metrics_url: for `scrape`.
    """

    url: str
    metrics_url: str
    pid: int


@asynccontextmanager
async def open_own_server(*, core: int | None) -> AsyncGenerator[OwnServer]:
    """Serve for as long as the body runs, with guests and without rate limits.

    Args:
        core: for the server and its database; None: any.

    Raises:
        ServerUnusable: it does not start, with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="parley-load-") as name:
        directory = Path(name)
        async with open_child(
            [*SERVE, "--data-dir", str(directory / "data")],
            log=directory / "log",
            core=core,
            environment=serve_environment({"PARLEY_OPS_PORT": "0"}),
            grace_s=STOP_S,
        ) as child:
            printed = ""
            with trio.move_on_after(START_S):
                async for data in child.stdout:
                    printed += data.decode(errors="replace")
                    if SERVES.search(printed):
                        break
            found = SERVES.search(printed)
            if found is None:
                raise ServerUnusable(f"the server does not start: {child.last_words() or printed}")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drain, child.stdout)
                yield OwnServer(found[1], found[2], child.pid)
                nursery.cancel_scope.cancel()


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    """Read on, so that the server never waits for us."""
    async for _ in stream:
        pass
