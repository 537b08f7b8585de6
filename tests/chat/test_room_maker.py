"""Rooms that may have to be made: many who want one share one look."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chat.room_maker import RoomMaker
from storage import MemoryStore, Unavailable
from storage.testing import Fault, FaultyStore
from tests.chat.room_kit import virtual_time


class Scene:
    """A maker on a store that takes a second to find a room.

    Attributes:
        made: who made a room.
        there: who was told that it exists.
    """

    def __init__(self) -> None:
        self.fault = Fault(before_s=1.0)
        self.calls = 0
        self.maker = RoomMaker(FaultyStore(MemoryStore(), self._script))
        self.made: list[str] = []
        self.there: list[str] = []

    def _script(self, call: str) -> Fault:
        del call
        self.calls += 1
        return self.fault

    async def want(self, who: str) -> None:
        """Somebody wants the room."""

        async def make() -> None:
            await trio.sleep(1)
            self.made.append(who)

        await self.maker.ensure("tea", make)
        self.there.append(who)


@virtual_time
async def test_one_looks_and_makes_for_all() -> None:
    """The others are told, and cost storage nothing."""
    scene = Scene()
    async with trio.open_nursery() as callers:
        for who in "abc":
            callers.start_soon(scene.want, who)
    assert len(scene.made) == 1
    assert sorted(scene.there) == ["a", "b", "c"]
    assert scene.calls == 1
    assert scene.maker.lookups == (2, 1)


@virtual_time
async def test_an_error_of_storage_is_everybodys() -> None:
    """Who waits is not made to ask again; who comes later is."""
    scene = Scene()
    scene.fault = Fault(before_s=1.0, refusal=Unavailable("away"))
    told: list[str] = []

    async def want(who: str) -> None:
        with pytest.raises(Unavailable, match="away"):
            await scene.want(who)
        told.append(who)

    async with trio.open_nursery() as callers:
        for who in "abc":
            callers.start_soon(want, who)
    assert len(told) == 3
    assert scene.calls == 1
    scene.fault = Fault()
    await scene.want("d")
    assert scene.made == ["d"]


@virtual_time
async def test_who_gives_up_leaves_it_to_the_next() -> None:
    """Cancelled in the middle of it, or refused for a reason of one's own."""
    scene = Scene()

    async def refuse() -> None:
        raise PermissionError

    async with trio.open_nursery() as callers:
        with trio.move_on_after(0.5):
            callers.start_soon(partial(_after_blocked, scene, "b"))
            await scene.want("a")
    assert scene.made == ["b"]
    with pytest.raises(PermissionError):
        await scene.maker.ensure("tea", refuse)
    await scene.want("c")
    assert scene.made == ["b", "c"]


async def _after_blocked(scene: Scene, who: str) -> None:
    await wait_all_tasks_blocked()
    await scene.want(who)
