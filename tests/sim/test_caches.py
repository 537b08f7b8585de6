"""What a server keeps in memory is not asked of storage, and is what storage would have said."""

from typing import Final

from chat.codec import Codec
from chat.config import Config
from storage import Unavailable
from storage.testing import Fault
from tests.sim.harness import both, items, open_sim, virtual_time

SHORT: Final = Config(rate_limits=False, room_tail_events=8)


@both
@virtual_time
async def test_a_page_that_the_room_remembers_is_not_asked_of_storage(codec: Codec) -> None:
    """With any of the places, to the edge of its memory and not beyond."""
    async with open_sim(SHORT) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        for number in range(20):
            await ann.request("send", room="tea", cid=f"{number}", body=f"{number}")
        await ann.request("delete", room="tea", seq=18)
        asked = [{}, {"before": 19}, {"after": 13}, {"around": 16}, {"after": 21}, {"before": 19, "limit": 5}]
        pages = [await ann.request("history", **{"room": "tea", "limit": 5, **place}) for place in asked]
        assert sim.calls["history"] == 0
        beyond = await ann.request("history", room="tea", before=18, limit=5)
        assert sim.calls["history"] == 1
        assert [item["seq"] for item in items(beyond)] == [13, 14, 15, 16, 17]
        assert [[item["seq"] for item in items(page)] for page in pages] == [
            *([*range(17, 22)], [*range(14, 19)], [*range(14, 19)], [*range(14, 19)], [], [*range(14, 19)]),
        ]
        assert [(page.get("prev"), page.get("next")) for page in pages] == [
            (17, None),
            *[(14, 18)] * 3,
            (None, None),
            (14, 18),
        ]
        assert {(page["durable"], page["epoch"]) for page in [*pages, beyond]} == {(21, 1)}
        assert items(pages[0])[1]["body"] is None
        counts = sim.node.metrics.counts
        assert (counts.history_hits, counts.history_misses) == (len(asked), 1)


@virtual_time
async def test_what_is_remembered_can_be_read_while_the_database_is_away() -> None:
    """And what is not stored yet is not in it, nor is it durable."""
    async with open_sim(SHORT) as sim:
        (ann,) = await sim.join("tea", "ann")
        await ann.request("send", room="tea", cid="1", body="stored")
        away = Fault(refusal=Unavailable("away"))
        sim.faults.update(append=away, history=away)
        await ann.send("send", room="tea", cid="2", body="not yet")
        await ann.expect("event", body="not yet")
        page = await ann.request("history", room="tea")
        assert [item["body"] for item in items(page)] == ["stored"]
        assert (page["durable"], "next" in page) == (1, False)
        sim.faults.clear()
