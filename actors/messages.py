"""What the runtime says about actors, as data: how one ended, who waits, what a child is."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeAlias, TypeVar

import trio

from actors.errors import ActorError

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Normal:
    """The actor ended by its own wish."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The actor was asked to end by the one that owns it, or was cancelled."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The actor ended by an exception that it did not handle."""

    exc: Exception

    def __str__(self) -> str:
        """Name the error's type only: its text may quote what a user wrote."""
        return f"Crashed({type(self.exc).__name__})"


ExitReason: TypeAlias = Normal | Shutdown | Crashed


@dataclass(frozen=True, slots=True)
class Down:
    """The one notice that a monitor gets: this actor has stopped, its name is already free."""

    kind: str
    name: str
    reason: ExitReason


class Reply(Protocol):
    """The part of a ReplyTo that does not depend on the type of the answer."""

    def fail(self, error: Exception) -> None:
        """End the wait with an error."""

    @property
    def done(self) -> bool:
        """Whether the ask was settled."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Envelope(Generic[M]):
    """A question on its way: the message that carries it and the place of its answer.

    Tells travel bare; only an ask pays for one of these, so that it can be failed when its
    message is lost.
    """

    message: M
    reply: Reply

    def fail(self, error: ActorError) -> None:
        """End the ask with `error`, unless it was answered before."""
        self.reply.fail(error)


class Restart(Enum):
    """When an ended child is started again."""

    PERMANENT = "permanent"  # always, however it ended
    TRANSIENT = "transient"  # only after a crash
    TEMPORARY = "temporary"  # never


StopRequest: TypeAlias = Callable[[], None]


class StartChild(Protocol):
    """A child's body: ready at ``task_status.started()``, over when it returns or raises.

    It may hand ``started`` a callable that asks it to stop softly; without one, stopping is
    cancelling.
    """

    def __call__(self, *, task_status: trio.TaskStatus[StopRequest | None]) -> Awaitable[None]:
        """Run the child."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One child of a supervisor, as data.

    Attributes:
        id: unique among its siblings, not empty.
        start: the child's body; called anew for each restart.
        restart: when an ended child is started again.
        shutdown_s: seconds, positive and finite, that a child has to end after a soft stop request
            before it is cancelled; a child that offers none is cancelled at once, and reported
            when its cleaning-up takes longer than this.
    """

    id: str
    start: StartChild
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a spec that could not be run.

        Raises:
            ValueError: naming the field.
        """
        if not self.id:
            raise ValueError("id must not be empty")
        if not (math.isfinite(self.shutdown_s) and self.shutdown_s > 0):
            raise ValueError("shutdown_s must be positive and finite")
