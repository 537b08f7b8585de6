"""The figures that are compared."""

import pytest

from scripts.bench.peers.results import Climb, Figure, Result
from tests.scripts.bench.peers.support import climb, contestant, run
from tests.scripts.bench.support import shot


def test_every_figure_follows_from_the_runs_and_searches() -> None:
    """CPU by deliveries and by sends, the highest rates, memory and connections."""
    figures = contestant("ws", delivery_us=8, deliveries_per_s=200_000, send_us=60, kb=14).figures()
    assert {figure: value.number for figure, value in figures.items()} == pytest.approx(
        {
            Figure.DELIVERY_CPU: 8,
            Figure.DELIVERIES: 200_000,
            Figure.SEND_CPU: 60,
            Figure.SENDS: 4000,
            Figure.MEMORY: 14,
            Figure.CONNECTS: 10,
            Figure.IDLE_CPU: 2,
        }
    )
    assert all(not value.remark and not value.at_least for value in figures.values())


def test_what_was_not_measured_has_no_figure() -> None:
    """Neither zero nor a guess."""
    assert Result(name="ws", title="ws", lacks="").figures() == {}
    nothing = Climb(best=None, at_least=False, trials=())
    assert Result(name="ws", title="ws", lacks="", climbs={"fanout": nothing}).figures() == {}


def test_a_figure_at_another_rate_or_of_a_broken_run_says_so() -> None:
    """It must be read with care."""
    result = Result(name="ws", title="ws", lacks="", runs={"pairs": run(lost=3)}, rates={"pairs": 500})
    remark = result.figures()[Figure.SEND_CPU].remark
    assert remark == "at 500 sends/s; 3 connections were lost"


def test_another_rate_is_another_than_the_one_that_was_common_to_all() -> None:
    """Whatever the workload's own is."""
    result = Result(
        name="ws", title="ws", lacks="", runs={"pairs": run()}, rates={"pairs": 8000}, common={"pairs": 8000}
    )
    assert "sends/s" not in result.figures()[Figure.SEND_CPU].remark
    result.rates["pairs"] = 500
    assert "at 500 sends/s" in result.figures()[Figure.SEND_CPU].remark


def test_a_figure_of_a_core_that_was_shared_says_so() -> None:
    """Half of it was somebody else's."""
    shots = (shot(0), shot(1, events=100, busy=(50, 0)))
    result = Result(name="ws", title="ws", lacks="", runs={"fanout": run(shots=shots)}, rates={"fanout": 40})
    assert result.figures()[Figure.DELIVERY_CPU].remark == "others took 50% of the server's core"


def test_a_search_that_may_have_ended_early_says_so() -> None:
    """The true figure may be higher."""
    result = Result(name="ws", title="ws", lacks="", climbs={"pairs": climb(16_000, at_least=True)})
    assert result.figures()[Figure.SENDS].at_least


@pytest.mark.parametrize(
    ("name", "peer"), [("limit", False), ("parley", False), ("parley-json", False), ("ws", True)]
)
def test_neither_parley_nor_the_limit_is_a_peer(name: str, peer: bool) -> None:
    """Parley is not compared with itself."""
    assert Result(name=name, title=name, lacks="").is_peer is peer
