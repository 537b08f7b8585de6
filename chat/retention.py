"""Deletes what rooms do not keep any more: from time to time every room that has a policy is looked through.

The rooms themselves delete, as moderators have them do: by events of their logs, page after page, which every
client follows and the audit has. A message keeps its place, its author and its time; the text is gone.
"""

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import structlog
import trio

from chat.clock_trust import ClockTrust
from chat.errors import Refused
from chat.measures import Counts
from chat.protocol import PURGED_MAX
from chat.room_governance import Expire
from chat.room_messages import GovernRoom, RoomMessage
from chat.room_rules import Person
from chat.stand_in import StandIn
from storage import StorageError
from storage.model import MessageRange, RetainedRoom, RoomId
from storage.store import Store

log = structlog.stdlib.get_logger("chat.retention")

SERVER: Final = Person("", "retention", "admin")
"""Who deletes, as the audit says it."""
ROOMS_PAGE: Final = 100
RESTING_LEVEL: Final = 2
"""From this level of pressure on nothing is deleted: it can wait for the next round."""
PAUSE_MIN_S: Final = 0.05
"""Between two pages; longer where a page took longer, so that half of the time is everybody else's."""
FAILURES_MAX: Final = 3
"""Rooms in a row for which storage fails, and the round is over."""
ANSWER_S: Final = 30.0
"""For a room to delete a page; then it has its next turn in the next round."""


class Retention:
    """Looks through the rooms of this node's database.

    Args:
        store: where rooms and messages are.
        tell: gives a message to a room, or answers it.
        pressure: how hard the server is pressed, 0 to 4.
        now_ms: the wall clock.
        every_s: from the end of one round to the beginning of the next.
        counts: what was deleted is counted there.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[str, RoomMessage], None],
        *,
        pressure: Callable[[], int],
        now_ms: Callable[[], int],
        every_s: float,
        counts: Counts,
    ) -> None:
        self._store = store
        self._tell = tell
        self._pressure = pressure
        self._now_ms = now_ms
        self._every_s = every_s
        self._counts = counts
        self._clock: ClockTrust | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Look through all rooms again and again, until cancelled; the first time after one interval.

        Cancellation: what a room was asked for it may still do.
        """
        self._clock = ClockTrust(now_ms=self._now_ms(), now_s=trio.current_time())
        task_status.started()
        while True:
            await trio.sleep(self._every_s)
            if not self._believes_the_clock():
                log.error("retention.clock_jumped")
                continue
            try:
                await self._look_through()
            except StorageError as error:
                log.warning("retention.put_off", error=str(error))

    async def _look_through(self) -> None:
        """Have every room delete what it does not keep; one that cannot is put off, and does not stop others.

        Raises:
            StorageError: storage fails for everybody.
        """
        after = RoomId(0)
        failures = 0
        while rooms := await self._store.rooms_retained(after=after, limit=ROOMS_PAGE):
            for room in rooms:
                try:
                    await self._expire(room)
                    failures = 0
                except StorageError as error:
                    failures += 1
                    if failures == FAILURES_MAX:
                        raise
                    log.warning("retention.room_put_off", room=room.name, error=str(error))
                except Refused as refused:
                    log.warning("retention.room_put_off", room=room.name, error=refused.message)
                except trio.TooSlowError:
                    log.warning("retention.room_put_off", room=room.name, error="no answer in time")
            after = rooms[-1].room_id

    async def _expire(self, room: RetainedRoom) -> None:
        """Have a room delete what it does not keep.

        Raises:
            Refused: it does not do so now.
            StorageError: its messages cannot be looked for.
            trio.TooSlowError: it does not answer.
        """
        after = room.retained_seq
        deleted = 0
        while self._pressure() < RESTING_LEVEL and self._believes_the_clock():
            until_ms = self._now_ms() - room.retention_s * 1000
            wanted = MessageRange(until_ms=until_ms, after=after)
            page = await self._store.find_messages(room.room_id, wanted, limit=PURGED_MAX)
            began_s = trio.current_time()
            if page.seqs:
                if not await self._ask(room, page.seqs):
                    return
                deleted += len(page.seqs)
                self._counts.expired += len(page.seqs)
            looked_to = page.next_after or (page.seqs[-1] if page.seqs else after)
            if looked_to > after:
                await self._store.note_retained(room.room_id, looked_to)
            after = looked_to
            if page.next_after is None:
                break
            await trio.sleep(max(PAUSE_MIN_S, trio.current_time() - began_s))
        if deleted:
            log.info("retention.expired", room=room.name, messages=deleted)

    def _believes_the_clock(self) -> bool:
        clock = self._clock
        return clock is not None and clock.is_trusted(now_ms=self._now_ms(), now_s=trio.current_time())

    async def _ask(self, room: RetainedRoom, seqs: Sequence[int]) -> bool:
        """Whether the room has deleted them: not where its policy is another one by now."""
        stand_in = StandIn(SERVER.user_id, SERVER.name)
        message = GovernRoom(stand_in, Expire(0, room.retention_s, room.name), actor=SERVER, seqs=seqs)
        with trio.fail_after(ANSWER_S):
            self._tell(room.name, message)
            return "seq" in await stand_in.wait()
