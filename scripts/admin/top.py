"""`parley admin top`: how busy the server is, live, from the operators' port."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated, Final

import trio
from cyclopts import Parameter, validators
from rich.live import Live

from scripts.admin.exits import EXIT_OK, EXIT_UNREACHABLE, Problem
from scripts.admin.figures import Figures, Sample, compare, read_sample
from scripts.admin.http import fetch, metrics_of
from scripts.admin.options import PlaceOptions, seconds
from scripts.admin.output import Output
from scripts.admin.run import run_command
from scripts.admin.top_view import render_top
from scripts.http_address import HttpAddress

_GOOD: Final = 200
Show = Callable[[Figures], None]


def top(
    *,
    metrics: Annotated[
        str | None,
        Parameter(help="http://HOST:PORT/metrics [PARLEY_METRICS]; default: the port above the server's."),
    ] = None,
    every: Annotated[str, Parameter(help="Between two looks: 1s, 500ms is too short.")] = "1s",
    count: Annotated[
        int | None, Parameter(help="End after so many looks.", validator=validators.Number(gte=1))
    ] = None,
    options: PlaceOptions | None = None,
) -> int:
    """Show rates, waits and lags until Ctrl-C; with --json an object a look, for scripts."""
    wanted = options or PlaceOptions()
    out = Output(as_json=wanted.json)
    every_s = seconds(every, "--every") or 1.0
    address = metrics_of(metrics or os.environ.get("PARLEY_METRICS") or None, wanted.url)

    async def work() -> int:
        before: Sample | None = None
        before_s = 0.0
        left = count
        with _open_view(out, f"http://{address.authority}{address.target}") as show:
            while left is None or left > 0:
                sample, now_s = await _look(address), trio.current_time()
                show(compare(before, sample, now_s - before_s))
                before, before_s = sample, now_s
                if left is not None:
                    left -= 1
                if left != 0:
                    await trio.sleep(every_s)
        return EXIT_OK

    return run_command(out, work)


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
    """Who shows it: a screen of its own on a terminal, the last look alone elsewhere, lines for scripts."""
    if out.as_json:
        yield lambda figures: out.line(as_json(figures))
    elif not sys.stdout.isatty():
        yield lambda figures: out.console.print(render_top(figures, where))
    else:
        with Live(console=out.console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
            yield lambda figures: live.update(render_top(figures, where), refresh=True)


def as_json(figures: Figures) -> dict[str, object]:
    """The figures as scripts read them."""
    return {**figures.values, "actors": [actor._asdict() for actor in figures.actors]}
