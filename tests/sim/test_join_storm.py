"""Ten thousand sessions that come at one moment and join one room cost storage a bounded number of calls."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

import pytest
import trio

from chat.config import Config
from chat.garbage import gc_tune
from chat.tokens import token_hash
from storage import NewUser
from storage.testing import Fault
from tests.sim.harness import Sim, SimClient, open_sim, virtual_time

SESSIONS: Final = 10_000
BACK: Final = 2_500
"""Who come back."""
BATCH: Final = 500
"""Users in one look-up, and rows in one write."""
MOMENT: Final = Fault(before_s=0.005)
CONFIG: Final = Config(room_idle_s=5.0)


async def people(sim: Sim, count: int) -> Sequence[str]:
    """Registered users, each with a token."""
    tokens: list[str] = []
    for number in range(count):
        user_id, token = f"u_{number}", f"pt_{number:043d}"
        await sim.store.create_user(NewUser(user_id, f"user {number}", f"user {number}", "user"), at_ms=0)
        await sim.store.create_token(user_id, token_hash(token), at_ms=0, expires_at_ms=None)
        tokens.append(token)
    return tokens


async def come_and_join(sim: Sim, token: str, clients: list[SimClient]) -> None:
    """What one client does: again, when the room is busy, as it is told to."""
    client = await sim.enter(token)
    clients.append(client)
    while True:
        answer = await client.answer(await client.send("join", room="tea", create=True))
        if answer["t"] == "ok":
            return
        assert answer["code"] == "busy"
        await trio.sleep(cast("float", answer["retry_after"]))


async def storm(sim: Sim, tokens: Sequence[str]) -> tuple[Counter[str], list[SimClient]]:
    """All of them at one moment; what storage was asked, and who is there now."""
    before = sim.calls.copy()
    clients: list[SimClient] = []
    async with trio.open_nursery() as nursery:
        for token in tokens:
            nursery.start_soon(come_and_join, sim, token, clients)
    return sim.calls - before, clients


@pytest.mark.slow
@gc_tune()  # as a server is: else the collector walks over all these sessions again and again
@virtual_time
async def test_a_join_storm_costs_storage_as_many_calls_as_there_are_batches() -> None:
    """The first time the room is made and they become members; the second time they are members."""
    async with open_sim(CONFIG) as sim:
        tokens = await people(sim, SESSIONS)
        # A call takes a moment, in which the others come: that is what makes batches.
        sim.faults.update(
            dict.fromkeys(["find_tokens", "memberships", "find_room", "activate", "append"], MOMENT)
        )
        batches = SESSIONS // BATCH
        first, clients = await storm(sim, tokens)
        assert len(sim.node.topics.get("tea") or ()) == SESSIONS
        assert first["find_tokens"] <= batches + 2
        assert first["memberships"] <= batches + 2
        assert first["append"] <= 2 * batches
        assert (first["create_room"], first["activate"]) == (1, 1)
        assert first["find_room"] <= batches
        assert first.total() <= 5 * batches

        for client in clients:
            client.vanish()
        await trio.sleep(60)
        assert not sim.node.sessions
        assert not sim.node.rooms.is_active("tea")

        second, _ = await storm(sim, tokens[:BACK])
        assert len(sim.node.topics.get("tea") or ()) == BACK
        assert second["append"] == 0
        assert (second["create_room"], second["activate"]) == (0, 1)
        batches = BACK // BATCH
        assert second["find_room"] <= batches
        assert second.total() <= 3 * batches + 2
