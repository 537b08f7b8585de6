"""Who looks at a run while it happens."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from scripts.load.record import RunRecord, ServerTick, Tick

Scrape: TypeAlias = Callable[[], Awaitable[ServerTick | None]]
"""Asks the server how it is; None: it does not say. Never raises, bounded in time by the caller."""


class Observer(Protocol):
    """Called from the coordinator, synchronously; must not raise, and be quick."""

    def started(self, name: str, users: int, url: str) -> None:
        """The scenario of this name begins."""
        ...

    def tick(self, tick: Tick) -> None:
        """Another second has gone by."""
        ...

    def finished(self, record: RunRecord) -> None:
        """It is over, however it ended."""
        ...


async def no_scrape() -> ServerTick | None:
    """For a server that nobody asks."""
    return None
