"""PURE: what everybody is measured at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from scripts.bench import budgets
from scripts.bench.budgets import Workload, at_rate, with_at_most
from scripts.bench.peers.ladder import geometric

_STEPS: Final = 20
_QUICK_STRIDE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One workload, for everybody.

    Attributes:
        workload: at the rate that is common to all; 0: the connections idle.
        rates: sends a second, ascending, among which the highest that is borne is searched; empty: none is.
    """

    workload: Workload
    rates: Sequence[float]

    @property
    def name(self) -> str:
        """On the command line."""
        return self.workload.name


FANOUT: Final = Contest(
    workload=replace(budgets.FANOUT, title="fan-out: one room of 500"), rates=geometric(10, 1000, _STEPS)
)
PAIRS: Final = Contest(
    workload=replace(at_rate(budgets.PAIRS, 2000), title="250 rooms of two", scale=1.0),
    rates=geometric(500, 16_000, _STEPS),
)
CROWD: Final = Contest(
    workload=replace(
        at_rate(budgets.CROWD, 0),
        title="connections, 100 to a room: let in as fast as can be, then idle",
        settle_s=3.0,
        scale=2.5,
    ),
    rates=(),
)
CONTESTS: Final[Sequence[Contest]] = (FANOUT, PAIRS, CROWD)


def at_common_rate(contest: Contest, rate: float | None) -> Contest:
    """The same with another common rate; None: its own."""
    return contest if rate is None else replace(contest, workload=at_rate(contest.workload, rate))


def bounded(contest: Contest, *, connections_max: int, quick: bool) -> Contest:
    """The same with at most so many connections, and for a first look with fewer rates to choose from."""
    return replace(
        contest,
        workload=with_at_most(contest.workload, connections_max),
        rates=contest.rates[::_QUICK_STRIDE] if quick else contest.rates,
    )
