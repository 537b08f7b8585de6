"""The client library's changes, on a server in memory: each once, whatever happens to the connection."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from chat.client import Client, open_client
from chat.client_errors import RequestRefused
from chat.client_options import Encoding
from chat.client_state import Envelope
from chat.config import Config
from storage.testing import Fault
from tests.sim.harness import Sim, cut, items, open_sim, virtual_time

both = pytest.mark.parametrize("encoding", ["msgpack", "json"])
FAST = Config(rate_limits=False)


class Line:
    """Where a client's connections go: to the server, until they are cut."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._stream: trio.abc.Stream | None = None

    async def dial(self) -> trio.abc.Stream:
        """Connect."""
        self._stream = self._sim.dial()
        return self._stream

    def cut(self) -> None:
        """Break the connection, both ways."""
        cut(self._stream)


@asynccontextmanager
async def in_the_room(line: Line, encoding: Encoding) -> AsyncGenerator[Client]:
    """A client in "tea" who has said one thing."""
    async with open_client(
        "ws://localhost:8000/ws",
        rng=Random(3),  # noqa: S311  a test repeats itself
        guest="ann",
        encoding=encoding,
        dial=line.dial,
    ) as client:
        await client.join("tea", create=True)
        await client.send("tea", "one")
        yield client


@both
@virtual_time
async def test_every_change_has_a_method(encoding: Encoding) -> None:
    """And so has what is read of it."""
    async with open_sim(FAST) as sim, in_the_room(Line(sim), encoding) as ann:
        assert (await ann.edit("tea", 1, "uno", if_version=1))["version"] == 2
        await ann.react("tea", 1, "👍")
        await ann.pin("tea", 1)
        await ann.send("tea", "re", thread=1)
        (message,) = items(await ann.history("tea", around=1, limit=1, fold=True))
        assert (message["body"], message["pinned"], message["thread_count"]) == ("uno", 4, 1)
        assert [one["emoji"] for one in items(await ann.reactions("tea", 1))] == ["👍"]
        assert [one["seq"] for one in items(await ann.pins("tea"))] == [1]
        assert [one["body"] for one in items(await ann.history("tea", thread=1))] == ["re"]
        await ann.react("tea", 1, "👍", remove=True)
        await ann.pin("tea", 1, remove=True)
        await ann.delete("tea", 1, reason="done")
        (message,) = items(await ann.history("tea", around=1, limit=1, fold=True))
        assert message["deleted"] is True
        assert (await ann.set_state("tea", "k", {"a": None}, if_version=0))["version"] == 1
        assert [one["value"] for one in items(await ann.get_state("tea", key="k"))] == [{"a": None}]
        with pytest.raises(RequestRefused) as caught:
            await ann.set_state("tea", "k", 2, if_version=0)
        assert (caught.value.code, caught.value.current) == ("conflict", {"value": {"a": None}, "version": 1})
        await ann.set_state("tea", "k", None)
        assert items(await ann.get_state("tea")) == []


CHANGES: Mapping[str, Callable[[Client], Coroutine[object, object, Envelope]]] = {
    "edit": lambda client: client.edit("tea", 1, "uno", if_version=1),
    "react": lambda client: client.react("tea", 1, "👍"),
    "pin": lambda client: client.pin("tea", 1),
    "set": lambda client: client.set_state("tea", "k", 1, if_version=0),
    "delete": lambda client: client.delete("tea", 1),
}


@both
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@virtual_time
async def test_a_change_whose_answer_is_lost_is_made_once(
    change: Callable[[Client], Coroutine[object, object, Envelope]], encoding: Encoding
) -> None:
    """The client sends it again over the next connection, and hears of the first one's seq."""
    async with open_sim(FAST) as sim:
        line = Line(sim)
        answers: list[Envelope] = []
        async with in_the_room(line, encoding) as ann:

            async def ask() -> None:
                answers.append(await change(ann))

            sim.faults["append"] = Fault(after_s=1.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(0.5)
                line.cut()
            assert [(answer["seq"], answer["dup"]) for answer in answers] == [(2, True)]
            assert (await ann.room("tea"))["head"] == 2


@both
@virtual_time
async def test_no_notice_of_typing_is_sent_that_nobody_is_told(encoding: Encoding) -> None:
    """A large room says for how long it wants none; then the client asks again."""
    async with open_sim(FAST) as sim, in_the_room(Line(sim), encoding) as ann:
        assert "quiet" not in await ann.typing("tea")
        await ann.typing("tea", stop=True)
        await sim.join("tea", *(f"guest {number}" for number in range(100)))
        before = sim.node.metrics.counts.frames_in
        assert (await ann.typing("tea"))["quiet"] == 120.0
        assert sim.node.metrics.counts.frames_in == before + 1
        await trio.sleep(119.0)
        assert (await ann.typing("tea"))["quiet"] == 1.0
        assert sim.node.metrics.counts.frames_in == before + 1
        await trio.sleep(1.0)
        assert (await ann.typing("tea"))["quiet"] == 120.0
        assert sim.node.metrics.counts.frames_in == before + 2
