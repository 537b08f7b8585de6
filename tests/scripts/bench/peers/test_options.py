"""The command line of the comparison."""

import os
from pathlib import Path

import pytest

from scripts.bench.peers.options import CONTESTANTS, WORKLOADS, parse_peer_options
from scripts.bench.peers.workloads import CONTESTS, FANOUT, PAIRS, at_common_rate, bounded

CORE = str(min(os.sched_getaffinity(0)))
HERE = ["--server-cpu", CORE, "--client-cpu", CORE]


def test_everybody_is_measured_at_everything_by_default() -> None:
    """And the page goes where the others are."""
    options = parse_peer_options(HERE)
    assert (tuple(options.only), tuple(options.workloads)) == (CONTESTANTS, WORKLOADS)
    assert options.out == Path("docs/benchmarks")


def test_contestants_and_workloads_can_be_chosen() -> None:
    """As they were typed."""
    options = parse_peer_options([*HERE, "--only", "ws, limit", "--workload", "crowd", "--seconds", "2.5"])
    assert (options.only, options.workloads, options.seconds) == (["ws", "limit"], ["crowd"], 2.5)


def test_a_common_rate_can_be_chosen_for_each_workload() -> None:
    """The others keep theirs."""
    options = parse_peer_options([*HERE, "--rate", "pairs=8000"])
    assert at_common_rate(PAIRS, options.rates.get("pairs")).workload.rate == 8000
    assert at_common_rate(FANOUT, options.rates.get("fanout")) == FANOUT


def test_quick_is_shorter_and_smaller() -> None:
    """Fewer rates, of which the lowest and the highest are the same."""
    quick, whole = parse_peer_options([*HERE, "--quick"]), parse_peer_options(HERE)
    assert quick.seconds < whole.seconds
    few = bounded(PAIRS, connections_max=quick.connections_max, quick=True)
    assert len(few.rates) < len(PAIRS.rates)
    assert (few.rates[0], few.rates[-1]) == (PAIRS.rates[0], PAIRS.rates[-1])


def test_a_workload_fits_into_the_connections_that_there_can_be() -> None:
    """With fewer rooms; the rates that are searched are for the whole."""
    for contest in CONTESTS:
        assert bounded(contest, connections_max=500, quick=False).workload.connections <= 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "irc"], "no contestant irc"),
        (["--only", ","], "no contestant"),
        (["--workload", "nap"], "no workload nap"),
        (["--seconds", "0"], "--seconds"),
        (["--rate", "pairs"], "pairs=500..16000"),
        (["--rate", "pairs=fast"], "pairs=500..16000"),
        (["--rate", "pairs=16001"], "pairs=500..16000"),
        (["--rate", "crowd=5"], "pairs=500..16000"),
        (["--server-cpu", "4096"], "core 4096"),
        (["--out", __file__], "not a directory"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_measured(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of a wrong command line."""
    with pytest.raises(SystemExit) as ended:
        parse_peer_options([*HERE, *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
