"""`parley load`, also `scripts/loadtest.py`: the command line of the load tester.

Exit codes: 0 all promises were kept; 1 one was broken, or the run failed; 2 the command line or the scenario
is wrong; 3 the figures are invalid, for the tester was late; 130 interrupted.
"""

import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import trio
from cyclopts import App, CycloptsError, Parameter, validators

from scripts.load.capacity import Goals
from scripts.load.coordinator import Coordinator, RunSettings
from scripts.load.errors import LoadError
from scripts.load.files import is_same_file, main_compare, main_report, write_page
from scripts.load.find import find_capacity as search_capacity
from scripts.load.lines import Lines
from scripts.load.observer import NO_SCRAPE, Observer, Scrape
from scripts.load.options import PROCESSES_MAX, Choice, builtin_names, check_url, load_choice, read_tokens
from scripts.load.record import RunRecord, dump_record
from scripts.load.report import render_html
from scripts.load.scenario import USERS_MAX
from scripts.load.scenario_file import ScenarioError
from scripts.load.scrape import Scraper
from scripts.load.server import open_own_server
from scripts.load.view import LiveView

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
RESULTS: Final = Path("load-results")
"""Where runs are kept that nobody named a file for."""

app: Final = App(
    name="load",
    help="Simulate users against a server, and check what it promises while they are there.",
    version_flags=(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


@app.default
def load(  # noqa: PLR0913  one argument for each option
    scenario: Annotated[
        str, Parameter(help=f"A TOML file, or one of: {', '.join(builtin_names())}.")
    ] = "steady",
    /,
    *,
    url: Annotated[
        str | None,
        Parameter(help="The server's address; without one, a server is started for the time of the run."),
    ] = None,
    users: Annotated[
        int | None,
        Parameter(
            help="At once; default: the scenario's.", validator=validators.Number(gte=2, lte=USERS_MAX)
        ),
    ] = None,
    duration: Annotated[
        float | None,
        Parameter(help="Seconds that are measured.", validator=validators.Number(gt=0, lte=86_400)),
    ] = None,
    rate: Annotated[float | None, Parameter(help="Messages a second, all users together.")] = None,
    seed: Annotated[int | None, Parameter(help="Repeats every choice of a run.")] = None,
    processes: Annotated[
        int, Parameter(help="Of the tester.", validator=validators.Number(gte=1, lte=PROCESSES_MAX))
    ] = 1,
    settings: Annotated[
        list[str] | None,
        Parameter(
            name="--set", help="KEY=VALUE, or BEHAVIOUR.KEY=VALUE: overrules the scenario.", negative=()
        ),
    ] = None,
    tokens: Annotated[
        Path | None, Parameter(help="Registered users' tokens, one a line; without them users are guests.")
    ] = None,
    server_cpu: Annotated[int | None, Parameter(help="The core of the server that is started here.")] = None,
    metrics: Annotated[
        str | None, Parameter(help="The server's http://HOST:PORT/metrics, to show how it is.")
    ] = None,
    plain: Annotated[bool, Parameter(negative=(), help="A line a second, on a terminal too.")] = False,
    json: Annotated[
        Path | None,
        Parameter(
            help=f"The record of the run; default: a new file in {RESULTS}. The report goes beside it."
        ),
    ] = None,
    html: Annotated[Path | None, Parameter(help="The report, where it is to go elsewhere.")] = None,
    find_capacity: Annotated[
        bool, Parameter(negative=(), help="Raise the number of users until a goal breaks, and state it.")
    ] = False,
    goal_p99: Annotated[
        float, Parameter(help="Of --find-capacity: a delivery's p99, ms.", validator=validators.Number(gt=0))
    ] = 250.0,
) -> int:
    """Run a scenario.

    The server must let the tester in as fast as it comes: --no-rate-limits, and guests or --tokens.
    """
    choice = Choice(
        scenario=scenario,
        users=users,
        duration_s=duration,
        rate=rate,
        seed=seed,
        settings=settings or [],
    )
    try:
        loaded = load_choice(choice)
        known_tokens = [] if tokens is None else read_tokens(tokens)
        where = None if url is None else check_url(url)
        scraper = None if metrics is None else _scraper(metrics)
        files = choose_files(loaded.name, json=json, html=html)
    except ScenarioError as error:
        for mistake in error.mistakes:
            say(f"load: {mistake}")
        return EXIT_USAGE

    async def run(interrupt: trio.Event) -> int:
        async with open_target(where, scraper, server_cpu=server_cpu) as (address, scrape):
            run_settings = RunSettings(url=address, processes=processes, tokens=known_tokens, scrape=scrape)
            with open_observer(plain=plain) as observer:
                if find_capacity:
                    goals = Goals(delivery_p99_ms=goal_p99)
                    search, best = await search_capacity(
                        loaded, run_settings, goals, observer=observer, say=say, interrupt=interrupt
                    )
                    print(search.words())
                    if best is not None:
                        write_files(best, files)
                    return EXIT_INTERRUPTED if interrupt.is_set() else EXIT_OK
                record = await Coordinator(
                    loaded, run_settings, observer=observer, say=say, interrupt=interrupt
                ).run()
        write_files(record, files)
        return record.exit_code

    return run_until_interrupted(run)


@app.command
def report(run: Path, /, *, html: Path | None = None) -> int:
    """Show a run again, and write its report.

    Parameters
    ----------
    run
        The JSON file of the run.
    html
        The report; by default beside it.
    """
    return main_report(run, html=html)


@app.command
def compare(before: Path, after: Path, /, *, html: Path | None = None) -> int:
    """Show two runs side by side.

    Parameters
    ----------
    before
        The JSON file of the run to measure against.
    after
        That of the other.
    html
        A page with the same, and with plots.
    """
    return main_compare(before, after, html=html)


@contextmanager
def open_observer(*, plain: bool) -> Generator[Observer]:
    """Who shows the run: a live view on a terminal, lines elsewhere."""
    if plain or not sys.stdout.isatty():
        yield Lines()
    else:
        with LiveView() as view:
            yield view


@asynccontextmanager
async def open_target(
    url: str | None, scraper: Scraper | None, *, server_cpu: int | None
) -> AsyncGenerator[tuple[str, Scrape]]:
    """The server that is meant, the one at the address or one of our own, and how to ask it how it is."""
    if url is not None:
        yield url, scraper or NO_SCRAPE
    else:
        say("starting a server")
        async with open_own_server(core=server_cpu) as server:
            yield server.url, scraper or Scraper(server.metrics_url, pid=server.pid)


def _scraper(url: str) -> Scraper:
    try:
        return Scraper(url)
    except ValueError as error:
        raise ScenarioError([f"--metrics: {error}"]) from error


@dataclass(frozen=True, slots=True)
class Files:
    """Where a run's results go."""

    record: Path
    report: Path


def choose_files(name: str, *, json: Path | None, html: Path | None) -> Files:
    """Find out before the run, not after it, where its results can be written.

    Raises:
        ScenarioError: they cannot be written there.
    """
    if json is None:
        json = RESULTS / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
        option = str(RESULTS)
    else:
        option = f"--json {json}"
    html = html or json.with_suffix(".html")
    if is_same_file(html, json):
        raise ScenarioError([f"{option}: the report would go over the record; name it --html"])
    try:
        if json.parent == RESULTS:
            RESULTS.mkdir(exist_ok=True)
        for path in (json, html):
            is_new = not path.exists()
            path.open("ab").close()
            if is_new:
                path.unlink()
    except OSError as error:
        raise ScenarioError([f"{option}: {error.strerror}"]) from error
    return Files(json, html)


def write_files(record: RunRecord, files: Files) -> None:
    """Keep what came out."""
    files.record.write_bytes(dump_record(record))
    write_page(files.report, render_html(record))
    say(f"the record is in {files.record}, the report in {files.report}")


def run_until_interrupted(run: Callable[[trio.Event], Awaitable[int]]) -> int:
    """Run something; the first Ctrl-C (or SIGTERM) sets its event, the second ends it at once.

    Errors that people can do something about are lines on standard error.
    """

    async def main() -> int:
        interrupt = trio.Event()
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_obey, signals, interrupt, nursery.cancel_scope)
                code = EXIT_INTERRUPTED
                try:
                    code = await run(interrupt)
                except LoadError as error:
                    say(f"load: {error}")
                    code = EXIT_FAILED
                nursery.cancel_scope.cancel()
        return code

    return trio.run(main)


async def _obey(signals: AsyncIterator[int], interrupt: trio.Event, at_once: trio.CancelScope) -> None:
    async for _ in signals:
        if interrupt.is_set():
            at_once.cancel()
        else:
            say("ending: what was measured so far is reported; again: at once")
        interrupt.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command by itself, without `parley`; its exit code."""
    try:
        result: object = app(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say(f"load: {str(error).replace(chr(10), ' ')}")
        return EXIT_USAGE
    return result if isinstance(result, int) else EXIT_OK


def say(line: str) -> None:
    """One line for people, on standard error."""
    print(line, file=sys.stderr, flush=True)
