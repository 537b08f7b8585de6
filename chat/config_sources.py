"""Where settings come from, and what is said when they are wrong: all mistakes at once, one line for each.

Later in this list wins over earlier: defaults, the TOML file, `PARLEY_...` in the environment, the command
line. The file is that of `--config`, of `PARLEY_CONFIG`, or none.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from chat.config import Config, CrossCheckError
from chat.errors import ChatError

ENV_PREFIX: Final = "PARLEY_"
OTHER_ENV: Final = frozenset(
    {
        "PARLEY_CONFIG",
        "PARLEY_METRICS",
        "PARLEY_PASSWORD",
        "PARLEY_TOKEN",
        "PARLEY_TOKEN_FILE",
        "PARLEY_URL",
    }
)
"""In our prefix and not settings of a server: the file's place, and what other commands read."""

_SECRET: Final = "********"  # noqa: S105  the mask
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing wrong with the settings.

    Attributes:
        key: the setting, or the name that is none.
        origin: where it was written; "default" for one that was not.
        problem: what is wrong, and what is allowed.
    """

    key: str
    origin: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key} ({self.origin}): {self.problem}"


class ConfigError(ChatError):
    """The settings cannot be used.

    Attributes:
        mistakes: every one that was found.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as it came out: for `config check`.

    Attributes:
        key: its name.
        value: its value for people; a secret is masked.
        origin: where it was written; "default" where it was not.
    """

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """The settings, and where each of them was written (those with their defaults are missing there)."""

    config: Config
    origins: Mapping[str, str]

    def settings(self) -> Iterator[Setting]:
        """Every setting in order, fit for printing."""
        for key in Config.model_fields:
            value: object = getattr(self.config, key)
            yield Setting(key=key, value=_shown(value), origin=self.origins.get(key, _DEFAULT))


def load_config(
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    options: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> LoadedConfig:
    """Read the settings from everywhere, check them as a whole, and say where each came from.

    Args:
        environ: the environment; names without the prefix are ignored.
        overrides: from the command line, by setting; None values do not count as given.
        options: what the option is called where it is not `--` and the setting's name, by setting.
        config_file: the TOML file; None: that of `PARLEY_CONFIG`, if it is set.

    Raises:
        ConfigError: with every mistake. No value of a secret is in its messages.
    """
    mistakes: list[Mistake] = []
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    file = config_file or (Path(environ["PARLEY_CONFIG"]) if environ.get("PARLEY_CONFIG") else None)
    for key, value in _read_file(file, mistakes).items():
        values[key], origins[key] = value, str(file)
    for key, value in _read_environment(environ, mistakes).items():
        values[key], origins[key] = value, ENV_PREFIX + key.upper()
    for key, value in given.items():
        values[key] = value
        origins[key] = (options or {}).get(key) or "--" + key.replace("_", "-")
    known = {key: value for key, value in values.items() if key in Config.model_fields}
    mistakes.extend(
        Mistake(key=key, origin=origins[key], problem=_unknown(key, Config.model_fields))
        for key in values
        if key not in known
    )
    try:
        config = Config(**known)  # type: ignore[arg-type]  # checking them is what this call is for
    except ValidationError as error:
        mistakes.extend(_explain(error, known, origins))
        mistakes.extend(_contradictions_beside(error, known, origins))
        raise ConfigError(mistakes) from None
    if mistakes:
        raise ConfigError(mistakes)
    return LoadedConfig(config=config, origins=origins)


def _read_file(file: Path | None, mistakes: list[Mistake]) -> Mapping[str, object]:
    if file is None:
        return {}
    problem = None
    if not file.is_file():
        problem = "there is no such file"
    else:
        try:
            return TomlConfigSettingsSource(Config, toml_file=file)()
        except OSError as error:
            problem = f"it cannot be read: {error.strerror}"
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problem = f"it is not TOML: {error}"
    mistakes.append(Mistake(key="config", origin=str(file), problem=problem))
    return {}


def _read_environment(environ: Mapping[str, str], mistakes: list[Mistake]) -> Mapping[str, object]:
    ours = {name: value for name, value in environ.items() if name.startswith(ENV_PREFIX)}
    names = {ENV_PREFIX + key.upper() for key in Config.model_fields}
    for name in sorted(ours.keys() - names - OTHER_ENV):
        problem = _unknown(name, names | OTHER_ENV)
        mistakes.append(Mistake(key=name, origin="environment", problem=problem))
    source = EnvSettingsSource(Config)
    # The library reads the process's environment: what counts is the one that this function was given.
    # An empty variable is a variable that was not set: that is how Makefiles and unit files pass them on.
    given = {name.lower(): value for name, value in ours.items() if value and name in names}
    for key in (key for key, field in Config.model_fields.items() if _holds_models(field)):
        name = f"{ENV_PREFIX}{key}".lower()
        if name in given and not _is_json(given[name]):
            mistakes.append(Mistake(key=key, origin=name.upper(), problem="it is not JSON"))
            del given[name]
    source.env_vars = given
    return source()


def _unknown(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return "there is no such setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _explain(
    error: ValidationError, given: Mapping[str, object], origins: Mapping[str, str]
) -> Iterator[Mistake]:
    seen: set[str] = set()
    for detail in error.errors():
        cause: object = detail.get("ctx", {}).get("error")
        if isinstance(cause, CrossCheckError):
            for keys, text in cause.problems:
                where = ", ".join(origins.get(key, _DEFAULT) for key in keys)
                yield Mistake(key=", ".join(keys), origin=where, problem=text)
            continue
        key = str(detail["loc"][0])
        path = _path(detail) if _holds_models(Config.model_fields[key]) else key
        if path in seen:  # one line for a setting, however many alternatives of its type it failed
            continue
        seen.add(path)
        field = Config.model_fields[key]
        if _holds_models(field):
            # What was written may hold a secret anywhere: it is not shown.
            yield Mistake(key=path, origin=origins.get(key, _DEFAULT), problem=_reason(detail))
            continue
        shown = _SECRET if _is_secret(field) else repr(given[key])
        yield Mistake(
            key=key,
            origin=origins.get(key, _DEFAULT),
            problem=f"{shown} is not allowed; {_allowed(field) or _reason(detail)}",
        )


def _contradictions_beside(
    error: ValidationError, given: Mapping[str, object], origins: Mapping[str, str]
) -> Iterator[Mistake]:
    """Contradictions between the settings that are each allowed: the model checks them only when all are."""
    wrong = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
    if not wrong:
        return
    try:
        Config(**{key: value for key, value in given.items() if key not in wrong})  # type: ignore[arg-type]  # as above
    except ValidationError as rest:
        # Defaults stand in for what is wrong: what they contradict is not what anybody wrote.
        for mistake in _explain(rest, given, origins):
            if wrong.isdisjoint(mistake.key.split(", ")):
                yield mistake


def _reason(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _path(detail: ErrorDetails) -> str:
    """Where in a setting: `issuers[0].secret`."""
    first, *others = detail["loc"]
    return str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in others)


def _holds_models(field: FieldInfo) -> bool:
    return any(
        isinstance(member, type) and issubclass(member, BaseModel) for member in _members(field.annotation)
    )


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in _members(field.annotation)


def _members(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401  annotations have no common type
    """The types and literals that a field's annotation allows, in one flat tuple."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        return (annotation,)
    return tuple(member for part in get_args(annotation) for member in _members(part))


