"""The command line of the comparison."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from scripts.bench.options import add_machine_options, chosen_cores
from scripts.bench.peers.catalogue import PEERS
from scripts.bench.peers.results import LIMIT, PARLEY
from scripts.bench.peers.workloads import CONTESTS

CONTESTANTS: Final = (LIMIT, *PARLEY, *(peer.name for peer in PEERS))
WORKLOADS: Final = tuple(contest.name for contest in CONTESTS)
_OUT: Final = Path("docs/benchmarks")
_SECONDS: Final = 10.0
_QUICK_SECONDS: Final = 3.0
_QUICK_CONNECTIONS: Final = 1000


class PeerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who is measured at what, and how.

    Attributes:
        only: names of contestants.
        workloads: names.
        seconds: measured at the common rate; a rate of the search takes a third of it.
        rates: common rates other than the workloads' own, sends a second, by workload.
        quick: fewer rates are tried.
        connections_max: above it a workload gets fewer rooms.
        cores: the server's, and the client's and Postgres'.
        nice: the priority of all that is measured; None: the usual one.
        out: the directory for the page, its plot and the figures.
    """

    only: Sequence[str]
    workloads: Sequence[str]
    seconds: float
    rates: Mapping[str, float]
    quick: bool
    connections_max: int
    cores: tuple[int, int]
    nice: int | None
    out: Path


def parse_peer_options(argv: Sequence[str]) -> PeerOptions:
    """Read the command line behind `peers`; exits with 2 and a message where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench peers",
        description="Measure Parley beside its peers and the physical limit; no figure makes it fail.",
    )
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(CONTESTANTS)}; default: all")
    parser.add_argument("--workload", metavar="NAME,...", help=f"of {', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--seconds", type=float, help=f"measured at the common rate; default {_SECONDS:g}")
    parser.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="WORKLOAD=SENDS",
        help="a common rate, sends a second, instead of the workload's own",
    )
    parser.add_argument("--quick", action="store_true", help="shorter, fewer connections and rates")
    add_machine_options(parser)
    parser.add_argument("--out", type=Path, default=_OUT, metavar="DIR", help=f"default {_OUT}")
    known = parser.parse_args(argv)
    only = _chosen(parser, "contestant", known.only, CONTESTANTS)
    workloads = _chosen(parser, "workload", known.workload, WORKLOADS)
    seconds: float = (_QUICK_SECONDS if known.quick else _SECONDS) if known.seconds is None else known.seconds
    if not 1 <= seconds <= 120:  # noqa: PLR2004  a slice must have some ticks; the whole must end
        parser.error("--seconds is between 1 and 120")
    out: Path = known.out
    if out.exists() and not out.is_dir():
        parser.error(f"--out {out} is not a directory")
    return PeerOptions(
        only=only,
        workloads=workloads,
        seconds=seconds,
        rates=dict(_rate(parser, words) for words in known.rate),
        quick=known.quick,
        connections_max=_QUICK_CONNECTIONS if known.quick else 1 << 30,
        cores=chosen_cores(parser, known),
        nice=known.nice,
        out=out,
    )


def _rate(parser: argparse.ArgumentParser, words: str) -> tuple[str, float]:
    """One `--rate`."""
    name, _, number = words.partition("=")
    contest = next((contest for contest in CONTESTS if contest.name == name and contest.rates), None)
    try:
        rate = float(number)
    except ValueError:
        rate = 0.0
    if contest is None or not contest.rates[0] <= rate <= contest.rates[-1]:
        ranges = ", ".join(
            f"{contest.name}={contest.rates[0]:g}..{contest.rates[-1]:g}"
            for contest in CONTESTS
            if contest.rates
        )
        parser.error(f"--rate {words}: there are {ranges}")
    return name, rate


def _chosen(
    parser: argparse.ArgumentParser, what: str, names: str | None, known: Sequence[str]
) -> Sequence[str]:
    chosen = list(known) if names is None else [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        parser.error(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen
