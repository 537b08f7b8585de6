"""The address of an actor: safe to hand to anyone, never the actor itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

from actors.address import ActorStatistics, Address, Monitor
from actors.errors import AskTimeout
from actors.messages import Down, Envelope, ExitReason
from actors.reply import ReplyTo

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class Ref(Generic[M_contra]):
    """Address of one actor over all its restarts; stays a valid object after the actor's end.

    A group hands out the same ref for a name until the actor stops for good; then `tell` and `ask`
    raise ActorDied, and the group's next `ref(name)` is a new one.
    """

    __slots__ = ("_address", "_put")

    def __init__(self, address: Address[M_contra]) -> None:
        self._address: Final = address
        self._put: Final = address.mailbox.put_nowait

    def __repr__(self) -> str:
        """Show kind and name."""
        return f"<Ref {self._address.kind} {self._address.name!r}>"

    @property
    def kind(self) -> str:
        """The actor's kind, such as ``"room"``."""
        return self._address.kind

    @property
    def name(self) -> str:
        """Its name, unique within the kind."""
        return self._address.name

    @property
    def is_alive(self) -> bool:
        """Whether it takes messages; also true between a crash and the restart."""
        return self._address.reason is None

    def tell_nowait(self, message: M_contra, *, control: bool = False) -> None:
        """Enqueue `message`; no answer.

        Args:
            message: what to enqueue.
            control: whether it may use the part of the mailbox that is kept for control.

        Raises:
            MailboxFull: no room; nothing was enqueued. With DROP_OLDEST only when everything that
                waits is control.
            ActorDied: the actor has stopped; nothing was enqueued.
        """
        self._put(message, control=control)

    def tell_quiet(self, message: M_contra) -> None:
        """Enqueue `message` as control for the next turn that something else causes.

        Raises:
            MailboxFull: no room even in the reserve; nothing was enqueued.
            ActorDied: the actor has stopped; nothing was enqueued.
        """
        self._address.mailbox.put_quiet(message)

    async def tell(self, message: M_contra) -> None:
        """Enqueue `message`; where the mailbox's policy is WAIT, wait for room.

        Raises:
            MailboxFull: no room, and the policy is not WAIT; nothing was enqueued.
            ActorDied: the actor has stopped or stopped meanwhile; nothing was enqueued.

        Cancellation: nothing was enqueued.
        """
        await self._address.mailbox.put(message)

    async def ask(self, build: Callable[[ReplyTo[R]], M_contra], *, timeout_s: float) -> R:
        """Send a question and wait for its answer.

        The answer's type comes from `build`; where that is a lambda, annotate the variable that
        takes the result.

        Args:
            build: makes the message around the place of its answer; called once.
            timeout_s: seconds for the whole ask, waiting for room included.

        Raises:
            ActorDied: the actor stopped first, or crashed after it took the question; at once.
            AskTimeout: no answer within `timeout_s`; the question may still be worked on.
            MailboxFull: no room, nothing was enqueued; or DROP_OLDEST dropped the question.
            Exception: whatever the actor passed to ``ReplyTo.fail``.

        Cancellation: the question may still be worked on; its answer goes nowhere.
        """
        address = self._address
        reply: ReplyTo[R] = ReplyTo()
        ask = Envelope(build(reply), reply)
        with trio.move_on_after(timeout_s):
            address.begin_ask(ask)
            try:
                await address.mailbox.put(ask.message)
                return await reply.wait()
            finally:
                address.end_ask(ask)
        raise AskTimeout(f"{address.kind} {address.name!r} did not answer within {timeout_s} s")

    def monitor(self, notify: Callable[[Down], None] | None = None) -> Monitor:
        """Watch for the actor's end; one Down comes, at once when it is already gone.

        A restart after a crash is no end. When the Down comes the name is free again, and what the
        actor cleans up when it stops is done.

        Args:
            notify: called in the ending actor's task; must be quick, for instance a
                ``tell_nowait`` to the watcher; what it raises is logged. A restless watcher cancels
                the monitor when it goes.
        """
        monitor = Monitor(notify, self._address.unwatch)
        self._address.watch(monitor)
        return monitor

    async def wait_stopped(self) -> ExitReason:
        """Wait until the actor is gone for good, and say why; at once when it already is."""
        monitor = self.monitor()
        try:
            return (await monitor.wait()).reason
        finally:
            monitor.cancel()

    def statistics(self) -> ActorStatistics:
        """Take one look at the actor's mailbox and work; the figures survive its restarts."""
        return self._address.statistics()
