"""The live view: a screen of its own on a terminal while the run goes on, the summary when it has ended."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from scripts.load.panel import Story, render
from scripts.load.record import RunRecord, Tick
from scripts.load.summary import render_summary


class LiveView:
    """Draws once a second, in the caller's thread: no thread or task of its own.

    A context manager: the terminal is as it was before when the body ends, however it ends. Drawing follows
    the terminal's size with the next tick. A terminal that is stopped (Ctrl-S) stops the caller, too: use it
    in a process that sends and measures nothing itself.
    """

    def __init__(self, console: Console | None = None) -> None:
        """A view that shows nothing yet.

        Args:
            console: a terminal's; None: standard output.
        """
        self._console = console or Console()
        self._live: Live | None = None
        self._story = Story("", 0, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def started(self, name: str, users: int, url: str) -> None:
        """Take the screen.

        Args:
            name: the scenario's.
            users: at the most.
            url: the server's.
        """
        self._leave()
        self._story = Story(name, users, url)
        self._live = Live(
            render(self._story),
            console=self._console,
            screen=True,
            auto_refresh=False,
            # Standard error may go to a file: rich would take its lines for the screen, where they get lost.
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start(refresh=True)

    def tick(self, tick: Tick) -> None:
        """Show the next second."""
        self._story.add(tick)
        if self._live is not None:
            self._live.update(render(self._story), refresh=True)

    def finished(self, record: RunRecord) -> None:
        """Give the screen back and print what came out."""
        self._leave()
        self._console.print(render_summary(record))

    def _leave(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
