"""What a server's metrics say of the time between two looks."""

from hypothesis import given
from hypothesis import strategies as st

from chat.metrics import Metrics
from scripts.load.record import ServerTick
from scripts.load.server_metrics import Sample, parse_metrics, server_tick

TEXT = """\
# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 1.5e+08
parley_connections 12.0
parley_pressure_level 1.0
parley_writer_backlog_rows 7.0
parley_writer_oldest_wait_seconds 0.004
parley_loop_lag_p99_seconds 0.0015
parley_mailbox_wait_seconds_bucket{{kind="room",le="0.001"}} {fast}
parley_mailbox_wait_seconds_bucket{{kind="room",le="0.01"}} {slow}
parley_mailbox_wait_seconds_bucket{{kind="room",le="+Inf"}} {slow}
parley_mailbox_wait_seconds_bucket{{kind="presence",le="0.001"}} 5.0
parley_mailbox_wait_seconds_bucket{{kind="presence",le="0.01"}} 5.0
parley_mailbox_wait_seconds_bucket{{kind="presence",le="+Inf"}} 5.0
"""


def sample(*, cpu: float = 0.0, fast: float = 0.0, slow: float = 0.0) -> Sample:
    """A scrape of a server that has every metric."""
    return parse_metrics(TEXT.format(cpu=cpu, fast=fast, slow=slow))


def test_a_second_is_the_difference_of_two_looks() -> None:
    """Counters and histograms by difference, gauges as they are now."""
    tick = server_tick(sample(cpu=10.0), sample(cpu=11.5, fast=99, slow=100), 2.0)

    assert tick == ServerTick(
        cpu=0.75,
        memory_bytes=150_000_000,
        mailbox_wait_ms=1.0,
        commit_ms=None,
        commit_lag_ms=4.0,
        loop_lag_ms=1.5,
        backlog_rows=7,
        connections=12,
        pressure=1,
    )


def test_the_99th_percentile_is_the_bucket_that_holds_it() -> None:
    """98 of 100 fast ones are not enough."""
    assert server_tick(sample(), sample(fast=98, slow=100), 1.0).mailbox_wait_ms == 10.0


def test_what_is_above_every_bucket_is_told_as_the_last_bound() -> None:
    """Infinity has no place in a JSON file."""
    before = Sample(buckets={"parley_commit_seconds": {0.5: 0.0, float("inf"): 0.0}})
    after = Sample(buckets={"parley_commit_seconds": {0.5: 0.0, float("inf"): 3.0}})

    assert server_tick(before, after, 1.0).commit_ms == 500.0


def test_a_second_without_turns_has_no_wait() -> None:
    """0 would be a lie."""
    assert server_tick(sample(fast=5, slow=5), sample(fast=5, slow=5), 1.0).mailbox_wait_ms is None


def test_the_first_look_knows_only_gauges() -> None:
    """A rate needs two."""
    tick = server_tick(None, sample(cpu=5.0, fast=1, slow=1), 0.0)

    assert (tick.cpu, tick.mailbox_wait_ms, tick.connections) == (None, None, 12)


def test_a_server_that_was_started_again_has_no_rates_yet() -> None:
    """Its counters begin at 0: the difference is below it, and means nothing."""
    tick = server_tick(sample(cpu=50.0, fast=9, slow=9), sample(cpu=1.0, fast=3, slow=3), 1.0)

    assert (tick.cpu, tick.mailbox_wait_ms) == (None, None)


def test_foreign_metrics_say_nothing() -> None:
    """Another program's, or a page in HTML."""
    assert server_tick(None, parse_metrics("<html>\nnode_load1 3\n"), 1.0) == ServerTick()


def test_a_broken_line_spoils_only_itself() -> None:
    """NaN, an infinity, a line that was cut, one with nonsense for a bound."""
    text = (
        "parley_connections NaN\n"
        "parley_writer_backlog_rows +Inf\n"
        'parley_mailbox_wait_seconds_bucket{kind="room",le="\n'
        'parley_commit_seconds_bucket{le="much"} 3\n'
        'parley_commit_seconds_bucket{le="NaN"} 3\n'
        "parley_loop_lag_p99_seconds\n"
        "parley_pressure_level 2.0\n"
    )

    assert server_tick(parse_metrics(text), parse_metrics(text), 1.0) == ServerTick(pressure=2)


NAMES = st.sampled_from(
    (
        "parley_connections",
        "parley_pressure_level",
        "process_cpu_seconds_total",
        "parley_commit_seconds_bucket",
        "parley_mailbox_wait_seconds_bucket",
    )
)
LINES = st.tuples(
    NAMES, st.sampled_from(("", " ", "{", '{le="', '{le="1"} ', '{le="+Inf"} ')), st.text(max_size=12)
)


@given(st.lists(LINES), st.lists(LINES), st.floats(allow_nan=False))
def test_no_text_is_too_odd(
    before: list[tuple[str, str, str]], after: list[tuple[str, str, str]], elapsed_s: float
) -> None:
    """A server may answer anything: the run goes on."""
    first, second = ("\n".join(map("".join, lines)) for lines in (before, after))

    assert isinstance(server_tick(parse_metrics(first), parse_metrics(second), elapsed_s), ServerTick)


def test_our_servers_metrics_are_understood() -> None:
    """The names of `chat.metrics`, so that a new name there is noticed here."""
    metrics = Metrics()
    before = parse_metrics(metrics.render().decode())
    metrics.counts.connections_opened = 3
    metrics.turns.batch("room", 1, 0.004, 0.001)
    metrics.writers.commit_s.observe(0.02)
    tick = server_tick(before, parse_metrics(metrics.render().decode()), 1.0)

    assert (tick.connections, tick.mailbox_wait_ms, tick.commit_ms) == (3, 5.0, 20.0)
