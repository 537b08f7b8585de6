"""The search for the number of users that a server holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.capacity import PRECISION, CapacitySearch, Goals, Limit, limit_of
from scripts.load.record import Quantiles, Violation
from tests.scripts.load.support import record

GOALS = Goals()


@given(first=st.integers(2, 2000), holds=st.integers(2, 20_000))
def test_the_search_ends_near_the_number_that_holds(first: int, holds: int) -> None:
    """Within the precision, in few runs."""
    search = CapacitySearch(first, 20_000)
    runs = 0
    while (users := search.users) is not None:
        runs += 1
        assert runs < 60
        search.tried(users, None if users <= holds else Limit("too many"))
    assert search.good <= holds
    if search.bad is not None:
        assert search.bad > holds
        assert search.bad - search.good <= max(1, search.good * PRECISION)
    else:
        assert search.good == 20_000


def test_the_result_is_told_with_the_limit() -> None:
    """In each of the cases."""
    search = CapacitySearch(100, 150)
    search.tried(100, None)
    search.tried(150, None)
    assert "at least 150" in search.words()
    search = CapacitySearch(100, 1000)
    search.tried(100, Limit("delivery p99 300 ms"))
    assert search.words() == "capacity: below 100 users: delivery p99 300 ms."
    search.tried(50, None)
    search.tried(75, Limit("late", tester=True))
    assert "50 users; at 75: late. This is the tester's limit" in search.words()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, None),
        ({"latency": {"delivery": Quantiles(count=1, p99=251)}}, "delivery p99 251 ms, above 250"),
        ({"errors": {"busy": 1}}, None),
        ({"errors": {"busy": 2, "timeout": 1}}, "most: busy"),
        ({"invalid": ["the tester was late"]}, "the tester was late"),
        ({"connects": 90}, "10 of 100 users could not be let in"),
        ({"ended": "failed", "failure": "the server has gone"}, "the server has gone"),
        (
            {"violation_count": 1, "violations": [Violation(kind="gap", room="r", what="a gap")]},
            "1 broken promises, the first: a gap",
        ),
    ],
)
def test_each_goal_is_a_limit(fields: dict[str, object], words: str | None) -> None:
    """And nothing else is."""
    limit = limit_of(record(**fields), GOALS)
    if words is None:
        assert limit is None
    else:
        assert limit is not None
        assert words in limit.words
        assert limit.tester == ("invalid" in fields)
