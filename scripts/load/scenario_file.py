"""PURE: the text of a scenario file to a `Scenario`, or every mistake in it, each told in one line."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final, TypeVar, cast

import msgspec

from scripts.load.behaviours import BEHAVIOURS, Behaviour
from scripts.load.scenario import Scenario

GROUPS: Final = "group"
KIND: Final = "behaviour"

StructT = TypeVar("StructT", bound=msgspec.Struct)


class ScenarioError(ValueError):
    """A scenario cannot be used.

    Attributes:
        mistakes: what is wrong with it, one line each.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def parse_scenario(text: str, source: str, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Args:
        text: TOML: the fields of `Scenario`, and `[[group]]` tables with `behaviour` and its settings.
        source: named in every mistake.
        overrides: `KEY=VALUE`, or `BEHAVIOUR.KEY=VALUE` for every group with that behaviour.

    Raises:
        ScenarioError: with every mistake that was found.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([f"{source}: no TOML: {error}"]) from error
    return scenario_of(table, source, overrides)


def scenario_of(table: Mapping[str, object], source: str, overrides: Sequence[str] = ()) -> Scenario:
    """As `parse_scenario`, of what the text says; the reverse of `Scenario.as_table`."""
    table = dict(table)
    mistakes: list[str] = []
    raw_groups: object = table.pop(GROUPS, [])
    groups = _tables(raw_groups)
    if groups is None:
        mistakes.append(f"{source}: `group` must be tables: [[group]]")
        groups = []
    for override in overrides:
        _override(override, table, groups, mistakes)
    behaviours: list[Behaviour] = []
    for number, group in enumerate(groups, 1):
        behaviour = _behaviour(group, f"{source}: group {number}", mistakes)
        if behaviour is not None:
            behaviours.append(behaviour)
    if not raw_groups:
        mistakes.append(f"{source}: it has no [[group]]: nobody would do anything")
    scenario = _struct(Scenario, table, source, mistakes, besides=("groups",))
    if mistakes or scenario is None:
        raise ScenarioError(mistakes)
    return msgspec.structs.replace(scenario, groups=tuple(behaviours))


def with_rate(scenario: Scenario, sends_per_s: float) -> Scenario:
    """The scenario with so many messages a second in all, its groups sharing them as before.

    Raises:
        ScenarioError: none of its groups sends.
    """
    total_share = sum(group.share for group in scenario.groups)
    now = sum(group.share * group.sends_per_s for group in scenario.groups) * scenario.users / total_share
    if now <= 0:
        raise ScenarioError([f"--rate: nobody in {scenario.name} sends at a rate"])
    factor = sends_per_s / now
    groups: list[Behaviour] = []
    for group in scenario.groups:
        if group.sends_per_s > 0:
            rate = cast("float", getattr(group, "rate")) * factor  # noqa: B009  who sends has a rate
            groups.append(msgspec.structs.replace(group, rate=rate))
        else:
            groups.append(group)
    return msgspec.structs.replace(scenario, groups=tuple(groups))


def _tables(value: object) -> list[dict[str, object]] | None:
    if not isinstance(value, list):
        return None
    items = cast("list[object]", value)
    if not all(isinstance(item, dict) for item in items):
        return None
    return cast("list[dict[str, object]]", items)


def _override(
    override: str, table: dict[str, object], groups: list[dict[str, object]], mistakes: list[str]
) -> None:
    key, equals, raw = override.partition("=")
    if not equals or not key:
        mistakes.append(f"--set {override}: must be KEY=VALUE, or BEHAVIOUR.KEY=VALUE")
        return
    kind, dot, name = key.partition(".")
    if not dot:
        table[key] = _value(raw, _annotation(Scenario, key))
        return
    of_kind = [group for group in groups if group.get(KIND) == kind]
    if not of_kind:
        kinds = ", ".join(sorted({str(group.get(KIND)) for group in groups}))
        mistakes.append(f"--set {override}: no group's behaviour is {kind}; there are: {kinds or 'none'}")
    for group in of_kind:
        group[name] = _value(raw, _annotation(BEHAVIOURS.get(kind, Behaviour), name))


def _annotation(kind: type[msgspec.Struct], name: str) -> str:
    return next((str(field.type) for field in msgspec.structs.fields(kind) if field.name == name), "")


def _value(raw: str, annotation: str) -> object:
    """What was typed, as TOML where it is some; a list of words may do without brackets and quotes."""
    try:
        return cast("object", tomllib.loads(f"value = {raw}")["value"])
    except tomllib.TOMLDecodeError:
        return raw.split(",") if "list" in annotation else raw


def _behaviour(group: dict[str, object], where: str, mistakes: list[str]) -> Behaviour | None:
    settings = dict(group)
    name = settings.pop(KIND, None)
    if not isinstance(name, str) or name not in BEHAVIOURS:
        hint = _nearest(str(name), BEHAVIOURS)
        known = ", ".join(BEHAVIOURS)
        told = f"no behaviour {name!r}" if name is not None else "`behaviour` is missing"
        mistakes.append(f"{where}: {told}{hint}; there are: {known}")
        return None
    behaviour = _struct(BEHAVIOURS[name], settings, f"{where} ({name})", mistakes)
    if behaviour is not None:
        mistakes += [f"{where} ({name}): {problem}" for problem in behaviour.problems()]
    return behaviour


def _struct(
    kind: type[StructT],
    table: Mapping[str, object],
    where: str,
    mistakes: list[str],
    besides: Sequence[str] = (),
) -> StructT | None:
    """The record that a table describes; None, and what is wrong among the mistakes."""
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in besides}
    values: dict[str, object] = {}
    before = len(mistakes)
    for key, value in table.items():
        field = fields.get(key)
        if field is None:
            mistakes.append(f"{where}: no setting `{key}`{_nearest(key, fields)}")
            continue
        try:
            converted: object = msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            mistakes.append(f"{where}: {key} = {value!r}: {_in_words(error)}")
        else:
            values[key] = converted
    return kind(**values) if len(mistakes) == before else None


def _in_words(error: msgspec.ValidationError) -> str:
    return str(error).replace("`", "").lower()


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, n=1)
    return f" (do you mean `{near[0]}`?)" if near else ""
