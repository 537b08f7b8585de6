"""What was typed, before anything is started."""

from pathlib import Path

import pytest

from scripts.load.cli import main
from scripts.load.options import Choice, check_url, load_choice, read_tokens
from scripts.load.scenario_file import ScenarioError


def test_options_overrule_the_scenario() -> None:
    """The file says the rest."""
    scenario = load_choice(Choice(scenario="steady", users=50, duration_s=3, seed=9, rate=10))
    assert (scenario.users, scenario.duration_s, scenario.seed) == (50, 3, 9)
    assert scenario.groups[0].sends_per_s * 50 == pytest.approx(10)


def test_a_file_of_ones_own_is_a_scenario_too(tmp_path: Path) -> None:
    """By its path."""
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[[group]]\nbehaviour = "typing"\n')
    assert load_choice(Choice(scenario=str(path))).name == "mine"


def test_recordings_are_read_before_anything_starts(tmp_path: Path) -> None:
    """One that is missing or broken is a mistake."""
    missing = Choice(scenario="replay", settings=[f"replay.files={tmp_path / 'none.jsonl'}"])
    with pytest.raises(ScenarioError, match=r"none\.jsonl"):
        load_choice(missing)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    with pytest.raises(ScenarioError, match=r"broken\.jsonl:1"):
        load_choice(Choice(scenario="replay", settings=[f"replay.files={broken}"]))


@pytest.mark.parametrize("arguments", [["nosuch"], ["./missing.toml"], ["--rate", "0"], ["--url", "ftp://h"]])
def test_a_mistake_ends_with_the_code_of_a_wrong_command_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line on standard error, and nothing is started."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("load: ")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("arguments", [["--users", "1"], ["--users", "20001"], ["--processes", "0"], ["--x"]])
def test_numbers_out_of_range_are_a_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """So are options that there are not."""
    assert main(arguments) == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_record_that_could_not_be_written_is_told_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after it."""
    assert main(["--json", str(tmp_path / "no" / "where.json")]) == 2
    assert "--json" in capsys.readouterr().err


def test_tokens_are_read_line_by_line(tmp_path: Path) -> None:
    """A file without any is a mistake."""
    path = tmp_path / "tokens"
    path.write_text("pt_a\n\n pt_b \n")
    assert read_tokens(path) == ["pt_a", "pt_b"]
    path.write_text("\n")
    with pytest.raises(ScenarioError, match="no token"):
        read_tokens(path)
    with pytest.raises(ScenarioError, match="cannot be read"):
        read_tokens(tmp_path / "missing")
    assert check_url("ws://h/ws") == "ws://h/ws"
