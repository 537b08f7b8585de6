"""Who looks at a run while it happens."""

from typing import Final, Protocol

from scripts.load.record import RunRecord, ServerTick, Tick


class Scrape(Protocol):
    """Asks a server how it is."""

    @property
    def problem(self) -> str:
        """Why the last question was not answered; "" when it was, or when nobody is to be asked."""
        ...

    async def tick(self) -> ServerTick | None:
        """Ask; None: it does not say. Never raises, bounded in time by the caller."""
        ...


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


class NoScrape:
    """For a server that nobody asks."""

    @property
    def problem(self) -> str:
        """There is none."""
        return ""

    async def tick(self) -> ServerTick | None:
        """Nothing."""
        return None


NO_SCRAPE: Final[Scrape] = NoScrape()
