"""Search on a real server and a real database: what was answered `ok` is found, or said to be missing."""

from pathlib import Path
from random import Random

import pytest
import trio

from chat.client import Client, open_client
from tests.e2e.server_process import open_server
from tests.sim.harness import items

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

FRESH_S = 30.0


async def _found_when_fresh(client: Client, query: str, **fields: str) -> set[object]:
    """The seqs of what is found once an answer says that nothing is missing."""
    with trio.fail_after(FRESH_S):
        while True:
            page = await client.search(query, limit=50, **fields)
            if page["fresh"]:
                return {item["seq"] for item in items(page)}


async def test_a_killed_server_leaves_nothing_unfound(tmp_path: Path) -> None:
    """Killed right after `ok`, it indexes at its start what was missing: no message in the room is needed."""
    settings = "rate_limits = false\n"
    async with open_server(tmp_path, settings=settings) as server:
        async with open_client(server.url, guest="ann", rng=Random(1)) as ann:  # noqa: S311  a test's chance
            await ann.join("lobby", create=True)
            await ann.create("english", language="english")
            await ann.join("english")
            sent = set[object]()
            for number in range(30):
                sent.add((await ann.send("lobby", f"needle number {number}")).seq)
                page = await ann.search("needle", room="lobby", limit=50)
                found = {item["seq"] for item in items(page)}
                assert found == sent or (page["fresh"] is False and page["behind"] == len(sent - found))
            await ann.send("english", "people were searching")
            await server.kill()
        await server.start()
        async with open_client(server.url, guest="bob", rng=Random(2)) as bob:  # noqa: S311  a test's chance
            assert await _found_when_fresh(bob, "needle") == sent
            assert await _found_when_fresh(bob, "needle", room="lobby") == sent
            assert await _found_when_fresh(bob, "search", room="english") == {1}
            assert await server.metric("parley_search_skipped_rows_total") == 0
