"""PURE: two runs side by side: what got better, what got worse, and whether that may be said at all.

A figure is judged when it moved by more than `NOISE` and there is enough behind it: a p99.9 of a thousand
operations is one of them, and says nothing.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final, Literal, TypeAlias

import msgspec

from scripts.load.record import METRICS, Quantiles, RunRecord, Totals
from scripts.load.series import server_summary, server_unit, steady, steady_rates
from scripts.load.words import Unit, setting

NOISE: Final = 0.10
"""Share of the earlier figure up to which two runs are taken to be the same."""

Judgement: TypeAlias = Literal["better", "worse", "same", "unsure", "none"]
"""`unsure`: it moved, with too few operations behind it; `none`: neither way is better."""

_VALUE_MAX: Final = 80
"""Characters of a setting in a warning."""
_Aim: TypeAlias = Literal["low", "high", "none"]
_FLOOR: Final[Mapping[Unit, float]] = {"ms": 0.1, "us": 0.1, "share": 0.02}
"""A difference below it is noise whatever the ratio: the clock, the histogram, the scheduler."""
_SAMPLES: Final[Mapping[str, int]] = {"p50": 20, "p90": 100, "mean": 100, "p99": 1_000, "p99.9": 10_000}
"""Operations that a quantile needs, so that ten at least are beyond it; the largest is always chance."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both runs.

    Attributes:
        what: its name within the group.
        before: None: the run has none.
        after: likewise.
        ratio: after by before; 1.0 when both are 0, None when it cannot be said.
    """

    what: str
    unit: Unit
    before: float | None
    after: float | None
    ratio: float | None
    judgement: Judgement


class Group(msgspec.Struct, frozen=True):
    """Rows that belong together."""

    name: str
    rows: Sequence[Row]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of two runs.

    Attributes:
        before: the earlier, or the one to measure against.
        after: the other.
        warnings: why the figures may not be compared, one sentence each; empty: they may.
        groups: all figures.
    """

    before: RunRecord
    after: RunRecord
    warnings: Sequence[str]
    groups: Sequence[Group]

    def judged(self, judgement: Judgement) -> Sequence[str]:
        """The figures of this judgement, by group and name."""
        return [
            f"{group.name} {row.what}"
            for group in self.groups
            for row in group.rows
            if row.judgement == judgement
        ]


def compare(before: RunRecord, after: RunRecord) -> Comparison:
    """Every total, rate and quantile of both."""
    one, two = before.totals, after.totals
    groups = [
        Group("promises", _promises(one, two)),
        *(
            Group(metric, _latency(one.latency.get(metric), two.latency.get(metric)))
            for metric in METRICS
            if metric in one.latency or metric in two.latency
        ),
        Group("traffic", _traffic(before, after)),
        Group("errors", _errors(one.errors, two.errors)),
        Group("server", _server(before, after)),
        Group("tester", _tester(one, two)),
    ]
    return Comparison(
        before=before,
        after=after,
        warnings=_warnings(before, after),
        groups=[group for group in groups if group.rows],
    )


def _row(
    what: str,
    before: float | None,
    after: float | None,
    *,
    unit: Unit = "",
    aim: _Aim = "none",
    sure: bool = True,
) -> Row:
    ratio = _ratio(before, after)
    judgement: Judgement = "none"
    if aim != "none" and before is not None and after is not None:
        moved = ratio is None or abs(ratio - 1.0) > NOISE
        if not moved or abs(after - before) <= _FLOOR.get(unit, 0.0):
            judgement = "same"
        elif not sure:
            judgement = "unsure"
        else:
            judgement = "better" if (after < before) == (aim == "low") else "worse"
    return Row(what=what, unit=unit, before=before, after=after, ratio=ratio, judgement=judgement)


def _ratio(before: float | None, after: float | None) -> float | None:
    if before is None or after is None:
        return None
    if before == after:
        return 1.0
    return after / before if before else None


def _promises(one: Totals, two: Totals) -> Sequence[Row]:
    return [
        _row("violations", one.violation_count, two.violation_count, aim="low"),
        _row("rooms compared", one.checked_rooms, two.checked_rooms),
        _row("oks looked up", one.checked_oks, two.checked_oks),
    ]


def _latency(one: Quantiles | None, two: Quantiles | None) -> Sequence[Row]:
    fewest = min(one.count if one else 0, two.count if two else 0)
    first, second = _quantiles(one), _quantiles(two)
    rows = [
        _row(
            name,
            first.get(name),
            second.get(name),
            unit="ms",
            aim="low",
            sure=name in _SAMPLES and fewest >= _SAMPLES[name],
        )
        for name in ("p50", "p90", "p99", "p99.9", "max", "mean")
    ]
    return [*rows, _row("count", one.count if one else 0, two.count if two else 0)]


