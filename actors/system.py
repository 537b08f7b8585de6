"""The root: one nursery that all actors of a process run in, and their ordered end."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Never, Protocol, TypeVar

import trio

from actors.actor import Actor, AnyActor, AsyncActor
from actors.cell import Cell
from actors.errors import ActorUnavailable, TooManyActors
from actors.executor import Executor
from actors.group import ActorGroup, Runnable
from actors.idle import IdleSweeper
from actors.mailbox_spec import RESERVE_FRACTION, MailboxSpec, Overflow
from actors.messages import Crashed, ExitReason, Restart
from actors.observer import TurnObserver
from actors.ref import Ref
from actors.registry import Registry
from actors.restart import RestartPolicy
from actors.spec import CellSpec, Services

M = TypeVar("M")

MAX_ACTORS: Final = 100_000  # about 5.5 KB each (measured), so it bounds what a flood of names costs


class Stoppable(Protocol):
    """A group, whatever its messages are."""

    async def stop(self) -> None:
        """Drain and stop its actors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatistics:
    """One look at a system.

    Attributes:
        actors: actors that run, those that still clean up included.
        max_actors: how many there may be.
        started: actors started so far; restarts do not count.
    """

    actors: int
    max_actors: int
    started: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownReport:
    """How an ordered shutdown went.

    Attributes:
        stopped: actors that ended by themselves within the deadline.
        cancelled: actors that were cut off at the deadline.
        left: messages that those had not finished; `on_discard` was told each.
        took_s: seconds that it took, on trio's clock.
    """

    stopped: int
    cancelled: int
    left: int
    took_s: float


class _Single(Protocol):
    """One spawned actor in the registry."""

    @property
    def name(self) -> str: ...

    @property
    def ref(self) -> Ref[Never]: ...

    def drain(self) -> None: ...


