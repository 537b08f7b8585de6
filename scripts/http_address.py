"""One GET of an operators' or clients' port: an HTTP address and what it answers."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import h11
import trio

BODY_MAX_BYTES: Final = 4 * 1024 * 1024
"""A larger answer is none; the server's metrics are 60 KiB."""

Connect: TypeAlias = Callable[[str, int], Awaitable[trio.abc.Stream]]

_READ_BYTES: Final = 64 * 1024


class BadAnswer(Exception):
    """The address answers, with something else."""


class HttpAnswer(NamedTuple):
    """What came back, as a whole."""

    status: int
    body: str


class HttpAddress(NamedTuple):
    """Where to ask, and for what.

    Attributes:
        target: path and query.
        authority: host and port as they were given.
    """

    host: str
    port: int
    target: str
    authority: str

    @classmethod
    def parse(cls, url: str) -> "HttpAddress":
        """The address in a URL of metrics; its path is `/metrics` where it has none.

        Raises:
            ValueError: it is no `http://HOST:PORT[/PATH]`.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is no address of metrics: {error}") from error
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r} is no address of metrics: it should be http://HOST:PORT/metrics")
        target = parts.path if parts.path not in {"", "/"} else "/metrics"
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"{url!r} is no address of metrics: it has characters that need encoding")
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.hostname, port or 80, target + query, parts.netloc)

    async def get(self, connect: Connect) -> HttpAnswer:
        """What it answers; the caller bounds the time.

        Raises:
            BadAnswer: it hung up, or said too much.
            OSError, trio.BrokenResourceError, h11.RemoteProtocolError: no connection, or no HTTP.
        """
        connection = h11.Connection(h11.CLIENT)
        request = h11.Request(
            method="GET",
            target=self.target,
            headers=[("host", self.authority), ("accept", "text/plain"), ("connection", "close")],
        )
        head = (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        async with await connect(self.host, self.port) as stream:
            await stream.send_all(head)
            body = bytearray()
            status = 0
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    chunk = bytes(await stream.receive_some(_READ_BYTES))
                    if not chunk and connection.their_state is h11.SEND_RESPONSE:
                        raise BadAnswer("it hung up without an answer")
                    connection.receive_data(chunk)
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > BODY_MAX_BYTES:
                        raise BadAnswer(f"its answer is larger than {BODY_MAX_BYTES:,} bytes")
                elif isinstance(event, h11.EndOfMessage):
                    return HttpAnswer(status, body.decode(errors="replace"))
                elif not isinstance(event, h11.InformationalResponse):
                    raise BadAnswer("it hung up")
