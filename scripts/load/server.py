"""A server of the tester's own: `parley serve` with an embedded database in a directory that goes with it."""

import os
import re
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from scripts.load.child import open_child
from scripts.load.errors import ServerUnusable

START_S: Final = 60.0
STOP_S: Final = 30.0
_BANNER: Final = re.compile(r"serves on (ws://\S+).*metrics: (http://\S+)", re.DOTALL)


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
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    with tempfile.TemporaryDirectory(prefix="parley-load-") as name:
        directory = Path(name)
        command = [sys.executable, "-m", "chat.cli", "serve", "--port", "0", "--no-rate-limits"]
        async with open_child(
            [*command, "--data-dir", str(directory / "data")],
            log=directory / "log",
            core=core,
            environment={
                **kept,
                "PARLEY_GUESTS": "on",
                "PARLEY_LOG_LEVEL": "warning",
                "PARLEY_OPS_PORT": "0",
                "PYTHONUNBUFFERED": "1",
            },
            grace_s=STOP_S,
        ) as child:
            printed = ""
            with trio.move_on_after(START_S):
                async for data in child.stdout:
                    printed += data.decode(errors="replace")
                    if _BANNER.search(printed):
                        break
            found = _BANNER.search(printed)
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
