"""Stores read pointers, and answers `ok` to who moved one when that is committed.

A worker beside the writers, and not through them: a pointer among messages would make a whole batch go the
careful way (`storage/append.py`). Of what waits for one pointer only the highest is written; a batch goes out
at once when none is under way, and the next one takes all that has come meanwhile (group commit).

A pointer may be at a message that was broadcast and is not stored yet. It waits until it is, and no pointer
is ever above the log. When the room's activation ends first, whoever moved it hears `unavailable`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Final, NamedTuple, NoReturn, Protocol, TypeAlias

import structlog
import trio

from chat.back_off import BackOff
from chat.errors import ErrorCode, Refused
from chat.protocol import Envelope, ok
from chat.room_state import Progress
from storage import Conflict, PointerMove, StoreClosed, Unavailable
from storage.errors import loggable, stack_of
from storage.model import RoomId
from storage.store import Store

log = structlog.stdlib.get_logger("chat.reads")

Key: TypeAlias = tuple[RoomId, str]
"""Whose pointer: room and user."""

WAITING_MAX: Final = 20_000
"""Requests that may wait, as many as rows of a writer: while the database is away they get no answer."""
WAITING_FOR_ONE_MAX: Final = 16
"""Of these for one pointer: each is a request that came before the last one was answered."""
BATCH_MAX: Final = 500
"""Pointers in one statement."""
MIN_INTERVAL_S: Final = 0.05
"""From the begin of one batch to that of the next: each has a price of its own, and messages come first."""
RETRY_BASE_S: Final = 0.05
RETRY_CAP_S: Final = 2.0
RETRY_AFTER_S: Final = 0.5
"""When to ask again after `unavailable`: an activation takes some milliseconds, a membership's commit too."""
BUSY_RETRY_S: Final = 2.0


class Reader(Protocol):
    """A session that waits for its answer."""

    @property
    def user_id(self) -> str:
        """Whose session it is."""
        ...

    def reply(self, envelope: Envelope) -> None:
        """Answer a request."""
        ...

    def refuse(self, refused: Refused) -> None:
        """Answer a request with an error."""
        ...


class _Asked(NamedTuple):
    """A request that waits for its pointer to be stored."""

    room: str
    key: Key
    seq: int
    reader: Reader
    request_id: int


