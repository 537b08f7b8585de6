"""A hundred sessions change one key at once: one winner a version, and all end with the same value."""

from typing import cast

import pytest
import trio

from chat.codec import Codec
from chat.config import Config
from storage.testing import Fault
from tests.sim.harness import SimClient, both, items, open_sim, virtual_time

SESSIONS = 100
ROUNDS = 5


@pytest.mark.parametrize("strict", [False, True], ids=["shown at once", "shown when stored"])
@both
@virtual_time
async def test_a_hundred_sessions_have_one_winner_per_version(codec: Codec, strict: bool) -> None:
    """Every loser learns the winner's value and version, and comes back with it in the next round."""
    async with open_sim(Config(rate_limits=False)) as sim:
        clients = [await sim.connect(f"guest {number}", codec) for number in range(SESSIONS)]
        await clients[0].request("create", room="tea", strict=strict)
        for client in clients:
            await client.request("join", room="tea")
        sim.faults["append"] = Fault(before_s=0.01)
        for version in range(ROUNDS):
            ids = [
                await client.send("set", room="tea", key="k", value=[version, number], if_version=version)
                for number, client in enumerate(clients)
            ]
            answers = [await client.answer(request) for client, request in zip(clients, ids, strict=True)]
            winners = [number for number, answer in enumerate(answers) if answer["t"] == "ok"]
            assert len(winners) == 1
            assert answers[winners[0]]["version"] == version + 1
            expected = {"code": "conflict", "value": [version, winners[0]], "version": version + 1}
            for answer in answers[: winners[0]] + answers[winners[0] + 1 :]:
                assert {name: answer[name] for name in expected} == expected
        await trio.sleep(1)
        values = [await _value(client) for client in clients]
        assert len(values) == SESSIONS
        assert all(value == values[0] for value in values)
        for client in clients:
            seen = client.heard("event", kind="state")
            assert [event["version"] for event in seen] == list(range(1, ROUNDS + 1))
            assert (seen[-1]["value"], seen[-1]["version"]) == values[0]


@both
@virtual_time
async def test_a_counter_that_a_hundred_sessions_raise_loses_nothing(codec: Codec) -> None:
    """Each tries until it has won, from what the conflict told: the sum is the number of winners."""
    async with open_sim(Config(rate_limits=False)) as sim:
        clients = await sim.join("tea", *(f"guest {number}" for number in range(SESSIONS)), codec=codec)

        async def raise_counter(client: SimClient) -> None:
            value, version = 0, 0
            while True:
                request = await client.send("set", room="tea", key="sum", value=value + 1, if_version=version)
                answer = await client.answer(request)
                if answer["t"] == "ok":
                    return
                assert answer["code"] == "conflict"
                value, version = cast("int", answer["value"]), cast("int", answer["version"])

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(raise_counter, client)
        assert await _value(clients[0]) == (SESSIONS, SESSIONS)


async def _value(client: SimClient) -> tuple[object, object]:
    (item,) = items(await client.request("get", room="tea"))
    return item["value"], item["version"]
