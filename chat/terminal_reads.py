"""Moves one's read pointers to what a terminal has shown, a moment after it has."""

from typing import Final

import trio

from chat.client import Client
from chat.client_errors import ClientError

REST_S: Final = 1.0
"""From what was shown to its pointer, and so between two: a busy room moves it once a second."""


class TerminalReads:
    """What was shown of each room, until the server knows. Everything but `run` may be called at any time."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        self._wake = trio.Event()

    def show(self, room: str, seq: object) -> None:
        """An event was shown."""
        if isinstance(seq, int):
            self._shown[room] = max(seq, self._shown.get(room, 0))
            self._wake.set()

    def forget(self, room: str) -> None:
        """The room is closed to the user, or left."""
        self._shown.pop(room, None)

    async def run(self, client: Client) -> None:
        """Move pointers until cancelled. One that is refused is moved with the next event that is shown."""
        while True:
            await self._wake.wait()
            await trio.sleep(REST_S)
            self._wake = trio.Event()
            shown, self._shown = self._shown, {}
            for room, seq in shown.items():
                try:
                    await client.read(room, seq)
                except ClientError:
                    # Nobody asked for it at the keyboard; if the client has ended, the terminal tells why.
                    continue
