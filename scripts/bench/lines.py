"""PURE: what measurements say of the budgets, line by line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from scripts.bench import budgets
from scripts.bench.budgets import Budget, Workload
from scripts.bench.history import HistoryTimes
from scripts.bench.measured import C_CLIENT, Measured, Snapshot
from scripts.bench.search import SearchTimes
from scripts.bench.starting import StartTimes

SUSTAINED: Final = 0.99
"""A rate counts as reached from this part of it on: the ends of the measured time cut a commit in two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table.

    Attributes:
        name: the workload and its encoding.
        what: the figure, in words.
        value: the measured value.
        unit: of it, and of the budget.
        budget: None: there is none, the figure is told for itself.
        remark: how steady it was, or what it must be read with.
        doubtful: whether the figure may be the client's and not the server's.
    """

    name: str
    what: str
    value: float
    unit: str
    budget: Budget | None = None
    remark: str = ""
    doubtful: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the budget is met; None: there is none, or nothing that could be judged."""
        if self.budget is None or self.doubtful:
            return None
        if self.budget.at_least:
            return self.value >= self.budget.limit * SUSTAINED
        return self.value <= self.budget.limit


class RunLines:
    """Makes the lines of one run.

    Args:
        workload: what ran, perhaps at another rate or size than the table's.
        encoding: "msgpack" or "json".
        measured: what was seen.
        gc_pause_s: the bound of the longest pause since the server's start; None: there was none.
        limit_us: the CPU of a delivery at the physical limit, on this machine just now; None: not measured.
    """

    def __init__(
        self,
        workload: Workload,
        encoding: str,
        measured: Measured,
        *,
        gc_pause_s: float | None,
        limit_us: float | None,
    ) -> None:
        self._workload = workload
        self._name = f"{workload.name} {encoding}"
        self._measured = measured
        self._gc_pause_s = gc_pause_s
        self._limit_us = limit_us
        self._doubtful = bool(measured.doubts())
        self._load = (
            f"server {measured.server_load:.0%} of its core" if measured.shots else "nothing was sent"
        )

    def lines(self) -> Sequence[Line]:
        """Every line that the workload has; fewer when its connections were not let in."""
        setup = self._setup() if self._workload.name == budgets.CROWD.name else ()
        if not self._measured.shots:
            return setup
        match self._workload.name:
            case budgets.FANOUT.name:
                return (self._cpu("CPU a delivery", events, budgets.CPU_A_DELIVERY_US), self._delivery(None))
            case budgets.FANOUT_FULL.name:
                offered = self._workload.rate * self._workload.per_room
                return (
                    self._rate("deliveries", events, budgets.DELIVERIES_PER_S, offered),
                    self._delivery(budgets.FANOUT_P99_MS),
                    self._cpu("CPU a delivery", events, None),
                )
            case budgets.PAIRS.name:
                return (
                    self._rate("durable sends", oks, budgets.SENDS_PER_S, self._workload.rate),
                    self._cpu("CPU a send", oks, budgets.CPU_A_SEND_US),
                    self._ok(),
                )
            case _:
                return (*setup, self._delivery(budgets.CROWD_P99_MS))

    def _cpu(self, what: str, count: Callable[[Snapshot], int], budget: Budget | None) -> Line:
        value, low, high = self._measured.cpu_per(count)
        remark = f"slices {low:.1f} to {high:.1f}; {self._load}"
        if self._limit_us is not None:
            remark = f"{value / self._limit_us:.2f} times the C limit; {remark}"
        return self._line(what, value, "us", budget, remark)

    def _rate(self, what: str, count: Callable[[Snapshot], int], budget: Budget, offered: float) -> Line:
        value = self._measured.per_second(count)
        line = self._line(what, value, "/s", budget, f"of {offered:,.0f} offered; {self._load}")
        if self._measured.client == C_CLIENT:
            return line
        return replace(line, doubtful=True, remark=f"the client is in Python; {line.remark}")

    def _delivery(self, budget: Budget | None) -> Line:
        times = self._measured.delivery
        remark = f"p50 {_ms(times.p50_ns):.1f} ms, longest {_ms(times.max_ns):.0f}"
        return self._line("p99 delivery", _ms(times.p99_ns), "ms", budget, remark)

    def _ok(self) -> Line:
        times = self._measured.ok
        delivery = _ms(self._measured.delivery.p99_ns)
        remark = f"p50 {_ms(times.p50_ns):.1f} ms; p99 delivery {delivery:.1f}"
        return self._line("p99 ok", _ms(times.p99_ns), "ms", budgets.OK_P99_MS, remark)

    def _setup(self) -> Sequence[Line]:
        measured = self._measured
        whole = measured.live >= budgets.CROWD.connections
        size = "" if whole else f"with {measured.live:,} connections only"
        if self._gc_pause_s is None:
            pause_ms, pause = 0.0, "no collection"
        else:
            pause_ms, pause = self._gc_pause_s * 1000, "a bound of the histogram: the longest is below it"
        return (
            self._line("memory a connection", measured.bytes_each / 1024, "KB", budgets.CONNECTION_KB, size),
            self._line(
                "hello+join",
                measured.setups_per_s,
                "/s",
                budgets.JOINS_PER_S,
                f"each p99 {_ms(measured.setup.p99_ns):.0f} ms",
            ),
            self._line("longest GC pause", pause_ms, "ms", budgets.GC_PAUSE_MS, pause),
        )

    def _line(self, what: str, value: float, unit: str, budget: Budget | None, remark: str) -> Line:
        return Line(
            name=self._name,
            what=what,
            value=value,
            unit=unit,
            budget=budget,
            remark=remark,
            doubtful=self._doubtful,
        )


