"""What runs of moderation say: the slowest mute, and how much a purge slows others."""

import pytest

from scripts.bench.moderating_lines import Moderated, Purged, flood_lines, purge_lines
from tests.scripts.bench.support import measured, shot, times


def test_the_slowest_mute_counts() -> None:
    """Not the usual one; without any the budget is missed."""
    run = measured(shot(0.0), shot(1.0, oks=5000))
    (line,) = flood_lines("json", run, Moderated(times_ms=[30.0, 5.0, 7.0]))
    assert (line.value, line.unit, line.met) == (30.0, "ms", True)
    assert "of 3; p50 7.0 ms; 5,000 sends/s" in line.remark
    (none,) = flood_lines("json", run, Moderated(times_ms=[]))
    assert none.met is False


@pytest.mark.parametrize(("beside_ms", "met"), [(3.9, True), (4.1, False)])
def test_a_purge_may_double_the_others_p99(beside_ms: float, met: object) -> None:
    """And no more."""
    alone, beside = (
        measured(shot(0.0), shot(1.0, oks=1000), delivery=times(p99_ms)) for p99_ms in (2.0, beside_ms)
    )
    (line,) = purge_lines("msgpack", alone, beside, Purged(messages=1000, seconds=2.0))
    assert line.met is met
    assert "1,000 messages deleted in 2.0 s" in line.remark
