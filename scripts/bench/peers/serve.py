"""Starts a peer's server on a core of its own, waits until it serves, and stops it."""

import os
import re
import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from scripts.bench.peers.catalogue import Peer
from scripts.bench.peers.launches import Launch
from scripts.bench.process import BenchError, Process, open_process
from scripts.bench.server import Target

_HOST: Final = "127.0.0.1"
_START_S: Final = 30.0
_STOP_S: Final = 2.0
_POLL_S: Final = 0.05
_SAID_SHOWN: Final = 500


@asynccontextmanager
async def open_peer(peer: Peer, root: Path, *, core: int) -> AsyncGenerator[Target]:
    """Run a peer's server on one core for as long as the body runs; its files go with it. It has no metrics.

    Args:
        peer: which.
        root: of its family's installation.
        core: for all of its threads.

    Raises:
        BenchError: it does not start, with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="parley-peer-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        port = _free_port()
        launch = peer.launch(root, directory, port)
        for file, text in launch.files.items():
            (directory / file).write_text(text)
        async with open_process(
            launch.command,
            core=core,
            directory=directory,
            environment={**os.environ, **launch.environment},
            grace_s=_STOP_S,
        ) as process:
            port = await _wait_serving(peer, launch, process, port)
            yield Target(pid=process.pid, host=_HOST, port=port, ops_port=0, log=process.log)


async def _wait_serving(peer: Peer, launch: Launch, process: Process, port: int) -> int:
    with trio.move_on_after(_START_S):
        while process.returncode is None:
            if launch.ready is None:
                if await _takes_connections(port):
                    return port
            elif found := _said(launch.ready, process):
                return int(found[1])
            await trio.sleep(_POLL_S)
    said = (process.log.read_text(errors="replace") or process.out.read_text(errors="replace"))[-_SAID_SHOWN:]
    raise BenchError(f"{peer.name} did not start ({process.returncode}): {said.strip()}")


def _said(pattern: re.Pattern[str], process: Process) -> re.Match[str] | None:
    for file in (process.out, process.log):
        found = pattern.search(file.read_text(errors="replace"))
        if found is not None:
            return found
    return None


async def _takes_connections(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream(_HOST, port)
    except OSError:
        return False
    await stream.aclose()
    return True


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((_HOST, 0))
        port: int = found.getsockname()[1]
    return port
