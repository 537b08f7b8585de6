"""PURE: what runs of moderation say of their budgets."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench import budgets
from scripts.bench.lines import Line
from scripts.bench.measured import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated:
    """Acts, each from the request to the notice that it is done, in milliseconds."""

    times_ms: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What was deleted, and in which time."""

    messages: int
    seconds: float


def flood_lines(encoding: str, measured: Measured, moderated: Moderated) -> Sequence[Line]:
    """How soon a mute takes effect in a room that is flooded."""
    times_ms = sorted(moderated.times_ms)
    return (
        Line(
            name=f"{budgets.FLOOD.name} {encoding}",
            what="a mute is there, max",
            value=times_ms[-1] if times_ms else float("inf"),
            unit="ms",
            budget=budgets.MUTE_MS,
            remark=f"of {len(times_ms)}; p50 {times_ms[len(times_ms) // 2] if times_ms else 0.0:.1f} ms; "
            f"{measured.per_second(lambda shot: shot.sent):,.0f} sends/s, {measured.errors:,} refused",
            doubtful=bool(measured.doubts()),
        ),
    )


def purge_lines(encoding: str, alone: Measured, beside: Measured, purged: Purged) -> Sequence[Line]:
    """What a purge costs the deliveries of other rooms."""
    before_ms, after_ms = alone.delivery.p99_ns / 1e6, beside.delivery.p99_ns / 1e6
    return (
        Line(
            name=f"{budgets.PURGED.name} {encoding}",
            what="others' p99 beside it",
            value=after_ms / max(before_ms, 1e-9),
            unit="x",
            budget=budgets.PURGE_GROWTH,
            remark=f"{before_ms:.1f} ms alone, {after_ms:.1f} ms beside; "
            f"{purged.messages:,} messages deleted in {purged.seconds:.1f} s",
            doubtful=bool(alone.doubts() or beside.doubts()),
        ),
    )
