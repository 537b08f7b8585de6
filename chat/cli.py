"""The `parley` command. It alone configures logging, handles signals and starts trio.

Exit codes: 0 done; 1 it failed (a database out of reach, a port taken, a replay that differs); 2 the command
line or the settings are wrong; 130 interrupted. Errors are lines on standard error, without a traceback.
"""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from getpass import getuser
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from signal import SIGINT, SIGTERM
from time import time_ns
from typing import Annotated, Final, Literal

import structlog
import trio
from cyclopts import App, CycloptsError, Parameter

from chat.auth import create_token
from chat.config import Config
from chat.config_sources import ConfigError, LoadedConfig, load_config
from chat.errors import ChatError
from chat.logs import configure_logging
from chat.offline import open_database_of
from chat.server import Addresses
from chat.server import serve as serve_until
from storage import PostgresStore, StorageError, migrate

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_EXPECTED: Final = (ChatError, StorageError, OSError)
_DEFAULT_URL: Final = "ws://127.0.0.1:8000/ws"
_DAY_MS: Final = 86_400_000

_log = structlog.get_logger()

app: Final = App(
    name="parley",
    help="An actor-model chat and presence server: durable, ordered rooms over WebSocket.",
    version_flags=(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
token_app: Final = App(name="token", help="Registered users' tokens.")
config_app: Final = App(name="config", help="The server's settings.")
app.command(token_app)
app.command(config_app)

DataDir = Annotated[Path | None, Parameter(help="The embedded database's directory [PARLEY_DATA_DIR].")]
DatabaseUrl = Annotated[
    str | None, Parameter(help="A PostgreSQL of yours instead of the embedded one [PARLEY_DATABASE_URL].")
]
ConfigFile = Annotated[Path | None, Parameter(help="A TOML file with settings [PARLEY_CONFIG].")]
Host = Annotated[str | None, Parameter(help="The address to serve on [PARLEY_HOST].")]
Port = Annotated[int | None, Parameter(help="The port to serve on; 0: any [PARLEY_PORT].")]
NoRateLimits = Annotated[
    bool, Parameter(negative=(), help="For testers: no limits per second [PARLEY_RATE_LIMITS=off].")
]
Url = Annotated[str | None, Parameter(help="The server's address, ws://HOST:PORT/ws [PARLEY_URL].")]


@app.command
def serve(
    *,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
    no_rate_limits: NoRateLimits = False,
) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once."""
    loaded = _load(
        config,
        host=host,
        port=port,
        data_dir=data_dir,
        database_url=database_url,
        rate_limits=False if no_rate_limits else None,
    )
    _configure_logging(loaded.config)
    return trio.run(_serve, loaded.config)


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
    encoding: Annotated[Literal["msgpack", "json"], Parameter(help="Of the protocol.")] = "msgpack",
) -> int:
    """Talk from a terminal: /join, /history, /who, /quit; it reconnects by itself."""
    from chat.terminal import run_terminal  # noqa: PLC0415  the server needs none of it

    token = token or os.environ.get("PARLEY_TOKEN") or None
    guest = None if token else (name or _own_name())
    return trio.run(
        partial(run_terminal, _client_url(url), room=room, name=guest, token=token, encoding=encoding)
    )


@app.command
def replay(
    files: Annotated[list[Path], Parameter(help="Recorded channels, one JSON object a line.")],
    /,
    *,
    url: Url = None,
    speed: Annotated[
        float | None, Parameter(help="Times as fast as it was; default: as fast as it goes.")
    ] = None,
    encoding: Annotated[Literal["msgpack", "json"], Parameter(help="Of the protocol.")] = "msgpack",
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
            url=_client_url(url),
            speed=speed,
            encoding=encoding,
            fresh=fresh,
            suffix=suffix,
            json_output=json,
        )
    )


@app.command(name="migrate")
def migrate_command(
    *, data_dir: DataDir = None, database_url: DatabaseUrl = None, config: ConfigFile = None
) -> int:
    """Bring the database's schema up to this version. `serve` does it too."""
    loaded = _load(config, data_dir=data_dir, database_url=database_url)
    _configure_logging(loaded.config)

    async def run() -> int:
        async with open_database_of(loaded.config) as database:
            applied = await migrate(database)
        print(f"applied: {', '.join(applied)}" if applied else "nothing to do: the schema is up to date")
        return EXIT_OK

    return trio.run(run)


@token_app.command(name="create")
def token_create(
    user: Annotated[str, Parameter(help="The display name; the user is created if there is none.")],
    /,
    *,
    role: Annotated[str | None, Parameter(help="user (a new user's default), moderator or admin.")] = None,
    days: Annotated[int | None, Parameter(help="How long the token is good for; default: for ever.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> int:
    """Make a token for a user and print it, the only time that it is shown. The server may be running."""
    loaded = _load(config, data_dir=data_dir, database_url=database_url)
    _configure_logging(loaded.config)

    async def run() -> int:
        now_ms = time_ns() // 1_000_000
        async with open_database_of(loaded.config) as database:
            await migrate(database)
            issued = await create_token(
                PostgresStore(database),
                user,
                role,
                now_ms=now_ms,
                random_bytes=os.urandom,
                expires_at_ms=None if days is None else now_ms + days * _DAY_MS,
            )
        _say(f"a token for {issued.user.name} ({issued.user.user_id}, {issued.user.role}):")
        print(issued.token)
        return EXIT_OK

    return trio.run(run)


@config_app.command(name="check")
def config_check(
    *,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
    no_rate_limits: NoRateLimits = False,
) -> int:
    """Check the settings as `serve` would, and print each with where it came from."""
    loaded = _load(
        config,
        host=host,
        port=port,
        data_dir=data_dir,
        database_url=database_url,
        rate_limits=False if no_rate_limits else None,
    )
    for setting in loaded.settings():
        print(f"{setting.key} = {setting.value}  ({setting.origin})")
    return EXIT_OK


@app.command
def version() -> int:
    """Print the version."""
    print(f"parley {installed_version('parley')} (Python {python_version()}, trio {trio.__version__})")
    return EXIT_OK


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
    except ConfigError as error:
        for mistake in error.mistakes:
            _complain(str(mistake))
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except _EXPECTED as error:
        _complain(str(error))
        return EXIT_FAILED
    except BaseExceptionGroup as group:
        return _explain(group)
    return result if isinstance(result, int) else EXIT_OK


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    errors = list(_leaves(group))
    if all(isinstance(error, KeyboardInterrupt) for error in errors):
        return EXIT_INTERRUPTED
    if not all(isinstance(error, _EXPECTED) for error in errors):
        raise group  # a bug: the traceback is what is wanted
    for error in errors:
        _complain(str(error))
    return EXIT_FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def _serve(config: Config) -> int:
    """Serve until the first signal has drained the server, or the second one has cut that short."""
    stop = trio.Event()
    drained = False
    with trio.open_signal_receiver(SIGTERM, SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, signals, stop, nursery.cancel_scope)
            await serve_until(config, stop=stop, task_status=_Announcement(config))
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
    """Tells people where the server is, once it is there."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def started(self, value: Addresses | None = None) -> None:
        """Print the address, and the next thing to type."""
        assert value is not None  # noqa: S101  `serve` has addresses to tell
        addresses, config = value, self._config
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
            where = f" --url {_reachable(addresses.url)}"
        if config.guests_allowed:
            print(f"  {program} connect{where}")
        else:
            print(f"  {program} token create NAME")
            print(f"  PARLEY_TOKEN=pt_... {program} connect{where}")
        sys.stdout.flush()


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


def _client_url(url: str | None) -> str:
    """Where the server is: as told, or by the variables that the server itself would obey."""
    url = url or os.environ.get("PARLEY_URL")
    if url:
        return url
    host = os.environ.get("PARLEY_HOST") or "127.0.0.1"
    port = os.environ.get("PARLEY_PORT") or "8000"
    return _reachable(f"ws://{f'[{host}]' if ':' in host else host}:{port}/ws")


def _reachable(url: str) -> str:
    """An address to connect to, for one to serve on: all addresses means this machine's as well."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _own_name() -> str:
    try:
        return getuser()
    except OSError:  # a user id without a name, as in a container
        return "guest"


def _load(config_file: Path | None, **overrides: object) -> LoadedConfig:
    return load_config(environ=os.environ, overrides=overrides, config_file=config_file)


def _configure_logging(config: Config) -> None:
    configure_logging(level=config.log_level, log_format=config.log_format)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _complain(line: str) -> None:
    _say(f"parley: {line}")


if __name__ == "__main__":
    sys.exit(main())
