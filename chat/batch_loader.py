"""One look-up for many callers: what was asked for while the last one ran goes into the next one.

As with a group commit, there is no timer: a lone caller is served at once, and a crowd (10,000 clients that
come back after a restart, each with a token) makes a few large queries instead of many small ones.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Generic, NamedTuple, NoReturn, TypeVar

import trio

from storage import Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lookups(NamedTuple):
    """How often something was found in memory, since the start.

    Attributes:
        hits: look-ups that asked storage for nothing of their own.
        misses: those that did.
    """

    hits: int
    misses: int


class _Lookup(Generic[V]):
    """One key that is being asked for, and everyone who waits for it."""

    __slots__ = ("callers", "done", "error", "traceback", "value")

    def __init__(self) -> None:
        self.callers = 0
        self.done = trio.Event()
        self.value: V | None = None
        self.error: Exception | None = None
        self.traceback: TracebackType | None = None

    def fail(self, error: Exception) -> None:
        self.error = error
        self.traceback = error.__traceback__
        self.done.set()


class BatchLoader(Generic[K, V]):
    """Turns concurrent `get`s into calls of `load`, one at a time, while `run` is running.

    Args:
        load: asks for many keys at once; a key without a value is missing in its answer. It has its own
            deadline.
        max_batch: keys in one call, at most.
        max_waiting: callers waiting at once, at most; who comes above that is refused at once.
    """

    def __init__(
        self,
        load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        max_batch: int,
        max_waiting: int,
    ) -> None:
        if max_batch < 1 or max_waiting < 1:
            raise ValueError(f"no such loader: max_batch={max_batch}, max_waiting={max_waiting}")
        self._load = load
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._queued: dict[K, _Lookup[V]] = {}
        self._running: dict[K, _Lookup[V]] = {}
        self._callers = 0
        self._served = self._calls = 0
        self._wanted = trio.Event()
        self._closed = False

    @property
    def lookups(self) -> Lookups:
        """Calls of `load` are the misses; callers beyond one for each call shared it, and are the hits."""
        return Lookups(self._served - self._calls, self._calls)

    @property
    def waiting(self) -> int:
        """Callers that wait now."""
        return self._callers

    async def get(self, key: K, *, timeout_s: float) -> V | None:
        """The value of `key` as it was after this call began, or None when there is none.

        Args:
            key: what to look up; callers with the same key share one place in the call.
            timeout_s: how long to wait at most, in seconds.

        Raises:
            Unavailable: too many wait already, the time is over, or `run` has ended.
            Exception: whatever `load` raised for the batch that this key was in.

        Cancellation: hurts no other caller; a key that nobody waits for any more is not asked for.
        """
        if self._closed:
            raise Unavailable("look-ups have ended")
        if self._callers >= self._max_waiting:
            raise Unavailable("too many look-ups are waiting")
        # Only what is still queued is joined: a call already on its way may have read before this moment.
        lookup = self._queued.get(key)
        if lookup is None:
            lookup = self._queued[key] = _Lookup()
            self._wanted.set()
        lookup.callers += 1
        self._callers += 1
        try:
            with trio.move_on_after(timeout_s):
                await lookup.done.wait()
        finally:
            lookup.callers -= 1
            self._callers -= 1
            if not lookup.callers and self._queued.get(key) is lookup:
                del self._queued[key]
        if not lookup.done.is_set():
            raise Unavailable(f"no answer to a look-up within {timeout_s} s")
        if lookup.error is not None:
            # Every caller raises the one exception: its traceback must not grow from caller to caller.
            raise lookup.error.with_traceback(lookup.traceback)
        return lookup.value

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve `get`s until cancelled; then every caller gets `Unavailable`, until it is run again.

        An error of `load` goes to the callers of its batch, and the next batch is served.
        """
        self._closed = False
        task_status.started()
        try:
            while True:
                await self._wanted.wait()
                while self._queued:
                    await self._serve_one_batch()
                self._wanted = trio.Event()
        finally:
            self._closed = True
            for lookup in (*self._running.values(), *self._queued.values()):
                lookup.fail(Unavailable("look-ups have ended"))
            self._running = {}
            self._queued.clear()

    async def _serve_one_batch(self) -> None:
        batch = self._running = dict(islice(self._queued.items(), self._max_batch))
        for key in batch:
            del self._queued[key]
        # Nobody joins from here on.
        self._served += sum(lookup.callers for lookup in batch.values())
        self._calls += 1
        try:
            values = await self._load(tuple(batch))
        except Exception as error:  # noqa: BLE001  it is the callers', and handed to each of them
            for lookup in batch.values():
                lookup.fail(error)
        else:
            for key, lookup in batch.items():
                lookup.value = values.get(key)
                lookup.done.set()
        self._running = {}
