"""PURE: what the runs say of each contestant, as figures that can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from scripts.bench.lines import events
from scripts.bench.measured import Measured
from scripts.bench.peers.ladder import FOREIGN_MAX, Trial
from scripts.bench.peers.workloads import CROWD, FANOUT, PAIRS

LIMIT: Final = "limit"
PARLEY: Final = ("parley", "parley-json")
"""Names of the contestants that are no peers."""


class Figure(Enum):
    """What is compared: each with its title and whether more of it is better."""

    DELIVERY_CPU = ("CPU a delivery, us", False)
    DELIVERIES = ("deliveries/s within p99 <= 100 ms", True)
    SEND_CPU = ("CPU a send, us", False)
    SENDS = ("sends/s within p99 <= 100 ms", True)
    MEMORY = ("memory a connection, KB", False)
    IDLE_CPU = ("CPU of all idle connections, % of a core", False)
    CONNECTS = ("connections/s, let in and joined", True)

    @property
    def title(self) -> str:
        """In words, with the unit."""
        return self.value[0]

    @property
    def more_is_better(self) -> bool:
        """Otherwise less is."""
        return self.value[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A figure of one contestant.

    Attributes:
        number: in the figure's unit.
        at_least: whether it may be higher in truth.
        remark: what it must be read with.
    """

    number: float
    at_least: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """How the search for the highest rate went.

    Attributes:
        best: the highest that was borne; None: none was.
        at_least: whether the server may bear more.
        trials: all of them, in order.
    """

    best: Trial | None
    at_least: bool
    trials: Sequence[Trial]


@dataclass(slots=True, kw_only=True)
class Result:
    """What was measured of one contestant.

    Attributes:
        name, title, lacks: as in the catalogue.
        versions: of what counts, by package.
        runs: by workload, at the common rate or the contestant's best if that is lower.
        rates: of those runs, sends a second.
        common: by workload, the rate that was common to all.
        climbs: by workload.
        failures: what could not be measured, and why.
    """

    name: str
    title: str
    lacks: str
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    runs: dict[str, Measured] = field(default_factory=dict[str, Measured])
    rates: dict[str, float] = field(default_factory=dict[str, float])
    common: dict[str, float] = field(default_factory=dict[str, float])
    climbs: dict[str, Climb] = field(default_factory=dict[str, Climb])
    failures: list[str] = field(default_factory=list[str])

    @property
    def is_peer(self) -> bool:
        """Whether it is neither Parley nor the physical limit."""
        return self.name != LIMIT and self.name not in PARLEY

    def figures(self) -> Mapping[Figure, Value]:
        """All that follow from the runs."""
        found: dict[Figure, Value] = {}
        for name, cpu in ((FANOUT.name, Figure.DELIVERY_CPU), (PAIRS.name, Figure.SEND_CPU)):
            run = self.runs.get(name)
            if run is not None and run.shots:
                each = 1.0 if cpu is Figure.DELIVERY_CPU else run.expected_events / max(1, run.sent)
                found[cpu] = Value(number=run.cpu_per(events)[0] * each, remark=self._remark(name, run))
        fanout, pairs = self.climbs.get(FANOUT.name), self.climbs.get(PAIRS.name)
        if fanout is not None and fanout.best is not None:
            found[Figure.DELIVERIES] = Value(number=fanout.best.deliveries_per_s, at_least=fanout.at_least)
        if pairs is not None and pairs.best is not None:
            found[Figure.SENDS] = Value(number=pairs.best.rate, at_least=pairs.at_least)
        crowd = self.runs.get(CROWD.name)
        if crowd is not None and crowd.live:
            remark = self._remark(CROWD.name, crowd)
            found[Figure.MEMORY] = Value(number=crowd.bytes_each / 1024, remark=remark)
            found[Figure.CONNECTS] = Value(number=crowd.setups_per_s, remark=remark)
            if crowd.shots:
                found[Figure.IDLE_CPU] = Value(number=crowd.server_load * 100, remark=remark)
        return found

    def _remark(self, workload: str, run: Measured) -> str:
        own = next(c.workload.rate for c in (FANOUT, PAIRS, CROWD) if c.name == workload)
        common = self.common.get(workload, own)
        rate = self.rates.get(workload, common)
        told = [f"at {rate:,.0f} sends/s"] if rate != common else []
        if run.shots and run.foreign_load > FOREIGN_MAX:
            told.append(f"others took {run.foreign_load:.0%} of the server's core")
        return "; ".join([*told, *run.violations(), *run.doubts()])
