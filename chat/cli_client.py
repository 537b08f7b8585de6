"""Where the server is, for the commands that talk to it."""

import os
from typing import Final

from chat.cli_options import UsageMistake
from chat.client_options import authority, split_url

_PORT_MAX: Final = 65_535
_PORT_DIGITS: Final = 5


def client_url(url: str | None) -> str:
    """Where the server is: as told, or by the variables that the server itself would obey.

    Raises:
        UsageMistake: no WebSocket address.
    """
    told_by = "--url" if url else "PARLEY_URL"
    url = url or os.environ.get("PARLEY_URL")
    if not url:
        host = os.environ.get("PARLEY_HOST") or "127.0.0.1"
        port = os.environ.get("PARLEY_PORT") or "8000"
        if not _is_port(port):
            raise UsageMistake(
                f"PARLEY_PORT {port} is no port to connect to: name one, or the server's --url"
            )
        url = reachable(f"ws://{authority(host, int(port))}/ws")
    try:
        _, host, port_number, _ = split_url(url)
    except ValueError as error:
        raise UsageMistake(f"{told_by} {url}: {error}") from error
    scheme, told, _ = url.partition("://")
    if told and scheme in {"http", "https"}:
        better = f"{'wss' if scheme == 'https' else 'ws'}://{authority(host, port_number)}/ws"
        raise UsageMistake(f"{url} is no WebSocket address: use --url {better}")
    return url


def _is_port(text: str) -> bool:
    digits = text.isascii() and text.isdecimal() and len(text) <= _PORT_DIGITS
    return digits and 0 < int(text) <= _PORT_MAX


def reachable(url: str) -> str:
    """An address to connect to, for one to serve on: all addresses means this machine's as well."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