def _allowed(field: FieldInfo) -> str | None:
    """What a field takes, in words; None where the error says it better."""
    members = _members(field.annotation)
    words: list[str] = []
    bounds = _bounds([*field.metadata, *members])
    for member in members:
        if member is bool:
            words += ["on", "off"]
        elif member is int:
            words.append(f"a whole number{bounds}")
        elif member is float:
            words.append(f"a number{bounds}")
        elif get_origin(member) is Literal:
            words += [str(literal) for literal in get_args(member)]
    return f"allowed: {' or '.join(words)}" if words else None


def _bounds(metadata: Iterable[object]) -> str:
    flat: list[object] = []
    for item in metadata:
        flat += item.metadata if isinstance(item, FieldInfo) else [item]
    text = ""
    for item in flat:
        match item:
            case Gt(gt=bound):
                text += f" above {bound}"
            case Ge(ge=bound):
                text += f" from {bound}"
            case Lt(lt=bound):
                text += f" below {bound}"
            case Le(le=bound):
                text += f" to {bound}" if " from" in text else f" up to {bound}"
            case _:
                pass
    return text


def _shown(value: object) -> str:
    match value:
        case SecretStr():
            return _SECRET
        case bool():
            return "on" if value else "off"
        case tuple():
            return ", ".join(str(part) for part in value)
        case None:
            return "-"
        case _:
            return str(value)
