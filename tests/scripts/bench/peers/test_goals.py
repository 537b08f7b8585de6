"""Whether Parley is what it sets out to be."""

from collections.abc import Mapping, Sequence

from scripts.bench.peers.goals import judge_goals
from scripts.bench.peers.results import Result
from tests.scripts.bench.peers.support import climb, contestant


def _verdicts(results: Sequence[Result]) -> Mapping[str, bool | None]:
    return {verdict.goal: verdict.met for verdict in judge_goals(results)}


def _others() -> list[Result]:
    return [
        contestant("limit", delivery_us=5, deliveries_per_s=200_000, send_us=20, kb=8),
        contestant("socket.io", delivery_us=12, deliveries_per_s=100_000, send_us=100, kb=60),
        contestant("ws", delivery_us=9, deliveries_per_s=150_000, send_us=60, kb=26),
    ]


def test_all_goals_are_met_by_a_parley_that_is_better_than_its_peers() -> None:
    """The limit is held against the C loop alone, the send against Socket.IO alone."""
    parley = contestant("parley", delivery_us=7.9, deliveries_per_s=300_000, send_us=99, kb=23)
    assert set(_verdicts([*_others(), parley]).values()) == {True}


def test_each_goal_is_missed_by_a_parley_that_is_a_little_worse() -> None:
    """By every one of them."""
    parley = contestant("parley", delivery_us=9.5, deliveries_per_s=299_000, send_us=101, kb=27)
    assert set(_verdicts([*_others(), parley]).values()) == {False}


def test_a_goal_is_not_judged_without_what_it_is_held_against() -> None:
    """Nobody is beaten by being alone."""
    verdicts = _verdicts([contestant("parley", kb=20)])
    assert [goal for goal, met in verdicts.items() if met is not None] == ["an idle connection at most 24 KB"]


def test_a_peer_that_may_bear_more_is_not_said_to_be_beaten() -> None:
    """Its client gave out first."""
    others = _others()
    others[-1].climbs["fanout"] = climb(300, per_room=500, at_least=True)
    parley = contestant("parley", deliveries_per_s=500_000)
    assert _verdicts([*others, parley])["2 times the deliveries/s of the best peer"] is None


def test_figures_of_unequal_conditions_are_told_and_not_judged() -> None:
    """Half the rate, or half the core, proves nothing."""
    parley = contestant("parley", send_us=50)
    parley.rates["pairs"] = 500
    verdicts = judge_goals([*_others(), parley])
    verdict = next(found for found in verdicts if "Socket.IO" in found.goal)
    assert verdict.met is None
    assert verdict.told == "50.0; socket.io 100.0 (at 500 sends/s)"


def test_a_peer_that_is_missing_is_named() -> None:
    """A verdict without it is worth less."""
    missing = Result(name="nats", title="NATS", lacks="", failures=["cannot be installed: no apt"])
    verdicts = judge_goals([*_others(), missing, contestant("parley")])
    told = next(verdict.told for verdict in verdicts if "below every peer" in verdict.goal)
    assert told == "10.0; ws 9.0; without nats"


def test_each_encoding_is_judged() -> None:
    """They differ in what they cost."""
    verdicts = judge_goals([*_others(), contestant("parley"), contestant("parley-json")])
    assert {verdict.name for verdict in verdicts} == {"parley", "parley-json"}
