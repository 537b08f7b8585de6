"""Runs `limit.c`, the fan-out that does nothing but send, as a server to measure."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from scripts.bench.process import BenchError, open_process
from scripts.bench.server import Target

EVENT_BYTES: Final = 245
"""What an 85-byte body comes to as an event of Parley's, on average of the encodings: the limit's payload."""
_START_S: Final = 5.0
_POLL_S: Final = 0.02
_PORT: Final = re.compile(r"port (\d+)\n")


@asynccontextmanager
async def open_limit(program: Path, *, core: int, directory: Path) -> AsyncGenerator[Target]:
    """Run the compiled program on one core for as long as the body runs. It has no metrics.

    Raises:
        BenchError: it does not start.
    """
    place = directory / "limit-files"
    place.mkdir(exist_ok=True)
    async with open_process([str(program)], core=core, directory=place) as process:
        with trio.move_on_after(_START_S):
            while process.returncode is None:
                if _PORT.search(process.out.read_text()) is not None:
                    break
                await trio.sleep(_POLL_S)
        found = _PORT.search(process.out.read_text())
        if found is None:
            raise BenchError(f"the C fan-out did not start: {process.log.read_text()}")
        yield Target(pid=process.pid, host="127.0.0.1", port=int(found[1]), ops_port=0, log=process.log)
