"""Plans: who does what when."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chat.replay_plan import read_transcript
from scripts.load.behaviours import (
    BEHAVIOURS,
    Arrivals,
    Behaviour,
    Chat,
    Churn,
    Replay,
    Seat,
    Slow,
    Span,
    Storm,
    arrivals,
)
from scripts.load.operations import Drop, Leave, Say, Send, SendTooLarge, SetStatus, Stall
from scripts.load.plan import Layout
from scripts.load.scenario import Scenario
from tests.scripts.load.support import chance, plan_of

SEAT = Seat(user=3, group=0, join_s=2.0, rooms=(1, 4), place=0, places=1, watches=False, json=False)
SPAN = Span(steady_s=10.0, end_s=100.0)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Any small scenario, replays aside."""
    kinds = [kind for name, kind in BEHAVIOURS.items() if name != "replay"]
    groups = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    return Scenario(
        users=draw(st.integers(2, 40)),
        duration_s=draw(st.floats(1, 60)),
        ramp_s=draw(st.floats(0, 10)),
        seed=draw(st.integers(0, 1000)),
        users_per_room=draw(st.integers(0, 20)),
        rooms_per_user=draw(st.integers(1, 3)),
        watchers=draw(st.floats(0, 1)),
        encoding=draw(st.sampled_from(["msgpack", "json", "both"])),
        groups=tuple(kind(share=draw(st.floats(0.1, 10))) for kind in groups),
    )


@given(scenario=scenarios(), workers=st.integers(1, 5))
def test_a_plan_does_not_depend_on_the_number_of_processes(scenario: Scenario, workers: int) -> None:
    """All workers' plans together are the plan of one."""
    together = {
        user: plan for worker in range(workers) for user, plan in plan_of(scenario, worker, workers).items()
    }
    assert together == plan_of(scenario)


@given(scenario=scenarios())
def test_operations_come_in_order_and_within_the_run(scenario: Scenario) -> None:
    """From the user's coming to the end, in rooms that are the user's."""
    layout = Layout(scenario, chance(scenario.seed))
    for user, plan in plan_of(scenario).items():
        seat = layout.seat(user)
        times = [operation.due_s for operation in plan]
        assert times == sorted(times)
        assert all(seat.join_s <= due_s < scenario.end_s for due_s in times)
        assert {getattr(operation, "room", seat.rooms[0]) for operation in plan} <= set(seat.rooms)


@given(scenario=scenarios())
def test_everybody_has_a_seat_and_every_group_its_share(scenario: Scenario) -> None:
    """Rooms exist, users come during the ramp, and no group is empty while there are users for all."""
    layout = Layout(scenario, chance(scenario.seed))
    seats = [layout.seat(user) for user in range(scenario.users)]
    assert all(0 <= room < scenario.rooms for seat in seats for room in seat.rooms)
    assert all(0 <= seat.join_s <= scenario.ramp_s for seat in seats)
    if scenario.users >= 2 * len(scenario.groups):
        assert {seat.group for seat in seats} == set(range(len(scenario.groups)))
    assert sum(seat.watches for seat in seats) == round(scenario.users * scenario.watchers)


def test_another_seed_is_another_plan() -> None:
    """And the same seed the same one."""
    scenario = Scenario(users=10, groups=(Chat(rate=1.0),))
    assert plan_of(scenario) == plan_of(scenario)
    assert plan_of(scenario) != plan_of(Scenario(users=10, seed=2, groups=(Chat(rate=1.0),)))


def test_rooms_are_of_the_size_asked_for() -> None:
    """Every user is in as many rooms as asked for, every room has its users."""
    scenario = Scenario(users=100, users_per_room=10, rooms_per_user=2, groups=(Chat(),))
    layout = Layout(scenario, chance(1))
    sizes = Counter(room for user in range(100) for room in layout.seat(user).rooms)
    assert sizes == dict.fromkeys(range(20), 10)


def test_arrivals_have_the_rate_asked_for() -> None:
    """On average, for both ways; uniform think times stay between half and one and a half means."""
    how: Arrivals
    for how in ("poisson", "uniform"):
        times = list(arrivals(chance(1), 5.0, 0.0, 2000.0, how))
        assert abs(len(times) - 10_000) < 300
        if how == "uniform":
            gaps = [after - before for before, after in pairwise(times)]
            assert min(gaps) >= 0.1 - 1e-9
            assert max(gaps) <= 0.3 + 1e-9
    assert list(arrivals(chance(1), 0.0, 0.0, 100.0)) == []


def _plan(behaviour: Behaviour) -> list[object]:
    return list(behaviour.plan(SEAT, SPAN, chance(1)))


def test_some_messages_are_too_large_on_purpose() -> None:
    """As many as asked for, about."""
    plan = _plan(Chat(rate=10, refused=0.1))
    assert 60 < sum(isinstance(operation, SendTooLarge) for operation in plan) < 130
    assert sum(isinstance(operation, Send) for operation in plan) > 700


def test_a_storm_drops_everybody_at_the_same_time() -> None:
    """Again and again, back within the time for it."""
    drops = [operation for operation in _plan(Storm(first_s=5, every_s=30)) if isinstance(operation, Drop)]
    assert [drop.due_s for drop in drops] == [15.0, 45.0, 75.0]
    assert all(0 <= drop.away_s <= 5 for drop in drops)


def test_who_is_away_changes_no_status() -> None:
    """Comings and goings take turns, and statuses fall between them."""
    away_until_s = 0.0
    kinds: set[type] = set()
    for operation in Churn(stay_s=5, away_s=3, lost=0.5, rate=1).plan(SEAT, SPAN, chance(1)):
        kinds.add(type(operation))
        assert operation.due_s >= away_until_s
        if isinstance(operation, Drop | Leave):
            away_until_s = operation.due_s + operation.away_s
    assert kinds == {Drop, Leave, SetStatus}


def test_a_slow_reader_is_deaf_for_one_time_after_the_other() -> None:
    """They do not overlap."""
    stalls = [operation for operation in _plan(Slow(every_s=5, for_s=4)) if isinstance(operation, Stall)]
    assert len(stalls) > 3
    assert all(after.due_s >= before.due_s + 4 for before, after in pairwise(stalls))


LINES = [
    b'{"at": "10:00", "nick": "ann", "kind": "message", "text": "hello"}',
    b'{"at": "10:00", "nick": "bob", "kind": "join", "text": ""}',
    b'{"at": "10:01", "nick": "bob", "kind": "message", "text": "hi"}',
    b'{"at": "10:02", "nick": "ann", "kind": "action", "text": "waves"}',
]


def test_a_replay_says_each_line_once_by_whoever_has_the_part() -> None:
    """Faster than it was, from the beginning of what is measured, and again when it is over."""
    span = Span(steady_s=10.0, end_s=13.5, transcripts={"f": read_transcript("f", LINES)})
    behaviour = Replay(files=["f"], speed=60)
    said: list[Say] = []
    for place in range(2):
        seat = Seat(
            user=place, group=0, join_s=0, rooms=(0,), place=place, places=2, watches=False, json=False
        )
        said += [one for one in behaviour.plan(seat, span, chance(1)) if isinstance(one, Say)]
    said.sort()
    assert [(one.due_s, one.text) for one in said] == [
        (10.0, "hello"),
        (11.0, "hi"),
        (12.0, "/me waves"),
        (13.0, "hello"),
    ]
