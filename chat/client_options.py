"""How a client behaves and how it dials."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import trio

from chat.backoff import FIRST_CEILING_S, MAX_CEILING_S

Encoding: TypeAlias = Literal["msgpack", "json"]
Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens the byte stream of one connection, TLS included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a client behaves.

    Attributes:
        connect_timeout_s: for the first connection, all attempts together, and for every later attempt alone.
        request_timeout_s: for a request's answer, unless the call says otherwise.
        store_timeout_s: for a send's answer before the connection counts as broken.
        idle_timeout_s: without a byte from the server. It pings after 25 s (+-20 %).
        reconnect_first_s: the first wait before another connection is a random part of this; it doubles.
        reconnect_max_s: up to this.
        feed_size: updates that wait for `events` to be read. When so many do, rooms pause: their events are
            fetched when the reader has caught up; notices are dropped and counted.
        queued_max: messages not yet stored, over all rooms; `send` and `post` raise above it.
        unaccepted_max: of one room, sent and not yet ordered by it. Above 1 a temporary refusal may reorder.
        unstored_max: of one room, sent and not yet stored.
    """

    connect_timeout_s: float = 10.0
    request_timeout_s: float = 10.0
    store_timeout_s: float = 60.0
    idle_timeout_s: float = 90.0
    reconnect_first_s: float = FIRST_CEILING_S
    reconnect_max_s: float = MAX_CEILING_S
    feed_size: int = 1024
    queued_max: int = 1000
    unaccepted_max: int = 1
    unstored_max: int = 64


DEFAULT_OPTIONS: Final = ClientOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStatistics:
    """A client's counts since it was opened.

    Attributes:
        received: messages of the server, of any kind.
        dropped: notices that a full feed did not take.
        unfinished: messages neither stored nor refused.
    """

    received: int
    connections: int
    dropped: int
    unfinished: int


def split_url(url: str) -> tuple[bool, str, int, str]:
    """(TLS, host, port, resource) of a ws, wss, http or https address; the path is /ws where it has none.

    Raises:
        ValueError: another scheme, or no host.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    if parts.scheme not in {"ws", "wss", "http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no WebSocket address: use ws://HOST:PORT/ws")
    tls = parts.scheme in {"wss", "https"}
    resource = parts.path if parts.path not in {"", "/"} else "/ws"
    return tls, parts.hostname, parts.port or (443 if tls else 80), resource


def authority(host: str, port: int) -> str:
    """Host and port as a URL and a `Host` header have them: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_tcp(host: str, port: int, tls: ssl.SSLContext | None) -> Dial:
    """Connections over TCP, and TLS where a context is given."""

    async def dial() -> trio.abc.Stream:
        try:
            if tls is None:
                return await trio.open_tcp_stream(host, port)
            return await trio.open_ssl_over_tcp_stream(host, port, ssl_context=tls, https_compatible=True)
        except OSError as error:
            if error.errno is not None:
                raise
            # trio's summary of all addresses that were tried speaks of its own work.
            raise OSError(f"no server answers at {authority(host, port)}") from error

    return dial
