"""PURE: what a replay measured, and how it is told."""

from collections.abc import Sequence
from typing import Final

import msgspec

PERCENT: Final = 100


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one replay.

    Attributes:
        messages: sent and stored.
        left_out: lines without text, which cannot be sent.
        deliveries: events that reached a connection, one's own included.
        elapsed_s: from the first line to the last `ok`, the check not included.
        ok_p50_ms: from a message's first sending to its `ok`.
        differences: what the check found; empty when every history equals its file.
    """

    files: int
    nicknames: int
    messages: int
    left_out: int
    deliveries: int
    reconnects: int
    elapsed_s: float
    messages_per_s: float
    deliveries_per_s: float
    ok_p50_ms: float
    ok_p99_ms: float
    ok_max_ms: float
    rooms: Sequence[str]
    differences: Sequence[str]

    def as_json(self) -> str:
        """One JSON object."""
        return msgspec.json.encode(self).decode()

    def as_lines(self) -> list[str]:
        """For people."""
        where = f"{_count(self.messages, 'message')} in {_count(self.files, 'room')}"
        verdict = [f"DIFFERENT: {difference}" for difference in self.differences]
        verdict = verdict or [f"every history equals its file: {where}"]
        left_out = f", {self.left_out} without text left out" if self.left_out else ""
        reconnects = f", {_count(self.reconnects, 'reconnect')}" if self.reconnects else ""
        who = f"{_count(self.messages, 'message')} of {_count(self.nicknames, 'nickname')}"
        played = f"{who} in {self.elapsed_s:.1f} s"
        ok_ms = f"p50 {self.ok_p50_ms:.1f} ms, p99 {self.ok_p99_ms:.1f} ms, most {self.ok_max_ms:.1f} ms"
        return [
            f"{played}{left_out}{reconnects}",
            f"{self.messages_per_s:.0f} messages/s, ok {ok_ms}",
            f"{self.deliveries_per_s:.0f} deliveries/s ({self.deliveries} in all)",
            *verdict,
        ]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of sorted values; 0.0 for none."""
    if not sorted_values:
        return 0.0
    rank = -(-len(sorted_values) * percent // PERCENT)
    return sorted_values[min(max(int(rank) - 1, 0), len(sorted_values) - 1)]
