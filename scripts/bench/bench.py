"""Runs workloads one after another, each against a fresh server, and prints what they say as it goes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from scripts.bench.asking_runs import AskingRuns
from scripts.bench.budgets import (
    ASKING,
    EDIT,
    FANOUT,
    FLOOD,
    HISTORY,
    LADDER,
    MODERATING,
    PAIRS,
    PRESENCE,
    PURGED,
    SEARCH,
    START,
    TYPING,
    WELCOME,
    WORKLOADS,
    Workload,
    at_rate,
    with_at_most,
)
from scripts.bench.dialects import (
    PARLEY,
    PLAIN,
    handshake,
    parley_connection,
    parley_handshake,
    plain_connection,
)
from scripts.bench.driver import Client, Pace, compile_c
from scripts.bench.history import measure_history
from scripts.bench.limit import EVENT_BYTES, open_limit
from scripts.bench.lines import (
    Line,
    RunLines,
    events,
    history_lines,
    limit_line,
    search_lines,
    start_lines,
    sustained,
)
from scripts.bench.machine import favour
from scripts.bench.measured import Measured
from scripts.bench.moderating import ModeratingRuns
from scripts.bench.moderating_lines import flood_lines, purge_lines
from scripts.bench.options import Options
from scripts.bench.process import BenchError
from scripts.bench.report import render_doubts, render_line
from scripts.bench.scrape import GC_PAUSE, longest
from scripts.bench.script import render_script
from scripts.bench.search import measure_search
from scripts.bench.server import Target, open_server
from scripts.bench.starting import measure_starts

_PAGES: Final = 1500
_SEARCHES: Final = 1500
_WARMUP_S: Final = 2.0
_LOWER_RATE_SECONDS: Final = 0.4
"""Of the measured time: what a run at a lower rate gets."""


class Bench:
    """One run of the command.

    Args:
        options: what to measure.
        client: the measuring client.
        dsn: a Postgres for all servers that are measured, one after another.
        postgres_pid: its first process, whose CPU is read.
        directory: for files of this run.
        connections_max: how many the machine allows.

    Attributes:
        lines: what was found so far.
        measured: the runs they come from, by workload, encoding and rate.
        failed: runs that could not be made.
    """

    def __init__(
        self,
        options: Options,
        client: Client,
        dsn: str,
        *,
        postgres_pid: int,
        directory: Path,
        connections_max: int,
    ) -> None:
        self._options = options
        self._client = client
        self._dsn = dsn
        self._postgres_pid = postgres_pid
        self._directory = directory
        self._connections_max = min(connections_max, options.connections_max)
        self._runs = 0
        self._limit_us: float | None = None
        self.lines: list[Line] = []
        self.measured: dict[str, Measured] = {}
        self.failed: list[str] = []

    async def run(self) -> None:
        """Measure everything that was asked for; what cannot be measured is said and passed over."""
        if FANOUT.name in self._options.names:
            await self._limit()
        for workload in WORKLOADS:
            if workload.name in self._options.names:
                for encoding in self._options.encodings:
                    await self._workload(workload, encoding)
        for name in ASKING:
            if name in self._options.names:
                for encoding in self._options.encodings:
                    await self._asking(name, encoding)
        for name in MODERATING:
            if name in self._options.names:
                for encoding in self._options.encodings:
                    await self._moderating(name, encoding)
        if HISTORY in self._options.names:
            await self._history()
        if SEARCH in self._options.names:
            await self._search()
        if START in self._options.names:
            print("\nthe embedded Postgres, until it takes a connection", flush=True)
            self._tell(START, start_lines(await measure_starts(self._directory)))

    async def _limit(self) -> None:
        """What a delivery costs in C, now and here: the yardstick for the fan-out."""
        program = compile_c("limit", self._directory)
        if program is None:
            return
        print("\nthe physical limit: the same fan-out by a C epoll loop that does nothing else", flush=True)
        greeting = handshake("limit", 0, None)
        script = render_script(
            PLAIN,
            [
                plain_connection(greeting=greeting, payload_bytes=EVENT_BYTES)
                for _ in range(FANOUT.connections)
            ],
        )
        try:
            async with open_limit(program, core=self._options.cores[0], directory=self._directory) as target:
                measured = await self._measure(target, script, FANOUT, self._options.seconds)
        except BenchError as error:
            self._fail("limit", error)
            return
        self._limit_us = measured.cpu_per(events)[0]
        self._tell("limit", [limit_line(measured)], measured)

    async def _workload(self, workload: Workload, encoding: str) -> None:
        workload = with_at_most(workload, self._connections_max)
        if self._options.rate is not None:
            workload = at_rate(workload, self._options.rate)
        print(f"\n{workload.title}, {encoding}", flush=True)
        measured = await self._once(workload, encoding, self._options.seconds * workload.scale)
        if workload.name != PAIRS.name or measured is None or sustained(measured, workload.rate):
            return
        for part in LADDER:
            slower = at_rate(workload, workload.rate * part)
            print(f"  at {slower.rate:,.0f} sends/s instead:", flush=True)
            measured = await self._once(
                slower, encoding, max(1.0, self._options.seconds * _LOWER_RATE_SECONDS)
            )
            if measured is None or sustained(measured, slower.rate):
                return

    async def _once(self, workload: Workload, encoding: str, seconds: float) -> Measured | None:
        self._runs += 1
        # Rooms of their own for every run: the database is the same.
        prefix = f"bench-{os.getpid()}-{self._runs}"
        name = f"{workload.name} {encoding} {workload.rate:g}/s"
        try:
            async with open_server(self._dsn, core=self._options.cores[0]) as target:
                script = _script(target, workload, encoding, prefix)
                before = await target.scrape()
                measured = await self._measure(target, script, workload, seconds)
                after = await target.scrape()
                complaints = target.complaints()
        except BenchError as error:
            self._fail(name, error)
            return None
        run = RunLines(
            workload,
            encoding,
            measured,
            gc_pause_s=longest(before, after, GC_PAUSE),
            limit_us=self._limit_us if workload.name == FANOUT.name else None,
        )
        self._tell(name, run.lines(), measured)
        if complaints:
            print(f"  the server's log says:\n{complaints}", flush=True)
        return measured

    async def _measure(self, target: Target, script: bytes, workload: Workload, seconds: float) -> Measured:
        self._favour()
        pace = Pace(
            rate=workload.rate,
            window=workload.window,
            settle_s=workload.settle_s,
            warmup_s=min(_WARMUP_S, seconds / 3),
            measure_s=seconds,
        )
        return await self._client.run(target, script, pace, cores=self._options.cores)

    async def _asking(self, name: str, encoding: str) -> None:
        titles = {workload.name: workload.title for workload in (PRESENCE, TYPING, EDIT, WELCOME)}
        print(f"\n{titles[name]}, {encoding}", flush=True)
        runs = AskingRuns(
            self._client,
            self._dsn,
            postgres_pid=self._postgres_pid,
            cores=self._options.cores,
            seconds=self._options.seconds,
            connections_max=self._connections_max,
            before_run=self._favour,
            tell=self._tell_asking,
        )
        try:
            await runs.case(name)(encoding)
        except BenchError as error:
            self._fail(f"{name} {encoding}", error)

    async def _moderating(self, name: str, encoding: str) -> None:
        titles = {workload.name: workload.title for workload in (FLOOD, PURGED)}
        print(f"\n{titles[name]}, {encoding}", flush=True)
        runs = ModeratingRuns(
            self._client,
            self._dsn,
            cores=self._options.cores,
            seconds=self._options.seconds,
            before_run=self._favour,
        )
        try:
            if name == FLOOD.name:
                measured, moderated = await runs.flood(encoding)
                lines = flood_lines(encoding, measured, moderated)
            else:
                alone, measured, purged = await runs.purge(encoding)
                self._tell(f"{name} {encoding} alone", (), alone)
                lines = purge_lines(encoding, alone, measured, purged)
        except BenchError as error:
            self._fail(f"{name} {encoding}", error)
        else:
            self._tell(f"{name} {encoding}", lines, measured)

    def _tell_asking(self, name: str, lines: Sequence[Line], measured: Sequence[Measured]) -> None:
        for number, run in enumerate(measured):
            self._tell(f"{name} {number}", lines if number == len(measured) - 1 else (), run)

    def _favour(self) -> None:
        if self._options.nice is not None:
            favour(os.getpid(), self._options.nice)

    async def _history(self) -> None:
        rows = self._options.history_rows
        print(f"\nhistory: pages of 50 in a room of {rows:,} messages", flush=True)
        rng = Random(50)  # noqa: S311  the same places every time
        self._tell(HISTORY, history_lines(await measure_history(self._dsn, rows=rows, pages=_PAGES, rng=rng)))

    async def _search(self) -> None:
        rows = self._options.history_rows
        print(f"\nsearch: pages of 20 hits in {rows:,} messages of 1,001 rooms", flush=True)
        rng = Random(51)  # noqa: S311  the same searches every time
        times = await measure_search(self._dsn, rows=rows, searches=_SEARCHES, rng=rng)
        self._tell(SEARCH, search_lines(times))

    def _fail(self, run: str, error: BenchError) -> None:
        self.failed.append(run)
        print(f"  NOT MEASURED: {error}", flush=True)

    def _tell(self, run: str, lines: Sequence[Line], measured: Measured | None = None) -> None:
        self.lines += lines
        for line in lines:
            print(render_line(line))
        if measured is not None:
            self.measured[run] = measured
            for doubt in render_doubts(measured):
                print(doubt)
        sys.stdout.flush()


def _script(target: Target, workload: Workload, encoding: str, prefix: str) -> bytes:
    greeting = parley_handshake(target.host, target.port, encoding)
    return render_script(
        PARLEY[encoding],
        [
            parley_connection(
                encoding, greeting=greeting, index=index, room=index % workload.rooms, prefix=prefix
            )
            for index in range(workload.connections)
        ],
    )
