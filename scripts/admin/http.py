"""What a command asks of a server's HTTP ports: health and metrics."""

import ssl
from typing import Final, NamedTuple

import h11
import trio

from chat.cli_client import client_url
from chat.cli_options import UsageMistake
from chat.client_options import authority, dial_tcp, split_url
from scripts.admin.exits import EXIT_UNREACHABLE, Problem
from scripts.http_address import BadAnswer, HttpAddress, HttpAnswer

TIMEOUT_S: Final = 5.0
_START: Final = "is it running? `parley serve` starts one"


class Place(NamedTuple):
    """A server's ports.

    Attributes:
        secure: whether clients come over TLS.
    """

    secure: bool
    host: str
    port: int

    def path(self, target: str) -> HttpAddress:
        """Something of the clients' port."""
        return HttpAddress(self.host, self.port, target, authority(self.host, self.port))


def place_of(url: str | None) -> Place:
    """Where the server of this address, or of the environment's, has its ports.

    Raises:
        UsageMistake: it is no address.
    """
    secure, host, port, _ = split_url(client_url(url))
    return Place(secure, host, port)


def metrics_of(metrics: str | None, url: str | None) -> HttpAddress:
    """Where the metrics are: as told, or on the port above the clients', which is the default.

    Raises:
        UsageMistake: it is no address.
    """
    if metrics is None:
        place = place_of(url)
        return HttpAddress(place.host, place.port + 1, "/metrics", authority(place.host, place.port + 1))
    try:
        return HttpAddress.parse(metrics)
    except ValueError as error:
        raise UsageMistake(f"--metrics: {error}") from error


async def fetch(address: HttpAddress, *, secure: bool = False) -> HttpAnswer:
    """What an address answers.

    Raises:
        Problem: nothing does, or no HTTP, within `TIMEOUT_S`.
    """

    async def connect(host: str, port: int) -> trio.abc.Stream:
        return await dial_tcp(host, port, ssl.create_default_context() if secure else None)()

    try:
        with trio.fail_after(TIMEOUT_S):
            return await address.get(connect)
    except (
        OSError,
        trio.TooSlowError,
        trio.BrokenResourceError,
        h11.RemoteProtocolError,
        BadAnswer,
    ) as error:
        words = f"nothing answers at {address.authority}{address.target}: {_START}"
        if isinstance(error, BadAnswer | h11.RemoteProtocolError):
            words = f"{address.authority}{address.target}: {error}"
        raise Problem("unreachable", words, EXIT_UNREACHABLE) from error
