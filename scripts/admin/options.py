"""Options that the commands share."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from chat.cli_options import DatabaseOptions, UsageMistake
from scripts.admin.durations import parse_duration

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How it is told."""

    json: Annotated[bool, Parameter(negative=(), help="Print JSON, for scripts.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlaceOptions(OutputOptions):
    """Where the server is."""

    url: Annotated[str | None, Parameter(help="The server's address, ws://HOST:PORT/ws [PARLEY_URL].")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServerOptions(PlaceOptions):
    """Where the server is, and who asks."""

    token_file: Annotated[
        Path | None,
        Parameter(
            help="A file of mode 0600 with your token [PARLEY_TOKEN_FILE]; PARLEY_TOKEN has it itself."
        ),
    ] = None

    def token(self) -> str:
        """The token to come with.

        Raises:
            UsageMistake: there is none, or others can read it.
        """
        if self.token_file is None and os.environ.get("PARLEY_TOKEN"):
            return os.environ["PARLEY_TOKEN"]
        return read_token(token_path(self.token_file))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrialOptions(ServerOptions):
    """The same, for what changes something."""

    dry_run: Annotated[bool, Parameter(negative=(), help="Say what would change, and change nothing.")] = (
        False
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ActOptions(TrialOptions):
    """The same, for what is done to somebody."""

    reason: Annotated[str | None, Parameter(help="Why: as the user is told, and as the audit keeps it.")] = (
        None
    )
    yes: Annotated[bool, Parameter(negative=(), name=("--yes", "-y"), help="Do not ask.")] = False

    def needed_reason(self) -> str:
        """The reason.

        Raises:
            UsageMistake: there is none.
        """
        if not self.reason:
            raise UsageMistake("say why, with --reason: it is told, and kept in the audit")
        return self.reason


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfflineOptions(DatabaseOptions):
    """Which database, for what needs no server."""

    json: Annotated[bool, Parameter(negative=(), help="Print JSON, for scripts.")] = False


def token_path(named: Path | None = None) -> Path:
    """Where the token is kept: as named, or by the environment, or in the user's configuration."""
    if named is not None:
        return named
    told = os.environ.get("PARLEY_TOKEN_FILE")
    if told:
        return Path(told)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "parley" / "token"


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        UsageMistake: there is none, or others can read it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(4096).strip()
    except FileNotFoundError:
        raise UsageMistake(
            f"no token: `parley admin login NAME` puts one into {path}, or set PARLEY_TOKEN"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageMistake(f"{path}: the token cannot be read: {error}") from error
    if mode & _OTHERS:
        raise UsageMistake(f"others can read {path}: chmod 600 {path}")
    if not token:
        raise UsageMistake(f"{path} is empty: `parley admin login NAME` puts a token there")
    return token


def write_token(path: Path, token: str) -> None:
    """Keep a token where only its owner reads it; a former one is replaced as a whole.

    Raises:
        OSError: it cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{token}\n")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def seconds(text: str | None, option: str) -> float | None:
    """A duration that was typed; None where none was.

    Raises:
        UsageMistake: it is none.
    """
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageMistake(f"{option}: {error}") from error
