"""Measures one contestant at every workload, each run against a fresh server."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from scripts.bench.budgets import Workload, at_rate
from scripts.bench.driver import Client, Pace
from scripts.bench.machine import favour
from scripts.bench.measured import Measured
from scripts.bench.peers.contestants import Contestant
from scripts.bench.peers.ladder import Ladder, judge
from scripts.bench.peers.options import PeerOptions
from scripts.bench.peers.results import Climb, Result
from scripts.bench.peers.workloads import Contest
from scripts.bench.process import BenchError
from scripts.bench.report import render_doubts
from scripts.bench.script import render_script

_WARMUP_S: Final = 2.0
_TRIAL_PART: Final = 0.3
"""Of the measured time: what a rate of the search gets."""
_TRIAL_DRAIN_S: Final = 2.0
_SETUP_S: Final = 20.0
_SETUPS_PER_S: Final = 150.0
"""A server that lets in fewer is not waited for."""


class Race:
    """Makes runs.

    Args:
        client: the measuring client.
        options: of the command.
    """

    def __init__(self, client: Client, options: PeerOptions) -> None:
        self._client = client
        self._options = options

    async def measure(self, contestant: Contestant, contests: Sequence[Contest]) -> Result:
        """Everything about one contestant; what cannot be measured is said and passed over."""
        result = Result(
            name=contestant.name,
            title=contestant.title,
            lacks=contestant.lacks,
            versions=contestant.versions,
        )
        print(f"\n{contestant.title}", flush=True)
        for contest in contests:
            try:
                await self._contest(contestant, contest, result)
            except BenchError as error:
                result.failures.append(f"{contest.workload.title}: {error}")
                print(f"  NOT MEASURED: {error}", flush=True)
        return result

    async def _contest(self, contestant: Contestant, contest: Contest, result: Result) -> None:
        workload = contest.workload
        known = result.figures()
        if contest.rates:
            climb = await self._climb(contestant, contest)
            result.climbs[contest.name] = climb
            lowest = contest.rates[0]
            if climb.best is None:
                result.failures.append(f"{workload.title}: it does not bear {lowest:,.0f} sends/s")
            # The common rate, or the highest that this one bears.
            best = lowest if climb.best is None else climb.best.rate
            workload = at_rate(workload, min(workload.rate, best))
        measured = await self._run(contestant, workload, self._options.seconds * workload.scale)
        result.runs[contest.name] = measured
        result.rates[contest.name] = workload.rate
        result.common[contest.name] = contest.workload.rate
        for doubt in render_doubts(measured):
            print(doubt)
        for figure, value in result.figures().items():
            if figure not in known:
                print(f"  {figure.title}: {value.number:,.2f} {value.remark}".rstrip())
        sys.stdout.flush()

    async def _climb(self, contestant: Contestant, contest: Contest) -> Climb:
        ladder = Ladder(contest.rates)
        while (rate := ladder.next_rate) is not None:
            seconds = max(1.0, self._options.seconds * _TRIAL_PART)
            measured = await self._run(
                contestant, at_rate(contest.workload, rate), seconds, drain_s=_TRIAL_DRAIN_S
            )
            trial = judge(measured, rate)
            ladder.record(trial)
            print(
                f"  {contest.name} at {rate:,.0f} sends/s: {'borne' if trial.borne else 'NOT borne'}, "
                f"p99 {trial.p99_ms:.1f} ms{', the client or others may be why' if trial.doubtful else ''}",
                flush=True,
            )
        return Climb(best=ladder.best, at_least=ladder.at_least, trials=tuple(ladder.trials))

    async def _run(
        self, contestant: Contestant, workload: Workload, seconds: float, *, drain_s: float = 5.0
    ) -> Measured:
        async with contestant.open(core=self._options.cores[0]) as target:
            if self._options.nice is not None:
                favour(os.getpid(), self._options.nice)
            script = render_script(
                contestant.dialect,
                [
                    contestant.connection(target, index=index, room=index % workload.rooms)
                    for index in range(workload.connections)
                ],
            )
            pace = Pace(
                rate=workload.rate,
                window=workload.window,
                settle_s=workload.settle_s,
                warmup_s=min(_WARMUP_S, seconds / 3),
                measure_s=seconds,
                drain_s=drain_s,
                setup_s=_SETUP_S + workload.connections / _SETUPS_PER_S,
            )
            measured = await self._client.run(target, script, pace, cores=self._options.cores)
            if not measured.live:
                raise BenchError(f"nobody was let in: {measured.first_error or target.complaints()}")
            return measured
