"""How long the embedded Postgres takes to start: the first time, and again in the same directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from storage import open_embedded

STARTS: Final = 5
"""First starts, each with as many warm ones after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimes:
    """Seconds from the call until a connection was accepted."""

    first_s: Sequence[float]
    warm_s: Sequence[float]


async def measure_starts(directory: Path, *, starts: int = STARTS) -> StartTimes:
    """Start and stop a Postgres in directories of its own below `directory`, one after the other."""
    first_s: list[float] = []
    warm_s: list[float] = []
    for _ in range(starts):
        with TemporaryDirectory(prefix="start-", dir=directory) as name:
            first_s.append(await _start(Path(name) / "data"))
            warm_s += [await _start(Path(name) / "data") for _ in range(starts)]
    return StartTimes(first_s=first_s, warm_s=warm_s)


async def _start(data_dir: Path) -> float:
    began_s = trio.current_time()
    async with open_embedded(data_dir):
        return trio.current_time() - began_s
