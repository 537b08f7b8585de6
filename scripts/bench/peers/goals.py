"""PURE: what Parley sets out to be beside its peers, and whether it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scripts.bench.peers.results import LIMIT, PARLEY, Figure, Result, Value

CPU_TIMES_LIMIT: Final = 1.6
DELIVERIES_TIMES_BEST: Final = 2.0
CONNECTION_KB: Final = 24.0
_SOCKET_IO: Final = "socket.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One goal, for one of Parley's encodings.

    Attributes:
        met: None: something that it takes was not measured, or only under other conditions.
        told: the figures.
    """

    name: str
    goal: str
    met: bool | None
    told: str


def judge_goals(results: Sequence[Result]) -> Sequence[Verdict]:
    """Every goal, for every one of Parley's encodings that was measured."""
    figures = {result.name: result.figures() for result in results}
    peers = [result.name for result in results if result.is_peer]
    return [
        verdict
        for name in PARLEY
        if name in figures
        for verdict in (
            _within_limit(name, figures),
            _against_best(
                name, figures, peers, Figure.DELIVERY_CPU, "CPU a delivery below every peer's", 1.0
            ),
            _against_best(
                name,
                figures,
                peers,
                Figure.DELIVERIES,
                f"{DELIVERIES_TIMES_BEST:g} times the deliveries/s of the best peer",
                DELIVERIES_TIMES_BEST,
            ),
            _against_best(
                name,
                figures,
                [_SOCKET_IO],
                Figure.SEND_CPU,
                "no more CPU a send, stored and answered, than Socket.IO without storage",
                1.0,
            ),
            _within_memory(name, figures),
            _against_best(name, figures, peers, Figure.MEMORY, "an idle connection below every peer's", 1.0),
        )
    ]


def ratio(value: Value, other: Value) -> float | None:
    """How many times the other it is; None: the other is nothing."""
    return value.number / other.number if other.number else None


def _within_limit(name: str, figures: Mapping[str, Mapping[Figure, Value]]) -> Verdict:
    goal = f"CPU a delivery at most {CPU_TIMES_LIMIT:g} times the C limit"
    mine = figures[name].get(Figure.DELIVERY_CPU)
    limit = figures.get(LIMIT, {}).get(Figure.DELIVERY_CPU)
    times = None if mine is None or limit is None else ratio(mine, limit)
    if mine is None or limit is None or times is None:
        return Verdict(name=name, goal=goal, met=None, told="not measured")
    told = f"{mine.number:.2f} us, {times:.2f} times the limit of {limit.number:.2f} us"
    return _verdict(name, goal, told, met=times <= CPU_TIMES_LIMIT, values=(mine, limit))


def _within_memory(name: str, figures: Mapping[str, Mapping[Figure, Value]]) -> Verdict:
    goal = f"an idle connection at most {CONNECTION_KB:g} KB"
    mine = figures[name].get(Figure.MEMORY)
    if mine is None:
        return Verdict(name=name, goal=goal, met=None, told="not measured")
    return _verdict(name, goal, f"{mine.number:.1f} KB", met=mine.number <= CONNECTION_KB, values=(mine,))


def _against_best(
    name: str,
    figures: Mapping[str, Mapping[Figure, Value]],
    others: Sequence[str],
    figure: Figure,
    goal: str,
    times: float,
) -> Verdict:
    """Against the best of others in a figure: at least `times` as much where more is better, else no more."""
    mine = figures[name].get(figure)
    known = {
        other: figures[other][figure] for other in others if other in figures and figure in figures[other]
    }
    if mine is None or not known:
        return Verdict(name=name, goal=goal, met=None, told="not measured")
    sign = -1 if figure.more_is_better else 1
    best = min(known, key=lambda other: sign * known[other].number)
    value = known[best]
    met: bool | None = (
        mine.number >= times * value.number if figure.more_is_better else mine.number <= value.number
    )
    if figure.more_is_better and (value.at_least or (mine.at_least and not met)):
        met = None  # one of the two was stopped by the client, or by the highest rate that is tried
    told = f"{_shown(mine)}; {best} {_shown(value)}"
    missing = sorted(set(others) - set(known))
    told += f"; without {', '.join(missing)}" if missing else ""
    return _verdict(name, goal, told, met=met, values=(mine, value))


def _verdict(name: str, goal: str, told: str, *, met: bool | None, values: Sequence[Value]) -> Verdict:
    """Figures with a remark (another rate, a shared core, a broken promise) are told and not judged."""
    remarks = [value.remark for value in values if value.remark]
    if remarks:
        return Verdict(name=name, goal=goal, met=None, told=f"{told} ({'; '.join(remarks)})")
    return Verdict(name=name, goal=goal, met=met, told=told)


def _shown(value: Value) -> str:
    number = f"{value.number:,.0f}" if value.number >= 1000 else f"{value.number:.1f}"  # noqa: PLR2004
    return f"{'at least ' if value.at_least else ''}{number}"
