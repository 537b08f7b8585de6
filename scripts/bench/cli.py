"""The command: says what is measured on which machine, measures it, sums it up."""

import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from scripts.bench.bench import Bench
from scripts.bench.budgets import WORKLOADS
from scripts.bench.driver import make_client
from scripts.bench.machine import connections_possible, describe, raise_file_limit
from scripts.bench.measured import C_CLIENT
from scripts.bench.options import Options, parse_options
from scripts.bench.process import BenchError
from scripts.bench.report import render_json, render_summary
from storage import EmbeddedError, StorageError, open_embedded


async def _bench(options: Options) -> None:
    machine = describe(options.cores)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"Parley's budgets, measured {date}")
    for name, value in machine.items():
        print(f"  {name}: {value}")
    possible = connections_possible(raise_file_limit())
    if possible < max(workload.connections for workload in WORKLOADS):
        print(
            f"  open files: too few for all connections, {possible:,} at most are measured;\n"
            "    `ulimit -n 20000` before the command lifts that, where the hard limit allows it"
        )
    # Postgres, the client and this process: whatever is started from here on, except the server.
    os.sched_setaffinity(0, {options.cores[1]})
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as name:
        directory = Path(name)
        client = make_client(directory)
        if client.name != C_CLIENT:
            print("  no C compiler: the client is in Python, and may limit the throughput")
        async with open_embedded(directory / "data") as postgres:
            if postgres.pid is None:
                raise BenchError("Postgres has ended")
            bench = Bench(
                options,
                client,
                postgres.dsn,
                postgres_pid=postgres.pid,
                directory=directory,
                connections_max=possible,
            )
            try:
                await bench.run()
            finally:
                # Also after Ctrl-C: what was measured so far.
                print(f"\n{render_summary(bench.lines, bench.failed)}")
                if options.json is not None:
                    options.json.write_bytes(render_json(machine, date, bench.lines, bench.measured))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 whatever the figures are, 1 when it could not be run, 130 when interrupted."""
    return run_to_end(partial(_bench, parse_options(argv)))


def run_to_end(measure: Callable[[], Awaitable[None]]) -> int:
    """Run something that measures; 1 when it could not be run, and it is said why, 130 when interrupted."""
    status = 0
    try:
        trio.run(measure)
    except* KeyboardInterrupt:
        status = 130
    except* (BenchError, EmbeddedError, StorageError, OSError) as group:
        for error in group.exceptions:
            print(f"bench: {error}", file=sys.stderr)
        status = 1
    return status