def _quantiles(found: Quantiles | None) -> Mapping[str, float]:
    if found is None or not found.count:
        return {}
    return {
        "p50": found.p50,
        "p90": found.p90,
        "p99": found.p99,
        "p99.9": found.p999,
        "max": found.max,
        "mean": found.mean,
    }


def _traffic(before: RunRecord, after: RunRecord) -> Sequence[Row]:
    one, two = before.totals, after.totals
    first, second = steady_rates(before.ticks), steady_rates(after.ticks)
    return [
        _row("users", one.users, two.users),
        *(
            _row(f"{name} a second", first.get(name), second.get(name), unit="/s", aim="high")
            for name in ("sends", "oks", "deliveries")
        ),
        _row("sends", one.sends, two.sends),
        _row("oks", one.oks, two.oks),
        _row("deliveries", one.deliveries, two.deliveries),
        _row("connects", one.connects, two.connects),
        _row("resumes", one.resumes, two.resumes),
    ]


def _errors(one: Mapping[str, int], two: Mapping[str, int]) -> Sequence[Row]:
    codes = sorted(one.keys() | two.keys(), key=lambda code: (-one.get(code, 0) - two.get(code, 0), code))
    counts = [("all", sum(one.values()), sum(two.values()))]
    counts += [(code, one.get(code, 0), two.get(code, 0)) for code in codes]
    return [
        # Of what happens by chance as often as that, two runs differ by so much: three standard deviations.
        _row(name, first, second, aim="low", sure=abs(second - first) > 3 * sqrt(first + second))
        for name, first, second in counts
    ]


def _server(before: RunRecord, after: RunRecord) -> Sequence[Row]:
    first, second = server_summary(steady(before.ticks)), server_summary(steady(after.ticks))
    return [
        _row(
            name,
            first.get(name),
            second.get(name),
            unit=server_unit(name),
            aim="none" if name.startswith("connections") else "low",
            # One second's extreme is chance, as the largest latency is; memory only grows to where it is.
            sure=not name.endswith("max") or name.startswith("memory"),
        )
        for name in dict.fromkeys([*first, *second])
    ]


def _tester(one: Totals, two: Totals) -> Sequence[Row]:
    return [
        _row("late p99", one.late_ms, two.late_ms, unit="ms", aim="low"),
        _row("CPU a delivery", one.cpu_per_delivery_us, two.cpu_per_delivery_us, unit="us", aim="low"),
        _row(
            "memory a connection",
            one.memory_per_connection_bytes,
            two.memory_per_connection_bytes,
            unit="bytes",
            aim="low",
        ),
    ]


def _warnings(before: RunRecord, after: RunRecord) -> Sequence[str]:
    told: list[str] = []
    for which, run in (("earlier", before), ("later", after)):
        told += [f"the {which} run is invalid: {reason}" for reason in run.invalid]
        if run.ended != "finished":
            told.append(f"the {which} run was {run.ended}" + (f": {run.failure}" if run.failure else ""))
        if run.totals.violation_count:
            told.append(f"the {which} run broke promises: what it did quickly it may have done wrongly")
    if before.name != after.name:
        told.append(f"the scenarios differ: {before.name} and {after.name}")
    told += _differences("the scenario's", before.scenario, after.scenario)
    if before.totals.users != after.totals.users:
        told.append(f"the numbers of users differ: {before.totals.users:,} and {after.totals.users:,}")
    told += _differences("the machine's", before.machine, after.machine)
    if before.processes != after.processes:
        told.append(f"the tester's processes differ: {before.processes} and {after.processes}")
    if before.seed != after.seed:
        told.append(f"the seeds differ: {before.seed} and {after.seed}")
    spans = (before.totals.duration_s, after.totals.duration_s)
    if abs(spans[1] - spans[0]) > NOISE * max(spans):
        told.append(f"the steady phases differ: {spans[0]:.0f} s and {spans[1]:.0f} s")
    return told


def _differences(whose: str, one: Mapping[str, object], two: Mapping[str, object]) -> Sequence[str]:
    return [
        f"{whose} {name} differs: {_value(one, name)} and {_value(two, name)}"
        for name in dict.fromkeys([*one, *two])
        if name not in one or name not in two or one[name] != two[name]
    ]


def _value(values: Mapping[str, object], name: str) -> str:
    return setting(values[name], _VALUE_MAX) if name in values else "none"
