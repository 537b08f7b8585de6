"""The worker processes: started, told, heard, ended."""

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from scripts.load.child import ChildProcess, open_child
from scripts.load.errors import RunFailed
from scripts.load.reports import Assignment, Command, FrameError, Frames, Report, frame, parse_report

TELL_S: Final = 10.0
GRACE_S: Final = 2.0

OnReport = Callable[[int, Report], None]
"""Takes a worker's number and what it says; must not raise."""


class Workers:
    """Made by `open_workers`."""

    def __init__(self, children: Sequence[ChildProcess]) -> None:
        self._children = children

    def __len__(self) -> int:
        return len(self._children)

    async def tell(self, command: Command) -> None:
        """Say something to all of them.

        Raises:
            RunFailed: one has died, or takes nothing.
        """
        for number in range(len(self._children)):
            await self.tell_one(number, command)

    async def tell_one(self, number: int, command: Command) -> None:
        """Say something to one of them; raises as `tell`."""
        child = self._children[number]
        try:
            with trio.fail_after(TELL_S):
                await child.stdin.send_all(frame(command))
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise RunFailed(self._words(number)) from error

    async def hear(self, number: int, on_report: OnReport) -> None:
        """Pass on what one says, until it has ended in order.

        Raises:
            RunFailed: it died.
        """
        child = self._children[number]
        frames = Frames()
        try:
            async for data in child.stdout:
                for payload in frames.take(data):
                    on_report(number, parse_report(payload))
        except FrameError as error:
            raise RunFailed(f"worker {number} cannot be understood: {error}") from error
        with trio.move_on_after(TELL_S):
            if await child.wait() == 0:
                return
        raise RunFailed(self._words(number))

    def _words(self, number: int) -> str:
        child = self._children[number]
        code = child.returncode
        told = "does not answer" if code is None else f"ended with {code}"
        return f"worker {number} (pid {child.pid}) {told}: {child.last_words() or 'it said nothing'}"


@asynccontextmanager
async def open_workers(assignments: Sequence[Assignment], directory: Path) -> AsyncGenerator[Workers]:
    """A process for each assignment, for as long as the body runs; none is left behind.

    Args:
        assignments: in the order of their numbers.
        directory: for their standard errors.
    """
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(
                open_child(
                    [sys.executable, "-m", "scripts.load.worker"],
                    log=directory / f"worker-{assignment.worker}",
                    grace_s=GRACE_S,
                )
            )
            for assignment in assignments
        ]
        workers = Workers(children)
        for assignment in assignments:
            await workers.tell_one(assignment.worker, assignment)
        yield workers
