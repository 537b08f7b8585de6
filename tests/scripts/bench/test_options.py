"""The command line."""

import os
from pathlib import Path

import pytest

from scripts.bench.budgets import NAMES
from scripts.bench.options import parse_options

CORE = str(min(os.sched_getaffinity(0)))
HERE = ["--server-cpu", CORE, "--client-cpu", CORE]


def test_everything_is_measured_by_default() -> None:
    """In both encodings, at each workload's own rate."""
    options = parse_options(HERE)
    assert list(options.names) == list(NAMES)
    assert options.encodings == ("msgpack", "json")
    assert options.rate is None


def test_quick_is_shorter_and_smaller() -> None:
    """For a first look."""
    quick, whole = parse_options([*HERE, "--quick"]), parse_options(HERE)
    assert quick.seconds < whole.seconds
    assert quick.connections_max < whole.connections_max
    assert quick.history_rows < whole.history_rows


def test_a_workload_can_be_chosen_with_everything_about_it() -> None:
    """As it was typed."""
    options = parse_options(
        [*HERE, "pairs", "--encoding", "json", "--seconds", "2.5", "--rate", "10", "--json", "f"]
    )
    assert (options.names, options.encodings) == (["pairs"], ("json",))
    assert (options.seconds, options.rate, options.json) == (2.5, 10, Path("f"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fanin"], "no workload fanin"),
        (["--seconds", "0"], "--seconds"),
        (["--rate", "0"], "--rate"),
        (["--server-cpu", "4096"], "core 4096"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_measured(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of a wrong command line."""
    with pytest.raises(SystemExit) as ended:
        parse_options([*HERE, *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
