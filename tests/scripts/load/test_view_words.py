"""Figures as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.words import clock, milliseconds, number, percent, plural, size, sparkline


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (0.034, "0.03"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (5e13, "5.00e+13"),
    ],
)
def test_a_number_has_three_digits_that_count(value: float | None, shown: str) -> None:
    """More of them would be noise."""
    assert number(value) == shown


def test_units_are_told() -> None:
    """A figure without one is a riddle."""
    assert milliseconds(2.5) == "2.50 ms"
    assert percent(0.973) == "97 %"
    assert [size(512), size(3 << 20), size(2 << 40)] == ["512 B", "3.00 MiB", "2.00 TiB"]
    assert [milliseconds(None), percent(None), size(None)] == ["-", "-", "-"]


def test_a_clock_counts_hours_when_there_are_any() -> None:
    """Most runs have none."""
    assert [clock(0), clock(65.9), clock(3605)] == ["00:00", "01:05", "1:00:05"]


def test_one_is_not_many() -> None:
    """Also where the plural is another word."""
    assert [plural(1, "room"), plural(2, "room"), plural(2, "is", "are")] == ["1 room", "2 rooms", "2 are"]


def test_a_sparkline_scales_to_its_largest_value_and_leaves_gaps() -> None:
    """The lowest bar is 0, a blank is "unknown"."""
    assert sparkline([0, None, 50, 100], width=10) == "▁ ▅█"
    assert sparkline([0, 100], width=10, ascii_only=True) == "_#"


@given(
    st.lists(st.none() | st.floats(min_value=0, allow_nan=False, allow_infinity=False)), st.integers(-3, 80)
)
def test_a_sparkline_fits(values: list[float | None], width: int) -> None:
    """Whatever the values, it is one character each, and the latest are kept."""
    assert len(sparkline(values, width=width)) == min(len(values), max(width, 0))
