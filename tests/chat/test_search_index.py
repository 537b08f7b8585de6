"""The index's worker: hears, reads, survives what fails, and says when it is behind."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
import structlog.testing
import trio

import chat.search_index
from chat.search_index import SearchIndexer
from chat.search_pace import ROWS_MAX, Pace
from storage import BadData, Fenced, MemoryStore, RoomId, SearchAsk, Stored, Unavailable
from storage.search_model import IndexStep
from storage.testing import Fault, FaultyStore
from tests.chat.room_kit import virtual_time
from tests.storage.contract_search import later
from tests.storage.rows import change, message, owned_room, take_over


class Scene:
    """A worker on a store in memory.

    Attributes:
        open_rooms: names of rooms that somebody may write to.
        level: of pressure.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.memory = store or MemoryStore()
        self.faults: dict[str, Fault] = {}
        self.open_rooms: set[str] = set()
        self.level = 0
        self.indexer = SearchIndexer(
            FaultyStore(self.memory, self.faults.get),
            is_open=lambda room: room.name in self.open_rooms,
            pressure=lambda: self.level,
            rng=Random(1),  # noqa: S311  a simulation's chance
        )

    def complete(self) -> bool:
        """Whether all is indexed, as of now."""
        return self.indexer.is_complete

    async def write(self, room: RoomId, *seqs: int) -> None:
        """Store messages and tell the worker."""
        entries = [message(room, seq, body="tea") for seq in seqs]
        receipts = await self.memory.append(entries)
        self.indexer.heard([(entry, None, receipt) for entry, receipt in zip(entries, receipts, strict=True)])

    async def found(self) -> list[int]:
        """What a search finds in any room."""
        page = await self.memory.search(SearchAsk(user_id="u_ann", query="tea", now_ms=0, limit=1000))
        assert page is not None
        return [hit.seq for hit in page.items]


@asynccontextmanager
async def running(scene: Scene) -> AsyncGenerator[None]:
    """The worker at work."""
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.indexer.run)
        yield
        nursery.cancel_scope.cancel()


@virtual_time
async def test_what_was_written_is_found_soon() -> None:
    """It is behind until then, and says so."""
    scene = Scene()
    room = await owned_room(scene.memory)
    async with running(scene):
        await trio.sleep(1)
        assert scene.complete()
        await scene.write(room, 1, 2)
        assert (scene.indexer.behind, scene.complete()) == (2, False)
        await trio.sleep(1)
        assert (scene.indexer.behind, scene.complete()) == (0, True)
        assert await scene.found() == [2, 1]
        assert scene.indexer.statistics().indexed == 2


@virtual_time
async def test_rows_of_one_interval_are_one_step() -> None:
    """But for the first, which is read at once; and when nothing comes the store is left alone."""
    scene = Scene()
    rooms = [await owned_room(scene.memory, f"r{number}") for number in range(50)]
    async with running(scene):
        await trio.sleep(1)
        for room in rooms:
            await scene.write(room, 1, 2)
        await trio.sleep(1000)
        statistics = scene.indexer.statistics()
        assert statistics.indexed == 100
        assert statistics.batches <= 2


@virtual_time
async def test_more_than_one_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log and many rooms are indexed to their ends."""
    monkeypatch.setattr(chat.search_index, "ROOMS_A_STEP", 3)
    scene = Scene()
    rooms = [await owned_room(scene.memory, f"r{number}") for number in range(7)]
    async with running(scene):
        await scene.write(rooms[0], *range(1, 2 * ROWS_MAX + 2))
        for room in rooms[1:]:
            await scene.write(room, 1)
        await trio.sleep(10)
        assert scene.complete()
        assert scene.indexer.statistics().indexed == 2 * ROWS_MAX + 7


@virtual_time
async def test_a_start_indexes_what_the_last_server_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page; rooms that nobody has open are not looked at again, the others are."""
    monkeypatch.setattr(chat.search_index, "DUE_PAGE", 2)
    scene = Scene()
    for name in ("a", "b", "c", "d", "e"):
        room = await owned_room(scene.memory, name)
        await scene.memory.append([message(room, 1, body="tea")])
    scene.open_rooms = {"b", "d"}
    assert not scene.complete()
    async with running(scene):
        await trio.sleep(5)
        assert scene.complete()

    assert len(await scene.found()) == 5
    assert [room.name for room in await scene.memory.rooms_due(after=RoomId(0), limit=9)] == ["b", "d"]


@virtual_time
async def test_a_room_opened_while_the_start_looks_stays_due() -> None:
    """Its new owner may write after the look."""
    scene = Scene()
    await owned_room(scene.memory, "a")
    scene.faults["settle_rooms"] = Fault(before_s=5.0)
    async with running(scene):
        await trio.sleep(2)
        await take_over(scene.memory, "a")
        await trio.sleep(20)

    assert [room.name for room in await scene.memory.rooms_due(after=RoomId(0), limit=9)] == ["a"]


@virtual_time
async def test_while_the_database_is_away_nothing_is_forgotten() -> None:
    """It tries again, ever more seldom, and goes on where it was."""
    scene = Scene()
    room = await owned_room(scene.memory)
    async with running(scene):
        await trio.sleep(1)
        scene.faults["index_rooms"] = Fault(refusal=Unavailable("away"))
        await scene.write(room, 1)
        await trio.sleep(100)
        assert (scene.indexer.behind, await scene.found()) == (1, [])
        assert 5 < scene.indexer.statistics().failures < 100
        scene.faults.clear()
        await trio.sleep(20)
        assert (scene.complete(), await scene.found()) == (True, [1])


