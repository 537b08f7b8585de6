"""`parley admin top`: how busy the server is, live, and with a moderator's token its busiest rooms."""

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Annotated, Final, cast

import trio
from cyclopts import Parameter, validators
from rich.live import Live

from chat.cli_options import UsageMistake
from chat.client_errors import ClientError
from scripts.admin.connection import Connection, open_connection
from scripts.admin.exits import EXIT_OK, EXIT_UNREACHABLE, Problem
from scripts.admin.figures import (
    Figures,
    Load,
    RoomFigures,
    Sample,
    compare,
    compare_rooms,
    read_sample,
)
from scripts.admin.http import fetch, metrics_of
from scripts.admin.options import ServerOptions, seconds
from scripts.admin.output import Output
from scripts.admin.run import run_command
from scripts.admin.top_view import render_top
from scripts.http_address import HttpAddress

ROOMS: Final = 8
"""The busiest, which fit a small terminal."""
_GOOD: Final = 200
Show = Callable[[Figures, Sequence[RoomFigures], str], None]


def top(
    *,
    metrics: Annotated[
        str | None,
        Parameter(help="http://HOST:PORT/metrics [PARLEY_METRICS]; default: the port above the server's."),
    ] = None,
    every: Annotated[str, Parameter(help="Between two looks.")] = "1s",
    count: Annotated[
        int | None, Parameter(help="End after so many looks.", validator=validators.Number(gte=1))
    ] = None,
    options: ServerOptions | None = None,
) -> int:
    """Show rates, waits and lags until Ctrl-C; with a moderator's token also the busiest rooms.

    With --json an object a look, for scripts.
    """
    wanted = options or ServerOptions()
    out = Output(as_json=wanted.json)
    every_s = seconds(every, "--every") or 1.0
    address = metrics_of(metrics or os.environ.get("PARLEY_METRICS") or None, wanted.url)

    async def work() -> int:
        before: Sample | None = None
        rooms_before: Mapping[str, Load] = {}
        before_s = 0.0
        left = count
        async with AsyncExitStack() as stack:
            # First, so that a server that is not there is told as such.
            sample, now_s = await _look(address), trio.current_time()
            rooms = await _open_rooms(stack, wanted, out)
            with _open_view(out, f"http://{address.authority}{address.target}") as show:
                while True:
                    loads = await rooms.look()
                    elapsed_s = now_s - before_s
                    show(
                        compare(before, sample, elapsed_s),
                        compare_rooms(rooms_before, loads, elapsed_s),
                        rooms.note,
                    )
                    before, rooms_before, before_s = sample, loads, now_s
                    if left is not None:
                        left -= 1
                    if left == 0:
                        return EXIT_OK
                    await trio.sleep(every_s)
                    sample, now_s = await _look(address), trio.current_time()

    return run_command(out, work)


class _Rooms:
    """Asks for the busiest rooms, where somebody may.

    Attributes:
        note: why there are none; empty while they are known.
    """

    def __init__(self, connection: Connection | None, note: str) -> None:
        self.note = note
        self._connection = connection

    async def look(self) -> Mapping[str, Load]:
        """The busiest by name; empty where the server does not say."""
        if self._connection is None:
            return {}
        try:
            answer = await self._connection.client.request("busiest", limit=ROOMS)
        except ClientError as error:
            self.note = f"rooms: {error}"
            return {}
        self.note = ""
        items = cast("Sequence[Load]", answer["items"])
        return {str(item["room"]): item for item in items}


async def _open_rooms(stack: AsyncExitStack, options: ServerOptions, out: Output) -> _Rooms:
    try:
        return _Rooms(await stack.enter_async_context(open_connection(options, out)), "")
    except UsageMistake:
        return _Rooms(None, "rooms: come with a moderator's token to see the busiest")
    except ClientError as error:
        return _Rooms(None, f"rooms: {error}")


async def _look(address: HttpAddress) -> Sample:
    answer = await fetch(address)
    try:
        if answer.status == _GOOD:
            return read_sample(answer.body)
    except (ValueError, KeyError, IndexError):
        pass  # the parser's ways to say that these are no metrics
    raise Problem(
        "unreachable", f"{address.authority}{address.target} has no metrics of a Parley", EXIT_UNREACHABLE
    )


@contextmanager
def _open_view(out: Output, where: str) -> Generator[Show]:
    """Who shows it: a screen of its own on a terminal, one look after the other elsewhere, or JSON."""
    if out.as_json:
        yield lambda figures, rooms, note: out.line(as_json(figures, rooms, note))
    elif not sys.stdout.isatty():
        yield lambda figures, rooms, note: out.console.print(render_top(figures, rooms, where, note))
    else:
        with Live(console=out.console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
            yield lambda figures, rooms, note: live.update(
                render_top(figures, rooms, where, note), refresh=True
            )


def as_json(figures: Figures, rooms: Sequence[RoomFigures], note: str = "") -> dict[str, object]:
    """The figures as scripts read them; `rooms` is null where the server does not say."""
    return {
        **figures.values,
        "actors": [actor._asdict() for actor in figures.actors],
        "rooms": None if note else [room._asdict() for room in rooms],
    }
