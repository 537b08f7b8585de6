"""The `parley` command. It alone configures logging, handles signals and starts trio.

Exit codes: 0 done; 1 it failed (a database out of reach, a port taken, a replay that differs); 2 the command
line or the settings are wrong; 130 interrupted. Errors are lines on standard error, without a traceback.
"""

import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from getpass import getuser
from importlib.metadata import entry_points
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from signal import SIGINT, SIGTERM
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import structlog
import trio
from cyclopts import App, CycloptsError, Parameter, validators

from chat.cli_accounts import token_app, user_app
from chat.cli_client import client_url, reachable
from chat.cli_options import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    DatabaseOptions,
    ServerOptions,
    UsageMistake,
    configure,
    say,
)
from chat.cli_password import read_secret
from chat.config import Config
from chat.config_sources import ENV_PREFIX, ConfigError, LoadedConfig, Mistake
from chat.descriptors import allow_files
from chat.errors import ChatError
from chat.issuer_keys import BadIssuerKeys, load_keys
from chat.offline import open_database_of
from chat.server import Addresses
from chat.server import serve as serve_until
from chat.terminal_text import room_name_problem
from storage import StorageError, migrate

_EXPECTED: Final = (ChatError, StorageError, OSError)
_DEFAULT_URL: Final = "ws://127.0.0.1:8000/ws"
_SPEED_MAX: Final = 1e9
_DATABASE_KEYS: Final = ("data_dir", "database_url")
_OTHER_FILES: Final = 250
"""Descriptors besides those of clients: the database's, listeners', operators', and some to spare."""

_log = structlog.get_logger()