class ActorSystem:
    """Starts actors in its nursery and ends them in order; made by `open_system`."""

    def __init__(self, nursery: trio.Nursery, *, services: Services, max_actors: int) -> None:
        self._nursery: Final = nursery
        self._services: Final = services
        self._max_actors: Final = max_actors
        self._singles: Final = Registry[_Single]()
        self._groups: Final[list[Stoppable]] = []
        self._cells: Final[dict[Runnable, None]] = {}
        self._started = 0
        self._closing = False
        self._closed = False
        self._all_ended = trio.Event()

    @property
    def services(self) -> Services:
        """What the system's actors share; for groups."""
        return self._services

    def spawn(
        self,
        actor: AnyActor[M] | Callable[[], AnyActor[M]],
        *,
        name: str,
        kind: str | None = None,
        mailbox: MailboxSpec | None = None,
        restart: Restart | None = None,
        policy: RestartPolicy | None = None,
        on_discard: Callable[[M, ExitReason], None] | None = None,
        on_crash: Callable[[str, Crashed], None] | None = None,
    ) -> Ref[M]:
        """Start one named actor and return its ref at once; messages wait for its `on_start`.

        Args:
            actor: an instance, which lives once; or what builds one for each life.
            name: unique among the actors that were spawned one by one.
            kind: for metrics and logs; by default that of the instance or class.
            mailbox: by default 1024 messages, REFUSE.
            restart: by default TRANSIENT for a builder; an instance is always TEMPORARY.
            policy: how often and how soon it is restarted. One that exceeds it is gone for good;
                watch it with a monitor where that must not pass.
            on_discard: told each message that nobody will work on, with the reason.
            on_crash: told the name at each crash, before the next life.

        Raises:
            NameTaken: the name is in use; nothing was started.
            TooManyActors: the system is full; nothing was started.
            ActorUnavailable: the system is shutting down; nothing was started.
            ValueError: a restart was asked for an instance.
        """
        if self._closing:
            raise ActorUnavailable(kind or "actor", name, None)
        if isinstance(actor, (Actor, AsyncActor)):
            if restart not in {None, Restart.TEMPORARY}:
                raise ValueError("an instance lives once: give a builder to restart it")
            instance = actor
            kind, restart = kind or instance.kind, Restart.TEMPORARY

            def make() -> AnyActor[M]:
                return instance
        else:
            make = actor
            if kind is None:
                kind = str(getattr(actor, "kind", "actor"))
        self.check_room(kind, name)
        cell = Cell(
            name,
            make,
            spec=CellSpec(
                kind=kind,
                mailbox=mailbox or MailboxSpec(),
                restart=restart or Restart.TRANSIENT,
                policy=policy or RestartPolicy(),
                on_discard=on_discard,
                on_crash=on_crash,
            ),
            services=self._services,
            release=self._singles.drop,
            ended=self.forget,
        )
        self._singles.register(cell)
        if isinstance(actor, (Actor, AsyncActor)):
            actor.bind(cell)  # so that its `ref` is valid at once
        self.adopt(cell)
        return cell.ref

    def get(self, name: str) -> Ref[Never] | None:
        """Find a spawned actor, to watch it or look at it.

        Nothing can be told to it this way: names have no message types, so whoever wants to talk to
        an actor is given its typed ref by the one who spawned it.
        """
        single = self._singles.get(name)
        return None if single is None else single.ref

    def group(
        self,
        kind: str,
        factory: Callable[[str], AnyActor[M]],
        *,
        mailbox_capacity: int = 1024,
        overflow: Overflow = Overflow.REFUSE,
        reserve_fraction: float = RESERVE_FRACTION,
        idle_s: float | None = None,
        max_active: int | None = None,
        intensity: int = 5,
        period_s: float = 30.0,
        policy: RestartPolicy | None = None,
        on_discard: Callable[[M, ExitReason], None] | None = None,
        on_crash: Callable[[str, Crashed], None] | None = None,
    ) -> ActorGroup[M]:
        """Make a group of actors of one kind, activated by name on first use.

        Args:
            kind: short constant such as ``"room"``.
            factory: builds the instance of a name, for each of its lives; quick, no waiting.
            mailbox_capacity: messages that may wait for each actor.
            overflow: what happens to an ordinary message that finds no room.
            reserve_fraction: share of the capacity for control messages only.
            idle_s: seconds without a message before `on_idle`; by default that of the class.
            max_active: live actors at a time; by default the system's limit.
            intensity: restarts of one name allowed within `period_s`.
            period_s: seconds; also how long a name that exceeded it stays unavailable.
            policy: instead of the two, all about restarts.
            on_discard: told each message that nobody will work on, with the reason.
            on_crash: told the name at each crash, before the next life.

        Raises:
            ValueError: a figure out of its range.
        """
        if max_active is not None and max_active < 1:
            raise ValueError("max_active must be at least 1")
        group = ActorGroup(
            factory,
            spec=CellSpec(
                kind=kind,
                mailbox=MailboxSpec(
                    capacity=mailbox_capacity, overflow=overflow, reserve_fraction=reserve_fraction
                ),
                restart=Restart.TRANSIENT,
                policy=policy or RestartPolicy(intensity=intensity, period_s=period_s),
                idle_s=idle_s,
                on_discard=on_discard,
                on_crash=on_crash,
            ),
            max_active=max_active or self._max_actors,
            host=self,
        )
        self._groups.append(group)
        return group

    def statistics(self) -> SystemStatistics:
        """Take one look; costs nothing to speak of."""
        return SystemStatistics(actors=len(self._cells), max_actors=self._max_actors, started=self._started)

    async def shutdown(
        self, *, deadline_s: float, order: Sequence[Stoppable] | None = None
    ) -> ShutdownReport:
        """End all actors in order; what is not done within `deadline_s` is cut off.

        At once nothing is spawned any more. Then group by group: no activation, no ordinary
        message, but what waits is worked on, then `on_stop`; the next group begins when the last
        actor is gone. Then the spawned actors in the same way, the newest first. At the deadline
        the rest is cancelled; each still gets the `shutdown_s` of its `on_stop`.

        Args:
            deadline_s: seconds, positive and finite.
            order: groups in the order of their ending; by default the newest first. Groups that it
                leaves out follow, the newest first.

        Raises:
            ValueError: a deadline out of its range.

        Cancellation: safe; leave the `open_system` block, which ends what is left.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError("deadline_s must be positive and finite")
        began_at = trio.current_time()
        self._closing = True
        before = len(self._cells)
        groups = list(order or ())
        groups += [group for group in reversed(self._groups) if group not in groups]
        with trio.move_on_after(deadline_s):
            for group in groups:
                await group.stop()
            for single in reversed(tuple(self._singles)):
                single.drain()
                await single.ref.wait_stopped()
            if self._cells:
                await self._all_ended.wait()
        cut = tuple(self._cells)
        discarded_before = sum(cell.discarded for cell in cut)
        for cell in cut:
            cell.cancel()
        if self._cells:
            await self._all_ended.wait()
        return ShutdownReport(
            stopped=before - len(cut),
            cancelled=len(cut),
            left=sum(cell.discarded for cell in cut) - discarded_before,
            took_s=trio.current_time() - began_at,
        )

    def close(self) -> None:
        """Start nothing any more; for `open_system`."""
        self._closing = self._closed = True

    def check_room(self, kind: str, name: str) -> None:
        """Raise TooManyActors or ActorUnavailable when no actor may start; for groups."""
        if self._closed:
            raise ActorUnavailable(kind, name, None)
        if len(self._cells) >= self._max_actors:
            raise TooManyActors("the system", self._max_actors)

    def adopt(self, cell: Runnable, /) -> None:
        """Run a cell; for groups."""
        self._cells[cell] = None
        self._started += 1
        self._nursery.start_soon(cell.run, name=f"{cell.kind} {cell.name}")

    def forget(self, cell: Runnable, /) -> None:
        """Take note that a cell has ended; for groups."""
        del self._cells[cell]
        if self._closing and not self._cells:
            self._all_ended.set()


@asynccontextmanager
async def open_system(
    *,
    observer: TurnObserver | None = None,
    rng: random.Random | None = None,
    max_actors: int = MAX_ACTORS,
) -> AsyncGenerator[ActorSystem, None]:
    """Open an actor system; leaving the block cancels every actor that still runs.

    Await ``system.shutdown`` before leaving, for an end in order. Without it, or when the block is
    cancelled, every actor's `on_stop` still runs within its `shutdown_s`, all at the same time.

    Args:
        observer: told about batches and crashes.
        rng: chance for the jitter of back-offs; give a seeded one to repeat a run.
        max_actors: live actors at a time, at least 1.

    Raises:
        ValueError: a limit below 1.
    """
    if max_actors < 1:
        raise ValueError("max_actors must be at least 1")
    sweeper = IdleSweeper()
    clock = trio.lowlevel.current_clock().current_time
    executor = Executor(clock)
    services = Services(
        clock=clock,
        rng=rng or random.Random(),  # noqa: S311  spreads restarts, guards nothing
        observer=observer,
        sweeper=sweeper,
        executor=executor,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run, name="actors: idle sweeper")
        nursery.start_soon(executor.run, name="actors: executor")
        system = ActorSystem(nursery, services=services, max_actors=max_actors)
        try:
            yield system
        finally:
            system.close()
            nursery.cancel_scope.cancel()
