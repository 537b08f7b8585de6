"""One process of simulated users: commands come on standard input, reports go to standard output.

    python -m scripts.load.worker

Started by `scripts.load.workers` alone. It ends with its standard input, however that ends.
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic_ns, process_time
from typing import Final

import trio

from chat.garbage import GcKeeper, gc_tune
from chat.replay_plan import Transcript, read_transcript
from scripts.load.behaviours import Replay, Span
from scripts.load.meter import NS
from scripts.load.plan import Layout, operations, seed_of
from scripts.load.poller import Poller
from scripts.load.reports import (
    AskPresence,
    Assignment,
    Command,
    Done,
    Frames,
    Heads,
    PresenceReport,
    Ready,
    Report,
    RoomReport,
    Second,
    Start,
    Stop,
    frame,
    parse_command,
)
from scripts.load.scenario import Scenario
from scripts.load.scenario_file import scenario_of
from scripts.load.user import User
from scripts.load.world import World

WRITE_S: Final = 60.0
"""For one report: the coordinator reads all the time."""
SWEEP_PARTS: Final = 10
CATCH_UP_POLL_S: Final = 0.05
CLOSE_S: Final = 0.5


def rss_bytes() -> int:
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Worker:
    """See the module.

    Args:
        assignment: what to play.
        out: where reports go.
    """

    def __init__(self, assignment: Assignment, out: trio.abc.SendStream, nursery: trio.Nursery) -> None:
        self._assignment = assignment
        self._scenario = scenario_of(assignment.scenario, "the assignment")
        self._out = out
        self._writing = trio.Lock()
        self._nursery = nursery
        self._poller = Poller()
        self._world = World(
            url=assignment.url,
            run=assignment.run,
            rooms=self._scenario.rooms,
            reconnect_s=self._scenario.reconnect_s,
            nursery=nursery,
            poller=self._poller,
        )
        self._users: list[User] = []
        self._empty_bytes = 0
        self._violations_told = 0

    async def tell(self, report: Report) -> None:
        """Send one report; a coordinator that takes nothing for too long ends the worker."""
        async with self._writing:
            with trio.fail_after(WRITE_S):
                await self._out.send_all(frame(report))

    async def obey(self, commands: AsyncIterator[Command]) -> None:
        """Make ready, then do what is commanded until everything was told."""
        self._empty_bytes = rss_bytes()
        self._make_users()
        self._nursery.start_soon(self._poller.run)
        await self.tell(Ready())
        async for command in commands:
            match command:
                case Start():
                    self._start(command.at_ns)
                case Stop():
                    self._world.stopped = True
                    for user in self._users:
                        user.visits.settle()
                case AskPresence():
                    await self.tell(self._presence())
                case Heads():
                    await self._finish(command)
                    return
                case Assignment():
                    raise ValueError("a second assignment")

    # -- beginning ---------------------------------------------------------------------------------------

    def _make_users(self) -> None:
        assignment, scenario = self._assignment, self._scenario
        layout = Layout(scenario, Random(scenario.seed))  # noqa: S311  a plan, no secret
        span = Span(steady_s=scenario.steady_s, end_s=scenario.end_s, transcripts=read_transcripts(scenario))
        tokens = assignment.tokens
        # When users come back after a loss is no part of the plan: what the server does must not move that.
        jitter = Random(f"{scenario.seed}/jitter/{assignment.worker}")  # noqa: S311
        for number in range(assignment.worker, scenario.users, assignment.workers):
            seat = layout.seat(number)
            rng = Random(seed_of(scenario, number))  # noqa: S311
            token = tokens[number % len(tokens)] if tokens else None
            plan = operations(scenario, seat, span, rng)
            self._users.append(User(seat, self._world, plan, jitter, token))

    def _start(self, at_ns: int) -> None:
        world, scenario = self._world, self._scenario
        world.start_ns = at_ns
        world.meter.steady_ns = world.at_s(scenario.steady_s)
        world.meter.end_ns = world.at_s(scenario.end_s)
        for user in self._users:
            user.begin()
        self._nursery.start_soon(world.wheel.run)
        self._nursery.start_soon(self._report)
        self._nursery.start_soon(self._sweep)
        self._nursery.start_soon(GcKeeper(self._connections).run)

    def _connections(self) -> tuple[int, int]:
        return len(self._users), 0

    # -- while it runs -----------------------------------------------------------------------------------

    async def _report(self) -> None:
        """One report for each second of the run."""
        world = self._world
        number = 0
        cpu_s = process_time()
        while True:
            await trio.sleep(max(0.0, (world.start_ns + (number + 1) * NS - monotonic_ns()) / NS))
            cpu_before_s, cpu_s = cpu_s, process_time()
            second = self._second(number, cpu_s - cpu_before_s)
            world.meter.reset()
            await self.tell(second)
            number += 1

    def _second(self, number: int, cpu_s: float) -> Second:
        world = self._world
        meter = world.meter
        welcomed = lost = out = 0
        for user in self._users:
            visits = user.visits
            welcomed += visits.welcomed
            out += visits.out
            lost += not (visits.welcomed or visits.away)
        resident = rss_bytes()
        violations = world.violation_count + sum(len(one.violations) for one in world.witnesses.values())
        violations_before, self._violations_told = self._violations_told, violations
        return Second(
            number=number,
            users=welcomed,
            pending=world.pending,
            lost=lost,
            out=out,
            violations=violations - violations_before,
            sends=meter.sends,
            deliveries=meter.deliveries,
            oks=meter.oks,
            connects=meter.connects,
            resumes=meter.resumes,
            errors=dict(meter.errors),
            steady={metric: counts for metric, counts in meter.steady.items() if counts},
            other={metric: counts for metric, counts in meter.other.items() if counts},
            steady_late=meter.steady_late,
            other_late=meter.other_late,
            cpu_s=cpu_s,
            memory_bytes=max(0, resident - self._empty_bytes),
            all_memory_bytes=resident,
        )

    async def _sweep(self) -> None:
        """Look for connections that have gone silent: all of them in `SWEEP_PARTS` seconds."""
        for part in cycle(range(SWEEP_PARTS)):
            await trio.sleep(1.0)
            now_s = trio.current_time()
            for user in self._users[part::SWEEP_PARTS]:
                user.visits.check_idle(now_s)

    # -- the end -----------------------------------------------------------------------------------------

    def _presence(self) -> PresenceReport:
        statuses: dict[str, str] = {}
        members: dict[int, list[str]] = {}
        pictures = []
        for user in self._users:
            if not user.visits.joined:
                continue
            statuses[user.session.user_id] = user.public_status
            for room in user.seat.rooms:
                members.setdefault(room, []).append(user.session.user_id)
            if user.picture is not None and user.session.attached:
                pictures.append((user.seat.rooms[0], user.name, user.picture))
        return PresenceReport(statuses=statuses, members=members, pictures=pictures)

    async def _finish(self, command: Heads) -> None:
        lags = self._lags(command.heads)
        with trio.move_on_after(command.wait_s):
            while lags:
                await trio.sleep(CATCH_UP_POLL_S)
                lags = self._lags(command.heads)
        world = self._world
        for room, told in lags.items():
            world.accuse("gap", world.room_names[room], f"{len(told):,} clients did not see all", *told[:5])
        for number, name in enumerate(world.room_names):
            witness = world.witnesses[name]
            world.violations += witness.violations
            world.violation_count += len(witness.violations)
            if witness.sights or world.fates[number]:
                await self.tell(RoomReport(room=number, sights=witness.sights, fates=world.fates[number]))
        for user in self._users:
            user.visits.end()
        await self.tell(Done(violations=world.violations, violation_count=world.violation_count))
        # For the server's half of the closing handshakes, which it owes nobody who is in a hurry.
        await trio.sleep(CLOSE_S)

    def _lags(self, heads: Mapping[int, int]) -> dict[int, list[str]]:
        lags: dict[int, list[str]] = {}
        for user in self._users:
            for room in user.seat.rooms:
                told = user.tell_lag(room, heads[room]) if room in heads else None
                if told is not None:
                    lags.setdefault(room, []).append(told)
        return lags


def read_transcripts(scenario: Scenario) -> dict[str, Transcript]:
    """The recordings that a scenario plays, by their names in it.

    Raises:
        OSError, TranscriptError: one cannot be read.
    """
    names = {name for group in scenario.groups if isinstance(group, Replay) for name in group.files}
    transcripts: dict[str, Transcript] = {}
    for name in sorted(names):
        with Path(name).open("rb") as lines:
            transcripts[name] = read_transcript(name, lines)
    return transcripts


async def read_commands(stream: trio.abc.ReceiveStream) -> AsyncIterator[Command]:
    """What the coordinator says, until it says no more."""
    frames = Frames()
    async for data in stream:
        for payload in frames.take(data):
            yield parse_command(payload)


async def run() -> int:
    """Obey the first assignment; 0 when everything was told."""
    commands = read_commands(trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())))
    out = trio.lowlevel.FdStream(os.dup(sys.stdout.fileno()))
    assignment = await anext(commands, None)
    if not isinstance(assignment, Assignment):
        return 2
    with gc_tune():
        async with trio.open_nursery() as nursery:
            worker = Worker(assignment, out, nursery)
            await worker.obey(commands)
            nursery.cancel_scope.cancel()
    return 0


def main() -> int:
    """The process."""
    return trio.run(run)


if __name__ == "__main__":
    sys.exit(main())
