"""From the rooms to the moderators: what rules report and hold is stored in batches, then told.

A room hands over in its turn and goes on; this task stores what has come since the last batch, answers those
whose messages wait now, and tells moderators how much waits for them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final, NamedTuple, NoReturn, Protocol

import structlog
import trio

from chat.errors import ErrorCode, Refused
from chat.protocol import Envelope, waiting_reports
from chat.topic import Topics
from storage import BadData, Conflict, StorageError, retry_delay_s
from storage.model import RoomId
from storage.review_model import Filed, NewReport
from storage.store import Store

log = structlog.stdlib.get_logger("chat.review_queue")

CAPACITY: Final = 1000
"""Reports and held messages that may wait to be stored: 8 MB at most."""
BATCH: Final = 100
RETRY_FULL_S: Final = 2.0
RETRY_S: Final = 0.25
RETRY_MAX_S: Final = 5.0


class Waiter(Protocol):
    """Who is to be told that a message is held."""

    def refuse(self, refused: Refused) -> None:
        """Answer with an error."""
        ...


class Listener(Protocol):
    """A session of a moderator."""

    def reply(self, envelope: Envelope) -> None:
        """Tell it something."""
        ...


class _Item(NamedTuple):
    report: NewReport
    waiter: Waiter | None
    request_id: int


class ReviewQueue:
    """Takes what rooms hand over, in order.

    Args:
        store: where it is filed.
        tell_staff: called with a room and how many reports wait there.
        rng: spreads retries.

    Attributes:
        dropped: reports that were not taken because too many waited, here or for the room's moderators.
    """

    def __init__(self, store: Store, tell_staff: Callable[[str, int], None], rng: Random) -> None:
        self._store = store
        self._tell_staff = tell_staff
        self._rng = rng
        self._items: deque[_Item] = deque()
        self._arrived = trio.Event()
        self.dropped = 0

    def report(self, report: NewReport) -> None:
        """Bring something before the moderators; it is dropped, and counted, when too much waits already."""
        if not self._put(_Item(report, None, 0)):
            self.dropped += 1
            log.warning("reviews.dropped", room=report.room, rule=report.rule)

    def hold(self, held: NewReport, waiter: Waiter, request_id: int) -> None:
        """Keep a message for the moderators; its author is answered `filtered` when it is stored.

        Raises:
            Refused: `busy`: too much waits already; nothing was kept.
        """
        if not self._put(_Item(held, waiter, request_id)):
            raise _too_many()

    def _put(self, item: _Item) -> bool:
        if len(self._items) >= CAPACITY:
            return False
        self._items.append(item)
        self._arrived.set()
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Store what comes until cancelled; while the database is away it waits here, and is tried again.

        Cancellation: what is not stored is lost: nobody was answered that it is held.
        """
        task_status.started()
        while True:
            if not self._items:
                self._arrived = trio.Event()
                await self._arrived.wait()
            batch = [self._items[place] for place in range(min(len(self._items), BATCH))]
            filed = await self._file(batch)
            for item, result in zip(batch, filed, strict=True):
                self._items.popleft()
                self._answer(item, result)
            await self._tell({item.report.room_id: item.report.room for item in batch})

    def _answer(self, item: _Item, filed: Filed | None) -> None:
        if item.waiter is not None:
            refused = _refusal(filed)
            refused.request_id = item.request_id
            item.waiter.refuse(refused)
        elif filed is not None and filed.state == "full":
            self.dropped += 1
            log.warning("reviews.dropped", room=item.report.room, rule=item.report.rule)

    async def _file(self, batch: Sequence[_Item]) -> Sequence[Filed | None]:
        """Where each was filed; None: the database refuses it for ever."""
        attempt = 0
        while True:
            try:
                return await self._store.file_reports([item.report for item in batch])
            except BadData:
                if len(batch) == 1:
                    log.exception("reviews.poisoned", room=batch[0].report.room)
                    return [None]
                return [result for item in batch for result in await self._file([item])]
            except Conflict:
                pass
            except StorageError as error:
                log.warning("reviews.retried", error=str(error))
            attempt += 1
            delay_s = retry_delay_s(attempt, base_s=RETRY_S, cap_s=RETRY_MAX_S, jitter=self._rng.random())
            await trio.sleep(delay_s)

    async def _tell(self, rooms: dict[RoomId, str]) -> None:
        try:
            counts = await self._store.count_waiting(list(rooms))
        except StorageError:
            # They see it when they look, or with the next report.
            log.warning("reviews.not_told", rooms=len(rooms))
            return
        for room_id, count in counts.items():
            self._tell_staff(rooms[room_id], count)


def _refusal(filed: Filed | None) -> Refused:
    """What the author of a message hears that was to be held."""
    if filed is None:
        return Refused(ErrorCode.BAD_REQUEST, "the database refuses this for ever")
    if filed.state == "full":
        return _too_many()
    said = {
        "open": "it waits for a moderator to look at it",
        "claimed": "a moderator is looking at it",
        "approved": "a moderator has let it in already",
    }.get(filed.state, "a moderator has not let it in")
    return Refused(ErrorCode.FILTERED, said, current={"report": filed.report, "state": filed.state})


def _too_many() -> Refused:
    return Refused(ErrorCode.BUSY, "too many messages wait to be looked at", retry_after_s=RETRY_FULL_S)


def staff_teller(
    topics: Topics, sessions_of: Callable[[str], Iterable[Listener]]
) -> Callable[[str, int], None]:
    """Tells those moderators of a room who receive it how many reports wait."""

    def tell(room: str, count: int) -> None:
        topic = topics.get(room)
        if topic is None:
            return
        envelope = waiting_reports(room, count)
        for user_id in topic.staff:
            for session in sessions_of(user_id):
                if session in topic:
                    session.reply(envelope)

    return tell
