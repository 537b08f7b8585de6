"""What a killed server leaves behind must not keep its successor from starting."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from storage.leftovers import settle


@pytest.fixture
def zombie() -> Generator[int]:
    """The id of a process that has ended and that nobody reaps while the test runs."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


async def test_the_lock_file_of_a_dead_server_that_nobody_has_reaped_is_disarmed(
    tmp_path: Path, zombie: int
) -> None:
    """A zombie in postmaster.pid is no server: our own id takes its place, the rest stays for Postgres."""
    data, sockets = tmp_path / "data", tmp_path / "sockets"
    data.mkdir()
    sockets.mkdir()
    (data / "postmaster.pid").write_text(f"{zombie}\n/somewhere\n")
    await settle(data, sockets, timeout_s=5.0)
    left = (data / "postmaster.pid").read_text()

    assert f"{os.getpid()}\n/somewhere\n" == left
