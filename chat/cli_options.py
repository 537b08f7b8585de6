"""What the commands of `parley` share: exit codes, options that are settings, and how they speak."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from chat.config import Config
from chat.config_sources import LoadedConfig, load_config
from chat.errors import ChatError
from chat.logs import configure_logging

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_OPTIONS: Final[Mapping[str, str]] = {"rate_limits": "--no-rate-limits"}
"""Options that are not called as their settings are."""


class UsageMistake(ChatError):
    """The command line asks for what makes no sense."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DatabaseOptions:
    """Which database is meant."""

    data_dir: Annotated[
        Path | None, Parameter(help="The embedded database's directory [PARLEY_DATA_DIR].")
    ] = None
    database_url: Annotated[
        str | None, Parameter(help="A PostgreSQL of yours instead of the embedded one [PARLEY_DATABASE_URL].")
    ] = None
    config: Annotated[Path | None, Parameter(help="A TOML file with settings [PARLEY_CONFIG].")] = None

    def overrides(self) -> dict[str, object]:
        """What was given, by setting; None: it was not."""
        return {"data_dir": self.data_dir, "database_url": self.database_url}

    def load(self) -> LoadedConfig:
        """The settings of these options, the environment and the file.

        Raises:
            ConfigError: they cannot be used.
        """
        return load_config(
            environ=os.environ, overrides=self.overrides(), options=_OPTIONS, config_file=self.config
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServerOptions(DatabaseOptions):
    """Where and how to serve."""

    host: Annotated[str | None, Parameter(help="The address to serve on [PARLEY_HOST].")] = None
    port: Annotated[int | None, Parameter(help="The port to serve on; 0: any [PARLEY_PORT].")] = None
    no_rate_limits: Annotated[
        bool, Parameter(negative=(), help="For testers: no limits per second [PARLEY_RATE_LIMITS=off].")
    ] = False

    def overrides(self) -> dict[str, object]:
        """See `DatabaseOptions.overrides`."""
        rate_limits = False if self.no_rate_limits else None
        return {**super().overrides(), "host": self.host, "port": self.port, "rate_limits": rate_limits}


def configure(config: Config) -> None:
    """Log as the settings say."""
    configure_logging(level=config.log_level, log_format=config.log_format)


def say(line: str) -> None:
    """Tell a person something that is not the command's result."""
    print(line, file=sys.stderr)
