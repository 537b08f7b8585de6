"""The server killed for real, at random moments, under load: what was answered `ok` stays, once, in order."""

from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Final

import pytest

from tests.e2e.server_process import open_server, until
from tests.faults.load import Load, Shape, open_load

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

KILLS: Final = 10
CHECK_EVERY: Final = 3
"""Kills between two checks of everything: what is on its way then lives through several of them."""
SEED: Final = 20_261


async def test_ten_kills_of_the_server_under_load_lose_no_ok(tmp_path: Path) -> None:
    """Ten kill -9 at random moments: every ok is stored once, and every client shows what is stored."""
    rng = Random(SEED)  # noqa: S311  a test's choices
    async with open_server(tmp_path) as server, open_load(server) as load:
        for kill in range(1, KILLS + 1):
            await load.more_told(rng.randrange(200, 900))
            await server.kill()
            await server.start()
            await load.all_connected()
            await load.check_told()
            if kill % CHECK_EVERY == 0:
                await load.check(in_order=True)
                load.resume()
        await load.more_told(1000)
        await load.check(in_order=True)

        assert all(len(log.ends) >= KILLS for log in load.logs)
        told = sum(len(talker.told) for talker in load.talkers)
        assert told == load.posted


async def test_what_everybody_saw_and_nobody_stored_is_rewound(tmp_path: Path) -> None:
    """Messages broadcast while Postgres hangs, then lost with everything: every client is told to rewind."""
    shape = Shape(rooms=5)
    async with open_server(tmp_path) as server, open_load(server, shape, running=False) as load:
        say_in_every_room(load, 3)
        await load.settle()
        survived = [log.head for log in load.logs]
        postgres = server.postgres()
        postgres.stop_all()
        say_in_every_room(load, 4)
        await until(lambda: all(log.head == 14 for log in load.logs), "not everybody saw all messages")
        assert load.told == 5 * 2 * 3
        server.send_signal(SIGKILL)
        assert await server.wait_ended() == -SIGKILL
        # Dead before it may go on: else it would still store what lies in its sockets.
        postgres.kill_all()
        await postgres.postmaster.wait_ended()
        await server.start()
        await load.check(in_order=True)

        assert [6] * len(load.logs) == survived
        assert all([rewind.keep for rewind in log.rewinds] == [6] for log in load.logs)
        assert all(len(log.rewinds[0].dropped) == 8 for log in load.logs)


def say_in_every_room(load: Load, count: int) -> None:
    """Have every talker post so many messages."""
    for number in range(count):
        for talker in load.talkers:
            talker.post(load.body(number))
