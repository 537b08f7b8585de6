"""The server killed for real while people read: a pointer that was answered `ok` is never lower after it."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from chat.client import Client
from chat.client_errors import RequestRefused
from storage.database import Tx
from tests.e2e.server_process import ServerProcess, open_server, until
from tests.faults.client_log import ClientLog
from tests.faults.load import TICK_S, Shape, open_load

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

KILLS: Final = 4
SEED: Final = 20_263

_POINTERS: Final = "SELECT user_id, read_seq FROM members"


class Reader:
    """Reads a room as it goes on.

    Attributes:
        pointer: the highest that was answered `ok`.
        answers: how many were.
    """

    def __init__(self, client: Client, log: ClientLog) -> None:
        self.client = client
        self.log = log
        self.pointer = 0
        self.answers = 0

    async def run(self) -> None:
        """Move the pointer to the last event seen, again and again, until cancelled."""
        while True:
            head = self.log.head
            try:
                answer = await self.client.read(self.log.room, head)
            except RequestRefused as refused:
                # What it saw did not survive, or the database is on its way: the next one may be read.
                if not refused.temporary and refused.code != "not_found":
                    raise
            else:
                pointer = answer["read"]
                assert isinstance(pointer, int)
                assert pointer >= head
                self.pointer = max(self.pointer, pointer)
                self.answers += 1
            await trio.sleep(TICK_S)


async def read_pointers(server: ServerProcess) -> Mapping[str, int]:
    """Every user's pointer as Postgres has it; each is a member of one room."""

    async def read(tx: Tx) -> dict[str, int]:
        return {str(user_id): int(str(seq)) for user_id, seq in await tx.fetch(_POINTERS)}

    async with server.database() as database:
        return await database.read(read)


def have_heard(readers: Sequence[Reader], answers: int) -> bool:
    """Whether readers have so many answers, all together."""
    return sum(reader.answers for reader in readers) >= answers


async def test_kills_of_the_server_take_no_pointer_back(tmp_path: Path) -> None:
    """Four kill -9 at random moments; all pointers go on afterwards, and the members list tells them."""
    rng = Random(SEED)  # noqa: S311  a test's choices
    shape = Shape(rooms=5, per_s=300.0)
    async with (
        open_server(tmp_path) as server,
        open_load(server, shape) as load,
        trio.open_nursery() as nursery,
    ):
        readers = [Reader(client, log) for client, log in zip(load.clients, load.logs, strict=True)]
        for reader in readers:
            nursery.start_soon(reader.run)
        for _ in range(KILLS):
            goal = sum(reader.answers for reader in readers) + rng.randrange(100, 400)
            await until(partial(have_heard, readers, goal), "nobody reads any more")
            await server.kill()
            told = {reader.client.user_id: reader.pointer for reader in readers}
            await server.start()
            stored = await read_pointers(server)
            lost = {user: (seq, stored[user]) for user, seq in told.items() if stored[user] < seq}
            assert not lost, f"answered and not stored: {lost}"
            assert max(told.values()) > 0
            await load.all_connected()
        await load.settle()
        await until(
            lambda: all(reader.pointer == reader.log.head for reader in readers), "not all has been read"
        )
        nursery.cancel_scope.cancel()
        for reader in readers:
            mine = (await reader.client.rooms(mine=True))["items"]
            assert isinstance(mine, list)
            assert [(room["read"], room["unread"]) for room in mine] == [(reader.pointer, 0)]
