"""When the poller waits before it looks again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.transport.read_pace import CROWD, PAUSE_S, ReadPace


def test_lone_messages_never_wait() -> None:
    """However many come one after the other."""
    pace = ReadPace()

    assert {pace.after_look(1) for _ in range(1000)} == {0.0}


@pytest.mark.parametrize(("ready", "looks"), [(2, 14), (5, 4), (100, 1)])
def test_a_crowd_waits_after_a_few_looks_and_the_more_come_the_sooner(ready: int, looks: int) -> None:
    """The average has to rise first: one look with two of them is chance."""
    pace = ReadPace()
    pauses = [pace.after_look(ready) for _ in range(looks)]

    assert pauses == [0.0] * (looks - 1) + [PAUSE_S]


def test_when_the_crowd_has_gone_nobody_waits_any_more() -> None:
    """Sixty looks with one forget a hundred at once."""
    pace = ReadPace()
    pace.after_look(100)
    pauses = [pace.after_look(1) for _ in range(60)]

    assert pauses[0] == PAUSE_S
    assert pauses[-1] == 0.0


@given(st.lists(st.integers(0, 512), max_size=50))
def test_a_pause_follows_the_average_and_nothing_else(ready: list[int]) -> None:
    """Against the sum written out: each look counts nine tenths of the one after it."""
    pace = ReadPace()
    for number, _ in enumerate(ready, start=1):
        average = sum(count * 0.1 * 0.9 ** (number - 1 - at) for at, count in enumerate(ready[:number]))
        pause_s = pace.after_look(ready[number - 1])
        if abs(average - CROWD) > 1e-9:
            assert pause_s == (PAUSE_S if average >= CROWD else 0.0)
