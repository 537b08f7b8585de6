"""Tools for testing actors and what talks to them; part of the product, kept out of the facade.

All of it works with trio's autojump clock: nothing sleeps for real, every wait has an end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import trio
import trio.testing

from actors import (
    Actor,
    ActorStatistics,
    ActorSystem,
    Batch,
    Context,
    ExitReason,
    MailboxSpec,
    Ref,
    TurnObserver,
)

M = TypeVar("M")
T = TypeVar("T")


class InjectedCrash(Exception):
    """Raised inside an actor by a test; not an ActorError, as no real crash is one."""


class Probe(Actor[M]):
    """An actor that records what it is told, for a test to look at.

    Attributes:
        messages: everything that ever came, oldest first.
        reason: how it ended; None while it lives.
    """

    kind = "probe"

    def __init__(self) -> None:
        self.messages: Final[list[M]] = []
        self.reason: ExitReason | None = None
        self._unread: Final[deque[M]] = deque()
        self._arrived = trio.Event()

    @classmethod
    def spawn(
        cls, system: ActorSystem, *, name: str = "probe", mailbox: MailboxSpec | None = None
    ) -> Probe[M]:
        """Start a probe in `system`; its address is ``probe.ref``."""
        probe = cls()
        system.spawn(probe, name=name, mailbox=mailbox)
        return probe

    def receive(self, message: M) -> None:
        """Record it and wake who expects it."""
        self.messages.append(message)
        self._unread.append(message)
        self._arrived.set()

    async def on_stop(self, reason: ExitReason) -> None:
        """Record how it ended."""
        self.reason = reason

    async def expect(self, kind: type[T], *, timeout_s: float = 1.0) -> T:
        """Wait for the next message that was not yet expected, and return it.

        Raises:
            AssertionError: it is of another type, or none came within `timeout_s`.
        """
        with trio.move_on_after(timeout_s):
            while not self._unread:
                self._arrived = trio.Event()
                await self._arrived.wait()
        if not self._unread:
            raise AssertionError(f"no {kind.__name__} came within {timeout_s} s")
        message = self._unread.popleft()
        if not isinstance(message, kind):
            raise AssertionError(f"expected {kind.__name__}, got {message!r}")  # noqa: TRY004
        await trio.lowlevel.checkpoint()
        return message

    async def expect_nothing(self, *, within_s: float) -> None:
        """Wait, and fail when anything comes or came unexpected.

        Raises:
            AssertionError: something did.
        """
        await trio.sleep(within_s)
        if self._unread:
            raise AssertionError(f"expected nothing, got {list(self._unread)!r}")


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One call of ``TurnObserver.batch``."""

    kind: str
    messages: int
    wait_s: float
    turn_s: float


class MemoryObserver(TurnObserver):
    """Remembers what the runtime reported.

    Attributes:
        batches: every batch, oldest first.
        crashes: kind and exception of every crash, oldest first.
    """

    def __init__(self) -> None:
        self.batches: Final[list[BatchSeen]] = []
        self.crashes: Final[list[tuple[str, Exception]]] = []

    def batch(self, kind: str, messages: int, wait_s: float, turn_s: float, /) -> None:
        """Remember a batch."""
        self.batches.append(BatchSeen(kind, messages, wait_s, turn_s))

    def crashed(self, kind: str, exc: Exception, /) -> None:
        """Remember a crash."""
        self.crashes.append((kind, exc))


class Saboteur(Generic[M]):
    """Makes real actors crash where a test wants it, without a hook in them.

    Wrap the factory, then order crashes; an order is used up by the crash that it causes.
    """

    def __init__(self) -> None:
        self._orders: Final[list[Callable[[M], bool]]] = []

    def wrap(self, factory: Callable[[str], Actor[M]]) -> Callable[[str], Actor[M]]:
        """Return a factory of the same actors, which crash when ordered."""
        return lambda name: _Sabotaged(factory(name), self)

    def crash_on(self, matches: Callable[[M], bool]) -> None:
        """Crash the next actor that is about to work on a message that `matches`."""
        self._orders.append(matches)

    def crash_next(self) -> None:
        """Crash the next actor that is about to work on any message."""
        self.crash_on(lambda _: True)

    def strike(self, message: M) -> None:
        """Raise InjectedCrash if an order says so; called before each message."""
        for order in self._orders:
            if order(message):
                self._orders.remove(order)
                raise InjectedCrash


class _Sabotaged(Actor[M]):
    """Runs another actor and raises before the messages that a saboteur picks."""

    def __init__(self, inner: Actor[M], saboteur: Saboteur[M]) -> None:
        self._inner: Final = inner
        self._saboteur: Final = saboteur
        self._one: Final = Batch[M]()
        self.idle_s = inner.idle_s
        self.shutdown_s = inner.shutdown_s

    def bind(self, context: Context[M]) -> None:
        super().bind(context)
        self._inner.bind(context)

    def receive(self, message: M) -> None:
        self._saboteur.strike(message)
        self._one.load([message])
        while self._one.remaining:  # a turn may end before it took anything
            self._inner.on_batch(self._one)

    def on_idle(self) -> None:
        self._inner.on_idle()

    async def on_start(self) -> None:
        await self._inner.on_start()

    async def on_stop(self, reason: ExitReason) -> None:
        await self._inner.on_stop(reason)


async def wait_idle(*refs: Ref[M]) -> tuple[ActorStatistics, ...]:
    """Wait until no task has anything to do, and return what each actor did up to then.

    Raises:
        AssertionError: an actor has mail that it does not work on, such as in a back-off.
    """
    await trio.testing.wait_all_tasks_blocked()
    statistics = tuple(ref.statistics() for ref in refs)
    for ref, seen in zip(refs, statistics, strict=True):
        if seen.mailbox.depth:
            raise AssertionError(f"{ref!r} leaves {seen.mailbox.depth} messages waiting")
    return statistics
