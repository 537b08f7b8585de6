"""The whole way of one contestant, with the C fan-out in the place of everybody."""

from dataclasses import replace
from pathlib import Path

import pytest

from scripts.bench.budgets import Workload, at_rate
from scripts.bench.driver import compile_c, make_client
from scripts.bench.peers.contestants import LimitContestant
from scripts.bench.peers.options import PeerOptions
from scripts.bench.peers.race import Race
from scripts.bench.peers.results import Figure
from scripts.bench.peers.workloads import CROWD, FANOUT, PAIRS, Contest
from tests.scripts.bench.support import CORES, needs_compiler

OPTIONS = PeerOptions(
    only=["limit"],
    workloads=["pairs"],
    seconds=1.0,
    quick=True,
    rates={},
    connections_max=10,
    cores=CORES,
    nice=None,
    out=Path("nowhere"),
)


def _small(workload: Workload, *, rate: float) -> Workload:
    return replace(at_rate(workload, rate), rooms=2, per_room=2, settle_s=0.0, scale=1.0)


@needs_compiler
@pytest.mark.slow
async def test_a_contestant_is_measured_at_every_workload(tmp_path: Path) -> None:
    """Rooms are kept apart, the best of the rates is found, and the crowd is idle."""
    program = compile_c("limit", tmp_path)
    assert program is not None
    contestant = LimitContestant("limit", program, tmp_path)
    contests = [
        Contest(workload=_small(PAIRS.workload, rate=50), rates=[20.0, 40.0]),
        Contest(workload=_small(CROWD.workload, rate=0), rates=[]),
    ]
    result = await Race(make_client(tmp_path), OPTIONS).measure(contestant, contests)
    assert result.failures == []
    pairs, crowd = result.runs["pairs"], result.runs["crowd"]
    assert pairs.violations() == crowd.violations() == []
    assert pairs.events == pairs.expected_events == pairs.sent * 2
    assert (crowd.live, crowd.sent) == (4, 0)
    assert {trial.rate for trial in result.climbs["pairs"].trials} == {20.0, 40.0}
    assert {Figure.SEND_CPU, Figure.SENDS, Figure.MEMORY, Figure.CONNECTS} <= set(result.figures())


@pytest.mark.slow
async def test_a_contestant_that_does_not_start_is_told_and_passed_over(tmp_path: Path) -> None:
    """The others are still measured."""
    contestant = LimitContestant("limit", tmp_path / "missing", tmp_path)
    contest = Contest(workload=_small(FANOUT.workload, rate=10), rates=[10.0])
    result = await Race(make_client(tmp_path), OPTIONS).measure(contestant, [contest])
    assert result.figures() == {}
    assert len(result.failures) == 1
    assert "did not start" in result.failures[0]