class OneBadRow(MemoryStore):
    """Refuses every step in which there is the event at seq 700."""

    async def index_rooms(self, room_ids: Sequence[RoomId], *, max_rows: int) -> IndexStep:
        """See `Store.index_rooms`."""
        for room_id in room_ids:
            room = self._rooms[room_id]
            at = room.indexed.seq
            if any(entry.seq == 700 for entry in room.log[at : at + max_rows]):
                raise BadData("no words")
        return await super().index_rooms(room_ids, max_rows=max_rows)


@virtual_time
async def test_an_event_that_cannot_be_indexed_is_passed_over_alone() -> None:
    """It is told as an error and counted; what is before and behind it, and other rooms, are found."""
    scene = Scene(OneBadRow())
    room, other = await owned_room(scene.memory, "a"), await owned_room(scene.memory, "b")
    with structlog.testing.capture_logs() as logged:
        async with running(scene):
            await scene.write(room, *range(1, 901))
            await scene.write(other, 1)
            await trio.sleep(60)
            assert scene.complete()
            assert scene.indexer.statistics().skipped == 1

    assert len(await scene.found()) == 900
    errors = [entry for entry in logged if entry["log_level"] == "error"]
    assert [(entry["event"], entry["seq"]) for entry in errors] == [("search.event_skipped", 700)]


@virtual_time
async def test_an_event_that_says_nothing_is_told() -> None:
    """As an error; the index goes on."""
    scene = Scene()
    room = await owned_room(scene.memory)
    await scene.memory.append([later(room, 1, "edit", 1)._replace(data="[]"), message(room, 2, body="tea")])
    with structlog.testing.capture_logs() as logged:
        async with running(scene):
            await trio.sleep(5)

    assert await scene.found() == [2]
    assert [entry["seq"] for entry in logged if entry["event"] == "search.event_skipped"] == [1]


@virtual_time
async def test_under_pressure_the_index_waits() -> None:
    """Nothing is searched then, and messages come first."""
    scene = Scene()
    room = await owned_room(scene.memory)
    scene.level = 3
    async with running(scene):
        await scene.write(room, 1)
        await trio.sleep(100)
        assert scene.indexer.statistics().batches == 0
        scene.level = 2
        await trio.sleep(5)
        assert scene.complete()


@virtual_time
async def test_too_many_rooms_to_remember_are_found_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of rooms is bounded; what did not fit is not forgotten."""
    monkeypatch.setattr(chat.search_index, "ROOMS_WAITING_MAX", 4)
    scene = Scene()
    rooms = [await owned_room(scene.memory, f"r{number}") for number in range(10)]
    scene.open_rooms = {f"r{number}" for number in range(10)}
    async with running(scene):
        await trio.sleep(1)
        for room in rooms:
            await scene.write(room, 1)
        assert not scene.complete()
        await trio.sleep(60)
        assert scene.complete()

    assert len(await scene.found()) == 10


def test_only_what_changes_a_log_is_heard() -> None:
    """Memberships, and rows that were fenced off, are none of it."""
    scene = Scene()
    room = RoomId(1)
    scene.indexer.heard([(change(room, "u_bob"), None, Stored()), (message(room, 1), None, Fenced())])
    assert scene.indexer.behind == 0
    scene.indexer.heard([(message(room, 1), None, Stored())])
    assert scene.indexer.behind == 1


def test_the_pace_narrows_down_to_one_and_recovers() -> None:
    """First one room, then half as much each time; and back."""
    pace = Pace()
    assert list(pace.rooms([1, 2])) == [1, 2]
    steps = 0
    while not pace.at_one:
        pace.failed()
        steps += 1
    assert list(pace.rooms([1, 2])) == [1]
    assert steps <= 12
    pace.succeeded(0.01)
    assert (pace.careful, pace.rows) == (True, 2)
    for _ in range(20):
        pace.succeeded(0.01)
    assert (pace.careful, pace.rows) == (False, ROWS_MAX)


@virtual_time
async def test_the_index_leaves_the_database_to_others_most_of_the_time() -> None:
    """And more of it under pressure."""
    for level, most in ((0, 13), (2, 7)):
        scene = Scene()
        scene.level = level
        room = await owned_room(scene.memory)
        scene.faults["index_rooms"] = Fault(before_s=2.0)
        async with running(scene):
            await scene.write(room, *range(1, 5000))
            await trio.sleep(200)
            assert most - 5 <= scene.indexer.statistics().batches <= most + 1


def test_steps_that_take_long_become_smaller() -> None:
    """Down to one event, and no larger while they are neither slow nor quick."""
    pace = Pace()
    before = pace.rows
    pace.succeeded(0.1)
    assert pace.rows == before
    pace.succeeded(0.2)
    assert pace.rows == before // 2
    for _ in range(20):
        pace.succeeded(0.2)
    assert (pace.rows, pace.at_one) == (1, False)


@virtual_time
async def test_a_start_that_fails_looks_again() -> None:
    """A worker that was cancelled while it looked has not looked."""
    scene = Scene()
    room = await owned_room(scene.memory)
    await scene.memory.append([message(room, 1, body="tea")])
    scene.faults["rooms_due"] = Fault(before_s=50)
    async with running(scene):
        await trio.sleep(1)
    scene.faults.clear()
    assert not scene.complete()
    async with running(scene):
        await trio.sleep(5)
        assert scene.complete()
    assert await scene.found() == [1]
