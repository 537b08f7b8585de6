"""Distributions."""

from hypothesis import given
from hypothesis import strategies as st

from scripts.load.histogram import Histogram, sum_counts


@given(values=st.lists(st.integers(1, 600_000), min_size=1, max_size=200), parts=st.integers(1, 4))
def test_parts_counted_apart_are_the_whole(values: list[int], parts: int) -> None:
    """Quantiles are those of all values, to three digits."""
    counted: list[dict[int, int]] = [{} for _ in range(parts)]
    for index, value in enumerate(values):
        part = counted[index % parts]
        part[value] = part.get(value, 0) + 1
    apart, whole = Histogram(), Histogram()
    for part in counted:
        apart.add(part)
    whole.add(sum_counts(counted))
    assert apart.quantiles() == whole.quantiles()
    told = whole.quantiles()
    assert told.count == len(values)
    assert told.max == max(values) / 10
    exact = sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)] / 10
    assert abs(told.p99 - exact) <= exact * 0.002 + 0.1
    curve = [value for _, value in whole.curve()]
    assert curve == sorted(curve)


def test_nothing_counted_is_nothing() -> None:
    """Zeros, and no curve."""
    empty = Histogram()
    assert empty.quantiles().count == 0
    assert empty.percentile_ms(99) == 0.0
    assert empty.curve() == []


def test_longer_than_an_hour_is_an_hour() -> None:
    """And less than a step is a step."""
    histogram = Histogram()
    histogram.add({10**9: 1, 0: 1})
    assert histogram.quantiles().max == 3_600_000
    assert histogram.percentile_ms(1) == 0.1
