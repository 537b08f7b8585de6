"""Rules and held messages on a real server and a real database, which is killed in between."""

from pathlib import Path
from random import Random
from typing import Final

import pytest

from chat.client import Client, open_client
from chat.client_errors import RequestRefused
from tests.e2e.server_process import open_server
from tests.sim.harness import items

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

RULES: Final = [
    {"kind": "links", "id": "links", "action": "hold", "allow": ["example.com"]},
    {"kind": "words", "id": "words", "action": "delete", "words": ["badword"], "reason": "be kind"},
]


async def _refusal(client: Client, body: str, cid: str) -> RequestRefused:
    """Why a message is not taken."""
    with pytest.raises(RequestRefused) as caught:
        await client.request("send", room="tea", cid=cid, body=body)
    return caught.value


async def test_rules_and_held_messages_outlive_a_killed_server(tmp_path: Path) -> None:
    """What was held is approved by the next life, which judges by the same rules; deleted is deleted."""
    async with open_server(tmp_path, settings="rate_limits = false\n") as server:
        async with (
            open_client(server.url, guest="ann", rng=Random(1)) as ann,  # noqa: S311  a test's chance
            open_client(server.url, guest="bob", rng=Random(2)) as bob,  # noqa: S311  a test's chance
        ):
            await ann.join("tea", create=True)
            await bob.join("tea")
            await ann.request("automod", room="tea", rules=RULES)
            held = await _refusal(bob, "look at evil.com", "1")
            removed = await bob.request("send", room="tea", cid="2", body="you badword")
            tokens = ann.guest_token, bob.guest_token
            assert held.code == "filtered"
            await server.kill()
        await server.start()
        async with (
            open_client(server.url, token=tokens[0], rng=Random(3)) as ann,  # noqa: S311  a test's chance
            open_client(server.url, token=tokens[1], rng=Random(4)) as bob,  # noqa: S311  a test's chance
        ):
            assert (await _refusal(bob, "look at evil.com", "1")).code == "filtered"
            (report,) = items(await ann.request("reports", room="tea"))
            assert (report["kind"], report["body"]) == ("held", "look at evil.com")
            approved = await ann.request("resolve", report=report["report"], action="approve")
            again = await bob.request("send", room="tea", cid="1", body="look at evil.com", retry=True)
            assert (again["seq"], again["dup"]) == (approved["seq"], True)
            history = items(await ann.history("tea", fold=True))
            assert [(item["seq"], item["body"]) for item in history] == [
                (removed["seq"], None),
                (approved["seq"], "look at evil.com"),
            ]
            filed = await bob.request("report", room="tea", seq=approved["seq"], reason="my own")
            assert filed["state"] == "open"
