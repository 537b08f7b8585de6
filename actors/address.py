"""What stays the same while instances of an actor come and go: mailbox, askers, watchers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog
import trio

from actors.errors import ActorDied, MailboxFull
from actors.mailbox import Mailbox
from actors.mailbox_spec import MailboxSpec, MailboxStatistics
from actors.messages import Down, Envelope, ExitReason, Shutdown

M = TypeVar("M")

log = structlog.stdlib.get_logger("actors")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorStatistics:
    """One look at an actor; the figures go on over its restarts.

    Attributes:
        mailbox: its mailbox.
        batches: batches worked on.
        messages: messages in them.
        turn_s: seconds that they took, in all.
        turn_max_s: seconds that the longest took.
        restarts: instances that came after the first.
        discarded: messages that will never be worked on.
    """

    mailbox: MailboxStatistics
    batches: int
    messages: int
    turn_s: float
    turn_max_s: float
    restarts: int
    discarded: int


class Monitor:
    """One watcher of one actor: gets one Down, unless cancelled before."""

    __slots__ = ("_down", "_event", "_notify", "_unwatch")

    def __init__(self, notify: Callable[[Down], None] | None, unwatch: Callable[[Monitor], None]) -> None:
        self._notify = notify
        self._unwatch: Final = unwatch
        self._event: Final = trio.Event()
        self._down: Down | None = None

    def cancel(self) -> None:
        """Stop watching: no callback any more, and a `wait` would not end; idempotent."""
        self._notify = None
        self._unwatch(self)

    async def wait(self) -> Down:
        """Wait for the notice; at once, after a checkpoint, when the actor is already gone."""
        await self._event.wait()
        if self._down is None:
            raise AssertionError("the event is set after the notice")
        return self._down

    def deliver(self, down: Down) -> None:
        """Hand over the notice; for the runtime, once. A callback that raises is logged."""
        self._down = down
        self._event.set()
        notify, self._notify = self._notify, None
        if notify is not None:
            try:
                notify(down)
            except Exception:
                # A broken watcher must not keep the others from hearing.
                log.exception("actor.monitor_failed", kind=down.kind, name=down.name)


class Address(Generic[M]):
    """The fixed point behind every Ref to one actor; internal to the package.

    Attributes:
        kind: short constant such as ``"room"``.
        name: unique within the kind.
        mailbox: where its messages wait, over all its instances.
        reason: how it ended; None while it takes messages.
        finished: whether its last instance is gone and the watchers were told.
        batches: see ActorStatistics, as the further counters.
    """

    __slots__ = (
        "_asks",
        "_monitors",
        "batches",
        "discarded",
        "finished",
        "kind",
        "mailbox",
        "messages",
        "name",
        "reason",
        "restarts",
        "turn_max_s",
        "turn_s",
    )

    def __init__(self, kind: str, name: str, spec: MailboxSpec, *, clock: Callable[[], float]) -> None:
        self.kind: Final = kind
        self.name: Final = name
        self.mailbox: Final = Mailbox[M](
            spec.capacity,
            overflow=spec.overflow,
            reserve_fraction=spec.reserve_fraction,
            clock=clock,
            on_drop=self._dropped,
        )
        self.reason: ExitReason | None = None
        self.finished = False
        self.batches = 0
        self.messages = 0
        self.turn_s = 0.0
        self.turn_max_s = 0.0
        self.restarts = 0
        self.discarded = 0
        self._asks: dict[Envelope[M], None] = {}
        self._monitors: dict[Monitor, None] = {}

    @property
    def unanswered(self) -> bool:
        """Whether an ask waits that was neither answered nor given up."""
        return any(not ask.reply.done for ask in self._asks)

    def statistics(self) -> ActorStatistics:
        """Take one look."""
        return ActorStatistics(
            mailbox=self.mailbox.statistics(),
            batches=self.batches,
            messages=self.messages,
            turn_s=self.turn_s,
            turn_max_s=self.turn_max_s,
            restarts=self.restarts,
            discarded=self.discarded,
        )

    def begin_ask(self, ask: Envelope[M]) -> None:
        """Remember an ask, so that it fails when its message is lost."""
        self._asks[ask] = None

    def end_ask(self, ask: Envelope[M]) -> None:
        """Forget it."""
        del self._asks[ask]

    def fail_lost_asks(self, reason: ExitReason) -> None:
        """Fail the asks whose message does not wait in the mailbox any more."""
        if self._asks:
            kept = {id(message) for message in self.mailbox.waiting()}
            for ask in self._asks:
                if id(ask.message) not in kept:
                    ask.fail(ActorDied(self.kind, self.name, reason))

    def shutting_down(self) -> ActorDied:
        """Make the error for messages that come when the actor is about to end."""
        return ActorDied(self.kind, self.name, Shutdown())

    def close(self, reason: ExitReason) -> list[M]:
        """Turn the address away from now on and fail every ask.

        Returns:
            The messages that waited, oldest first.
        """
        self.reason = reason
        left = self.mailbox.close(lambda: ActorDied(self.kind, self.name, reason))
        for ask in self._asks:
            ask.fail(ActorDied(self.kind, self.name, reason))
        return left

    def finish(self, reason: ExitReason) -> None:
        """Tell every watcher, once."""
        self.reason = reason
        self.finished = True
        down = Down(self.kind, self.name, reason)
        monitors, self._monitors = self._monitors, {}
        for monitor in monitors:
            monitor.deliver(down)

    def watch(self, monitor: Monitor) -> None:
        """Add a watcher; one that comes too late is told at once."""
        if self.finished and self.reason is not None:
            monitor.deliver(Down(self.kind, self.name, self.reason))
        else:
            self._monitors[monitor] = None

    def unwatch(self, monitor: Monitor) -> None:
        """Remove a watcher, if it is still there."""
        self._monitors.pop(monitor, None)

    def _dropped(self, message: M) -> None:
        """Fail the ask whose question had to make room for a newer message."""
        for ask in self._asks:
            if ask.message is message:
                ask.fail(MailboxFull("the question was dropped for a newer message"))
