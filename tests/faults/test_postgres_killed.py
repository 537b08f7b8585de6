"""Postgres killed and stopped under the server: rooms go on, no `ok` comes too early, none is lost."""

from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Final

import pytest

from tests.e2e.server_process import ServerProcess, open_server, until
from tests.faults.load import open_load

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

KILLS: Final = 5
SEED: Final = 20_262
AWAY_S: Final = 10
"""How long Postgres is stopped, by the load's own rate."""


async def test_five_kills_of_postgres_under_load_lose_no_ok(tmp_path: Path) -> None:
    """Five kill -9 of Postgres: the server lives, nobody is cut off, every ok is stored once."""
    rng = Random(SEED)  # noqa: S311  a test's choices
    async with open_server(tmp_path) as server, open_load(server) as load:
        pid = server.pid
        for _ in range(KILLS):
            await load.more_told(rng.randrange(200, 900))
            await kill_postgres(server)
            await load.more_told(200)
            await load.check_told()
            await load.check(in_order=True)
            load.resume()
        await load.more_told(1000)
        await load.check(in_order=True)

        assert server.alive
        assert server.pid == pid
        assert [client.statistics().connections for client in load.clients] == [1] * len(load.clients)
        assert load.count_rewinds() == 0


async def test_rooms_stay_live_while_postgres_is_stopped(tmp_path: Path) -> None:
    """Ten seconds without Postgres: messages are seen and none is answered ok; then all of them are."""
    async with open_server(tmp_path) as server, open_load(server) as load:
        pid = server.pid
        await load.more_told(1000)
        postgres = server.postgres()
        postgres.stop_all()
        posted, told, delivered = load.posted, load.told, load.delivered
        await until(lambda: load.posted >= posted + AWAY_S * 1000, "the load stands still")
        told_meanwhile, delivered_meanwhile = load.told - told, load.delivered - delivered
        status, _ = await server.get("/healthz")
        postgres.continue_all()
        await load.more_told(10_000)
        await load.check(in_order=False)

        assert status == 200
        # What was committed as it stopped may still have been on its way.
        assert told_meanwhile < 1000
        assert delivered_meanwhile > 10_000
        assert server.alive
        assert server.pid == pid
        assert load.count_rewinds() == 0


async def kill_postgres(server: ServerProcess) -> None:
    """SIGKILL the postmaster, and wait until the server has another."""
    postgres = server.postgres()
    try:
        postgres.postmaster.send(SIGKILL)
        await postgres.postmaster.wait_ended()
        killed = postgres.postmaster.pid
        await until(lambda: server.find_postgres() not in {None, killed}, "no other Postgres was started")
    finally:
        postgres.postmaster.close()
