"""A run as plain lines, one a second: for pipes, files and dumb terminals."""

import sys
from typing import Final, TextIO

from scripts.load.record import RunRecord, Tick

EVIDENCE_MAX: Final = 10
"""Violations that are shown; all are counted, and the file has more."""


class Lines:
    """An `Observer` that prints.

    Args:
        out: where to; standard output by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def started(self, name: str, users: int, url: str) -> None:
        """Say what is run."""
        self._print(f"{name}: {users:,} users against {url}")

    def tick(self, tick: Tick) -> None:
        """One line."""
        delivery = tick.latency.get("delivery")
        ok = tick.latency.get("ok")
        times = f"{_ms(delivery.p50)}/{_ms(delivery.p99)}" if delivery else "-/-"
        errors = ", ".join(f"{count:,} {code}" for code, count in sorted(tick.errors.items()))
        self._print(
            f"{tick.at_s:5.0f} s {tick.phase:6} {tick.users:6,}/{tick.target_users:,} users"
            f" {tick.sends:6,} sends/s {tick.deliveries:8,} deliveries/s"
            f"  p50/p99 {times} ok {_ms(ok.p99) if ok else '-'}"
            f" late {tick.late_ms:.1f} ms cpu {tick.tester_cpu:4.0%}"
            f"{'  errors: ' + errors if errors else ''}"
            f"{f'  {tick.violations:,} VIOLATIONS' if tick.violations else ''}"
        )

    def finished(self, record: RunRecord) -> None:
        """The sum, and what was broken."""
        for line in summary(record):
            self._print(line)

    def _print(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


def summary(record: RunRecord) -> list[str]:
    """What a run showed, in lines."""
    totals = record.totals
    lines = ["", f"{record.name} {record.ended}{': ' + record.failure if record.failure else ''}"]
    lines.append(
        f"  {totals.sends:,} sends, {totals.oks:,} stored, {totals.deliveries:,} deliveries,"
        f" {totals.connects:,} connects, {totals.resumes:,} resumes"
    )
    lines += [
        f"  {metric:8} p50 {_ms(told.p50)}  p90 {_ms(told.p90)}  p99 {_ms(told.p99)}  p99.9 {_ms(told.p999)}"
        f"  max {_ms(told.max)}  of {told.count:,}"
        for metric, told in totals.latency.items()
    ]
    lines += [f"  error {code}: {count:,}" for code, count in sorted(totals.errors.items())]
    lines.append(
        f"  the tester: {totals.cpu_per_delivery_us:.1f} us of CPU a delivery,"
        f" {totals.memory_per_connection_bytes / 1024:.1f} KB a connection,"
        f" late {totals.late_ms:.1f} ms (p99)"
    )
    lines.append(
        f"  checked: {totals.checked_rooms:,} rooms, {totals.checked_oks:,} sends answered ok;"
        f" {totals.violation_count:,} violations"
    )
    for violation in record.violations[:EVIDENCE_MAX]:
        lines.append(f"  VIOLATION {violation.kind} {violation.room}: {violation.what}")
        lines += [f"    {line}" for line in violation.evidence]
    lines += [f"  INVALID: {why}" for why in record.invalid]
    return lines


def _ms(value: float) -> str:
    return f"{value:.1f}"
