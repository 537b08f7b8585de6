"""Keeps the search index up to the log: a worker behind the commits, never on a message's way.

It hears from the writers' receipts which rooms have something new; asleep it costs nothing. At its start it
looks at the rooms that were open when a server last ended, so that nothing waits for a room's next message.
Searches ask it whether all that was stored is indexed.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import Final, NoReturn, TypeVar

import structlog
import trio

from chat.back_off import BackOff
from chat.pressure_state import UNSEARCHED_LEVEL
from chat.search_pace import Pace, rest_s
from storage import Conflict, StorageError, StoreClosed, Unavailable
from storage.errors import loggable
from storage.model import Entry, Fenced, LogEntry, Receipt, RoomId
from storage.search_model import IndexStep, RoomDue
from storage.store import Store

log = structlog.stdlib.get_logger("chat.search")
R = TypeVar("R")

MIN_INTERVAL_S: Final = 0.2
"""From the begin of one step to that of the next: a step has a price of its own, to be paid for many rows."""
ROOMS_A_STEP: Final = 200
ROOMS_WAITING_MAX: Final = 100_000
"""Rooms known to have something new; those above it are found by looking again, as at the start."""
DUE_PAGE: Final = 500
RETRY_BASE_S: Final = 0.1
RETRY_CAP_S: Final = 10.0
REST_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStatistics:
    """The index as of now, and what was done since the start.

    Attributes:
        behind: stored events that are known and not indexed.
        indexed: events that were read.
        batches: steps that were committed.
        failures: steps that failed; they are done again.
        skipped: events that could not be indexed: they are not found, and no longer waited for.
    """

    behind: int
    indexed: int
    batches: int
    failures: int
    skipped: int


class SearchIndexer:
    """One node's worker. Everything but `run` may be called from any task.

    Args:
        store: where log and index are.
        is_open: whether somebody here may still write to a room.
        pressure: how hard the server is pressed, 0 to 4.
        rng: for the jitter of retries.
    """

    def __init__(
        self,
        store: Store,
        *,
        is_open: Callable[[RoomDue], bool],
        pressure: Callable[[], int],
        rng: Random,
    ) -> None:
        self._store = store
        self._is_open = is_open
        self._pressure = pressure
        # Events that were heard of and not read, by room; who waits longest is first.
        self._waiting: dict[RoomId, int] = {}
        self._behind = 0
        self._must_look = True
        self._looking = False
        self._wake = trio.Event()
        self._pace = Pace()
        self._next_s = float("-inf")
        self._back_off = BackOff(base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rng=rng)
        self._indexed = self._batches = self._failures = self._skipped = 0

    @property
    def behind(self) -> int:
        """Stored events that are known and not indexed."""
        return self._behind

    @property
    def is_complete(self) -> bool:
        """Whether everything that was answered `ok` so far is indexed, or was skipped with a logged error."""
        return not (self._must_look or self._looking or self._waiting)

    def heard(self, results: Sequence[tuple[Entry, object, Receipt]]) -> None:
        """Take note of a batch that the writer has finished; cheap, never blocks."""
        rows = Counter(
            [
                entry.room_id
                for entry, _, receipt in results
                if type(entry) is LogEntry and type(receipt) is not Fenced
            ]
        )
        for room_id, count in rows.items():
            self._add(room_id, count)
        self._wake.set()

    def statistics(self) -> IndexStatistics:
        """The figures of this moment."""
        return IndexStatistics(
            behind=self._behind,
            indexed=self._indexed,
            batches=self._batches,
            failures=self._failures,
            skipped=self._skipped,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Index what is heard of, until cancelled; what the start finds comes first.

        Raises:
            StoreClosed: no call will work any more.

        Cancellation: a step under way is done whole or not at all, and known to wait still.
        """
        task_status.started()
        while True:
            self._wake = trio.Event()
            if self._must_look and len(self._waiting) < ROOMS_WAITING_MAX // 2:
                await self._look()
            elif self._waiting:
                await self._step()
            else:
                await self._wake.wait()

    # -- what waits --------------------------------------------------------------------------------------

    def _add(self, room_id: RoomId, count: int) -> None:
        if room_id not in self._waiting and len(self._waiting) >= ROOMS_WAITING_MAX:
            self._must_look = True
            return
        self._waiting[room_id] = self._waiting.get(room_id, 0) + count
        self._behind += count

    def _settle_waiting(self, begun_with: dict[RoomId, int], step: IndexStep) -> None:
        """Take off what a step has read; a room that is not done stays, however wrong its count was."""
        done = set(step.done)
        for room_id, known in begun_with.items():
            now = self._waiting.pop(room_id)
            # What came while the step ran may have been read by it, or not: it is read for again.
            left = now - known if room_id in done else max(1, now - step.rows.get(room_id, 0))
            self._behind += left - now
            if left:
                self._waiting[room_id] = left

    # -- steps -------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Find the rooms that may be behind, page by page, and index each to where its log was then."""
        self._must_look, self._looking = False, True
        try:
            after = RoomId(0)
            while due := await self._until_done(partial(self._store.rooms_due, after=after, limit=DUE_PAGE)):
                after = due[-1].room_id
                owed = {room.room_id for room in due if room.behind > 0}
                for room in due:
                    if room.behind > 0:
                        self._add(room.room_id, max(0, room.behind - self._waiting.get(room.room_id, 0)))
                while owed and not self._must_look:
                    owed.difference_update(await self._step())
                await self._settle(due)
        except BaseException:
            self._must_look = True
            raise
        finally:
            self._looking = False

    async def _settle(self, due: Sequence[RoomDue]) -> None:
        closed = [room for room in due if not self._is_open(room)]
        if closed:
            await self._until_done(partial(self._store.settle_rooms, closed))

    async def _step(self) -> Collection[RoomId]:
        """Index some of what waits, or find out a little more of why that fails; the rooms that are done."""
        await self._wait_turn()
        rooms = self._pace.rooms(list(islice(self._waiting, ROOMS_A_STEP)))
        begun_with = {room_id: self._waiting[room_id] for room_id in rooms}
        begun_s = trio.current_time()
        try:
            step = await self._store.index_rooms(rooms, max_rows=self._pace.rows)
        except StoreClosed:
            raise
        except (Unavailable, Conflict) as error:
            await self._wait_after(error)
            return ()
        except StorageError as error:
            self._failures += 1
            if self._pace.at_one:
                await self._skip(rooms[0], error)
            self._pace.failed()
            return ()
        took_s = trio.current_time() - begun_s
        self._next_s = max(self._next_s, trio.current_time() + rest_s(took_s, self._pressure()))
        self._pace.succeeded(took_s)
        self._back_off.succeeded()
        self._batches += 1
        self._indexed += sum(step.rows.values())
        self._settle_waiting(begun_with, step)
        for room_id, seq in step.unreadable:
            self._tell_skipped(room_id, seq, "it does not say which message it is about")
        return step.done

    async def _wait_turn(self) -> None:
        if trio.current_time() < self._next_s:
            await trio.sleep_until(self._next_s)
        # Nothing is searched then, and messages come first.
        while self._pressure() >= UNSEARCHED_LEVEL:  # noqa: ASYNC110  the level is measured, nobody tells it
            await trio.sleep(REST_S)
        self._next_s = trio.current_time() + MIN_INTERVAL_S

    async def _skip(self, room_id: RoomId, error: StorageError) -> None:
        seq = await self._until_done(partial(self._store.skip_event, room_id))
        if seq is not None:
            self._tell_skipped(room_id, seq, loggable(error))

    def _tell_skipped(self, room_id: RoomId, seq: int, error: str) -> None:
        self._skipped += 1
        log.error("search.event_skipped", room_id=room_id, seq=seq, error=error)

    async def _until_done(self, call: Callable[[], Awaitable[R]]) -> R:
        """Call the store until it answers; waits longer after each failure."""
        while True:
            try:
                answer = await call()
            except StoreClosed:
                raise
            except StorageError as error:
                await self._wait_after(error)
            else:
                self._back_off.succeeded()
                return answer

    async def _wait_after(self, error: StorageError) -> None:
        self._failures += 1
        self._pace.failed()
        delay_s = self._back_off.failed()
        if self._back_off.claim_log(trio.current_time()):
            log.warning(
                "search.index_failed",
                error=loggable(error),
                failures=self._back_off.failures,
                behind=self._behind,
            )
        await trio.sleep(delay_s)
