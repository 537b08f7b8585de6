"""PURE: what runs of other requests than messages say of their budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from scripts.bench import budgets
from scripts.bench.lines import Line
from scripts.bench.measured import Measured

DIFF_INTERVAL_S: Final = 0.25
"""The shortest time between two diffs of a watch, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The same connections in the same time, while nobody asks for anything.

    Attributes:
        load: the server's share of its core.
    """

    load: float


def presence_lines(encoding: str, measured: Measured, idle: Idle, *, sent_s: float) -> Sequence[Line]:
    """What changes of presence cost.

    Args:
        encoding: of the run.
        measured: it.
        idle: without changes.
        sent_s: how long changes were sent, the warm-up included: diffs are counted from its beginning.
    """
    name = f"{budgets.PRESENCE.name} {encoding}"
    # Who changes is told of it, too, on the own session: once for each change.
    diffs = (measured.others - measured.oks) / budgets.PRESENCE_WATCHERS
    return (
        _line(
            name,
            "server CPU",
            100 * measured.server_load,
            "%",
            budgets.PRESENCE_CORE,
            f"of a core; {100 * idle.load:.1f} % idle; ok p99 {measured.ok.p99_ns / 1e6:.1f} ms",
            measured,
        ),
        _line(
            name,
            "diffs a watcher",
            # Changes of the last interval are told after it.
            diffs / (ceil(sent_s / DIFF_INTERVAL_S) + 1),
            "/0.25s",
            budgets.DIFFS_A_WATCHER,
            f"{diffs / sent_s:.1f}/s each, of {budgets.PRESENCE.rate:g} changes/s",
            measured,
        ),
    )


def typing_lines(encoding: str, measured: Measured, idle: Idle, *, is_judged: bool) -> Sequence[Line]:
    """What typing costs above what idle connections do."""
    name = f"{budgets.TYPING.name} {encoding}"
    above = measured.server_load - idle.load
    notices_per_s = measured.per_second(lambda shot: shot.oks)
    return (
        _line(
            name,
            f"server CPU, {measured.connections:,}",
            100 * above,
            "%",
            budgets.TYPING_CORE if is_judged else None,
            f"of a core, above idle ({100 * idle.load:.1f} %); {notices_per_s:,.0f} notices/s, "
            f"{1e6 * above / max(1.0, notices_per_s):.0f} us each; told: {measured.others:,} frames",
            measured,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU of one request, in microseconds."""

    server_us: float
    postgres_us: float
    ok_p99_ms: float


def edit_lines(encoding: str, send: Cost, edit: Cost, runs: Sequence[Measured]) -> Sequence[Line]:
    """An edit beside a message."""
    name = f"{budgets.EDIT.name} {encoding}"
    doubtful = any(run.doubts() for run in runs)
    return tuple(
        Line(
            name=name,
            what=what,
            value=edited / max(sent, 1e-9),
            unit="x send",
            budget=budgets.EDIT_TO_SEND,
            remark=f"{edited:.0f} us, a message {sent:.0f} us; "
            f"ok p99 {edit.ok_p99_ms:.1f} and {send.ok_p99_ms:.1f} ms",
            doubtful=doubtful,
        )
        for what, sent, edited in (
            ("server CPU an edit", send.server_us, edit.server_us),
            ("Postgres CPU an edit", send.postgres_us, edit.postgres_us),
        )
    )


def welcome_lines(encoding: str, measured: Measured, *, queries_each: float) -> Sequence[Line]:
    """What coming in costs a user with many rooms."""
    name = f"{budgets.WELCOME.name} {encoding}"
    setup = measured.setup
    return (
        _line(
            name,
            "p99 to the welcome",
            setup.p99_ns / 1e6,
            "ms",
            budgets.WELCOME_P99_MS,
            f"p50 {setup.p50_ns / 1e6:.1f} ms, from the connect on; {budgets.WELCOME_ROOMS} rooms",
            measured,
        ),
        _line(
            name,
            "queries a welcome",
            round(queries_each, 1),
            "",
            budgets.WELCOME_QUERIES,
            "statements sent to Postgres, without those of an idle server",
            measured,
        ),
    )


def _line(
    name: str,
    what: str,
    value: float,
    unit: str,
    budget: budgets.Budget | None,
    remark: str,
    measured: Measured,
) -> Line:
    return Line(
        name=name,
        what=what,
        value=value,
        unit=unit,
        budget=budget,
        remark=remark,
        doubtful=bool(measured.doubts()),
    )