app: Final = App(
    name="parley",
    help="An actor-model chat and presence server: durable, ordered rooms over WebSocket.",
    version_flags=(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
config_app: Final = App(name="config", help="The server's settings.")
app.command(token_app)
app.command(user_app)
app.command(config_app)


Url = Annotated[str | None, Parameter(help="The server's address, ws://HOST:PORT/ws [PARLEY_URL].")]
EncodingOption = Annotated[Literal["msgpack", "json"], Parameter(help="Of the protocol.")]


@app.command
def serve(*, options: ServerOptions | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once."""
    loaded = _load_server(options)
    configure(loaded.config)
    return trio.run(_serve, loaded)


@app.command
def connect(
    room: Annotated[str, Parameter(help="The room to talk in; created if there is none.")] = "lobby",
    /,
    *,
    url: Url = None,
    name: Annotated[str | None, Parameter(help="A guest's name; default: yours on this machine.")] = None,
    token: Annotated[
        str | None, Parameter(help="Come as a registered user; best in PARLEY_TOKEN: arguments can be seen.")
    ] = None,
    login: Annotated[
        str | None,
        Parameter(help="Come as the registered user of this name; asks for the password [PARLEY_PASSWORD]."),
    ] = None,
    encoding: EncodingOption = "msgpack",
) -> int:
    """Talk from a terminal: /join, /history, /who, /quit; it reconnects by itself."""
    from chat.login import log_in  # noqa: PLC0415  the server needs none of it
    from chat.terminal import run_terminal  # noqa: PLC0415  same

    problem = room_name_problem(room)
    if problem is not None:
        raise UsageMistake(problem)
    where = client_url(url)
    if login is not None:
        if name is not None or token is not None:
            raise UsageMistake("--login, --name and --token are three ways to come: choose one")
        password = os.environ.get("PARLEY_PASSWORD") or read_secret(f"Password of {login}: ")

        async def run() -> int:
            issued = await log_in(where, login, password)
            return await run_terminal(where, room=room, token=issued.token, encoding=encoding)

        return trio.run(run)
    token = token or os.environ.get("PARLEY_TOKEN") or None
    guest = None if token else (name or _own_name())
    return trio.run(partial(run_terminal, where, room=room, name=guest, token=token, encoding=encoding))


@app.command
def replay(
    files: Annotated[list[Path], Parameter(help="Recorded channels, one JSON object a line.")],
    /,
    *,
    url: Url = None,
    speed: Annotated[
        float | None,
        Parameter(
            help="Times as fast as it was; default: as fast as it goes.",
            validator=validators.Number(gt=0, lte=_SPEED_MAX),
        ),
    ] = None,
    encoding: EncodingOption = "msgpack",
    fresh: Annotated[bool, Parameter(negative=(), help="Play in rooms of this replay's own.")] = False,
    suffix: Annotated[str, Parameter(help="Added to the rooms' names.")] = "",
    json: Annotated[bool, Parameter(negative=(), help="Print the report as JSON.")] = False,
) -> int:
    """Play recorded channels against a server, then check that every history equals its file."""
    from chat.replay import run_replay  # noqa: PLC0415  the server needs none of it

    return trio.run(
        partial(
            run_replay,
            files,
            url=client_url(url),
            speed=speed,
            encoding=encoding,
            fresh=fresh,
            suffix=suffix,
            json_output=json,
        )
    )


@app.command(name="migrate")
def migrate_command(*, options: DatabaseOptions | None = None) -> int:
    """Bring the database's schema up to this version. `serve` does it too."""
    config = (options or DatabaseOptions()).load().config
    configure(config)

    async def run() -> int:
        async with open_database_of(config, make=True) as database:
            applied = await migrate(database)
        print(f"applied: {', '.join(applied)}" if applied else "nothing to do: the schema is up to date")
        return EXIT_OK

    return trio.run(run)


@config_app.command(name="check")
def config_check(*, options: ServerOptions | None = None) -> int:
    """Check the settings as `serve` would, and print each with where it came from."""
    for setting in _load_server(options).settings():
        print(f"{setting.key} = {setting.value}  ({setting.origin})")
    return EXIT_OK


@app.command
def version() -> int:
    """Print the version."""
    print(f"parley {installed_version('parley')} (Python {python_version()}, trio {trio.__version__})")
    return EXIT_OK


# Other packages' commands: imported when they are called (or listed), so that `serve` knows nothing of them.
for _entry in entry_points(group="parley.commands"):
    app.command(_entry.value, name=_entry.name, help=f"See `parley {_entry.name} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    Args:
        argv: the arguments after the program's name; None: those of this process.
    """
    try:
        result: object = app(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _complain(str(error).replace("\n", " "))
        return EXIT_USAGE
    except UsageMistake as error:
        _complain(str(error))
        return EXIT_USAGE
    except ConfigError as error:
        for mistake in error.mistakes:
            _complain(str(mistake))
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except _EXPECTED as error:
        _complain(_words(error))
        return EXIT_FAILED
    except BaseExceptionGroup as group:
        return _explain(group)
    return result if isinstance(result, int) else EXIT_OK


def _load_server(options: ServerOptions | None) -> LoadedConfig:
    """The settings of a server, and that the files which they name can be used.

    Raises:
        ConfigError: they cannot.
    """
    loaded = (options or ServerOptions()).load()
    origin = loaded.origins.get("issuers", "default")
    mistakes: list[Mistake] = []
    for index, issuer in enumerate(loaded.config.issuers):
        try:
            load_keys(issuer)
        except BadIssuerKeys as error:
            mistakes.append(Mistake(key=f"issuers[{index}].key_file", origin=origin, problem=str(error)))
    if mistakes:
        raise ConfigError(mistakes)
    return loaded


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    errors = list(_leaves(group))
    if all(isinstance(error, KeyboardInterrupt) for error in errors):
        return EXIT_INTERRUPTED
    if not all(isinstance(error, _EXPECTED) for error in errors):
        raise group  # a bug: the traceback is what is wanted
    for error in errors:
        _complain(_words(error))
    return EXIT_FAILED


def _words(error: BaseException) -> str:
    """What went wrong, without the system's numbers."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def _serve(loaded: LoadedConfig) -> int:
    """Serve until the first signal has drained the server, or the second one has cut that short."""
    wanted = loaded.config.connections_max + _OTHER_FILES
    files = allow_files(wanted)
    stop = trio.Event()
    drained = False
    with trio.open_signal_receiver(SIGTERM, SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, signals, stop, nursery.cancel_scope)
            await serve_until(loaded.config, stop=stop, task_status=_Announcement(loaded, files, wanted))
            drained = True
            nursery.cancel_scope.cancel()
    return EXIT_OK if drained else EXIT_FAILED


async def _obey_signals(signals: AsyncIterator[int], stop: trio.Event, at_once: trio.CancelScope) -> None:
    async for number in signals:
        if stop.is_set():
            _log.warning("server.cut_short", signal=number)
            at_once.cancel()
        stop.set()


class _Announcement:
    """Tells people where the server is, once it is there.

    Args:
        loaded: its settings.
        files: descriptors that it may open.
        wanted: how many it needs when it is full.
    """

    def __init__(self, loaded: LoadedConfig, files: int, wanted: int) -> None:
        self._loaded = loaded
        self._files = files
        self._wanted = wanted

    def started(self, value: Addresses | None = None) -> None:
        """Print the address, and the next thing to type."""
        assert value is not None  # noqa: S101  `serve` has addresses to tell
        addresses, config = value, self._loaded.config
        ops = (
            "off"
            if addresses.ops_port is None
            else f"http://{addresses.ops_host}:{addresses.ops_port}/metrics"
        )
        print(f"Parley {installed_version('parley')} serves on {addresses.url}")
        print(f"  database: {addresses.database}")
        print(f"  guests: {'welcome' if config.guests_allowed else 'not let in'}; metrics: {ops}")
        print("Next, in another terminal:")
        program, where = _program(), ""
        if addresses.url != _DEFAULT_URL:
            where = f" --url {reachable(addresses.url)}"
        if config.guests_allowed:
            print(f"  {program} connect{where}")
        else:
            print(f"  {program} token create NAME{_same_database(self._loaded)}")
            print(f"  PARLEY_TOKEN=pt_... {program} connect{where}")
        sys.stdout.flush()
        if self._files < self._wanted:
            _log.warning(
                "server.few_files",
                files=self._files,
                wanted=self._wanted,
                hint="raise the limit on open files (ulimit -n, LimitNOFILE=), or lower connections_max",
            )


def _same_database(loaded: LoadedConfig) -> str:
    """The options with which another command, in another terminal, finds the database of these settings."""
    told = ""
    for key in _DATABASE_KEYS:
        origin = loaded.origins.get(key)
        if origin is None:
            continue
        value = str(loaded.config.data_dir) if key == "data_dir" else _without_password(loaded.config)
        from_file = not origin.startswith(("--", ENV_PREFIX))
        option, value = ("--config", origin) if from_file else ("--" + key.replace("_", "-"), value)
        if f" {option} " not in told:
            told += f" {option} {shlex.quote(value)}"
    return told


def _without_password(config: Config) -> str:
    """The database's address, fit for a terminal."""
    parts = urlsplit(config.database_dsn or "")
    user, at, place = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return parts._replace(netloc=f"{name}{colon and ':PASSWORD'}{at}{place}").geturl()


def _program() -> str:
    """How this program was called, as somebody in the same directory would type it."""
    called = Path(sys.argv[0])
    if called.name != "parley":
        return "python -m chat.cli"
    if shutil.which("parley") == str(called):
        return "parley"
    with suppress(ValueError):
        return str(called.absolute().relative_to(Path.cwd()))
    return str(called)


def _own_name() -> str:
    try:
        return getuser()
    except OSError:  # a user id without a name, as in a container
        return "guest"


def _complain(line: str) -> None:
    say(f"parley: {line}")


if __name__ == "__main__":
    sys.exit(main())
