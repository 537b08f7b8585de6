"""Both measuring clients, against the C fan-out, on real sockets."""

from pathlib import Path

import pytest

from scripts.bench.dialects import PLAIN, handshake, plain_connection
from scripts.bench.driver import Pace, compile_c
from scripts.bench.limit import open_limit
from scripts.bench.script import render_script
from tests.scripts.bench.support import CORES, client_of, needs_compiler

PACE = Pace(rate=100, settle_s=0, warmup_s=0.05, measure_s=0.2, slices=2)
PEOPLE = 5


def _script(people: int) -> bytes:
    greeting = handshake("localhost", 0, None)
    return render_script(
        PLAIN, [plain_connection(greeting=greeting, payload_bytes=200) for _ in range(people)]
    )


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["C", "Python"])
async def test_every_send_is_seen_by_everybody(name: str, tmp_path: Path) -> None:
    """Each client sends what it said, and counts each delivery once."""
    program = compile_c("limit", tmp_path)
    assert program is not None
    client = client_of(name, tmp_path)
    async with open_limit(program, core=CORES[0], directory=tmp_path) as target:
        run = await client.run(target, _script(PEOPLE), PACE, cores=CORES)
    assert run.violations() == []
    assert (run.client, run.connections, run.live) == (name, PEOPLE, PEOPLE)
    assert run.sent == 25
    assert run.events == run.expected_events == 25 * PEOPLE
    assert run.delivery.count > 0
    assert len(run.shots) == 3


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["C", "Python"])
async def test_a_server_that_is_gone_shows_as_connections_that_were_not_let_in(
    name: str, tmp_path: Path
) -> None:
    """The run ends, and says so."""
    program = compile_c("limit", tmp_path)
    assert program is not None
    client = client_of(name, tmp_path)
    async with open_limit(program, core=CORES[0], directory=tmp_path) as target:
        gone = target
    run = await client.run(gone, _script(PEOPLE), PACE, cores=CORES)
    assert run.live == 0
    assert run.violations()[0] == f"{PEOPLE} connections were not let in"
