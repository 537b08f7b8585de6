"""A bounded FIFO of messages for one consumer, taken in batches.

The put path runs for every message of the server, so it does the least that is right: one length
check, one append, and one reschedule when the consumer sleeps. Totals and the high-water mark are
worked out when the batch is taken, since between two drains the depth only grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import trio
from trio.lowlevel import reschedule

from actors.errors import ActorError, MailboxFull
from actors.mailbox_spec import RESERVE_FRACTION, MailboxSpec, MailboxStatistics, Overflow

M = TypeVar("M")


class Consumer(Protocol):
    """Who takes the messages of a mailbox, when it does not wait in a task of its own."""

    def mail_came(self) -> None:
        """Note that there is something to take; must not take it at once, nor raise."""


class _SleepingTask:
    """A consumer that waits in its task."""

    __slots__ = ("_task",)

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self._task: Final = task

    def mail_came(self) -> None:
        """End the wait."""
        reschedule(self._task)


class _Sender(Generic[M]):
    """One `put` that waits for room."""

    __slots__ = ("error", "message", "task")

    def __init__(self, task: trio.lowlevel.Task, message: M) -> None:
        self.task = task
        self.message = message
        self.error: ActorError | None = None


class Mailbox(Generic[M]):
    """Bounded FIFO over ordinary and control messages; one consumer.

    A part of the capacity is reserved: ordinary messages find it full at
    ``capacity - int(capacity * reserve_fraction)``, control messages at `capacity`. Control
    messages do not overtake; they only find room longer.

    Args:
        capacity: messages that may wait; at least 1.
        overflow: what happens to an ordinary message that finds no room.
        reserve_fraction: share of the capacity for control messages only; 0 to below 1.
        clock: seconds for the waiting times.
        on_drop: told each message that DROP_OLDEST removes; must not raise.

    Attributes:
        drained_at: the clock when the last batch was taken; for the consumer.
        waited_s: how long the first loud message of that batch had waited; for the consumer.

    Raises:
        ValueError: a capacity or fraction out of its range.
    """

    __slots__ = (
        "_capacity",
        "_clock",
        "_control_limit",
        "_drained",
        "_dropped",
        "_error",
        "_high_water",
        "_items",
        "_loud_since",
        "_on_drop",
        "_ordinary_limit",
        "_overflow",
        "_quiet",
        "_refused",
        "_senders",
        "_tags",
        "_waiter",
        "_woken",
        "drained_at",
        "waited_s",
    )

    def __init__(
        self,
        capacity: int,
        *,
        overflow: Overflow = Overflow.REFUSE,
        reserve_fraction: float = RESERVE_FRACTION,
        clock: Callable[[], float] = time.perf_counter,
        on_drop: Callable[[M], None] | None = None,
    ) -> None:
        spec = MailboxSpec(capacity=capacity, overflow=overflow, reserve_fraction=reserve_fraction)
        self._capacity: Final = spec.capacity
        self._overflow: Final = spec.overflow
        self._clock: Final = clock
        self._on_drop: Final = on_drop
        # A closed mailbox has negative limits, so that every put takes the slow path and no put
        # pays for the question whether it is open.
        self._ordinary_limit = capacity - int(capacity * reserve_fraction)
        self._control_limit = capacity
        self._items: list[M] = []
        # Only a mailbox that drops needs to know which messages may go.
        self._tags: list[bool] | None = [] if overflow is Overflow.DROP_OLDEST else None
        self._quiet = 0
        self._loud_since = 0.0
        self._waiter: Consumer | None = None
        self._woken = False
        self._senders: dict[trio.lowlevel.Task, _Sender[M]] = {}
        self._error: Callable[[], ActorError] | None = None
        self._high_water = 0
        self._drained = 0
        self._refused = 0
        self._dropped = 0
        self.drained_at = 0.0
        self.waited_s = 0.0

    def __len__(self) -> int:
        """Count the messages that wait, quiet ones included."""
        return len(self._items)

    def put_nowait(self, message: M, *, control: bool = False) -> None:
        """Enqueue and wake the consumer.

        Args:
            message: what to enqueue.
            control: whether it may use the reserve.

        Raises:
            MailboxFull: no room; nothing was enqueued. With DROP_OLDEST only when everything that
                waits is control.
            ActorError: the mailbox was closed; whatever `close` was given.
        """
        items = self._items
        depth = len(items)
        if depth >= (self._control_limit if control else self._ordinary_limit):
            depth = self._make_room(control=control)
        if depth == self._quiet:
            self._loud_since = self._clock()
        items.append(message)
        if self._tags is not None:
            self._tags.append(control)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.mail_came()

    def put_quiet(self, message: M) -> None:
        """Enqueue as control without asking for a turn.

        The message is taken with the next batch that something else causes: a loud message, an
        idle check, a shutdown. For bookkeeping that may wait until then.

        Raises:
            MailboxFull: no room even in the reserve; nothing was enqueued.
            ActorError: the mailbox was closed.
        """
        if len(self._items) >= self._control_limit:
            self._make_room(control=True)
        self._items.append(message)
        self._quiet += 1
        if self._tags is not None:
            self._tags.append(True)

    async def put(self, message: M) -> None:
        """Enqueue an ordinary message; with WAIT, wait for room in the order of coming.

        Raises:
            MailboxFull: no room, and the policy is not WAIT; nothing was enqueued.
            ActorError: the mailbox was or became closed; nothing was enqueued.

        Cancellation: nothing was enqueued.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        full = 0 <= self._ordinary_limit <= len(self._items)
        if not full or self._overflow is not Overflow.WAIT:
            self.put_nowait(message)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        task = trio.lowlevel.current_task()
        sender = self._senders[task] = _Sender(task, message)

        def give_up(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._senders[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)
        if sender.error is not None:
            raise sender.error

    def drain(self, now: float | None = None) -> list[M]:
        """Take everything that waits, oldest first; empty when nothing does.

        Senders that wait for room get it now, so their messages are the next batch's first. A
        `wake` that nobody waited for is used up.

        Args:
            now: the clock, from a caller who has just read it.
        """
        items = self._items
        depth = len(items)
        self._woken = False
        if now is None:
            now = self._clock()
        self.drained_at = now
        self.waited_s = now - self._loud_since if depth > self._quiet else 0.0
        if not depth:
            return []
        if depth > self._high_water:  # noqa: PLR1730  a call costs more
            self._high_water = depth
        self._drained += depth
        self._items = []
        self._quiet = 0
        if self._tags is not None:
            self._tags = []
        if self._senders:
            self._admit()
        return items

    def restore(self, messages: Sequence[M]) -> None:
        """Put messages of the last batch back to the front, in their order.

        They were admitted before, so they may exceed the capacity; until the next drain that is at
        most twice the capacity, and new messages are refused meanwhile.
        """
        if not messages:
            return
        self._loud_since = self.drained_at - self.waited_s
        self._items[:0] = messages
        self._drained -= len(messages)
        if self._tags is not None:
            # Which of them were control is not known any more; what was taken once is not dropped.
            self._tags[:0] = [True] * len(messages)

    def waiting(self) -> tuple[M, ...]:
        """Show what waits, oldest first, without taking it."""
        return tuple(self._items)

    def notify(self, consumer: Consumer) -> bool:
        """Tell the one consumer, once, when a message asks for a turn or `wake` is called.

        Returns:
            False when one already did; the consumer is not told then. Quiet messages do not count.

        Raises:
            RuntimeError: another one waits already.
        """
        if self._woken or len(self._items) > self._quiet:
            self._woken = False
            return False
        if self._waiter is not None:
            raise RuntimeError("a mailbox has one consumer")
        self._waiter = consumer
        return True

    def dismiss(self) -> None:
        """Tell nobody any more, until the next `notify`."""
        self._waiter = None

    async def wait_nonempty(self) -> None:
        """Wait until a message asks for a turn, or `wake` is called; for the one consumer.

        Returns at once, after a checkpoint, when one already waits. Quiet messages alone do not
        end the wait.

        Raises:
            RuntimeError: another task waits already.

        Cancellation: nothing is lost; what waits keeps waiting.
        """
        if not self.notify(_SleepingTask(trio.lowlevel.current_task())):
            await trio.lowlevel.checkpoint()
            return
        await trio.lowlevel.wait_task_rescheduled(self._abort_wait)
        self._woken = False

    def wake(self) -> None:
        """End the consumer's wait, the present or else the next one, without a message."""
        self._woken = True
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.mail_came()

    def close_to_ordinary(self, error: Callable[[], ActorError]) -> None:
        """Refuse ordinary messages from now on, with a fresh `error` each; control still enters.

        Senders that wait for room get the error at once. Closing a closed mailbox does nothing.
        """
        if self._error is None:
            self._error = error
            self._ordinary_limit = -1
            self._fail_senders()

    def close(self, error: Callable[[], ActorError]) -> list[M]:
        """Refuse every message from now on, with a fresh `error` each; idempotent.

        Returns:
            What waited, oldest first; nobody will take it any more.
        """
        self._error = error
        self._ordinary_limit = self._control_limit = -1
        self._fail_senders()
        return self.drain()

    def statistics(self) -> MailboxStatistics:
        """Take one look; costs a clock read when something waits."""
        depth = len(self._items)
        loud = depth > self._quiet
        return MailboxStatistics(
            depth=depth,
            capacity=self._capacity,
            high_water=max(self._high_water, depth),
            enqueued=self._drained + depth + self._dropped,
            refused=self._refused,
            dropped=self._dropped,
            oldest_wait_s=self._clock() - self._loud_since if loud else 0.0,
        )

    def _make_room(self, *, control: bool) -> int:
        """Return the depth after making room for one message, or raise."""
        limit = self._control_limit if control else self._ordinary_limit
        if self._error is not None and limit < 0:
            raise self._error()
        tags = self._tags
        if tags is None or False not in tags:
            self._refused += 1
            raise MailboxFull(f"{len(self._items)} messages wait; the limit is {limit}")
        at = tags.index(False)
        del tags[at]
        dropped = self._items.pop(at)
        self._dropped += 1
        if self._on_drop is not None:
            self._on_drop(dropped)
        return len(self._items)

    def _admit(self) -> None:
        """Hand the room that a drain made to those who wait for it, first come first served."""
        while self._senders and len(self._items) < self._ordinary_limit:
            task = next(iter(self._senders))
            sender = self._senders.pop(task)
            if not self._items:
                self._loud_since = self.drained_at
            self._items.append(sender.message)
            reschedule(task)

    def _fail_senders(self) -> None:
        error = self._error
        if error is None:
            return
        senders, self._senders = self._senders, {}
        for sender in senders.values():
            sender.error = error()
            reschedule(sender.task)

    def _abort_wait(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.dismiss()
        return trio.lowlevel.Abort.SUCCEEDED
