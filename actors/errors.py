"""The errors of the actor runtime, split by what the caller can do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actors.messages import ExitReason


class ActorError(Exception):
    """Root of every error that this package raises on purpose."""


class MailboxFull(ActorError):
    """A bounded mailbox had no room; nothing was enqueued.

    Try later, or tell the peer that the actor is busy. An ask gets it, too, when a mailbox that
    drops its oldest message dropped the question.
    """


class ActorDied(ActorError):
    """The actor behind the address has stopped, so no message reaches it and no answer comes.

    Attributes:
        kind: the actor's kind, such as ``"room"``.
        name: its name within the kind.
        reason: how it ended.
    """

    def __init__(self, kind: str, name: str, reason: ExitReason) -> None:
        super().__init__(f"{kind} {name!r} has stopped: {reason}")
        self.kind: Final = kind
        self.name: Final = name
        self.reason: Final = reason


class AskTimeout(ActorError):
    """No answer came in time. The question may still be worked on; its answer goes nowhere."""


class NameTaken(ActorError):
    """Another live actor has this name; nothing was started."""


class TooManyActors(ActorError):
    """A group or the whole system is at its limit of live actors; nothing was started.

    Attributes:
        limit: the limit that was met.
    """

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} is at its limit of {limit} live actors")
        self.limit: Final = limit


class ActorUnavailable(ActorError):
    """The actor may not be activated now: it kept crashing, or the system is shutting down.

    Attributes:
        retry_after_s: seconds after which an activation is tried again; None when this system
            will not activate anything any more.
    """

    def __init__(self, kind: str, name: str, retry_after_s: float | None) -> None:
        when = "shutting down" if retry_after_s is None else f"retry after {retry_after_s:.3f} s"
        super().__init__(f"{kind} {name!r} is unavailable: {when}")
        self.kind: Final = kind
        self.name: Final = name
        self.retry_after_s: Final = retry_after_s


class StartFailed(ActorError):
    """A supervisor's child failed before it was ever ready; the cause is chained.

    The children to its left were stopped again. A first start is not retried: what fails then is
    mostly a mistake in the configuration, and its message must reach the operator at once.
    """


class RestartLimit(ActorError):
    """A child crashed more often than its supervisor allows, so the supervisor gives up.

    The crashes that led to it are chained as one ExceptionGroup. All children have been stopped.

    Attributes:
        child_id: the child whose crash went beyond the limit.
    """

    def __init__(self, child_id: str, intensity: int, period_s: float) -> None:
        super().__init__(f"{child_id!r}: more than {intensity} restarts within {period_s} s")
        self.child_id: Final = child_id
