"""Scenario files: what they say, and what is said of their mistakes."""

from pathlib import Path

import msgspec
import pytest

from scripts.load.behaviours import Chat, Churn
from scripts.load.options import builtin_names
from scripts.load.scenario_file import ScenarioError, parse_scenario, scenario_of, with_rate

CHAT = '[[group]]\nbehaviour = "chat"\nrate = 0.5\n'
SCENARIOS = Path(__file__).parents[3] / "scripts" / "load" / "scenarios"


def test_a_file_becomes_its_scenario() -> None:
    """Settings as written, defaults for the rest."""
    scenario = parse_scenario('name = "n"\nusers = 50\nusers_per_room = 10\n' + CHAT, "f")
    assert (scenario.name, scenario.users, scenario.rooms) == ("n", 50, 5)
    assert scenario.groups == (Chat(rate=0.5),)


def test_fewer_users_than_a_room_takes_say_nothing_of_more_users() -> None:
    """All of them are in one room; ten times as many, as a search for the capacity tries, are not."""
    scenario = parse_scenario("users = 50\nusers_per_room = 100\n" + CHAT, "f")
    assert scenario.rooms == 1
    assert msgspec.structs.replace(scenario, users=1_000).rooms == 10


@pytest.mark.parametrize("name", builtin_names())
def test_every_scenario_that_comes_with_it_is_sound(name: str) -> None:
    """Its name is its file's, and its table read again is the same scenario."""
    text = (SCENARIOS / f"{name}.toml").read_text()
    scenario = parse_scenario(text, name, ["replay.files=a.jsonl"] if name == "replay" else [])
    assert scenario.name == name
    assert scenario.description
    assert scenario_of(scenario.as_table(), name) == scenario


def test_settings_of_the_command_line_win() -> None:
    """Of the scenario, and of all groups with a behaviour."""
    scenario = parse_scenario(
        "users = 10\n" + CHAT + CHAT + '[[group]]\nbehaviour = "churn"\n',
        "f",
        ["users=20", "chat.rate=2", "encoding=json"],
    )
    assert scenario.users == 20
    assert scenario.encoding == "json"
    assert [group.rate for group in scenario.groups if isinstance(group, Chat | Churn)] == [2, 2, 0.05]


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        ("users = ", [], "no TOML"),
        ("usres = 10\n" + CHAT, [], "no setting `usres` (do you mean `users`?)"),
        ('users = "ten"\n' + CHAT, [], "users = 'ten': expected int, got str"),
        ("users = 30000\n" + CHAT, [], "expected int <= 20000"),
        ("users = 1\n" + CHAT, [], "expected int >= 2"),
        ("duration_s = 0\n" + CHAT, [], "expected float > 0.0"),
        ('encoding = "xml"\n' + CHAT, [], "invalid enum value 'xml'"),
        ("", [], "it has no [[group]]"),
        ("group = 3\n", [], "must be tables"),
        ("[[group]]\nrate = 1\n", [], "`behaviour` is missing"),
        ('[[group]]\nbehaviour = "caht"\n', [], "no behaviour 'caht' (do you mean `chat`?)"),
        (CHAT + "rat = 1\n", [], "group 1 (chat): no setting `rat` (do you mean `rate`?)"),
        ('[[group]]\nbehaviour = "chat"\nbody_bytes = 9000\n', [], "body_bytes = 9000"),
        ('[[group]]\nbehaviour = "replay"\n', [], "files: name one recording"),
        ('[[group]]\nbehaviour = "storm"\nwithin_s = 30\n', [], "within_s: must not be above every_s"),
        (CHAT, ["users"], "must be KEY=VALUE"),
        (CHAT, ["churn.rate=1"], "no group's behaviour is churn; there are: chat"),
        (CHAT, ["usres=1"], "no setting `usres`"),
    ],
)
def test_a_mistake_is_told_in_one_clear_line(text: str, overrides: list[str], words: str) -> None:
    """Naming what is wrong and, where there is one, the nearest name."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "my.toml", overrides)
    assert len(caught.value.mistakes) == 1
    assert words in caught.value.mistakes[0]


def test_several_mistakes_are_told_at_once() -> None:
    """So that nobody mends them one by one."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario('users = "x"\nramp_s = -1\n' + CHAT + "a = 1\n", "my.toml", ["b=1"])
    assert len(caught.value.mistakes) == 4


def test_a_rate_is_shared_as_the_groups_shared_before() -> None:
    """All messages a second together, in the same proportions."""
    text = (
        'users = 100\n[[group]]\nbehaviour = "chat"\nrate = 0.1\n[[group]]\nbehaviour = "chat"\nrate = 0.3\n'
    )
    scenario = with_rate(parse_scenario(text, "f"), 40)
    rates = [group.rate for group in scenario.groups if isinstance(group, Chat)]
    assert rates == pytest.approx([0.2, 0.6])


def test_a_rate_for_nobody_is_a_mistake() -> None:
    """Who only types has no messages to send."""
    scenario = parse_scenario('[[group]]\nbehaviour = "typing"\n', "f")
    with pytest.raises(ScenarioError, match="nobody"):
        with_rate(scenario, 10)
