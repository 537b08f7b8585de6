"""A scene for bad input: somebody who behaves badly, and two who must not notice.

The culprit and a neighbour sit in one room, a stranger in another. What the neighbour and the stranger are
served is checked before and after, with every event in order and nothing lost.
"""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

from chat.codec import JSON, MSGPACK, Codec
from chat.config import Config
from tests.sim.harness import Sim, SimClient, open_sim

TEA: Final = "tea"
"""Where the culprit and the neighbour are members."""
DEN: Final = "den"
"""The stranger's public room; the culprit is no member."""
ATTIC: Final = "attic"
"""The stranger's private room."""


TEMPORARY: Final = {
    "rate_limited",
    "slow_mode",
    "busy",
    "overloaded",
    "unavailable",
    "timeout",
    "internal",
}


def check_error(
    answer: Mapping[str, object], code: str, *, field: str | None = None, retries: bool = False
) -> None:
    """Compare an error with protocol.md 4 and 7, in all of its fields."""
    assert answer["t"] == "error"
    assert answer["code"] == code
    assert answer["temporary"] is (code in TEMPORARY)
    assert answer.get("field") == field
    assert isinstance(answer["message"], str)
    assert answer["message"]
    retry_after = answer.get("retry_after")
    assert (retry_after is not None) is retries
    if retries:
        assert isinstance(retry_after, float | int)
        assert 0 < retry_after <= 60


class Scene:
    """The three of them.

    Attributes:
        sim: the server.
        culprit: welcomed, a member of the tea room.
        neighbour: another member, in the other encoding.
        stranger: the owner of the den and the attic.
    """

    def __init__(self, sim: Sim, culprit: SimClient, neighbour: SimClient, stranger: SimClient) -> None:
        self.sim = sim
        self.culprit = culprit
        self.neighbour = neighbour
        self.stranger = stranger
        self._rounds = 0

    async def check_served(self) -> None:
        """Have both bystanders talk, in their rooms, and be answered.

        Raises:
            AssertionError: one of them was not served, or not in order.
        """
        self._rounds += 1
        for who, room in ((self.neighbour, TEA), (self.stranger, DEN)):
            body = f"round {self._rounds}"
            stored = await who.request("send", room=room, cid=f"round-{self._rounds}", body=body)
            await who.expect("event", room=room, seq=stored["seq"], body=body)
            assert who.closed_with is None

    async def check_nothing_lost(self) -> None:
        """Compare what the bystanders saw with what is stored: every event, once, in order.

        Raises:
            AssertionError: they differ.
        """
        for who, room in ((self.neighbour, TEA), (self.stranger, DEN)):
            seen = who.heard("event", room=room)
            assert await read_log(who, room) == seen
            assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))


async def read_log(client: SimClient, room: str) -> list[object]:
    """A room's whole history, page by page from its end."""
    log: list[object] = []
    where: dict[str, object] = {}
    while True:
        page = await client.request("history", room=room, limit=100, **where)
        items = page["items"]
        assert isinstance(items, list)
        log[:0] = items
        if "prev" not in page:
            return log
        where = {"before": page["prev"]}


@asynccontextmanager
async def open_scene(
    codec: Codec = MSGPACK, config: Config | None = None, *, errors: Collection[str] = ()
) -> AsyncGenerator[Scene, None]:
    """Set the scene; at its end both bystanders are served as before, and nothing is lost.

    Args:
        codec: the culprit's encoding.
        config: the server's settings.
        errors: events that the server may log as errors.
    """
    async with open_sim(config, errors=errors) as sim:
        (neighbour,) = await sim.join(TEA, "ned", codec=JSON if codec is MSGPACK else MSGPACK)
        (culprit,) = await sim.join(TEA, "mal", codec=codec)
        (stranger,) = await sim.join(DEN, "sam")
        await stranger.request("create", room=ATTIC, kind="private")
        scene = Scene(sim, culprit, neighbour, stranger)
        await scene.check_served()
        yield scene
        await scene.check_served()
        await scene.check_nothing_lost()
