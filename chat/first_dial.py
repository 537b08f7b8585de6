"""The first connection of a command: a server that is not there is told at once, with what to do."""

import ssl
from typing import Final

import trio

from chat.client_errors import ConnectFailed
from chat.client_options import Dial, authority, dial_tcp, split_url

FIRST_DIAL_S: Final = 5.0
"""For the first connection."""


class FirstDial:
    """Connects once before there is a client, so that a server that is not there is told at once.

    The client, which would try for ten seconds, is given that connection as its first.

    Args:
        url: the server's.
        dial: opens the byte streams in place of TCP.
    """

    def __init__(self, url: str, dial: Dial | None = None) -> None:
        tls, host, port, _ = split_url(url)
        self._where = authority(host, port)
        self._inner = dial or dial_tcp(host, port, ssl.create_default_context() if tls else None)
        self._first: trio.abc.Stream | None = None

    async def connect(self) -> None:
        """Open the first stream.

        Raises:
            ConnectFailed: it cannot be opened within `FIRST_DIAL_S`.
        """
        try:
            with trio.fail_after(FIRST_DIAL_S):
                self._first = await self._inner()
        except (OSError, trio.TooSlowError) as exc:
            raise ConnectFailed(f"no server answers at {self._where}; start one: parley serve") from exc

    async def dial(self) -> trio.abc.Stream:
        """The first stream, then new ones; for `open_client`."""
        first, self._first = self._first, None
        if first is None:
            return await self._inner()
        await trio.lowlevel.checkpoint()
        return first

    async def aclose(self) -> None:
        """Close the first stream, if nobody wanted it."""
        if self._first is not None:
            await trio.aclose_forcefully(self._first)
