"""The flusher's rule for waiting."""

from chat.transport.pace import BURST_S, MAX_INTERVAL_S, SHARE, Pace


def run(pace: Pace, *, every_s: float, busy_s: float, flushes: int, repeats: int) -> list[float]:
    """Flush 500 connections every so often; return the wait asked for before each flush."""
    now_s = 0.0
    waits: list[float] = []
    for _ in range(flushes):
        waits.append(pace.wait_s(now_s))
        now_s += busy_s
        pace.after_flush(now_s, busy_s=busy_s, sends=500, frames=500, repeats=repeats)
        now_s += every_s - busy_s
    return waits


def test_an_idle_flusher_never_waits() -> None:
    """The first flush, and any after quiet, leaves at once."""
    assert run(Pace(), every_s=1.0, busy_s=0.1, flushes=20, repeats=500) == [0.0] * 20


def test_a_load_within_the_share_never_waits() -> None:
    """500 subscribers at 40 sends a second, 3 ms each: under an eighth of the time."""
    assert run(Pace(), every_s=0.025, busy_s=0.003, flushes=1000, repeats=500) == [0.0] * 1000


def test_a_load_above_the_share_waits_up_to_the_longest_interval() -> None:
    """A flusher that is busy all the time soon lets frames gather, never longer than 20 ms."""
    waits = run(Pace(), every_s=0.003, busy_s=0.003, flushes=100, repeats=500)

    assert waits[0] == 0.0
    assert waits[-1] > 0.01
    assert max(waits) <= MAX_INTERVAL_S


def test_waiting_is_not_done_where_it_merges_nothing() -> None:
    """Thousands of busy rooms of two: no connection would have two frames, so nothing waits."""
    assert run(Pace(), every_s=0.003, busy_s=0.003, flushes=100, repeats=10) == [0.0] * 100
    assert run(Pace(), every_s=0.003, busy_s=0.003, flushes=100, repeats=374) == [0.0] * 100
    assert any(run(Pace(), every_s=0.003, busy_s=0.003, flushes=100, repeats=375))


def test_frames_that_leave_together_are_reason_enough_to_go_on_waiting() -> None:
    """While waiting no connection is sent to twice, but each send carries two frames and more."""
    pace = Pace()
    now_s = 0.0
    for _ in range(50):
        now_s += 0.003
        pace.after_flush(now_s, busy_s=0.003, sends=500, frames=5000, repeats=0)

    assert pace.wait_s(now_s) > 0.01


def test_waiting_ends_soon_after_the_load() -> None:
    """The bucket holds no more than its burst and one interval."""
    pace = Pace()
    pace.after_flush(100.0, busy_s=50.0, sends=1, frames=2, repeats=1)

    assert pace.wait_s(100.0) == MAX_INTERVAL_S
    assert pace.wait_s(100.0 + MAX_INTERVAL_S) == 0.0
    assert pace.wait_s(100.0 + MAX_INTERVAL_S + BURST_S) == 0.0


def test_in_the_long_run_a_wait_gives_back_what_is_above_the_share() -> None:
    """A flusher that waits as told is busy an eighth of the time."""
    pace = Pace()
    now_s = busy_s = 0.0
    for _ in range(10_000):
        now_s += pace.wait_s(now_s)
        now_s += 0.001
        busy_s += 0.001
        pace.after_flush(now_s, busy_s=0.001, sends=1, frames=2, repeats=0)

    assert abs(busy_s / now_s - SHARE) < 0.01


def test_a_flush_without_sends_does_not_change_the_mind() -> None:
    """A flush that only found drained connections says nothing about merging."""
    pace = Pace()
    pace.after_flush(1.0, busy_s=1.0, sends=1, frames=2, repeats=1)
    pace.after_flush(1.0, busy_s=0.0, sends=0, frames=0, repeats=0)

    assert pace.wait_s(1.0) == MAX_INTERVAL_S
