"""A moderator's connection to the server, over the protocol that everybody speaks."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import SystemRandom
from typing import Final, cast

import trio

from chat.cli_client import client_url
from chat.cli_options import UsageMistake
from chat.client import Client, open_client
from chat.client_errors import RequestRefused
from chat.client_feed import Update
from chat.client_state import Envelope
from chat.first_dial import FirstDial
from scripts.admin.exits import EXIT_FAILED, Problem
from scripts.admin.options import ServerOptions
from scripts.admin.output import Output
from scripts.admin.run import run_command

PAGE: Final = 100
TRIES: Final = 20
"""Of a request that is refused for the moment, before that is told."""
WAIT_MAX_S: Final = 5.0

_CLIENT_NAME: Final = "parley-admin"


class Connection:
    """What a command asks the server with.

    Attributes:
        client: for what is not here.
        out: what it prints with.
    """

    def __init__(self, client: Client, out: Output) -> None:
        self.client = client
        self.out = out

    async def ask(self, t: str, **fields: object) -> Envelope:
        """The answer to a request; fields that are None are left out. Temporary refusals are waited out.

        Raises:
            ClientError: refused for good, or for too long.
        """
        for _ in range(TRIES - 1):
            try:
                return await self.client.request(t, timeout_s=None, again=None, **fields)
            except RequestRefused as refused:
                if not refused.temporary:
                    raise
                await trio.sleep(min(refused.retry_after_s or 1.0, WAIT_MAX_S))
        return await self.client.request(t, timeout_s=None, again=None, **fields)

    async def listed(
        self, t: str, *, limit: int, on_page: Callable[[int], None] | None = None, **fields: object
    ) -> tuple[list[Envelope], bool]:
        """The first items of a list, page by page, and whether there are more.

        Args:
            t: the request's type.
            limit: at most so many.
            on_page: called after each page with how many there are.
            fields: of the request.
        """
        found: list[Envelope] = []
        cursor: object = None
        while True:
            page = await self.ask(t, cursor=cursor, limit=min(PAGE, limit - len(found)), **fields)
            found += cast("Sequence[Envelope]", page["items"])
            cursor = page.get("next")
            if on_page is not None:
                on_page(len(found))
            if cursor is None or len(found) >= limit:
                return found, cursor is not None


@asynccontextmanager
async def open_connection(
    options: ServerOptions, out: Output, *, follows: bool = False
) -> AsyncGenerator[Connection]:
    """Connect as who the token speaks for.

    Args:
        options: where, and with which token.
        out: what the command prints with.
        follows: whether `client.events` will be read.

    Raises:
        UsageMistake: no address, or no token.
        ClientError: nobody answers there, or the token is not good.
    """
    url, token = client_url(options.url), options.token()
    first = FirstDial(url)
    await first.connect()
    try:
        async with open_client(
            url,
            token=token,
            rng=SystemRandom(),
            on_update=None if follows else _ignore,
            dial=first.dial,
            client_name=_CLIENT_NAME,
        ) as client:
            yield Connection(client, out)
    finally:
        await first.aclose()  # noqa: ASYNC102  closes at once


def with_server(options: ServerOptions | None, work: Callable[[Connection], Awaitable[int]]) -> int:
    """Run a command that talks to the server; its exit code."""
    wanted = options or ServerOptions()
    out = Output(as_json=wanted.json)

    async def run() -> int:
        async with open_connection(wanted, out) as connection:
            return await work(connection)

    return run_command(out, run)


async def confirm(question: str, *, yes: bool, dry_run: bool) -> None:
    """Ask before something is done that cannot simply be taken back.

    Raises:
        UsageMistake: there is nobody to ask.
        Problem: the answer is no.
    """
    if yes or dry_run:
        return
    if not sys.stdin.isatty():
        raise UsageMistake(f"{question} Say --yes where nobody can be asked")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = await trio.to_thread.run_sync(partial(sys.stdin.readline, 64), abandon_on_cancel=True)
    if answer.strip().lower() not in {"y", "yes"}:
        raise Problem("declined", "nothing was done", EXIT_FAILED)


def fields_of(envelope: Mapping[str, object], *left_out: str) -> dict[str, object]:
    """An answer without what only the protocol needs."""
    return {name: value for name, value in envelope.items() if name not in {"t", "id", *left_out}}


def _ignore(update: Update) -> None:
    del update
