# ruff: noqa: ARG001  a test asks for the virtual clock by naming it
"""The faulty store: the script's faults, and nothing but them."""

import pytest
import trio
from trio.testing import MockClock

from storage import MemoryStore, Store, Unavailable
from storage.testing import Fault, FaultyStore
from tests.storage.contract import StoreContract
from tests.storage.rows import make_room, new_room


@pytest.fixture
async def store() -> Store:
    """A store without faults."""
    return FaultyStore(MemoryStore(), lambda _: None)


class TestFaultyStore(StoreContract):
    """Without faults it is the store behind it."""


async def test_a_refusal_does_not_reach_the_store(autojump_clock: MockClock) -> None:
    """The call takes its time, raises, and nothing was written."""
    inner = MemoryStore()
    store = FaultyStore(inner, lambda _: Fault(before_s=2, refusal=Unavailable("gone")))
    begun_s = trio.current_time()

    with pytest.raises(Unavailable, match="gone"):
        await store.create_room(new_room())
    assert trio.current_time() == begun_s + 2
    assert await inner.find_room("lobby") is None


async def test_a_lost_answer_was_carried_out(autojump_clock: MockClock) -> None:
    """The call is written, and its caller hears an error, later."""
    inner = MemoryStore()
    store = FaultyStore(inner, lambda _: Fault(after_s=3, lost=Unavailable("cut")))
    begun_s = trio.current_time()

    with pytest.raises(Unavailable, match="cut"):
        await store.create_room(new_room())
    assert trio.current_time() == begun_s + 3
    assert await inner.find_room("lobby") is not None


async def test_the_script_chooses_by_name(autojump_clock: MockClock) -> None:
    """Every call is asked for by the name of its method."""
    calls: list[str] = []

    def script(name: str) -> Fault | None:
        calls.append(name)
        return None

    store = FaultyStore(MemoryStore(), script)
    await make_room(store)
    await store.ping()

    assert calls == ["create_room", "ping"]
