"""What was typed after `load`, as a scenario and settings; mistakes are told, all at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

from chat.client_options import split_url
from chat.replay_plan import TranscriptError
from scripts.load.scenario import Scenario
from scripts.load.scenario_file import ScenarioError, parse_scenario, with_rate
from scripts.load.worker import read_transcripts

PROCESSES_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A scenario and what was said over it; None: as the scenario has it."""

    scenario: str = "steady"
    users: int | None = None
    duration_s: float | None = None
    rate: float | None = None
    seed: int | None = None
    settings: Sequence[str] = field(default_factory=list[str])


def builtin_names() -> list[str]:
    """The scenarios that come with it."""
    found = (entry.name for entry in files("scripts.load.scenarios").iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def load_choice(choice: Choice) -> Scenario:
    """The scenario that is meant.

    Raises:
        ScenarioError: with every mistake.
    """
    text, source = _read(choice.scenario)
    overrides = list(choice.settings)
    for name, value in (("users", choice.users), ("duration_s", choice.duration_s), ("seed", choice.seed)):
        if value is not None:
            overrides.append(f"{name}={value}")
    scenario = parse_scenario(text, source, overrides)
    if choice.rate is not None:
        if choice.rate <= 0:
            raise ScenarioError(["--rate must be above 0"])
        scenario = with_rate(scenario, choice.rate)
    try:
        read_transcripts(scenario)
    except OSError as error:
        raise ScenarioError([f"replay.files: {error.filename}: {error.strerror}"]) from error
    except TranscriptError as error:
        raise ScenarioError([f"replay.files: {error}"]) from error
    return scenario


def _read(name: str) -> tuple[str, str]:
    """A scenario's text, and what to call it: a built-in name, or a file."""
    if name in builtin_names():
        return files("scripts.load.scenarios").joinpath(f"{name}.toml").read_text(), name
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        known = ", ".join(builtin_names())
        raise ScenarioError([f"no scenario {name}; there are: {known}; or name a TOML file"])
    try:
        return path.read_text(), name
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ScenarioError([f"{name}: {told}"]) from error


def read_tokens(path: Path) -> list[str]:
    """Tokens, one a line.

    Raises:
        ScenarioError: there are none.
    """
    try:
        tokens = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([f"--tokens {path}: cannot be read: {error}"]) from error
    if not tokens:
        raise ScenarioError([f"--tokens {path}: it holds no token"])
    return tokens


def check_url(url: str) -> str:
    """The address, if it is one.

    Raises:
        ScenarioError: it is none.
    """
    try:
        split_url(url)
    except ValueError as error:
        raise ScenarioError([f"--url: {error}"]) from error
    return url
