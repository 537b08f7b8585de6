"""One run: workers started, watched and ended; what they saw compared with history; the record of it all."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from typing import Final, Literal

import trio

from scripts.load.checks import RoomChecks, Stored
from scripts.load.errors import RunFailed, ServerUnusable
from scripts.load.machine import describe_machine
from scripts.load.meter import NS
from scripts.load.observer import NO_SCRAPE, Observer, Scrape
from scripts.load.presence_compare import compare_presence
from scripts.load.record import FORMAT, RunRecord, ServerTick, Violation
from scripts.load.reports import (
    AskPresence,
    Assignment,
    Done,
    Heads,
    PresenceReport,
    Ready,
    Report,
    RoomReport,
    Second,
    Start,
    Stop,
)
from scripts.load.scenario import Scenario, room_names
from scripts.load.sockets import check_files
from scripts.load.tally import Tally
from scripts.load.verify import check_server, open_checker, read_histories
from scripts.load.witness import Witness
from scripts.load.words import plural
from scripts.load.workers import Workers, open_workers

READY_S: Final = 60.0
START_IN_S: Final = 0.2
REPORT_S: Final = 15.0
"""Without a report of every worker: one is stuck."""
PRESENCE_S: Final = 30.0
"""For watchers to see who is there: the grace of a lost connection is 15 s, diffs take up to 5."""
CATCH_UP_S: Final = 15.0
VERIFY_S: Final = 60.0
VERIFY_ROOM_S: Final = 0.05
VERIFY_SEND_S: Final = 0.005
INTERRUPTED_DRAIN_S: Final = 3.0
INTERRUPTED_VERIFY_S: Final = 10.0
SCRAPE_S: Final = 0.8
VIOLATIONS_MAX: Final = 100

Say = Callable[[str], None]
"""Told in words what is being done while no ticks come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What one run needs besides its scenario.

    Attributes:
        url: the server's.
        processes: workers; at most one for each user.
        tokens: for users to come with, by turns; guests without.
        scrape: asked each second.
    """

    url: str
    processes: int = 1
    tokens: Sequence[str] = ()
    scrape: Scrape = NO_SCRAPE


class Coordinator:
    """Runs one scenario once.

    Args:
        scenario: what is played.
        settings: where and how.
        observer: looks at it.
        say: see `Say`.
        interrupt: set it to end early; what was measured until then counts.
    """

    def __init__(
        self,
        scenario: Scenario,
        settings: RunSettings,
        *,
        observer: Observer,
        say: Say,
        interrupt: trio.Event,
    ) -> None:
        self._scenario = scenario
        self._settings = settings
        self._processes = min(settings.processes, scenario.users)
        self._observer = observer
        self._say = say
        self._interrupt = interrupt
        self._run = os.urandom(4).hex()
        self._tally = Tally(scenario, self._processes)
        self._changed = trio.Event()
        self._failure = ""
        self._ready = 0
        self._server_tick: ServerTick | None = None
        self._unanswered_scrapes = 0
        self._scrape_problem = ""
        self._presence: list[PresenceReport] = []
        self._room_reports: list[RoomReport] = []
        self._done = 0
        self._violations: list[Violation] = []
        self._violation_count = 0
        self._checked_rooms = 0
        self._checked_oks = 0
        self._unanswered = 0
        self._start_ns = 0

    # -- the run -----------------------------------------------------------------------------------------

    async def run(self) -> RunRecord:
        """Do it; the record says how it ended.

        Raises:
            ServerUnusable, TooFewFiles: it could not begin.

        Cancellation: no process is left behind.
        """
        scenario, settings = self._scenario, self._settings
        check_files(scenario.users, self._processes)
        self._say(f"{settings.url} is {await check_server(settings.url, self._token)}")
        await self._ask_server()
        if self._scrape_problem:
            self._say(f"its figures are missing: {self._scrape_problem}")
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        assignments = [
            Assignment(
                scenario=scenario.as_table(),
                url=settings.url,
                run=self._run,
                worker=number,
                workers=self._processes,
                tokens=settings.tokens,
            )
            for number in range(self._processes)
        ]
        with tempfile.TemporaryDirectory(prefix="parley-load-") as name:
            async with open_workers(assignments, Path(name)) as workers, trio.open_nursery() as nursery:
                for number in range(len(workers)):
                    nursery.start_soon(self._hear, workers, number)
                nursery.start_soon(self._watch_interrupt)
                try:
                    await self._play(workers, nursery)
                except (RunFailed, ServerUnusable) as error:
                    self._failure = self._failure or str(error)
                nursery.cancel_scope.cancel()
        record = self._record(started_at)
        self._observer.finished(record)
        if self._unanswered_scrapes:
            self._say(
                f"the server's figures were missing {plural(self._unanswered_scrapes, 'time')}, "
                f"in the end because of this: {self._scrape_problem}"
            )
        return record

    @property
    def _token(self) -> str | None:
        return self._settings.tokens[0] if self._settings.tokens else None

    async def _play(self, workers: Workers, nursery: trio.Nursery) -> None:
        self._say(f"starting {len(workers)} worker{'s' if len(workers) > 1 else ''}")
        if not await self._until(lambda: self._ready == len(workers), READY_S):
            raise RunFailed("the workers do not get ready")
        self._observer.started(self._scenario.name, self._scenario.users, self._settings.url)
        self._start_ns = monotonic_ns() + int(START_IN_S * NS)
        await workers.tell(Start(at_ns=self._start_ns))
        nursery.start_soon(self._scrape)
        await self._measure()
        self._tally.stop(self._now_s())
        await workers.tell(Stop())
        await self._drain()
        await self._check(workers)

    def _now_s(self) -> float:
        return (monotonic_ns() - self._start_ns) / NS

    async def _measure(self) -> None:
        """Until the plan's end, the interruption, or there is nothing more to measure."""
        while self._now_s() < self._scenario.end_s and not self._interrupt.is_set():
            ticks = len(self._tally.ticks)
            left_s = self._scenario.end_s - self._now_s()
            if not await self._until(
                lambda: len(self._tally.ticks) > ticks or self._interrupt.is_set(),  # noqa: B023  awaited here
                min(left_s, REPORT_S),
            ):
                if left_s > REPORT_S:
                    raise RunFailed(f"no report of every worker for {REPORT_S:g} s")
                return
            self._judge()

    def _judge(self) -> None:
        verdict = self._tally.verdict()
        if verdict is not None:
            raise RunFailed(verdict)

    async def _drain(self) -> None:
        """Until everything is answered and everybody is back, or the time for it is over."""
        tally = self._tally
        limit_s = INTERRUPTED_DRAIN_S if self._interrupt.is_set() else self._scenario.drain_s
        ticks = len(tally.ticks)

        def drained() -> bool:
            # One whole second after the end: reports of the one before may know of nothing on its way.
            return len(tally.ticks) >= ticks + 2 and not tally.pending and not tally.lost

        with trio.move_on_after(limit_s):
            while not drained():
                seen = len(tally.ticks)
                if not await self._until(lambda: len(tally.ticks) > seen, REPORT_S):  # noqa: B023
                    raise RunFailed(f"no report of every worker for {REPORT_S:g} s")
                self._judge()
        self._unanswered = tally.pending

    # -- the checks --------------------------------------------------------------------------------------

    async def _check(self, workers: Workers) -> None:
        interrupted = self._interrupt.is_set()
        rooms = room_names(self._run, self._scenario.rooms)
        if self._scenario.watchers and not interrupted:
            await self._check_presence(workers, rooms)
        self._say("reading histories")
        histories: dict[int, list[Stored]] = {}
        sends = sum(tick.sends for tick in self._tally.ticks)
        limit_s = VERIFY_S + VERIFY_ROOM_S * len(rooms) + VERIFY_SEND_S * sends
        unread = ""
        with trio.move_on_after(INTERRUPTED_VERIFY_S if interrupted else limit_s):
            try:
                async with open_checker(self._settings.url, self._token) as client:
                    await read_histories(client, rooms, histories.__setitem__)
            except ServerUnusable as error:
                unread = str(error)
        heads = {number: events[-1].seq for number, events in histories.items() if events}
        await workers.tell(Heads(heads=heads, wait_s=0.0 if interrupted or unread else CATCH_UP_S))
        if not await self._until(lambda: self._done == len(workers), CATCH_UP_S + REPORT_S + limit_s):
            raise RunFailed("the workers do not tell what they saw")
        self._compare(rooms, histories)
        if len(histories) < len(rooms) and not interrupted:
            raise RunFailed(
                f"{len(rooms) - len(histories):,} of {len(rooms):,} histories could not be read: "
                f"{unread or 'the time for it is over'}"
            )

    async def _check_presence(self, workers: Workers, rooms: Sequence[str]) -> None:
        self._say("comparing who is there with what watchers see")
        found: list[Violation] = []
        deadline_s = trio.current_time() + PRESENCE_S
        while True:
            self._presence.clear()
            await workers.tell(AskPresence())
            if not await self._until(lambda: len(self._presence) == len(workers), REPORT_S):
                raise RunFailed("the workers do not tell who is there")
            found = compare_presence(self._presence, rooms)
            if not found or trio.current_time() >= deadline_s or self._interrupt.is_set():
                break
            await trio.sleep(1.0)
        self._accuse(found)

    def _compare(self, rooms: Sequence[str], histories: Mapping[int, list[Stored]]) -> None:
        witnesses = {number: Witness(rooms[number]) for number in range(len(rooms))}
        fates: dict[int, dict[str, int]] = {number: {} for number in range(len(rooms))}
        for report in self._room_reports:
            witnesses[report.room].merge(report.sights.items(), "another worker's client")
            fates[report.room].update(report.fates)
        for number, history in histories.items():
            witness = witnesses[number]
            checks = RoomChecks(rooms[number], history, witness.sights, fates[number])
            self._accuse([*witness.violations, *checks.violations()])
            self._checked_rooms += 1
            self._checked_oks += sum(fate > 0 for fate in fates[number].values())

    def _accuse(self, violations: Sequence[Violation], count: int | None = None) -> None:
        self._violation_count += len(violations) if count is None else count
        self._violations += violations[: VIOLATIONS_MAX - len(self._violations)]

    # -- the workers -------------------------------------------------------------------------------------

    async def _hear(self, workers: Workers, number: int) -> None:
        try:
            await workers.hear(number, self._on_report)
        except RunFailed as error:
            self._fail(str(error))

    def _on_report(self, worker: int, report: Report) -> None:
        match report:
            case Second():
                tick = self._tally.add(worker, report, self._server_tick)
                if tick is not None:
                    self._observer.tick(tick)
            case Ready():
                self._ready += 1
            case PresenceReport():
                self._presence.append(report)
            case RoomReport():
                self._room_reports.append(report)
            case Done():
                self._done += 1
                self._accuse(report.violations, report.violation_count)
        self._changed.set()

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._changed.set()

    async def _watch_interrupt(self) -> None:
        await self._interrupt.wait()
        self._changed.set()

    async def _scrape(self) -> None:
        while True:
            await self._ask_server()
            await trio.sleep(1.0 - SCRAPE_S / 2)

    async def _ask_server(self) -> None:
        scrape = self._settings.scrape
        problem = f"no answer within {SCRAPE_S:g} s"
        with trio.move_on_after(SCRAPE_S):
            self._server_tick = await scrape.tick()
            problem = scrape.problem
        if problem:
            self._unanswered_scrapes += 1
            self._scrape_problem = problem

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition on what workers report; False after the time.

        Raises:
            RunFailed: a worker has died.
        """
        with trio.move_on_after(timeout_s):
            while not condition():
                if self._failure:
                    raise RunFailed(self._failure)
                self._changed = trio.Event()
                await self._changed.wait()
            return True
        return condition()

    # -- the record --------------------------------------------------------------------------------------

    def _record(self, started_at: str) -> RunRecord:
        ended: Literal["finished", "interrupted", "failed"] = "finished"
        if self._failure:
            ended = "failed"
        elif self._interrupt.is_set():
            ended = "interrupted"
        return RunRecord(
            format=FORMAT,
            name=self._scenario.name,
            url=self._settings.url,
            started_at=started_at,
            seed=self._scenario.seed,
            scenario=self._scenario.as_table(),
            machine=describe_machine(),
            processes=self._processes,
            ended=ended,
            failure=self._failure,
            invalid=self._tally.invalid(),
            ticks=self._tally.ticks,
            totals=self._tally.totals(
                checked_rooms=self._checked_rooms,
                checked_oks=self._checked_oks,
                violation_count=self._violation_count,
                more_errors={"unanswered": self._unanswered} if self._unanswered else {},
            ),
            violations=self._violations,
        )
