"""The command: installs the peers, measures everybody, writes the page."""

import os
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from scripts.bench.budgets import ENCODINGS
from scripts.bench.cli import run_to_end
from scripts.bench.driver import compile_c, make_client
from scripts.bench.machine import connections_possible, describe, raise_file_limit
from scripts.bench.measured import C_CLIENT
from scripts.bench.peers.catalogue import PEERS, Family, Peer
from scripts.bench.peers.contestants import (
    Contestant,
    LimitContestant,
    ParleyContestant,
    PeerContestant,
)
from scripts.bench.peers.install import CACHE, Installed, install_debian, install_npm, install_pypi
from scripts.bench.peers.options import PeerOptions, parse_peer_options
from scripts.bench.peers.page import render_figures, render_page
from scripts.bench.peers.plot import write_plot
from scripts.bench.peers.race import Race
from scripts.bench.peers.results import LIMIT, PARLEY, Result
from scripts.bench.peers.workloads import CONTESTS, at_common_rate, bounded
from scripts.bench.process import BenchError
from storage import open_embedded

_INSTALLERS: Final = {Family.NPM: install_npm, Family.PYPI: install_pypi, Family.DEBIAN: install_debian}
_ENCODINGS: Final[Mapping[str, str]] = dict(zip(PARLEY, ENCODINGS, strict=True))


async def _compare(options: PeerOptions) -> None:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"Parley beside its peers, {date}")
    possible = connections_possible(raise_file_limit())
    # Before anything is measured: what is installed meanwhile would be noise.
    installed, results = await _install(options)
    machine = describe(options.cores)
    for name, value in machine.items():
        print(f"  {name}: {value}")
    os.sched_setaffinity(0, {options.cores[1]})
    contests = [
        bounded(
            at_common_rate(contest, options.rates.get(contest.name)),
            connections_max=min(possible, options.connections_max),
            quick=options.quick,
        )
        for contest in CONTESTS
        if contest.name in options.workloads
    ]
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as name:
        directory = Path(name)
        client = make_client(directory)
        if client.name != C_CLIENT:
            print("  no C compiler: the client is in Python, and may limit every figure of throughput")
        race = Race(client, options)
        try:
            async with _contestants(options, directory, installed) as contestants:
                for contestant in contestants:
                    results.append(await race.measure(contestant, contests))
        finally:
            # Also after Ctrl-C: what was measured so far.
            _write(options, results, date, machine)


async def _install(options: PeerOptions) -> tuple[Mapping[Family, Installed], list[Result]]:
    """The families that are needed; the results of peers that cannot be installed, with the reason."""
    chosen = [peer for peer in PEERS if peer.name in options.only]
    installed: dict[Family, Installed] = {}
    reasons: dict[Family, str] = {}
    for family in dict.fromkeys(peer.family for peer in chosen):
        print(f"installing from {family.value} into {CACHE}", flush=True)
        try:
            installed[family] = await _INSTALLERS[family](CACHE)
        except (BenchError, OSError) as error:
            reasons[family] = str(error)
            print(f"  NOT INSTALLED: {error}", flush=True)
    missing = [peer for peer in chosen if peer.family in reasons]
    return installed, [_absent(peer, reasons[peer.family]) for peer in missing]


def _absent(peer: Peer, reason: str) -> Result:
    return Result(
        name=peer.name, title=peer.title, lacks=peer.lacks, failures=[f"cannot be installed: {reason}"]
    )


@asynccontextmanager
async def _contestants(
    options: PeerOptions, directory: Path, installed: Mapping[Family, Installed]
) -> AsyncGenerator[Sequence[Contestant]]:
    """Everybody who was asked for and can be measured, the limit first."""
    found: list[Contestant] = []
    if LIMIT in options.only:
        program = compile_c("limit", directory)
        if program is None:
            print("  no C compiler: without the physical limit")
        else:
            found.append(LimitContestant(LIMIT, program, directory))
    peers: list[Contestant] = [
        PeerContestant(peer, installed[peer.family])
        for peer in PEERS
        if peer.name in options.only and peer.family in installed
    ]
    ours = [name for name in PARLEY if name in options.only]
    if not ours:
        yield [*found, *peers]
        return
    async with open_embedded(directory / "data") as postgres:
        yield [*found, *(ParleyContestant(name, _ENCODINGS[name], postgres.dsn) for name in ours), *peers]


def _write(options: PeerOptions, results: Sequence[Result], date: str, machine: Mapping[str, str]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    stem = f"{date.partition('T')[0]}-peers"
    plot = options.out / f"{stem}.svg"
    drawn = write_plot(results, plot, title=f"Parley beside its peers, {date.partition('T')[0]}")
    page = render_page(
        results, date=date, machine=machine, plot=plot.name if drawn else None, seconds=options.seconds
    )
    (options.out / f"{stem}.md").write_text(page)
    (options.out / f"{stem}.json").write_bytes(render_figures(results, date=date, machine=machine))
    print(f"\nwritten: {options.out / stem}.md, .svg, .json")


def main(argv: Sequence[str]) -> int:
    """Run the comparison; 0 whatever the figures are, 1 when it could not be run, 130 when interrupted."""
    return run_to_end(partial(_compare, parse_peer_options(argv)))
