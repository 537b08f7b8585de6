"""Figures out of the server's metrics."""

from math import inf

from chat.measures import SECONDS
from chat.metrics import Metrics
from scripts.bench.scrape import GC_PAUSE, longest, read_buckets


def _scrape(metrics: Metrics) -> str:
    return metrics.render().decode()


def test_buckets_are_read_from_what_the_server_renders() -> None:
    """Every bound, cumulative."""
    metrics = Metrics()
    metrics.gc_pause_s.observe(0.003)
    buckets = read_buckets(_scrape(metrics), GC_PAUSE)
    assert set(buckets) == {*SECONDS, inf}
    assert (buckets[0.0025], buckets[0.005], buckets[inf]) == (0, 1, 1)


def test_the_longest_pause_is_one_since_the_first_scrape() -> None:
    """What was before does not count."""
    metrics = Metrics()
    metrics.gc_pause_s.observe(0.4)
    before = _scrape(metrics)
    metrics.gc_pause_s.observe(0.015)
    metrics.gc_pause_s.observe(0.001)
    assert longest(before, _scrape(metrics), GC_PAUSE) == 0.02


def test_there_is_no_longest_of_nothing() -> None:
    """No pause is not a pause of zero seconds."""
    scrape = _scrape(Metrics())
    assert longest(scrape, scrape, GC_PAUSE) is None


def test_what_is_above_every_bound_is_told_as_such() -> None:
    """Rather infinite than a wrong number."""
    metrics = Metrics()
    before = _scrape(metrics)
    metrics.gc_pause_s.observe(60)
    assert longest(before, _scrape(metrics), GC_PAUSE) == inf
