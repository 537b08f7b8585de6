"""A command under a pseudo-terminal of its own: what is typed, and what it draws."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from chat.config_sources import ENV_PREFIX

ROOT: Final = Path(__file__).parent.parent.parent.parent
PATIENCE_S: Final = 30.0
"""For a program to start, on a machine with other things to do, and to draw."""
ROWS: Final = 24
COLUMNS: Final = 80

_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r")


class Screen:
    """A program and its terminal.

    Attributes:
        drawn: all that it ever wrote, control sequences included.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.drawn = ""
        self._process = process
        self._descriptor = descriptor
        self._read = 0

    async def wait_for(self, pattern: str) -> str:
        """Read until this was drawn, control sequences aside; the text since the last such wait.

        Raises:
            AssertionError: it ended, or `PATIENCE_S` passed.
        """
        with trio.move_on_after(PATIENCE_S):
            while True:
                text = _CONTROL.sub("", self.drawn[self._read :])
                if re.search(pattern, text):
                    self._read = len(self.drawn)
                    return text
                if not await self._receive():
                    break
        raise AssertionError(f"no {pattern!r} was drawn: {self.drawn!r}")

    async def _receive(self) -> bool:
        await trio.lowlevel.wait_readable(self._descriptor)
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # the other side has closed its terminal
            return False
        self.drawn += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        """Type, as at a keyboard: control characters have their meaning."""
        os.write(self._descriptor, text.encode())

    async def wait_ended(self) -> int:
        """Read to the end; the exit code.

        Raises:
            AssertionError: it goes on after `PATIENCE_S`.
        """
        with trio.move_on_after(PATIENCE_S):
            while await self._receive():
                pass
            return await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)
        raise AssertionError(f"it goes on: {self.drawn!r}")


@asynccontextmanager
async def open_screen(*argv: str, **environ: str) -> AsyncGenerator[Screen]:
    """Run `parley admin` under a pseudo-terminal of 80 by 24; it is gone with the body.

    Args:
        argv: the command line behind `parley admin`.
        environ: variables besides those of this process that are not Parley's.
    """
    process, ours = _start(argv, environ)
    try:
        yield Screen(process, ours)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(ours)


def _start(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """The program, and our end of its terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.admin", *argv],
            cwd=ROOT,
            env={**kept, "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # A session of its own, whose terminal it is: Ctrl-C reaches it, and nobody else.
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  the child does two system calls
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return process, ours


def _take_terminal() -> None:
    # A suite that was started in the background may ignore Ctrl-C, and its children would, too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
