"""Many look-ups, few calls; one caller's trouble is one caller's trouble."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chat.batch_loader import BatchLoader
from storage import Unavailable

TIMEOUT_S = 5.0


class Backend:
    """Squares even numbers; can be held, and told to fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.gate = trio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def load(self, keys: Sequence[int]) -> Mapping[int, int]:
        """One call for many keys."""
        self.calls.append(tuple(keys))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: key * key for key in keys if key % 2 == 0}


@asynccontextmanager
async def running(backend: Backend, **limits: int) -> AsyncGenerator[BatchLoader[int, int]]:
    """A loader at work."""
    loader = BatchLoader[int, int](backend.load, **{"max_batch": 100, "max_waiting": 100} | limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(loader.run)
        yield loader
        nursery.cancel_scope.cancel()


async def test_finds_and_misses() -> None:
    """A key with a value brings it, one without brings None."""
    async with running(Backend()) as loader:
        assert await loader.get(4, timeout_s=TIMEOUT_S) == 16
        assert await loader.get(3, timeout_s=TIMEOUT_S) is None


async def test_what_waits_while_a_call_runs_goes_into_the_next() -> None:
    """A lone caller is served at once; who comes meanwhile shares one call, equal keys one place in it."""
    backend = Backend()
    backend.gate = trio.Event()
    found: list[int | None] = []

    async with running(backend) as loader:

        async def ask(key: int) -> None:
            found.append(await loader.get(key, timeout_s=TIMEOUT_S))

        async with trio.open_nursery() as callers:
            callers.start_soon(ask, 0)
            await wait_all_tasks_blocked()
            for key in (2, 4, 4, 4, 6):
                callers.start_soon(ask, key)
            await wait_all_tasks_blocked()
            assert loader.waiting == 6
            backend.gate.set()

    assert backend.calls[0] == (0,)
    assert [sorted(call) for call in backend.calls[1:]] == [[2, 4, 6]]
    assert sorted(x for x in found if x is not None) == [0, 4, 16, 16, 16, 36]
    assert loader.waiting == 0
    # Of the five who shared the second call four cost nothing.
    assert loader.lookups == (4, 2)


async def test_a_batch_has_a_bound() -> None:
    """More keys than fit into a call are asked for in several, none twice."""
    backend = Backend()
    async with running(backend, max_batch=4) as loader, trio.open_nursery() as callers:
        for key in range(10):
            callers.start_soon(partial(loader.get, key, timeout_s=TIMEOUT_S))

    assert max(map(len, backend.calls)) <= 4
    assert sorted(key for call in backend.calls for key in call) == list(range(10))


async def test_an_error_goes_to_the_callers_of_its_batch_only() -> None:
    """A failed call fails its callers, each with the error, and the next call works."""
    backend = Backend()
    backend.error = Unavailable("away")
    async with running(backend) as loader:
        with pytest.raises(Unavailable, match="away"):
            await loader.get(2, timeout_s=TIMEOUT_S)
        backend.error = None

        assert await loader.get(2, timeout_s=TIMEOUT_S) == 4


async def test_too_many_callers_are_refused_at_once() -> None:
    """When as many wait as may, the next is refused without waiting, and those who wait are served."""
    backend = Backend()
    backend.gate = trio.Event()
    async with running(backend, max_waiting=2) as loader, trio.open_nursery() as callers:
        for key in (2, 4):
            callers.start_soon(partial(loader.get, key, timeout_s=TIMEOUT_S))
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable, match="too many"):
            await loader.get(6, timeout_s=TIMEOUT_S)
        backend.gate.set()

    assert sorted(key for call in backend.calls for key in call) == [2, 4]


async def test_waits_no_longer_than_told(autojump_clock: MockClock) -> None:
    """A call that does not come back costs its caller the time-out and no more."""
    backend = Backend()
    backend.gate = trio.Event()
    async with running(backend) as loader:
        started_s = autojump_clock.current_time()
        with pytest.raises(Unavailable, match=r"within 5\.0 s"):
            await loader.get(2, timeout_s=5.0)

        assert autojump_clock.current_time() - started_s == pytest.approx(5.0)


async def test_a_caller_that_gives_up_hurts_nobody() -> None:
    """A cancelled caller leaves those with the same key served; a key that nobody wants is not asked for."""
    backend = Backend()
    backend.gate = trio.Event()
    found: list[int | None] = []

    async with running(backend) as loader:

        async def ask(key: int) -> None:
            found.append(await loader.get(key, timeout_s=TIMEOUT_S))

        async with trio.open_nursery() as staying:
            async with trio.open_nursery() as leaving:
                staying.start_soon(ask, 0)
                await wait_all_tasks_blocked()
                leaving.start_soon(ask, 2)
                staying.start_soon(ask, 2)
                leaving.start_soon(ask, 4)
                await wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            backend.gate.set()

    assert backend.calls == [(0,), (2,)]
    assert found == [0, 4]


async def test_a_call_on_its_way_is_not_joined() -> None:
    """Who asks for a key that is just being read asks anew: the answer is never older than the question."""
    backend = Backend()
    backend.gate = trio.Event()
    async with running(backend) as loader, trio.open_nursery() as callers:
        for _ in range(2):
            callers.start_soon(partial(loader.get, 2, timeout_s=TIMEOUT_S))
            await wait_all_tasks_blocked()
        backend.gate.set()

    assert backend.calls == [(2,), (2,)]


async def test_the_end_of_the_loader_ends_every_wait() -> None:
    """When `run` is cancelled nobody hangs: who waits, and who comes later, gets Unavailable."""
    backend = Backend()
    backend.gate = trio.Event()
    refused: list[str] = []

    async def ask(loader: BatchLoader[int, int], key: int) -> None:
        try:
            await loader.get(key, timeout_s=TIMEOUT_S)
        except Unavailable as error:
            refused.append(str(error))

    async with trio.open_nursery() as callers:
        async with running(backend) as loader:
            for key in (2, 4):
                callers.start_soon(ask, loader, key)
                await wait_all_tasks_blocked()
        await ask(loader, 6)

    assert refused == ["look-ups have ended"] * 3


async def test_a_loader_that_is_run_again_serves_again() -> None:
    """After its end, in the middle of a call or not, a supervisor's new start finds it as good as new."""
    backend = Backend()
    loader = BatchLoader[int, int](backend.load, max_batch=100, max_waiting=100)
    for _ in range(3):
        async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
            await nursery.start(loader.run)
            assert await loader.get(4, timeout_s=TIMEOUT_S) == 16
            backend.gate = trio.Event()
            callers.start_soon(expect_the_end, loader)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        backend.gate.set()

    await expect_the_end(loader)


async def expect_the_end(loader: BatchLoader[int, int]) -> None:
    """Ask, and be told that nobody answers any more."""
    with pytest.raises(Unavailable, match="look-ups have ended"):
        await loader.get(6, timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("limits", [{"max_batch": 0, "max_waiting": 1}, {"max_batch": 1, "max_waiting": 0}])
def test_a_loader_without_room_is_a_mistake(limits: dict[str, int]) -> None:
    """Bounds below one would serve nobody."""
    with pytest.raises(ValueError, match="no such loader"):
        BatchLoader[int, int](Backend().load, **limits)
