"""When the wall clock is believed, and when not."""

from chat.clock_trust import DOUBT_S, JUMP_MIN_MS, ClockTrust

BEGIN_MS = 1_700_000_000_000


def test_a_clock_that_runs_is_believed() -> None:
    """Also one that is slewed, or set back."""
    trust = ClockTrust(now_ms=BEGIN_MS, now_s=5.0)
    assert trust.is_trusted(now_ms=BEGIN_MS + 3_600_000, now_s=3605.0)
    assert trust.is_trusted(now_ms=BEGIN_MS + 7_200_000 + JUMP_MIN_MS, now_s=7205.0)
    assert trust.is_trusted(now_ms=BEGIN_MS, now_s=7206.0)


def test_a_clock_that_jumped_forward_is_doubted_for_a_day() -> None:
    """Then it will be right."""
    trust = ClockTrust(now_ms=BEGIN_MS, now_s=0.0)
    jumped_ms = BEGIN_MS + 10 * 86_400_000
    assert not trust.is_trusted(now_ms=jumped_ms, now_s=1.0)
    assert not trust.is_trusted(now_ms=jumped_ms + 86_399_000, now_s=DOUBT_S)
    assert trust.is_trusted(now_ms=jumped_ms + 86_400_000, now_s=DOUBT_S + 1.0)
    assert trust.is_trusted(now_ms=jumped_ms + 86_401_000, now_s=DOUBT_S + 2.0)


def test_a_clock_that_was_set_right_again_is_believed_at_once() -> None:
    """And doubted anew at the next jump."""
    trust = ClockTrust(now_ms=BEGIN_MS, now_s=0.0)
    assert not trust.is_trusted(now_ms=BEGIN_MS + 600_000, now_s=1.0)
    assert trust.is_trusted(now_ms=BEGIN_MS + 2_000, now_s=2.0)
    assert not trust.is_trusted(now_ms=BEGIN_MS + 600_000, now_s=3.0)
