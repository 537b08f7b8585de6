"""PURE: which plots a run's report has."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from scripts.load.plots import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Line,
    Plot,
    Read,
    latency_line,
    metric_curves,
    over_time,
    percentiles,
)
from scripts.load.record import METRICS, Metric, RunRecord, ServerTick
from scripts.load.series import Bin, Timeline

_CODES_SHOWN: Final = 7
_MEBI: Final = 1024 * 1024
_METRIC_TITLES: Final[dict[Metric, str]] = {
    "delivery": "Delivery: from the time a message was due until another member has it",
    "ok": "Ok: from the time a message was due until it is stored",
    "connect": "Connect: dial until welcome and rooms joined",
    "resume": "Resume: redial until every room is caught up",
    "history": "History: a page asked for until it is there",
}


def latency_plots(record: RunRecord, run: Timeline) -> Sequence[Plot]:
    """Percentiles of the whole run, then each metric over time."""
    totals = record.totals
    made = [
        percentiles(
            "percentiles", "Latency by percentile, steady phase", metric_curves(totals.curve, totals.latency)
        )
    ]
    made += [
        over_time(
            f"latency-{metric}",
            _METRIC_TITLES[metric],
            run,
            [
                latency_line(metric, "p99.9", lambda found: found.p999, RED, "dot"),
                latency_line(metric, "p99", lambda found: found.p99, ORANGE, "dash"),
                latency_line(metric, "p50", lambda found: found.p50, BLUE, "solid"),
            ],
            unit="ms",
            scale="log",
            wide=metric == "delivery",
        )
        for metric in METRICS
    ]
    return [plot for plot in made if plot is not None]


def traffic_plots(run: Timeline) -> Sequence[Plot]:
    """How many users there were and what they did."""
    made = [
        over_time(
            "deliveries",
            "Deliveries per second",
            run,
            [Line(name="deliveries", read=lambda point: point.rate(point.tick.deliveries), colour=BLUE)],
            unit="/s",
        ),
        over_time(
            "sends",
            "Sends and oks per second",
            run,
            [
                Line(name="sends", read=lambda point: point.rate(point.tick.sends), colour=BLUE),
                Line(name="oks", read=lambda point: point.rate(point.tick.oks), colour=GREEN, dash="dash"),
            ],
            unit="/s",
        ),
        over_time(
            "users",
            "Users",
            run,
            [
                Line(name="meant", read=lambda point: point.tick.target_users, colour=GREY, dash="dash"),
                Line(name="welcomed", read=lambda point: point.tick.users, colour=BLUE),
            ],
            unit="",
        ),
        over_time(
            "connects",
            "Connects and resumes per second",
            run,
            [
                Line(name="connects", read=lambda point: point.rate(point.tick.connects), colour=BLUE),
                Line(
                    name="resumes",
                    read=lambda point: point.rate(point.tick.resumes),
                    colour=ORANGE,
                    dash="dash",
                ),
            ],
            unit="/s",
        ),
    ]
    return [plot for plot in made if plot is not None]


def error_plots(run: Timeline) -> Sequence[Plot]:
    """Errors by code, the rare ones as one; none when there were none."""
    codes: Counter[str] = Counter()
    for point in run.points:
        codes.update(point.tick.errors)
    common = [code for code, times in codes.most_common(_CODES_SHOWN) if times]
    if not common:
        return []
    lines = [
        Line(name=code, read=_errors_of(code), colour=colour)
        for code, colour in zip(common, COLOURS, strict=False)
    ]
    if sum(times > 0 for times in codes.values()) > len(common):

        def others(point: Bin) -> float:
            return point.rate(sum(times for code, times in point.tick.errors.items() if code not in common))

        lines.append(Line(name="others", read=others, colour=GREY))
    plot = over_time("errors", "Errors per second, by code", run, lines, unit="/s", stacked=True, wide=True)
    return [] if plot is None else [plot]


def server_plots(run: Timeline) -> Sequence[Plot]:
    """What the server's `/metrics` said; none without them."""
    made = [
        over_time(
            "server-cpu",
            "Server CPU, share of one core",
            run,
            [Line(name="CPU", read=_of_server(lambda server: _scaled(server.cpu, 100)), colour=BLUE)],
            unit="%",
        ),
        over_time(
            "server-memory",
            "Server memory, resident",
            run,
            [
                Line(
                    name="memory",
                    read=_of_server(lambda server: _scaled(server.memory_bytes, 1 / _MEBI)),
                    colour=PURPLE,
                )
            ],
            unit="MiB",
        ),
        over_time(
            "server-waits",
            "Server: mailbox wait and commit (p99 at most), commit lag, event loop's lag",
            run,
            [
                Line(
                    name="mailbox wait",
                    read=_of_server(lambda server: server.mailbox_wait_ms),
                    colour=BLUE,
                ),
                Line(
                    name="commit",
                    read=_of_server(lambda server: server.commit_ms),
                    colour=ORANGE,
                    dash="dash",
                ),
                Line(
                    name="commit lag",
                    read=_of_server(lambda server: server.commit_lag_ms),
                    colour=RED,
                    dash="dot",
                ),
                Line(
                    name="loop lag",
                    read=_of_server(lambda server: server.loop_lag_ms),
                    colour=GREEN,
                    dash="dashdot",
                ),
            ],
            unit="ms",
            scale="log",
            wide=True,
        ),
        over_time(
            "server-backlog",
            "Server: rows not stored yet",
            run,
            [Line(name="backlog", read=_of_server(lambda server: server.backlog_rows), colour=ORANGE)],
            unit="rows",
        ),
        over_time(
            "server-connections",
            "Server: open connections",
            run,
            [Line(name="connections", read=_of_server(lambda server: server.connections), colour=BLUE)],
            unit="",
        ),
        over_time(
            "server-pressure",
            "Server: pressure, 0 (calm) to 4 (refusing)",
            run,
            [Line(name="pressure", read=_of_server(lambda server: server.pressure), colour=RED)],
            unit="",
            steps=True,
        ),
    ]
    return [plot for plot in made if plot is not None]


def tester_plots(run: Timeline) -> Sequence[Plot]:
    """Whether the tester itself kept up: what it was late by is part of every latency."""
    made = [
        over_time(
            "tester-late",
            "Tester: how late it came to its operations, p99",
            run,
            [Line(name="late", read=lambda point: point.tick.late_ms, colour=RED)],
            unit="ms",
        ),
        over_time(
            "tester-cpu",
            "Tester CPU, busiest worker, share of one core",
            run,
            [Line(name="CPU", read=lambda point: point.tick.tester_cpu * 100, colour=BLUE)],
            unit="%",
        ),
        over_time(
            "tester-memory",
            "Tester memory, all workers",
            run,
            [Line(name="memory", read=lambda point: point.tick.tester_memory_bytes / _MEBI, colour=PURPLE)],
            unit="MiB",
        ),
    ]
    return [plot for plot in made if plot is not None]


def _errors_of(code: str) -> Read:
    return lambda point: point.rate(point.tick.errors.get(code, 0))


def _of_server(get: Callable[[ServerTick], float | None]) -> Read:
    def read(point: Bin) -> float | None:
        server = point.tick.server
        return None if server is None else get(server)

    return read


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
