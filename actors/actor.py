"""The two base classes of actors, and what an actor may do to itself.

An `Actor` works synchronously: it cannot await in a turn, so its state has no half-done moments
that anyone could see. An `AsyncActor` may await, and is for workers that are about waiting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar

from actors.batch import Batch
from actors.messages import ExitReason
from actors.ref import Ref

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)


class Context(Protocol[M_contra]):
    """What the runtime offers to the actor that it runs."""

    @property
    def ref(self) -> Ref[M_contra]:
        """The actor's own address."""
        ...

    def stop(self) -> None:
        """Stop normally after this turn."""

    def passivate(self) -> bool:
        """Stop normally unless something waits."""
        ...


class _Base(ABC, Generic[M]):
    """What both kinds of actors share.

    Attributes:
        kind: short constant for metrics and logs; a group's own kind goes before it.
        idle_s: seconds without a message after which `on_idle` is called; None is never. A group's
            own value goes before it; read when a life begins.
        shutdown_s: seconds that `on_stop` may take before it is cancelled; positive.
    """

    __slots__ = ("_context",)

    kind: ClassVar[str] = "actor"
    idle_s: float | None = None
    shutdown_s: float = 5.0

    _context: Context[M]

    def bind(self, context: Context[M]) -> None:
        """Give the instance its context, before `on_start`; for the runtime and wrappers."""
        self._context = context

    @property
    def context(self) -> Context[M]:
        """What the runtime gave to this instance; there is none before `on_start`."""
        return self._context

    @property
    def ref(self) -> Ref[M]:
        """The actor's own address; valid from `on_start` on, for a spawned instance at once."""
        return self._context.ref

    def stop(self) -> None:
        """Ask to stop normally after this turn.

        A turn is one batch for an Actor and one message for an AsyncActor. What waits then is
        discarded: its asks fail, and the group's `on_discard` is told.
        """
        self._context.stop()

    def passivate(self) -> bool:
        """Stop normally if nothing is left to do; the name is free when this returns True.

        Returns:
            False, and nothing changed, when a message waits, the present batch holds another one,
            or an ask is unanswered. True otherwise: messages from now on reach a new instance, so
            none can fall between; the new one starts when this one's `on_stop` is over.
        """
        return self._context.passivate()

    async def on_start(self) -> None:
        """Prepare, in the actor's task, before the first message; messages wait meanwhile.

        A raise counts as a crash; then `on_stop` is not called.
        """

    async def on_stop(self, reason: ExitReason) -> None:
        """Clean up, in the actor's task, after the last message; within `shutdown_s`.

        Args:
            reason: how it ended. After a crash the state is in doubt: release, do not save.

        Called with the name already free, unless the actor comes back under it. A raise is logged,
        and makes a normal end a crash. Cancellation: is shielded from it for `shutdown_s`.
        """

    def on_idle(self) -> None:
        """Nothing came for `idle_s` seconds; the actor may `passivate`. Called again after the next."""


class Actor(_Base[M]):
    """An actor whose turns are synchronous, one batch each.

    One task runs the turns of all such actors, in the order in which their mail came, and everything
    else of the process waits meanwhile: keep turns short. In a turn the current task, its cancel
    scopes and its context variables are therefore not those of `on_start`.

    Implement `receive`. A raise in a turn crashes the instance: its state is discarded, the message
    that it was working on is given to `on_discard`, and a new instance gets what waits behind.
    """

    __slots__ = ()

    @abstractmethod
    def receive(self, message: M) -> None:
        """Work on one message."""

    def on_batch(self, batch: Batch[M]) -> None:
        """Work on everything that waited; one turn.

        Override it to act once per batch, such as one flush after many messages. Take messages with
        ``for message in batch``, each just before working on it: a crash is blamed on the message
        taken last, and the untaken ones are kept. What is not taken at the end comes again in the
        next turn, so a turn may end early to let others run.
        """
        receive = self.receive
        for message in batch:
            receive(message)


class AsyncActor(_Base[M]):
    """An actor whose turns may wait, one message at a time; for session-like workers."""

    __slots__ = ()

    @abstractmethod
    async def receive(self, message: M) -> None:
        """Work on one message; the next one comes when this returns."""


AnyActor: TypeAlias = Actor[M] | AsyncActor[M]
