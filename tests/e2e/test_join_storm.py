"""A join storm on Postgres: as many statements as there are batches, whatever the number of sessions."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chat.config import Config
from chat.tokens import token_hash
from storage import Database, PostgresStore
from storage.database import Tx
from storage.model import Entry, MembershipPage, Receipt, TokenRow
from tests.sim.harness import Sim, SimClient, as_late_as, open_sim

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

SESSIONS: Final = 2_000
STATEMENTS_MAX: Final = 100
"""A few for each of some dozen batches of 500; with one for each session it were thousands."""
PATIENCE_S: Final = 300.0
CONFIG: Final = Config(
    room_mailbox=4 * SESSIONS,
    room_mailbox_reserve=SESSIONS,
    hello_timeout_s=PATIENCE_S,
    heartbeat_s=2 * PATIENCE_S,
    pong_timeout_s=PATIENCE_S,
    request_timeout_s=PATIENCE_S,
    send_timeout_s=PATIENCE_S,
)
"""Everybody may ask the room at one moment, so that nobody asks again, however slow the machine is."""

_PEOPLE: Final = """
WITH people AS (
    INSERT INTO users (id, name, name_key, role, created_at_ms)
    SELECT 'u_' || i, 'user ' || i, 'user ' || i, 'user', 0 FROM generate_series(1, $1::int) AS i
    RETURNING id
)
INSERT INTO tokens (hash, user_id, created_at_ms)
SELECT hash, 'u_' || i, 0 FROM unnest($2::bytea[]) WITH ORDINALITY AS token (hash, i)
"""


class HeldStore(PostgresStore):
    """Postgres that can be made to wait until everybody has asked."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._may_answer = trio.Event()
        self._may_answer.set()

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Begin no call until the body has ended and nobody does anything any more."""
        self._may_answer = trio.Event()
        yield
        await wait_all_tasks_blocked()
        self._may_answer.set()

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """See `Store.find_tokens`."""
        await self._may_answer.wait()
        return await super().find_tokens(hashes, at_ms=at_ms)

    async def memberships(
        self, user_ids: Sequence[str], *, after: str | None, limit: int
    ) -> Mapping[str, MembershipPage]:
        """See `Store.memberships`."""
        await self._may_answer.wait()
        return await super().memberships(user_ids, after=after, limit=limit)

    async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
        """See `Store.append`."""
        await self._may_answer.wait()
        return await super().append(batch)


async def people(database: Database, count: int) -> list[str]:
    """Registered users, each with a token."""
    tokens = [f"pt_{number:043d}" for number in range(count)]

    async def insert(tx: Tx) -> None:
        await tx.execute(_PEOPLE, count, list(map(token_hash, tokens)))

    await database.run(insert)
    return tokens


async def storm(sim: Sim, store: HeldStore, tokens: list[str]) -> list[SimClient]:
    """All come in at one moment, and join one room at the next."""
    clients = [await sim.open() for _ in tokens]
    async with store.held():
        for client, token in zip(clients, tokens, strict=True):
            await client.send("hello", token=token)
    for client in clients:
        await client.expect("welcome")
    async with store.held():
        asked = [await client.send("join", room="tea") for client in clients]
    for client, request_id in zip(clients, asked, strict=True):
        assert (await client.answer(request_id))["t"] == "ok"
    return clients


async def test_a_join_storm_costs_postgres_as_many_statements_as_there_are_batches(
    database: Database,
) -> None:
    """The first time all become members, the second time they come back."""
    tokens = await people(database, SESSIONS)
    store = HeldStore(database)
    async with open_sim(CONFIG, store=store, prepare=as_late_as(0.0)) as sim:
        owner = await sim.connect("owner")
        await owner.request("create", room="tea")
        for _ in range(2):
            before = database.statistics().statements
            clients = await storm(sim, store, tokens)
            asked = database.statistics().statements - before
            topic = sim.node.topics.get("tea")
            assert topic is not None
            assert len(topic) == SESSIONS
            assert asked <= STATEMENTS_MAX
            for client in clients:
                client.vanish()
            for client in clients:
                await client.wait_closed()
