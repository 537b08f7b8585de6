"""Starting a peer's server, with small ones in the place of the peers'."""

import os
import re
import sys
from pathlib import Path

import pytest
import trio

from scripts.bench.machine import family
from scripts.bench.peers.catalogue import Family, Peer
from scripts.bench.peers.dialects import JSON_ROOMS, json_rooms_connection
from scripts.bench.peers.launches import Launch
from scripts.bench.peers.serve import open_peer
from scripts.bench.process import BenchError
from tests.scripts.bench.support import CORES

LISTEN = (
    "import os, socket, sys, time; s = socket.create_server(('127.0.0.1', {port})); {more}; time.sleep(60)"
)
SAY = "print('port', s.getsockname()[1], flush=True)"
READY = re.compile(r"^port (\d+)$", re.MULTILINE)


def _peer(code: str, *, ready: re.Pattern[str] | None = READY) -> Peer:
    def launch(root: Path, directory: Path, port: int) -> Launch:
        program = code.replace("{port}", "0" if ready else str(port)).replace("{root}", str(root))
        return Launch(
            command=[sys.executable, "-c", program],
            environment={"PLACE": str(directory)},
            files={"settings": "on"},
            ready=ready,
        )

    return Peer(
        name="small",
        title="Small",
        family=Family.NPM,
        packages=(),
        lacks="nearly everything",
        dialect=JSON_ROOMS,
        connect=json_rooms_connection,
        launch=launch,
    )


@pytest.mark.slow
@pytest.mark.parametrize("ready", [READY, None], ids=["it says its port", "it is told its port"])
async def test_a_server_takes_connections_until_its_time_is_over(
    ready: re.Pattern[str] | None, tmp_path: Path
) -> None:
    """Then the process is gone."""
    peer = _peer(LISTEN.replace("{more}", SAY), ready=ready)
    async with open_peer(peer, tmp_path, core=CORES[0]) as target:
        stream = await trio.open_tcp_stream(target.host, target.port)
        await stream.aclose()
        assert list(family(target.pid)) == [target.pid]
    with pytest.raises(ProcessLookupError):
        os.kill(target.pid, 0)


@pytest.mark.slow
async def test_a_server_finds_its_files_and_they_go_with_it(tmp_path: Path) -> None:
    """Nothing of a peer stays behind."""
    more = "assert open(os.environ['PLACE'] + '/settings').read() == 'on'; " + SAY
    async with open_peer(_peer(LISTEN.replace("{more}", more)), tmp_path, core=CORES[0]) as target:
        directory = target.log.parent
        assert (directory / "settings").exists()
    assert not directory.exists()


@pytest.mark.slow
async def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    """And not waited for."""
    with pytest.raises(BenchError, match=r"small did not start \(3\): no luck"):
        async with open_peer(
            _peer("import sys; print('no luck', file=sys.stderr); sys.exit(3)"), tmp_path, core=CORES[0]
        ):
            pytest.fail("it cannot have started")
