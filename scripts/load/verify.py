"""Reads what the server has stored of a run's rooms, over a connection of its own, page by page."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Final, cast

import trio

from chat.client import Client, ClientOptions, open_client
from chat.client_errors import ClientError, RequestRefused
from chat.protocol import SUBPROTOCOL_MSGPACK
from scripts.load.checks import Stored, stored_of
from scripts.load.dial import Dialer, DialFailed
from scripts.load.errors import ServerUnusable

PAGE: Final = 100
READERS: Final = 8
"""Pages asked for at a time."""
RETRY_S: Final = 0.5
DIAL_S: Final = 6.0
_OPTIONS: Final = ClientOptions(connect_timeout_s=6.0, request_timeout_s=20.0, reconnect_first_s=0.5)
_GUESTS: Final = (
    "the server lets no guests in: start it with PARLEY_GUESTS=on, or give tokens (--tokens FILE, one a line;"
    " `parley token create NAME` makes one)"
)


@asynccontextmanager
async def open_checker(url: str, token: str | None) -> AsyncGenerator[Client]:
    """A client of the tester's own, which no simulated user's trouble concerns.

    Raises:
        ServerUnusable: there is no server, or none that lets us in; the message says which.
    """
    rng = SystemRandom()
    guest = None if token is not None else "load checker"
    try:
        async with open_client(url, rng=rng, token=token, guest=guest, options=_OPTIONS) as client:
            yield client
    except ClientError as error:
        if isinstance(error, RequestRefused) and error.code in {"forbidden", "unauthenticated"} and not token:
            raise ServerUnusable(f"{_GUESTS} ({error})") from error
        raise ServerUnusable(f"{url}: {error}") from error
    except ValueError as error:
        raise ServerUnusable(str(error)) from error


async def check_server(url: str, token: str | None) -> str:
    """Make sure that there is a Parley that lets us in; its version.

    Raises:
        ServerUnusable: there is none.
    """
    # Our own dialling first: it tells best what is wrong.
    try:
        with trio.fail_after(DIAL_S):
            dialed = await Dialer(url).dial(SUBPROTOCOL_MSGPACK)
    except DialFailed as error:
        raise ServerUnusable(f"{url}: {error}") from error
    except trio.TooSlowError as error:
        raise ServerUnusable(f"{url}: no connection within {DIAL_S:g} s") from error
    dialed.sock.close()
    async with open_checker(url, token) as client:
        server = cast("Mapping[str, object]", client.welcome.get("server", {}))
        return f"{server.get('name', '?')} {server.get('version', '?')}"


async def read_histories(
    client: Client, rooms: Sequence[str], on_room: Callable[[int, list[Stored]], None]
) -> None:
    """Every room's whole log.

    Args:
        client: connected.
        rooms: their names, in the order of their numbers.
        on_room: takes each room's number and its log, as soon as it is read.

    Raises:
        ClientError: the server does not answer, or will not.

    Cancellation: rooms that were told are whole.
    """
    numbers = iter(range(len(rooms)))
    failures: list[ClientError] = []

    async def read() -> None:
        for number in numbers:
            try:
                on_room(number, await read_history(client, rooms[number]))
            except ClientError as error:
                failures.append(error)
            if failures:
                return

    async with trio.open_nursery() as nursery:
        for _ in range(READERS):
            nursery.start_soon(read)
    if failures:
        raise failures[0]


async def read_history(client: Client, room: str) -> list[Stored]:
    """One room's whole log, oldest first; empty for a room that was never made. Raises ClientError."""
    events: list[Stored] = []
    while True:
        try:
            page = await client.history(room, after=events[-1].seq if events else 0, limit=PAGE)
        except RequestRefused as error:
            if error.code == "room_not_found":
                return []
            if not error.temporary:
                raise
            # The caller bounds the time.
            await trio.sleep(error.retry_after_s or RETRY_S)
            continue
        events += map(stored_of, cast("Sequence[Mapping[str, object]]", page["items"]))
        if "next" not in page:
            return events
