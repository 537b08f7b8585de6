"""How much of a page goes into one answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.answer_size import fitting

TEN = [b"x" * 10] * 10


@pytest.mark.parametrize(
    ("start", "max_bytes", "expected"),
    [
        (0, 1000, range(10)),
        (0, 35, range(3)),
        (9, 35, range(7, 10)),
        (5, 35, range(4, 7)),
        (5, 45, range(3, 7)),
        (0, 1, range(1)),
        (9, 100, range(10)),
    ],
)
def test_what_fits_lies_around_the_place_that_was_asked_for(
    start: int, max_bytes: int, expected: range
) -> None:
    """From the oldest onwards, from the newest backwards, or both ways from the middle."""
    assert fitting(TEN, start, max_bytes) == expected


@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20), data=st.data(), max_bytes=st.integers(0, 300)
)
def test_no_answer_is_above_the_bound_but_for_a_single_item(
    sizes: list[int], data: st.DataObject, max_bytes: int
) -> None:
    """What is given contains the start, fits, and could not be longer on both sides."""
    items = [b"x" * size for size in sizes]
    start = data.draw(st.integers(0, len(items) - 1))
    places = fitting(items, start, max_bytes)
    assert start in places
    total = sum(sizes[place] for place in places)
    assert total <= max_bytes or len(places) == 1
    room = max_bytes - total
    assert places.start == 0 or sizes[places.start - 1] > room or len(places) == 1
    assert places.stop == len(items) or sizes[places.stop] > room or len(places) == 1
