"""PURE: the table as people read it, and as programs do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import msgspec

from scripts.bench.lines import Line
from scripts.bench.measured import Measured

_VERDICTS: Final = {True: "met", False: "MISSED", None: ""}
_WHOLE_FROM: Final = 100
_ONE_DIGIT_FROM: Final = 10


def render_line(line: Line) -> str:
    """One line of the table."""
    value = f"{_number(line.value)} {line.unit}"
    limit = ""
    if line.budget is not None:
        limit = f"{'>=' if line.budget.at_least else '<='} {_number(line.budget.limit)} {line.unit}"
    verdict = "unsure" if line.doubtful and line.budget is not None else _VERDICTS[line.met]
    return f"  {line.what:<20} {value:>14}   {limit:<14} {verdict:<7} {line.remark}".rstrip()


def render_doubts(measured: Measured) -> Sequence[str]:
    """What is to be said under a run's figures: broken promises, an unfit client, noise."""
    told = [f"  VIOLATION: {what}" for what in measured.violations()]
    told += [f"  UNSURE: {what}" for what in measured.doubts()]
    if measured.shots:
        late_ms = measured.lateness.p99_ns / 1e6
        told.append(
            f"  (client {measured.client_load:.0%} of its core, late p99 {late_ms:.2f} ms; that core "
            f"{measured.core_load(1):.0%} busy; others took {measured.foreign_load:.0%} of the server's)"
        )
    return told


def render_summary(lines: Sequence[Line], failed: Sequence[str] = ()) -> str:
    """The last line: how many budgets are met, and which of the runs that failed to measure theirs."""
    judged = [line for line in lines if line.met is not None]
    missed = [f"{line.name} {line.what}" for line in judged if not line.met]
    unsure = sum(line.budget is not None and line.met is None for line in lines)
    told = f"{len(judged) - len(missed)} of {len(judged)} budgets met"
    if unsure:
        told += f", {unsure} not judged"
    if missed:
        told += f"; missed: {', '.join(missed)}"
    return told + (f"; NOT MEASURED: {', '.join(failed)}" if failed else "")


def render_json(
    machine: Mapping[str, str], date: str, lines: Sequence[Line], runs: Mapping[str, Measured]
) -> bytes:
    """Everything, for programs: `lines` as printed with `met`, and `runs` as the client told them."""
    document = {
        "date": date,
        "machine": dict(machine),
        "lines": [{**asdict(line), "met": line.met} for line in lines],
        "runs": dict(runs),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _number(value: float) -> str:
    if value >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _ONE_DIGIT_FROM else f"{value:.2f}"
