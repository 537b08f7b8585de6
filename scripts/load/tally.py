"""PURE: the reports of all workers put together: seconds to ticks, ticks to totals, and their worth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from scripts.load.histogram import STEPS_A_MS, Counts, Histogram, sum_counts
from scripts.load.record import METRICS, Metric, Quantiles, ServerTick, Tick, Totals
from scripts.load.reports import Second
from scripts.load.scenario import Scenario
from scripts.load.series import steady

LATE_MAX_MS: Final = 50.0
"""p99 of the tester's own lateness above which its figures say more of it than of the server: a fifth of the
250 ms that a delivery may take (design.md, budgets), and it is part of every latency."""
CPU_MAX: Final = 0.9
"""Share of a core above which a worker had no reserve left: what it does not come to it cannot time."""
STALLED_S: Final = 30
"""Seconds in a row without any progress, while something is awaited, after which it counts as stuck."""

Phase = Literal["ramp", "steady", "drain"]


class Tally:
    """The sums of one run.

    Args:
        scenario: what is played.
        workers: how many report.

    Attributes:
        ticks: so far.
        pending: requests and sends on their way, by the last second.
        lost: users who should be connected and are not, likewise.
        out: users whom the server will not have again, likewise.
    """

    def __init__(self, scenario: Scenario, workers: int) -> None:
        self.ticks: list[Tick] = []
        self.pending = 0
        self.lost = 0
        self.out = 0
        self._scenario = scenario
        self._workers = workers
        self._waiting: dict[int, list[Second]] = {}
        # Of all workers; a tick has the busiest's CPU alone, and memory with what Python takes without users.
        self._steady_cpu_s = 0.0
        self._bytes_each = 0
        self._steady: dict[Metric, Histogram] = {metric: Histogram() for metric in METRICS}
        self._late = Histogram()
        self._worker_cpu_s: dict[int, float] = {}
        self._drain_from_s = scenario.end_s
        self._all_lost_s = 0
        self._stalled_s = 0

    def add(self, worker: int, second: Second, server: ServerTick | None) -> Tick | None:
        """Take one worker's second; the tick, when it was the last worker's."""
        seconds = self._waiting.setdefault(second.number, [])
        seconds.append(second)
        if self._phase(second.number) == "steady":
            self._worker_cpu_s[worker] = self._worker_cpu_s.get(worker, 0.0) + second.cpu_s
        if len(seconds) < self._workers:
            return None
        del self._waiting[second.number]
        tick = self._tick(second.number, seconds, server)
        self.ticks.append(tick)
        return tick

    def stop(self, at_s: float) -> None:
        """Nothing more becomes due: the steady phase ends here."""
        self._drain_from_s = min(self._drain_from_s, at_s)

    def _phase(self, number: int) -> Phase:
        if number + 1 > self._drain_from_s + 0.5:
            return "drain"
        # A second that is in part of the ramp is the ramp's.
        return "steady" if number >= self._scenario.steady_s else "ramp"

    def _tick(self, number: int, seconds: Sequence[Second], server: ServerTick | None) -> Tick:
        phase = self._phase(number)
        latency: dict[Metric, Quantiles] = {}
        for metric in METRICS:
            parts: list[Counts] = []
            for second in seconds:
                steady = second.steady.get(metric, {})
                self._steady[metric].add(steady)
                parts += [steady, second.other.get(metric, {})]
            quantiles = _quantiles(sum_counts(parts))
            if quantiles.count:
                latency[metric] = quantiles
        late = Histogram()
        for second in seconds:
            self._late.add(second.steady_late)
            late.add(second.steady_late)
            late.add(second.other_late)
        errors: Counter[str] = Counter()
        for second in seconds:
            errors.update(second.errors)
        tick = Tick(
            at_s=float(number + 1),
            phase=phase,
            users=sum(second.users for second in seconds),
            target_users=self._target(number + 1.0),
            sends=sum(second.sends for second in seconds),
            deliveries=sum(second.deliveries for second in seconds),
            oks=sum(second.oks for second in seconds),
            connects=sum(second.connects for second in seconds),
            resumes=sum(second.resumes for second in seconds),
            errors=dict(errors),
            violations=sum(second.violations for second in seconds),
            latency=latency,
            late_ms=late.percentile_ms(99),
            tester_cpu=round(max(second.cpu_s for second in seconds), 3),
            tester_memory_bytes=sum(second.all_memory_bytes for second in seconds),
            server=server,
        )
        self.pending = sum(second.pending for second in seconds)
        self.lost = sum(second.lost for second in seconds)
        self.out = sum(second.out for second in seconds)
        self._count(tick, seconds)
        return tick

    def _target(self, at_s: float) -> int:
        scenario = self._scenario
        part = 1.0 if at_s >= scenario.ramp_s else at_s / scenario.ramp_s
        return round(scenario.users * part)

    def _count(self, tick: Tick, seconds: Sequence[Second]) -> None:
        if tick.phase == "steady":
            self._steady_cpu_s += sum(second.cpu_s for second in seconds)
        if tick.users and (not self._bytes_each or tick.phase == "ramp"):
            self._bytes_each = sum(second.memory_bytes for second in seconds) // tick.users
        self._all_lost_s = 0 if tick.users or not self.lost else self._all_lost_s + 1
        moved = tick.oks or tick.deliveries or tick.connects or tick.resumes or tick.latency
        waits = self.pending or self.lost
        self._stalled_s = 0 if moved or not waits else self._stalled_s + 1

    def verdict(self) -> str | None:
        """Why it is of no use to go on; None: it is."""
        gone_s = self._scenario.gone_s
        if self._all_lost_s >= gone_s:
            recent: Counter[str] = Counter()
            for tick in self.ticks[-gone_s:]:
                recent.update(tick.errors)
            what = ", ".join(code for code, _ in recent.most_common()) or "no answer"
            return f"the server has gone: no connection for {gone_s} s ({what})"
        if self._stalled_s >= STALLED_S:
            return f"the server stands still: {self.pending:,} answers awaited, none came for {STALLED_S} s"
        if self.out >= self._scenario.users:
            codes = {code for tick in self.ticks for code in tick.errors}
            return f"the server will have nobody back: {', '.join(sorted(codes))}"
        return None

    def invalid(self) -> list[str]:
        """Why the figures say more of the tester than of the server; empty: they are valid."""
        reasons: list[str] = []
        late_ms = self._late.percentile_ms(99)
        if late_ms > LATE_MAX_MS:
            reasons.append(
                f"the tester was late: {late_ms:.0f} ms (p99), above {LATE_MAX_MS:.0f};"
                " use more --processes, or fewer users"
            )
        seconds = len(steady(self.ticks))
        busiest = max(self._worker_cpu_s.values(), default=0.0) / seconds if seconds else 0.0
        if busiest > CPU_MAX:
            reasons.append(
                f"a worker used {busiest:.0%} of a core, above {CPU_MAX:.0%}; use more --processes"
            )
        return reasons

    def totals(
        self, *, checked_rooms: int, checked_oks: int, violation_count: int, more_errors: Mapping[str, int]
    ) -> Totals:
        """The whole run."""
        measured = steady(self.ticks)
        deliveries = sum(tick.deliveries for tick in measured)
        errors: Counter[str] = Counter()
        for tick in self.ticks:
            errors.update(tick.errors)
        latency: dict[Metric, Quantiles] = {}
        curve: dict[Metric, Sequence[tuple[float, float]]] = {}
        for metric, told in self._steady.items():
            if told.count:
                latency[metric], curve[metric] = told.quantiles(), told.curve()
        return Totals(
            users=self._scenario.users,
            sends=sum(tick.sends for tick in self.ticks),
            deliveries=sum(tick.deliveries for tick in self.ticks),
            oks=sum(tick.oks for tick in self.ticks),
            connects=sum(tick.connects for tick in self.ticks),
            resumes=sum(tick.resumes for tick in self.ticks),
            errors=dict(errors + Counter(more_errors)),
            latency=latency,
            curve=curve,
            duration_s=float(len(measured)),
            checked_rooms=checked_rooms,
            checked_oks=checked_oks,
            violation_count=violation_count,
            cpu_per_delivery_us=round(self._steady_cpu_s / deliveries * 1e6, 3) if deliveries else 0.0,
            memory_per_connection_bytes=self._bytes_each,
            late_ms=self._late.percentile_ms(99),
        )


def _quantiles(counts: Counts) -> Quantiles:
    """The exact distribution of one second's counts."""
    count = sum(counts.values())
    if not count:
        return Quantiles()
    ordered = sorted(counts.items())
    wanted = {percent: percent / 100 * count for percent in (50.0, 90.0, 99.0, 99.9)}
    found: dict[float, float] = {}
    seen = 0
    for steps, number in ordered:
        seen += number
        for percent, rank in wanted.items():
            if percent not in found and seen >= rank:
                found[percent] = steps / STEPS_A_MS
    return Quantiles(
        count=count,
        mean=round(sum(steps * number for steps, number in ordered) / count / STEPS_A_MS, 3),
        p50=found[50.0],
        p90=found[90.0],
        p99=found[99.0],
        p999=found[99.9],
        max=ordered[-1][0] / STEPS_A_MS,
    )
