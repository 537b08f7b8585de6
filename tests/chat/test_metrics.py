"""What operators read."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chat.errors import CloseCode, ErrorCode
from chat.measures import Counts
from chat.metrics import Figure, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Every sample by its name and the values of its labels."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_every_counter_is_published() -> None:
    """What is counted on the hot path is what a scrape shows; nothing is counted in vain."""
    metrics = Metrics()
    labelled = ("_hits", "_misses")
    names = [
        name for name in Counts.__slots__ if not name.startswith("sessions_") and not name.endswith(labelled)
    ]
    for value, name in enumerate(names, start=1):
        setattr(metrics.counts, name, value)

    found = samples(metrics)

    assert {name: found[f"parley_{name}_total", ""] for name in names} == {
        name: float(value) for value, name in enumerate(names, start=1)
    }


def test_caches_are_told_by_name_and_result() -> None:
    """Hits and misses as they are at the time of the scrape."""
    metrics = Metrics()
    found = {"tail": (1, 2), "token": (0, 0)}
    metrics.add_caches({"tail": lambda: found["tail"], "token": lambda: found["token"]})
    found["token"] = (3, 4)

    seen = {label: value for (name, label), value in samples(metrics).items() if "cache" in name}

    assert seen == {"tail,hit": 1, "tail,miss": 2, "token,hit": 3, "token,miss": 4}


def test_connections_and_sessions_are_those_of_now() -> None:
    """Open connections are those that came and have not gone; sessions are told apart by encoding."""
    metrics = Metrics()
    metrics.counts.connections_opened = 10
    metrics.counts.connections_closed = 4
    metrics.counts.sessions_json = 1
    metrics.counts.sessions_msgpack = 5

    found = samples(metrics)

    assert found["parley_connections", ""] == 6
    assert (found["parley_sessions", "json"], found["parley_sessions", "msgpack"]) == (1, 5)


def test_refusals_and_closes_are_told_by_code() -> None:
    """Every code of the protocol is there from the start, at zero."""
    metrics = Metrics()
    metrics.refused[ErrorCode.BUSY] += 2
    metrics.closed[CloseCode.SLOW_CONSUMER] += 1

    found = samples(metrics)

    assert {label for name, label in found if name == "parley_refused_total"} == {str(c) for c in ErrorCode}
    assert found["parley_refused_total", "busy"] == 2
    assert found["parley_closed_total", "4002"] == 1
    assert found["parley_closed_total", "4000"] == 0


def test_batches_are_histograms() -> None:
    """Turns by kind, flushes, commits, pauses: counts and sums."""
    metrics = Metrics()
    metrics.turns.batch("room", 3, 0.5, 0.25)
    metrics.turns.crashed("room", ValueError())
    metrics.flushes.flush(10, 1000, 0.125)
    metrics.writers.batch_committed(rows=7, batch_bytes=700, commit_s=0.5)
    metrics.gc_pause_s.observe(0.0625)
    metrics.ok_s.observe(0.25)

    found = samples(metrics)

    assert found["parley_mailbox_wait_seconds_sum", "room"] == 0.5
    assert found["parley_turn_seconds_count", "room"] == 1
    assert found["parley_turn_messages_bucket", "room,2.0"] == 0
    assert found["parley_turn_messages_bucket", "room,5.0"] == 1
    assert found["parley_actor_crashes_total", "room"] == 1
    assert found["parley_flush_frames_sum", ""] == 10
    assert found["parley_flush_bytes_sum", ""] == 1000
    assert found["parley_commit_rows_sum", ""] == 7
    assert found["parley_commit_seconds_sum", ""] == 0.5
    assert found["parley_gc_pause_seconds_sum", ""] == 0.0625
    assert found["parley_ok_seconds_count", ""] == 1


def test_gauges_are_read_when_somebody_looks() -> None:
    """A gauge is what its owner says at that moment."""
    metrics = Metrics()
    backlog = [1.0]
    metrics.add_gauge("backlog_rows", "Rows that wait to be written.", lambda: backlog[0])
    backlog[0] = 42.0

    assert samples(metrics)["parley_backlog_rows", ""] == 42
    with pytest.raises(ValueError, match="backlog_rows"):
        metrics.add_gauge("backlog_rows", "Again.", lambda: 0.0)


def test_a_source_is_looked_at_once_for_all_of_its_figures() -> None:
    """Statistics that cost something to collect are collected once a scrape, as counters and gauges."""
    metrics = Metrics()
    looks: list[tuple[float, float]] = []

    def look() -> tuple[float, float]:
        looks.append((len(looks) + 1.0, 7.0))
        return looks[-1]

    metrics.add_source(
        look,
        [
            Figure("counter", "retries", "Again.", lambda seen: seen[0]),
            Figure("gauge", "depth", "Deep.", lambda seen: seen[1]),
        ],
    )
    found = samples(metrics)

    assert looks == [(1.0, 7.0)]
    assert (found["parley_retries_total", ""], found["parley_depth", ""]) == (1, 7)
    with pytest.raises(ValueError, match="depth"):
        metrics.add_gauge("depth", "Again.", lambda: 0.0)


def test_two_servers_count_apart() -> None:
    """Metrics hang off their server: nothing is global."""
    one, other = Metrics(), Metrics()
    one.counts.sends = 5

    assert samples(other)["parley_sends_total", ""] == 0


def test_a_thousand_rooms_are_no_more_metrics_than_one() -> None:
    """The number of samples does not grow with what is served: labels are kinds and codes only."""
    metrics = Metrics()
    metrics.turns.batch("room", 1, 0.0, 0.0)
    before = len(samples(metrics))
    for _ in range(1000):
        metrics.turns.batch("room", 1, 0.0, 0.0)
        metrics.counts.rooms_activated += 1

    assert len(samples(metrics)) == before
