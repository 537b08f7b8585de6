"""Scripts of lines typed at the terminal client, and of what happens between them."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from random import Random

import trio

from chat.client import ClientOptions
from chat.terminal import run_terminal
from tests.chat.fake_server import FakeServer

Step = str | Callable[[], Awaitable[None]]


class Script:
    """What is typed, and what happens between the lines."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = iter(steps)

    def __aiter__(self) -> "Script":
        return self

    async def __anext__(self) -> str:
        """The next line."""
        await trio.lowlevel.checkpoint()
        for step in self._steps:
            if isinstance(step, str):
                return f"{step}\n"
            await step()
        raise StopAsyncIteration


async def talk(server: FakeServer, script: Sequence[Step], *, options: ClientOptions | None = None) -> "Talk":
    """Run the terminal over a script of lines and of things that happen between them."""
    shown: list[str] = []

    code = await run_terminal(
        "ws://fake/ws",
        name="ada",
        lines=Script(script),
        show=shown.append,
        tz=UTC,
        rng=Random(3),  # noqa: S311  a test repeats itself
        options=options or ClientOptions(),
        dial=server.dial,
    )
    return Talk(code, shown)


class Talk:
    """What came of it."""

    def __init__(self, code: int, shown: list[str]) -> None:
        self.code = code
        self.shown = shown


async def settle() -> None:
    """Let all that is on its way arrive."""
    await trio.sleep(60)