@dataclass(slots=True)
class _Move:
    """One pointer to write, and who waits for it."""

    seq: int
    asked: list[_Asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatistics:
    """The worker as of now, and what it has done since the start.

    Attributes:
        waiting: requests that are not answered yet.
        written: pointers in batches that were committed, those that were far enough already included.
        batches: batches that were committed.
        failures: batches that failed; they are written again.
    """

    waiting: int
    written: int
    batches: int
    failures: int


class ReadPointers:
    """One node's worker. Everything but `run` and `flush` is called from rooms' turns and after commits.

    Args:
        store: where pointers are.
        rng: for the jitter of retries.
    """

    def __init__(self, store: Store, *, rng: Random) -> None:
        self._store = store
        # By activation, what is not stored yet; then, by pointer, what can be written; then what is.
        self._early: dict[Progress, list[_Asked]] = {}
        self._ready: dict[Key, _Move] = {}
        self._flight: dict[Key, _Move] = {}
        # Requests that wait: by pointer, by room, and all.
        self._waiting: dict[Key, int] = {}
        self._rooms: dict[str, int] = {}
        self._requests = 0
        self._room_flushed: dict[str, trio.Event] = {}
        self._wake: trio.Event | None = None
        self._answered: trio.Event | None = None
        self._next_s = float("-inf")
        self._back_off = BackOff(base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rng=rng)
        self._written = self._batches = self._failures = 0

    def require_place(self, room_id: RoomId, user_id: str) -> None:
        """Find out whether one more request for this pointer may wait: to be asked before it is moved.

        Raises:
            Refused: `busy`.
        """
        if self._requests >= WAITING_MAX or self._waiting.get((room_id, user_id), 0) >= WAITING_FOR_ONE_MAX:
            raise Refused(
                ErrorCode.BUSY, "too many read pointers wait to be stored", retry_after_s=BUSY_RETRY_S
            )

    def submit(
        self, room: str, room_id: RoomId, seq: int, progress: Progress, reader: Reader, request_id: int
    ) -> None:
        """Store that a user has read a room up to `seq`, then answer; never blocks, never raises.

        Args:
            room: its name.
            room_id: its number; the activation calls `end` when it ends.
            seq: where the pointer is now.
            progress: how much of the log is stored, as this activation knows it.
            reader: whose pointer, and who is answered.
            request_id: of the request.
        """
        asked = _Asked(room, (room_id, reader.user_id), seq, reader, request_id)
        self._requests += 1
        self._rooms[room] = self._rooms.get(room, 0) + 1
        self._waiting[asked.key] = self._waiting.get(asked.key, 0) + 1
        if seq > progress.durable_seq:
            self._early.setdefault(progress, []).append(asked)
        else:
            self._make_ready(asked)

    def committed(self) -> None:
        """Look for pointers whose messages are stored now: to be called after every commit."""
        for progress, asked in list(self._early.items()):
            durable_seq = progress.durable_seq
            left = [one for one in asked if one.seq > durable_seq]
            if len(left) == len(asked):
                continue
            for one in asked:
                if one.seq <= durable_seq:
                    self._make_ready(one)
            if left:
                self._early[progress] = left
            else:
                del self._early[progress]

    def end(self, progress: Progress) -> None:
        """An activation ends: it is not known what becomes of messages that it had not stored."""
        for one in self._early.pop(progress, ()):
            self._refuse(one, ErrorCode.UNAVAILABLE, "the room has moved")
        self._tell_answered()

    def statistics(self) -> ReadStatistics:
        """The figures of this moment."""
        return ReadStatistics(
            waiting=self._requests, written=self._written, batches=self._batches, failures=self._failures
        )

    async def wait_flushed(self, room: str) -> None:
        """Return when no request waits for a pointer of a room: its next activation reads them all.

        It waits as long as the store is away; bound it with a cancel scope.
        """
        await trio.lowlevel.checkpoint()
        while room in self._rooms:
            await self._room_flushed.setdefault(room, trio.Event()).wait()

    async def flush(self, *, timeout_s: float) -> int:
        """Wait until no request waits; return how many still do in the end."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(timeout_s):
            while self._requests:
                if self._answered is None:
                    self._answered = trio.Event()
                await self._answered.wait()
        return self._requests

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write what is submitted, until cancelled.

        Raises:
            StoreClosed: no call will work any more; what waits is still held.

        Cancellation: the same. What was under way may have been stored; a later `run` writes it again.
        """
        task_status.started()
        while True:
            if not self._flight:
                await self._wait_ready()
                self._flight = dict(islice(self._ready.items(), BATCH_MAX))
                for key in self._flight:
                    del self._ready[key]
            await self._write()

    # -- what waits --------------------------------------------------------------------------------------

    def _make_ready(self, asked: _Asked) -> None:
        move = self._ready.get(asked.key)
        if move is None:
            self._ready[asked.key] = _Move(asked.seq, [asked])
        else:
            move.seq = max(move.seq, asked.seq)
            move.asked.append(asked)
        if self._wake is not None:
            self._wake.set()

    async def _wait_ready(self) -> None:
        if not self._ready:
            self._wake = trio.Event()
            try:
                await self._wake.wait()
            finally:
                self._wake = None
        if trio.current_time() < self._next_s:
            await trio.sleep_until(self._next_s)
        self._next_s = trio.current_time() + MIN_INTERVAL_S

    # -- batches -----------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write the batch under way and answer, or wait a while."""
        flight = self._flight
        moves = [PointerMove(*key, move.seq) for key, move in flight.items()]
        try:
            pointers = await self._store.move_pointers(moves)
        except StoreClosed:
            raise
        except (Unavailable, Conflict) as error:
            await self._wait_after(error)
            return
        except Exception as error:  # noqa: BLE001  a store's bug is told to who asked; the next batch goes on
            self._fail(error)
            pointers = None
        self._back_off.succeeded()
        self._flight = {}
        if pointers is not None:
            self._batches += 1
            self._written += len(pointers)
        self._answer(flight, pointers)

    def _answer(self, flight: Mapping[Key, _Move], pointers: Mapping[Key, int] | None) -> None:
        for key, move in flight.items():
            for asked in move.asked:
                if pointers is None:
                    self._refuse(asked, ErrorCode.INTERNAL, "the database failed")
                elif (seq := pointers.get(key)) is None:
                    # A join that is not stored yet, or a leave that is: the room says which, asked again.
                    self._refuse(asked, ErrorCode.UNAVAILABLE, "the membership is being changed")
                else:
                    self._forget(asked)
                    asked.reader.reply(ok(asked.request_id, read=seq))
        self._tell_answered()

    def _refuse(self, asked: _Asked, code: ErrorCode, message: str) -> None:
        self._forget(asked)
        asked.reader.refuse(Refused(code, message, retry_after_s=RETRY_AFTER_S, request_id=asked.request_id))

    def _forget(self, asked: _Asked) -> None:
        self._requests -= 1
        left = self._waiting.pop(asked.key) - 1
        if left:
            self._waiting[asked.key] = left
        left = self._rooms.pop(asked.room) - 1
        if left:
            self._rooms[asked.room] = left
        elif asked.room in self._room_flushed:
            self._room_flushed.pop(asked.room).set()

    def _tell_answered(self) -> None:
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        # Not its words nor its locals: they may hold rows.
        log.error("reads.failed", pointers=len(self._flight), error=loggable(error), stack=stack_of(error))

    async def _wait_after(self, error: Exception) -> None:
        self._failures += 1
        delay_s = self._back_off.failed()
        if self._back_off.claim_log(trio.current_time()):
            log.warning(
                "reads.not_stored",
                error=loggable(error),
                failures=self._back_off.failures,
                waiting=self._requests,
            )
        await trio.sleep(delay_s)
