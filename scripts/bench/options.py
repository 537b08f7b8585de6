"""The command line of the bench."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from scripts.bench.budgets import ENCODINGS, HISTORY_ROWS, NAMES

_SECONDS: Final = 10.0
_QUICK_SECONDS: Final = 3.0
_QUICK_CONNECTIONS: Final = 2000
_QUICK_ROWS: Final = 100_000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure, and how.

    Attributes:
        names: of workloads.
        encodings: "msgpack", "json".
        seconds: measured in each workload.
        connections_max: above it a workload gets fewer rooms.
        history_rows: in the room whose history is read, and in the rooms that are searched.
        rate: sends a second instead of each workload's own; None: those.
        cores: the server's, and everybody else's.
        nice: the priority of all that is measured; None: the usual one.
        json: where everything is written too.
    """

    names: Sequence[str]
    encodings: Sequence[str]
    seconds: float
    connections_max: int
    history_rows: int
    rate: float | None
    cores: tuple[int, int]
    nice: int | None
    json: Path | None


def parse_options(argv: Sequence[str] | None) -> Options:
    """Read the command line; exits with 2 and a message where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench", description="Measure the budget table; no figure makes it fail."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--encoding", choices=ENCODINGS, help="one encoding only")
    parser.add_argument("--seconds", type=float, help=f"measured in each workload; default {_SECONDS:g}")
    parser.add_argument("--rate", type=float, help="sends a second, instead of each workload's own")
    parser.add_argument("--quick", action="store_true", help="shorter, fewer connections and rows: a minute")
    add_machine_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    known = parser.parse_args(argv)
    names: list[str] = known.names or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(NAMES)}")
    seconds: float = (_QUICK_SECONDS if known.quick else _SECONDS) if known.seconds is None else known.seconds
    if not 1 <= seconds <= 600:  # noqa: PLR2004  a slice must have some ticks; the whole must end
        parser.error("--seconds is between 1 and 600")
    if known.rate is not None and not 1 <= known.rate <= 100_000:  # noqa: PLR2004  as the client counts
        parser.error("--rate is between 1 and 100,000")
    return Options(
        names=names,
        encodings=ENCODINGS if known.encoding is None else (known.encoding,),
        seconds=seconds,
        connections_max=_QUICK_CONNECTIONS if known.quick else 1 << 30,
        history_rows=_QUICK_ROWS if known.quick else HISTORY_ROWS,
        rate=known.rate,
        cores=chosen_cores(parser, known),
        nice=known.nice,
        json=known.json,
    )


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where on the machine is measured: `--server-cpu`, `--client-cpu`, `--nice`."""
    parser.add_argument("--server-cpu", type=int, default=0, help="the server's core; default 0")
    parser.add_argument("--client-cpu", type=int, default=1, help="the client's and Postgres'; default 1")
    parser.add_argument("--nice", type=int, help="priority: -15 on a machine that others use too (root only)")


def chosen_cores(parser: argparse.ArgumentParser, known: argparse.Namespace) -> tuple[int, int]:
    """The server's core and everybody else's; exits with 2 where this process may not use them."""
    cores: tuple[int, int] = (known.server_cpu, known.client_cpu)
    missing = set(cores) - os.sched_getaffinity(0)
    if missing:
        parser.error(f"this process may not use core {', '.join(map(str, sorted(missing)))}")
    return cores
