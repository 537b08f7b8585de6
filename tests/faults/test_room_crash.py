"""A crash raised inside a room actor, in the real server under load: the room comes back, nothing is lost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.server_process import open_server
from tests.faults.crashing_server import BEFORE, WITHIN
from tests.faults.load import Talker, open_load

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

PROGRAM: Final = ("-m", "tests.faults.crashing_server")
ROOMS: Final = 5
"""Rooms that crash once before and once within a turn; the other rooms do not."""


async def test_rooms_that_crash_under_load_lose_nothing_and_cut_nobody_off(tmp_path: Path) -> None:
    """Ten crashes, before a turn and in the midst of one: no ok is lost, no client loses its connection."""
    async with open_server(tmp_path, program=PROGRAM) as server, open_load(server) as load:
        pid = server.pid
        await load.more_told(1000)
        for words in (BEFORE, WITHIN):
            for talker, word in zip(one_in_each(load.talkers), words, strict=False):
                talker.post(word)
            await load.more_told(1000)
        await load.check(in_order=True)

        assert await server.metric("parley_actor_crashes_total", kind="room") == 2 * ROOMS
        assert server.alive
        assert server.pid == pid
        assert [client.statistics().connections for client in load.clients] == [1] * len(load.clients)
        assert load.count_rewinds() == 0


def one_in_each(talkers: Sequence[Talker]) -> list[Talker]:
    """One talker of each of the first rooms."""
    by_room = {talker.log.room: talker for talker in talkers}
    return list(by_room.values())[:ROOMS]