def sustained(measured: Measured, rate: float) -> bool:
    """Whether a rate of sends was answered as fast as it came."""
    return bool(measured.shots) and measured.per_second(oks) >= rate * SUSTAINED


def limit_line(measured: Measured) -> Line:
    """What a delivery costs where nothing but sending is done."""
    value, low, high = measured.cpu_per(events)
    return Line(
        name="limit",
        what="CPU a delivery",
        value=value,
        unit="us",
        remark=f"slices {low:.1f} to {high:.1f}; no rooms, no order, no storage, no answers",
        doubtful=bool(measured.doubts()),
    )


def history_lines(times: HistoryTimes) -> Sequence[Line]:
    """What the pages read say of the budget for history."""
    database = [
        plan + execution for plan, execution in zip(times.planning_ms, times.execution_ms, strict=True)
    ]
    return (
        Line(
            name=budgets.HISTORY,
            what="p99 in the database",
            value=quantile(database, 0.99),
            unit="ms",
            budget=budgets.HISTORY_P99_MS,
            remark=f"p50 {quantile(database, 0.5):.2f} ms; planning included",
        ),
        Line(
            name=budgets.HISTORY,
            what="p99 round trip",
            value=quantile(times.round_trip_ms, 0.99),
            unit="ms",
            remark=f"p50 {quantile(times.round_trip_ms, 0.5):.2f} ms; Store.history, as its caller sees it",
        ),
    )


def start_lines(times: StartTimes) -> Sequence[Line]:
    """What the embedded Postgres's starts say of their budgets: the median of few."""
    return tuple(
        Line(
            name=budgets.START,
            what=what,
            value=quantile(seconds, 0.5),
            unit="s",
            budget=budget,
            remark=f"the median of {len(seconds)}; longest {max(seconds):.2f}",
        )
        for what, seconds, budget in (
            ("first start", times.first_s, budgets.FIRST_START_S),
            ("warm start", times.warm_s, budgets.WARM_START_S),
        )
    )


def search_lines(times: SearchTimes) -> Sequence[Line]:
    """What the searches say of the budget for search."""
    slowest = max(times.kinds, key=lambda kind: quantile(times.kinds[kind], 0.99))
    return (
        Line(
            name=budgets.SEARCH,
            what="p99 in the database",
            value=quantile(times.database_ms, 0.99),
            unit="ms",
            budget=budgets.SEARCH_P99_MS,
            remark=f"p50 {quantile(times.database_ms, 0.5):.2f} ms; all statements of a search",
        ),
        Line(
            name=budgets.SEARCH,
            what="p99 round trip",
            value=quantile(times.round_trip_ms, 0.99),
            unit="ms",
            budget=budgets.SEARCH_P99_MS,
            remark=f"p50 {quantile(times.round_trip_ms, 0.5):.2f} ms; Store.search, as its caller sees it; "
            f"{times.hits} of {len(times.round_trip_ms)} found something",
        ),
        Line(
            name=budgets.SEARCH,
            what="p99 of the slowest",
            value=quantile(times.kinds[slowest], 0.99),
            unit="ms",
            remark=f"kind: {slowest}",
        ),
        Line(
            name=budgets.SEARCH,
            what="indexed",
            value=times.indexed_per_s,
            unit="rows/s",
            remark="one worker without its rests",
        ),
    )


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least this part of the values does not exceed; 0.0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[max(0, ceil(len(values) * q) - 1)]


def events(shot: Snapshot) -> int:
    """Deliveries so far."""
    return shot.events


def oks(shot: Snapshot) -> int:
    """Sends answered so far."""
    return shot.oks


def _ms(ns: int) -> float:
    return ns / 1e6
