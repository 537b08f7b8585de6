"""How one life of an actor works on its mail: in the run queue's turns, or in its own task."""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

import trio
from trio.lowlevel import reschedule

from actors.actor import Actor, AnyActor, AsyncActor
from actors.address import Address
from actors.batch import Batch
from actors.messages import Crashed, ExitReason
from actors.spec import Services

M = TypeVar("M")


class Life(Protocol[M]):
    """What turns need of the cell that they work for.

    Attributes:
        attention: whether `attend` has something to do; looked at after every turn.
        last_active: when the last turn ended.
    """

    attention: bool
    last_active: float

    def attend(self, actor: AnyActor[M], /) -> bool:
        """Act on what was asked for between turns; True ends this life."""
        ...

    def stopping(self) -> bool:
        """Whether this life is to end after the present turn."""
        ...

    def crashed(self, exc: Exception, /) -> Crashed:
        """Turn what the instance raised into data."""
        ...

    def end_life(self, reason: ExitReason | None = None, /) -> ExitReason:
        """Give the name up if no life may follow; return why it ended, as asked if not told."""
        ...


class QueuedTurns(Generic[M]):
    """The turns of an Actor, run by the system's executor while the actor's own task sleeps.

    Args:
        life: whose turns.
        actor: the instance.
        address: where its mail is.
        batch: where the cell finds the messages after a crash.
        services: what the system shares.
    """

    __slots__ = (
        "_actor",
        "_address",
        "_batch",
        "_cancelled",
        "_clock",
        "_executor",
        "_failure",
        "_life",
        "_mailbox",
        "_observer",
        "_reason",
        "_receive",
        "_task",
    )

    def __init__(
        self, life: Life[M], actor: Actor[M], address: Address[M], batch: Batch[M], services: Services
    ) -> None:
        self._life: Final = life
        self._actor: Final = actor
        self._address: Final = address
        self._mailbox: Final = address.mailbox
        self._batch: Final = batch
        self._clock: Final = services.clock
        self._observer: Final = services.observer
        self._executor: Final = services.executor
        # An actor that works message by message is called without the detour, which costs more
        # than a small turn.
        self._receive: Final = actor.receive if type(actor).on_batch is Actor.on_batch else None
        self._task: trio.lowlevel.Task | None = None
        self._reason: ExitReason | None = None
        self._failure: BaseException | None = None
        self._cancelled = False

    async def run(self) -> ExitReason:
        """Let turns run until this life is over, and say why.

        `Life.end_life` was called in the turn that ended it, so that nothing comes in between.
        Raises what a turn raised and is no Exception. Cancellation: takes effect between two turns;
        this one's is finished.
        """
        while self._reason is None:
            self._task = trio.lowlevel.current_task()
            if not self._mailbox.notify(self):
                self.mail_came()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            if self._reason is None:
                self._cancelled = False
                await trio.lowlevel.checkpoint_if_cancelled()
        return self._reason

    def mail_came(self) -> None:
        """Ask for a turn; for the mailbox."""
        self._executor.submit(self)

    def turn(self, began_at: float) -> float:
        """Work on what waits; for the executor. The next turn is asked for when more is there."""
        if self._task is None:
            return began_at
        mailbox = self._mailbox
        life = self._life
        messages = mailbox.drain(began_at)
        if messages:
            batch = self._batch
            receive = self._receive
            if receive is not None:
                for message in batch.load(messages):
                    receive(message)
                done = len(messages)
                messages.clear()
            else:
                batch.load(messages)
                self._actor.on_batch(batch)
                left = batch.remaining
                if left:
                    mailbox.restore(messages[-left:])
                batch.clear()
                done = len(messages) - left
            life.last_active = ended_at = self._clock()
            turn_s = ended_at - began_at
            address = self._address
            address.batches += 1
            address.messages += done
            address.turn_s += turn_s
            if turn_s > address.turn_max_s:  # noqa: PLR1730  a call costs more
                address.turn_max_s = turn_s
            observer = self._observer
            if observer is not None:
                observer.batch(address.kind, done, mailbox.waited_s, turn_s)
            began_at = ended_at
        if life.attention:
            if life.attend(self._actor):
                self._wake(life.end_life())
                return self._clock()
            if self._cancelled:
                self._wake(None)
                return self._clock()
        if not mailbox.notify(self):
            self._executor.submit(self)
        return began_at

    def broke(self, exc: BaseException) -> None:
        """Crash this life; what is no Exception is raised in the actor's task. For the executor."""
        if isinstance(exc, Exception):
            life = self._life
            self._wake(life.end_life(life.crashed(exc)))
        else:
            self._failure = exc
            self._wake(None)

    def _wake(self, reason: ExitReason | None) -> None:
        """Let the actor's task go on."""
        self._reason = reason
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        if self._executor.current is self:
            # The actor's own turn cancels it; that turn is finished and accounted for first.
            self._cancelled = self._life.attention = True
            return trio.lowlevel.Abort.FAILED
        self._task = None
        self._mailbox.dismiss()
        return trio.lowlevel.Abort.SUCCEEDED


class AsyncTurns(Generic[M]):
    """The turns of an AsyncActor, in its own task; arguments as for QueuedTurns."""

    __slots__ = ("_actor", "_address", "_batch", "_life", "_services")

    def __init__(
        self, life: Life[M], actor: AsyncActor[M], address: Address[M], batch: Batch[M], services: Services
    ) -> None:
        self._life: Final = life
        self._actor: Final = actor
        self._address: Final = address
        self._batch: Final = batch
        self._services: Final = services

    async def run(self) -> ExitReason:
        """Work until this life is over, and say why; `Life.end_life` was called.

        Raises whatever a turn raises. Cancellation: takes effect in the middle of a turn; the batch
        tells how far it came.
        """
        life = self._life
        address = self._address
        mailbox = address.mailbox
        batch = self._batch
        clock = self._services.clock
        observer = self._services.observer
        while True:
            await mailbox.wait_nonempty()
            began_at = clock()
            messages = mailbox.drain(began_at)
            if messages:
                waited_s = mailbox.waited_s
                for message in batch.load(messages):
                    await self._actor.receive(message)
                    if life.stopping():
                        break
                life.last_active = ended_at = clock()
                turn_s = ended_at - began_at
                _, rest = batch.split()
                mailbox.restore(rest)
                done = len(messages) - len(rest)
                address.batches += 1
                address.messages += done
                address.turn_s += turn_s
                address.turn_max_s = max(address.turn_max_s, turn_s)
                if observer is not None:
                    observer.batch(address.kind, done, waited_s, turn_s)
            if life.attention and life.attend(self._actor):
                return life.end_life()
