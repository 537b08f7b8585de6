"""Standard input and output as the terminal client uses them.

At a terminal, lines are read by GNU readline where Python has it, so that what is being typed survives a line
that comes in: the prompt and the unfinished line are drawn again below it. In a pipe, lines are just lines.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio

try:
    import readline
    import termios
except ImportError:  # not a Unix, or a Python built without them
    readline = None  # type: ignore[assignment]
    termios = None  # type: ignore[assignment]

PROMPT: Final = "> "
_ERASE_LINE: Final = "\r\x1b[K"


class Console:
    """The process's standard input and output.

    Resource handling: `close` gives the terminal back as it was; a thread may go on waiting for a line, and
    ends with the process.
    """

    def __init__(self) -> None:
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._reading = False
        self._restore: Callable[[], None] | None = None
        if self._interactive and termios is not None:
            handle = sys.stdin.fileno()
            self._restore = partial(termios.tcsetattr, handle, termios.TCSADRAIN, termios.tcgetattr(handle))
        for stream in (sys.stdin, sys.stdout):
            # Bytes that are no text, and text that the terminal cannot show, must not end a conversation.
            with suppress(AttributeError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]

    def __aiter__(self) -> "Console":
        return self

    async def __anext__(self) -> str:
        """The next line; ends with the input.

        Cancellation: at once; the line that is being typed is lost.
        """
        read: Callable[[], str] = partial(input, PROMPT) if self._interactive else sys.stdin.readline
        self._reading = True
        try:
            line = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        except EOFError:
            raise StopAsyncIteration from None
        finally:
            self._reading = False
        if not line and not self._interactive:
            raise StopAsyncIteration
        return line

    def show(self, line: str) -> None:
        """Print a line, above what is being typed."""
        if not self._interactive:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            return
        typed = readline.get_line_buffer() if self._reading and readline is not None else ""
        prompt = f"{PROMPT}{typed}" if self._reading else ""
        sys.stdout.write(f"{_ERASE_LINE}{line}\n{prompt}")
        sys.stdout.flush()

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._restore is not None:
            self._restore()
