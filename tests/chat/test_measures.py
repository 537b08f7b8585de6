"""What is counted on the hot path."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import TurnObserver
from chat.measures import SECONDS, Counts, FlushMetrics, Histogram, TurnMetrics, WriterMetrics
from chat.transport import FlushObserver
from storage import WriterObserver

BOUNDS: Final = (1.0, 2.0, 5.0)


@given(st.lists(st.floats(min_value=0, max_value=10)))
def test_a_histogram_counts_as_many_as_are_within_each_bound(values: list[float]) -> None:
    """Cumulative counts are those of counting one by one; a value on a bound is within it."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)

    assert histogram.buckets() == [
        *((str(bound), sum(value <= bound for value in values)) for bound in BOUNDS),
        ("+Inf", len(values)),
    ]
    assert histogram.count == len(values)
    assert histogram.total == pytest.approx(sum(values))


def test_bounds_rise() -> None:
    """A histogram's bounds are in order."""
    assert list(SECONDS) == sorted(SECONDS)


def test_counts_have_no_place_for_a_typing_error() -> None:
    """Everything starts at zero, and an unknown counter is an error, not a new one."""
    counts = Counts()

    assert {getattr(counts, name) for name in Counts.__slots__} == {0}
    assert not hasattr(counts, "__dict__")


def test_turns_are_counted_by_kind() -> None:
    """The actor runtime's news are kept by kind of actor, never by actor."""
    turns = TurnMetrics()
    observer: TurnObserver = turns
    observer.batch("room", 3, 0.001, 0.0001)
    observer.batch("room", 5, 0.001, 0.0001)
    observer.batch("session", 1, 0.0, 0.0)
    observer.crashed("room", ValueError())

    assert turns.kinds["room"][0].total == 8
    assert turns.kinds["session"][0].count == 1
    assert turns.crashes == {"room": 1}


def test_flushes_are_counted() -> None:
    """The flusher's news are spread over histograms of frames, bytes and time."""
    flushes = FlushMetrics()
    observer: FlushObserver = flushes
    observer.flush(10, 1000, 0.001)
    observer.flush(20, 2000, 0.002)

    assert (flushes.frames.total, flushes.sizes_bytes.total, flushes.seconds.count) == (30, 3000, 2)


def test_commits_are_counted() -> None:
    """The writers' commits are spread over histograms; what goes wrong they count themselves."""
    writers = WriterMetrics()
    observer: WriterObserver = writers
    observer.batch_committed(rows=100, batch_bytes=9000, commit_s=0.004)
    observer.batch_failed(ValueError(), failures=1, retry_s=0.1)
    observer.row_parked("bad")

    assert (writers.rows.total, writers.sizes_bytes.total, writers.commit_s.count) == (100, 9000, 1)
