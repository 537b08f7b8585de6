"""Runs the measuring client: compiles it where a compiler exists, hands it a script, reads its figures."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import msgspec
import trio

from scripts.bench.machine import family
from scripts.bench.measured import C_CLIENT, Measured, parse_measured
from scripts.bench.process import BenchError, open_process
from scripts.bench.server import Target

_COMPILE_S: Final = 60.0
_COMPILERS: Final = ("cc", "gcc", "clang")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How one run goes.

    Attributes:
        rate: sends a second over all rooms; 0: none, the measured time passes idle.
        window: connections that are in the making at the same time.
        settle_s: from the last join to the first send.
        warmup_s: sends that are not measured.
        measure_s: sends that are.
        drain_s: for what was sent to be delivered and answered.
        setup_s: for all connections to be made.
        slices: parts of the measured time, to see how steady it was.
    """

    rate: float
    window: int = 64
    settle_s: float = 0.5
    warmup_s: float = 2.0
    measure_s: float = 10.0
    drain_s: float = 5.0
    setup_s: float = 60.0
    slices: int = 5

    @property
    def limit_s(self) -> float:
        """The longest that a run can take."""
        return self.setup_s + self.settle_s + self.warmup_s + self.measure_s + self.drain_s + 10.0


class Client:
    """The measuring client, ready to run.

    Attributes:
        name: "C", or "Python" where there is no compiler.
    """

    def __init__(self, command: Sequence[str], *, name: str, directory: Path) -> None:
        self._command = command
        self._directory = directory
        self.name = name

    async def run(self, target: Target, script: bytes, pace: Pace, *, cores: tuple[int, int]) -> Measured:
        """Run one script against a server, on this process's core; bounded by `pace.limit_s`.

        Args:
            target: the server.
            script: from `render_script`.
            pace: how it goes.
            cores: the server's and the client's, whose load is told.

        Raises:
            BenchError: the client failed or did not end, with what it said.
        """
        path = self._directory / "script"
        path.write_bytes(script)
        options = {
            "host": int(IPv4Address(target.host)),
            "port": target.port,
            "server_core": cores[0],
            "client_core": cores[1],
            "rate_milli": round(pace.rate * 1000),
            "window": pace.window,
            "settle_ms": round(pace.settle_s * 1000),
            "warmup_ms": round(pace.warmup_s * 1000),
            "measure_ms": round(pace.measure_s * 1000),
            "drain_ms": round(pace.drain_s * 1000),
            "setup_ms": round(pace.setup_s * 1000),
            "slices": pace.slices,
        }
        pids = ",".join(map(str, family(target.pid)))
        settings = [f"pids={pids}", *(f"{name}={value}" for name, value in options.items())]
        command = [*self._command, str(path), *settings]
        async with open_process(command, core=cores[1], directory=self._directory) as process:
            with trio.move_on_after(pace.limit_s):
                code = await process.wait()
                if code:
                    said = process.log.read_text(errors="replace").strip()
                    raise BenchError(f"the client failed ({code}): {said}")
                return msgspec.structs.replace(parse_measured(process.out.read_bytes()), client=self.name)
        raise BenchError(f"the client did not end in {pace.limit_s:.0f} s; the server: {target.complaints()}")


def make_client(directory: Path) -> Client:
    """Compile the client into a directory of the caller's; the one in Python where there is no compiler.

    Raises:
        BenchError: the compiler refuses the client.
    """
    program = compile_c("client", directory)
    if program is None:
        return Client([sys.executable, "-m", "scripts.bench.slow_client"], name="Python", directory=directory)
    return Client([str(program)], name=C_CLIENT, directory=directory)


def compile_c(name: str, directory: Path) -> Path | None:
    """Compile one of this package's C files; the program, or None where there is no compiler.

    Raises:
        BenchError: the compiler refuses it.
    """
    compiler = next((found for known in _COMPILERS if (found := shutil.which(known))), None)
    if compiler is None:
        return None
    source = Path(__file__).with_name(f"{name}.c")
    program = directory / name
    done = subprocess.run(  # noqa: S603  the compiler that the machine has
        [compiler, "-O2", "-std=gnu11", "-o", str(program), str(source)],
        capture_output=True,
        check=False,
        timeout=_COMPILE_S,
    )
    if done.returncode:
        raise BenchError(f"{compiler} refuses {source.name}: {done.stderr.decode(errors='replace')}")
    return program
