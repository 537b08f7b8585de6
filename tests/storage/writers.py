"""Writers under test: what they tell is written down, and their store fails as a script says."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from storage import Delivery, Receipt, Store, Writer, WriterLimits, WriterPool
from storage.testing import Fault, FaultyStore

RNG = Random(1)  # noqa: S311  jitter is no secret


@dataclass
class Heard:
    """What a writer told, batch by batch; also its observer."""

    batches: list[list[Delivery[int]]] = field(default_factory=list)
    commits: list[tuple[int, float]] = field(default_factory=list)
    failures: list[tuple[str, int]] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)

    def on_receipts(self, batch: Sequence[Delivery[int]]) -> None:
        """The writer's callback."""
        self.batches.append(list(batch))

    @property
    def receipts(self) -> list[Receipt]:
        """All receipts in the order in which they came."""
        return [receipt for batch in self.batches for _, _, receipt in batch]

    @property
    def tickets(self) -> list[int]:
        """All tickets in the order in which they came."""
        return [ticket for batch in self.batches for _, ticket, _ in batch]

    def batch_committed(self, *, rows: int, batch_bytes: int, commit_s: float) -> None:
        """Keep what an observer hears."""
        assert batch_bytes > 0
        self.commits.append((rows, commit_s))

    def batch_failed(self, error: Exception, *, failures: int, retry_s: float) -> None:
        """Keep what an observer hears."""
        assert retry_s > 0
        self.failures.append((type(error).__name__, failures))

    def row_parked(self, error: str) -> None:
        """Keep what an observer hears."""
        self.parked.append(error)


def make_writer(store: Store, heard: Heard, limits: WriterLimits | None = None) -> Writer[int]:
    """A writer that tells `heard` everything."""
    return Writer(store, on_receipts=heard.on_receipts, limits=limits, rng=RNG, observer=heard)


@asynccontextmanager
async def running(writer: Writer[int] | WriterPool[int]) -> AsyncGenerator[None]:
    """Run a writer for the time of the body."""
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        yield
        nursery.cancel_scope.cancel()


def faults(*script: Fault | None) -> Iterable[Fault | None]:
    """These for the first calls, and none for all that follow."""
    yield from script
    while True:
        yield None


def faulty(store: Store, *script: Fault | None) -> FaultyStore:
    """A store whose first appends and parks go wrong as written."""
    calls = iter(faults(*script))
    return FaultyStore(store, lambda name: next(calls) if name in {"append", "park"} else None)
