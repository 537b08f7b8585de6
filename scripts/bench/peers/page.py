"""PURE: the comparison as a page of Markdown, and as figures for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import msgspec

from scripts.bench.lines import events
from scripts.bench.measured import Measured, Quantiles
from scripts.bench.peers.goals import judge_goals, ratio
from scripts.bench.peers.results import LIMIT, PARLEY, Figure, Result, Value
from scripts.bench.peers.workloads import CROWD, FANOUT, PAIRS

_SECTIONS: Final = (
    (FANOUT, (Figure.DELIVERY_CPU, Figure.DELIVERIES)),
    (PAIRS, (Figure.SEND_CPU, Figure.SENDS)),
    (CROWD, (Figure.MEMORY, Figure.IDLE_CPU, Figure.CONNECTS)),
)
_VERDICTS: Final = {True: "met", False: "**missed**", None: "not judged"}
_NOTHING: Final = "-"
_WHOLE_FROM: Final = 1000
_ONE_DIGIT_FROM: Final = 100

_METHOD: Final = (
    (
        "Everybody on this machine in one run, one after another, each run against a fresh server that is "
        "pinned to one core with all of its threads; the measuring client (C, one epoll loop) is on another "
        "one, with Postgres where Parley stores. Loopback, no TLS, no compression."
    ),
    (
        "Everybody carries the same body of 85 characters, in the envelope of the product or, where it has "
        "none, in JSON. The C limit sends 245 bytes, what Parley's event comes to."
    ),
    (
        "CPU is the server process's, user and system, divided by deliveries (sends) in the same time, at "
        "the rate named above the table or at the contestant's best where that is lower."
    ),
    (
        "Latency counts from when a send was due, not from when it was made: a stall is paid for by all that "
        "it delays. The client looks at its sockets every half a millisecond."
    ),
    (
        "The maximum is searched by bisection over fixed rates, from {fanout_low:,.0f} to {fanout_high:,.0f} "
        "deliveries/s and from {pairs_low:,.0f} to {pairs_high:,.0f} sends/s; a rate is borne when "
        "everything is delivered (and answered, where there are answers) and p99 is at most 100 ms. *At "
        "least*: the highest rate was borne, or something else than the server may have been what gave out."
    ),
    (
        "Memory is the growth of resident memory, of all of the server's processes, from before the first "
        "connection to some seconds after the last, by the number of connections that are welcomed and have "
        "joined a room."
    ),
    "A peer without acknowledgements gives its senders less; see what each does not do.",
)


def render_page(
    results: Sequence[Result], *, date: str, machine: Mapping[str, str], plot: str | None, seconds: float
) -> str:
    """The whole page.

    Args:
        results: in the order of the run.
        date: ISO 8601, with the time.
        machine: from `describe`.
        plot: the plot's file, beside the page; None: there is none.
        seconds: measured at the common rate.
    """
    parts = [
        f"# Parley beside its peers, {date.partition('T')[0]}\n",
        f"`python -m scripts.bench peers`, {date}, {seconds:g} s measured at each common rate.\n",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        _goals(results),
    ]
    if plot is not None:
        parts.append(f"![every figure of every contestant]({plot})\n")
    for contest, figures in _SECTIONS:
        tables = [table for figure in figures if (table := _figure(results, figure))]
        if tables:
            rate = next(
                (result.common[contest.name] for result in results if contest.name in result.common),
                contest.workload.rate,
            )
            common = f", {rate:,.0f} sends/s where nothing else is said" if rate else ""
            parts += [f"## {contest.workload.title}{common}\n", *tables, _latencies(results, contest.name)]
    parts += [_lacks(results), _versions(results), _failures(results), _method()]
    return "\n".join(parts)


def render_figures(results: Sequence[Result], *, date: str, machine: Mapping[str, str]) -> bytes:
    """Everything, for programs: runs as the client told them, the searches with every rate that was tried."""
    document = {
        "date": date,
        "machine": dict(machine),
        "goals": [asdict(verdict) for verdict in judge_goals(results)],
        "contestants": [
            {
                "name": result.name,
                "versions": dict(result.versions),
                "figures": {figure.name.lower(): asdict(value) for figure, value in result.figures().items()},
                "rates": result.rates,
                "runs": result.runs,
                "climbs": {name: asdict(climb) for name, climb in result.climbs.items()},
                "failures": result.failures,
            }
            for result in results
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def ranked(results: Sequence[Result], figure: Figure) -> Sequence[tuple[Result, Value]]:
    """Those who have a figure, the best first."""
    known = [(result, found[figure]) for result in results if figure in (found := result.figures())]
    return sorted(known, key=lambda pair: pair[1].number, reverse=figure.more_is_better)


def _goals(results: Sequence[Result]) -> str:
    rows = [
        (verdict.name, verdict.goal, _VERDICTS[verdict.met], verdict.told) for verdict in judge_goals(results)
    ]
    return "## Goals\n\n" + _table(("", "goal", "", "figures"), rows) if rows else ""


def _figure(results: Sequence[Result], figure: Figure) -> str:
    rows = ranked(results, figure)
    if not rows:
        return ""
    by_name = {result.name: value for result, value in rows}
    ours = [name for name in PARLEY if name in by_name]
    head = (figure.title, "", "times the limit", *(f"{name} is times it" for name in ours), "")
    return _table(
        head,
        [
            (
                result.title,
                _shown(value),
                _times(value, by_name.get(LIMIT)),
                *(_times(by_name[name], value) for name in ours),
                value.remark,
            )
            for result, value in rows
        ],
    )


def _latencies(results: Sequence[Result], workload: str) -> str:
    """Times of the run at the common rate, and what the client itself took for them."""
    runs = [(result, result.runs[workload]) for result in results if workload in result.runs]
    if workload == CROWD.name:
        return _table(
            ("to be let in and to join, ms", "p50", "p90", "p99", "longest", "let in"),
            [
                (result.title, *_quantiles(run.setup), f"{run.live:,} of {run.connections:,}")
                for result, run in runs
            ],
        )
    return _table(
        (
            *("latency, ms", "p50", "p90", "p99", "longest", "answer p99", "sends/s"),
            *("server, of its core", "others there", "client's CPU a delivery, us"),
        ),
        [
            (
                result.title,
                *_quantiles(run.delivery),
                f"{run.ok.p99_ns / 1e6:.1f}" if run.answers else _NOTHING,
                f"{result.rates[workload]:,.0f}",
                f"{run.server_load:.0%}",
                f"{run.foreign_load:.0%}",
                f"{_client_us(run):.2f}",
            )
            for result, run in runs
            if run.shots
        ],
    )


def _lacks(results: Sequence[Result]) -> str:
    rows = [(result.title, result.lacks) for result in results]
    return "## What each does not do in this test\n\n" + _table(("", ""), rows)


def _versions(results: Sequence[Result]) -> str:
    rows = [
        (
            result.title,
            ", ".join(f"{package} {number}" for package, number in result.versions.items())
            or "; ".join(result.failures),
        )
        for result in results
        if result.versions or result.failures
    ]
    return "## Versions\n\n" + _table(("", ""), rows) if rows else ""


def _failures(results: Sequence[Result]) -> str:
    told = [f"- {result.title}: {failure}" for result in results for failure in result.failures]
    return "\n".join(["## Not measured\n", *told, ""]) if told else ""


def _method() -> str:
    per_room = FANOUT.workload.per_room
    text = "".join(f"- {line}\n" for line in _METHOD)
    return "## How it was measured\n\n" + text.format(
        fanout_low=FANOUT.rates[0] * per_room,
        fanout_high=FANOUT.rates[-1] * per_room,
        pairs_low=PAIRS.rates[0],
        pairs_high=PAIRS.rates[-1],
    )


def _client_us(run: Measured) -> float:
    deliveries = max(1, events(run.shots[-1]) - events(run.shots[0]))
    return (run.shots[-1].own_us - run.shots[0].own_us) / deliveries


def _quantiles(times: Quantiles) -> Sequence[str]:
    return [f"{ns / 1e6:.1f}" for ns in (times.p50_ns, times.p90_ns, times.p99_ns, times.max_ns)]


def _times(value: Value, other: Value | None) -> str:
    times = None if other is None else ratio(value, other)
    return _NOTHING if times is None else f"{times:.2f}"


def _shown(value: Value) -> str:
    if value.number >= _WHOLE_FROM:
        number = f"{value.number:,.0f}"
    else:
        number = f"{value.number:.1f}" if value.number >= _ONE_DIGIT_FROM else f"{value.number:.2f}"
    return f"at least {number}" if value.at_least else number


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
