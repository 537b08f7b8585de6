"""From rooms to moderators: in batches, bounded, tried again, and told."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from chat.errors import ErrorCode, Refused
from chat.review_queue import BATCH, CAPACITY, ReviewQueue
from storage import BadData, Conflict, MemoryStore, Unavailable
from storage.review_model import WAITING_OF_KIND_MAX, NewReport, ReportMove
from storage.testing import Fault, FaultyStore
from tests.chat.room_kit import AT_MS, ROOM_ID, no_fault, virtual_time


class Author:
    """Whose messages are held."""

    def __init__(self) -> None:
        self.told: list[tuple[ErrorCode, int | None, object, object]] = []

    def refuse(self, refused: Refused) -> None:
        """Take a note."""
        current = refused.current or {}
        answer = (refused.code, refused.request_id, current.get("report"), current.get("state"))
        self.told.append(answer)


class Desk:
    """A queue with what stands around it.

    Attributes:
        told: what moderators were told.
        batches: how many reports came in each call of the store.
    """

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.store = FaultyStore(self.memory, no_fault)
        self.told: list[tuple[str, int]] = []
        self.queue = ReviewQueue(self.store, self._tell, Random(1))  # noqa: S311
        self.author = Author()

    def _tell(self, room: str, count: int) -> None:
        self.told.append((room, count))

    async def filed(self) -> int:
        """How many reports are stored."""
        return len(await self.memory.list_reports(room_id=None, waiting=False, after=0, limit=10_000))


def held(cid: str, *, body: str = "text") -> NewReport:
    """A message that waits."""
    return NewReport(
        *(ROOM_ID, "tea", "held", None, "", "automod", "u_bob", "bob", "links", "no-links", AT_MS),
        cid=cid,
        body=body,
    )


def noted(seq: int) -> NewReport:
    """What a rule has noted of a message."""
    return NewReport(
        *(ROOM_ID, "tea", "automod", seq, "", "automod", "u_bob", "bob", "links", "no-links", AT_MS)
    )


@asynccontextmanager
async def running() -> AsyncGenerator[Desk]:
    """A queue that runs until the block ends."""
    desk = Desk()
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.queue.run)
        yield desk
        nursery.cancel_scope.cancel()


@virtual_time
async def test_moderators_are_told_once_for_what_came_together() -> None:
    """By room, with how many wait there."""
    async with running() as desk:
        for seq in range(1, 4):
            desk.queue.report(noted(seq))
        await trio.sleep(1.0)
        assert desk.told == [("tea", 3)]


@virtual_time
async def test_an_author_is_told_when_the_message_is_stored() -> None:
    """And of a message that was decided, what was decided."""
    async with running() as desk:
        desk.queue.hold(held("a"), desk.author, 7)
        assert desk.author.told == []
        await trio.sleep(1.0)
        await desk.memory.move_report(ReportMove(1, "rejected", "u_mod", "mod", AT_MS))
        desk.queue.hold(held("a"), desk.author, 8)
        await trio.sleep(1.0)
        assert desk.author.told == [
            (ErrorCode.FILTERED, 7, 1, "open"),
            (ErrorCode.FILTERED, 8, 1, "rejected"),
        ]


@virtual_time
async def test_what_is_too_much_for_a_rooms_moderators_is_refused() -> None:
    """A message that is to be held for now, what a rule notes is dropped and counted."""
    async with running() as desk:
        await desk.memory.file_reports([held(str(number)) for number in range(WAITING_OF_KIND_MAX)])
        await desk.memory.file_reports([noted(seq + 1) for seq in range(WAITING_OF_KIND_MAX)])
        desk.queue.hold(held("a"), desk.author, 7)
        desk.queue.report(noted(WAITING_OF_KIND_MAX + 1))
        await trio.sleep(1.0)
        assert desk.author.told == [(ErrorCode.BUSY, 7, None, None)]
        assert desk.queue.dropped == 1
        assert await desk.filed() == 2 * WAITING_OF_KIND_MAX


@pytest.mark.parametrize("refusal", [Unavailable("away"), Conflict("closed just now")])
@virtual_time
async def test_what_cannot_be_stored_now_is_tried_again(refusal: Exception) -> None:
    """Each is stored once, in order."""
    async with running() as desk:

        def refuse(call: str) -> Fault:
            del call
            return Fault(refusal=refusal)

        desk.store.script = refuse
        desk.queue.hold(held("a"), desk.author, 1)
        desk.queue.hold(held("b"), desk.author, 2)
        await trio.sleep(60.0)
        assert desk.author.told == []
        desk.store.script = no_fault
        await trio.sleep(10.0)
        assert [request_id for _, request_id, *_ in desk.author.told] == [1, 2]
        assert await desk.filed() == 2


@virtual_time
async def test_what_can_never_be_stored_harms_nothing_else() -> None:
    """Its author is told so; the others of its batch are stored."""
    async with running() as desk:
        desk.queue.hold(held("a"), desk.author, 1)
        desk.queue.hold(held("b", body="\x00"), desk.author, 2)
        desk.queue.hold(held("c"), desk.author, 3)
        await trio.sleep(1.0)
        assert [code for code, *_ in desk.author.told] == [
            ErrorCode.FILTERED,
            ErrorCode.BAD_REQUEST,
            ErrorCode.FILTERED,
        ]
        assert await desk.filed() == 2


@virtual_time
async def test_a_full_queue_says_so() -> None:
    """A message is refused for now, a report is dropped and counted; what waits is stored in batches."""
    async with running() as desk:
        calls: list[str] = []

        def away(call: str) -> Fault:
            calls.append(call)
            return Fault(refusal=Unavailable("away"))

        desk.store.script = away
        for seq in range(CAPACITY):
            desk.queue.report(noted(seq + 1))
        with pytest.raises(Refused) as caught:
            desk.queue.hold(held("a"), desk.author, 1)
        desk.queue.report(noted(CAPACITY + 1))
        assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.BUSY, 2.0)
        assert desk.queue.dropped == 1

        def count(call: str) -> None:
            calls.append(call)

        await trio.sleep(1.0)
        calls.clear()
        desk.store.script = count
        await trio.sleep(10.0)
        assert calls.count("file_reports") == CAPACITY // BATCH
        assert await desk.filed() == CAPACITY


@virtual_time
async def test_moderators_are_not_told_while_nobody_can_count() -> None:
    """What is stored stays stored, and they hear of it with the next."""
    async with running() as desk:

        def refuse(call: str) -> Fault | None:
            return Fault(refusal=BadData("x")) if call == "count_waiting" else None

        desk.store.script = refuse
        desk.queue.report(noted(1))
        await trio.sleep(1.0)
        desk.store.script = no_fault
        desk.queue.report(noted(2))
        await trio.sleep(1.0)
        assert desk.told == [("tea", 2)]
