"""The server under measurement: started on a core of its own, asked for its metrics, stopped."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from scripts.bench.process import BenchError, Process, open_process
from scripts.running import SERVE, SERVES, serve_environment

_START_S: Final = 30.0
_STOP_S: Final = 20.0
_SCRAPE_S: Final = 5.0
_POLL_S: Final = 0.02
_LOG_SHOWN: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server that takes connections.

    Attributes:
        ops_port: where its metrics are.
        log: what it writes on standard error.
    """

    pid: int
    host: str
    port: int
    ops_port: int
    log: Path

    async def scrape(self) -> str:
        """Its metrics, in Prometheus's text format.

        Raises:
            BenchError: it does not answer in time.
        """
        with trio.move_on_after(_SCRAPE_S):
            stream = await trio.open_tcp_stream(self.host, self.ops_port)
            async with stream:
                await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                answer = b"".join([part async for part in stream])
            return answer.partition(b"\r\n\r\n")[2].decode()
        raise BenchError("the server's /metrics did not answer in time")

    def complaints(self) -> str:
        """The end of its log; it logs warnings and worse only."""
        return _read(self.log)


@asynccontextmanager
async def open_server(database_url: str, *, core: int) -> AsyncGenerator[Target]:
    """Run `parley serve` on one core for as long as the body runs, with guests and without rate limits.

    Args:
        database_url: of a Postgres that is not this server's child.
        core: for all of its threads.

    Raises:
        BenchError: it does not start, with what it said.
    """
    settings = {"PARLEY_DATABASE_URL": database_url, "PARLEY_LOG_FORMAT": "json"}
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as directory:
        async with open_process(
            SERVE,
            core=core,
            directory=Path(directory),
            environment=serve_environment(settings),
            grace_s=_STOP_S,
        ) as process:
            yield await _wait_started(process)


async def _wait_started(process: Process) -> Target:
    with trio.move_on_after(_START_S):
        while process.returncode is None:
            found = SERVES.search(_read(process.out))
            if found is not None:
                address, ops = urlsplit(found[1]), urlsplit(found[2])
                if address.hostname is None or address.port is None or ops.port is None:
                    raise BenchError(f"not an address: {found[0]}")
                return Target(
                    pid=process.pid,
                    host=address.hostname,
                    port=address.port,
                    ops_port=ops.port,
                    log=process.log,
                )
            await trio.sleep(_POLL_S)
    raise BenchError(f"the server did not start ({process.returncode}): {_read(process.log)}")


def _read(path: Path) -> str:
    return path.read_text(errors="replace")[-_LOG_SHOWN:]
