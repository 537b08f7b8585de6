"""Actors of one kind, activated by name on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import trio

from actors.actor import AnyActor
from actors.cell import Cell
from actors.errors import ActorUnavailable, TooManyActors
from actors.ref import Ref
from actors.registry import Registry
from actors.spec import CellSpec, Services

M = TypeVar("M")


class Host(Protocol):
    """The part of a system that a group needs."""

    @property
    def services(self) -> Services:
        """What the system's actors share."""
        ...

    def check_room(self, kind: str, name: str) -> None:
        """Raise TooManyActors or ActorUnavailable when no actor may start."""

    def adopt(self, cell: Runnable, /) -> None:
        """Run the cell in the system's nursery."""

    def forget(self, cell: Runnable, /) -> None:
        """Take note that the cell has ended."""


class Runnable(Protocol):
    """What every cell is to a system, whatever its messages are."""

    @property
    def name(self) -> str:
        """The actor's name."""
        ...

    @property
    def kind(self) -> str:
        """The actor's kind."""
        ...

    @property
    def discarded(self) -> int:
        """Messages that were given up so far."""
        ...

    async def run(self) -> None:
        """Run to the end."""

    def drain(self) -> None:
        """Work on what waits, then stop."""

    def cancel(self) -> None:
        """End it where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """One look at a group.

    Attributes:
        kind: the group's kind.
        active: live actors.
        max_active: how many there may be.
        activated: activations so far.
        crashed_out: how often one was given up because it kept crashing.
        depth: messages that wait, in all.
        oldest_wait_s: the longest present wait for a turn.
        refused: messages turned away so far, by actors that have ended as well.
        dropped: messages dropped for newer ones, likewise.
        restarts: instances that came after a first one, likewise.
    """

    kind: str
    active: int
    max_active: int
    activated: int
    crashed_out: int
    depth: int
    oldest_wait_s: float
    refused: int
    dropped: int
    restarts: int


class ActorGroup(Generic[M]):
    """Gets or activates the actor of a name. Made by ``ActorSystem.group``.

    A crash costs the instance its state and nobody else anything: a new instance is built under the
    same name and ref after a back-off, and finds the mail that waited behind the crash. One that
    crashes too often is given up: its mail goes to `on_discard`, and for the policy's `period_s`
    the name raises ActorUnavailable.

    Attributes:
        kind: the group's kind.
        max: how many actors may live at a time, those that still clean up included.
    """

    def __init__(
        self,
        factory: Callable[[str], AnyActor[M]],
        *,
        spec: CellSpec[M],
        max_active: int,
        host: Host,
    ) -> None:
        self.kind: Final = spec.kind
        self.max: Final = max_active
        self._factory: Final = factory
        self._spec: Final = spec
        self._host: Final = host
        self._cells: Final = Registry[Cell[M]]()
        self._running: Final[dict[Cell[M], None]] = {}
        self._stopping: Final[dict[str, Ref[M]]] = {}
        self._broken_until: Final[dict[str, float]] = {}
        self._closing = False
        self._all_ended = trio.Event()
        self._activated = 0
        self._crashed_out = 0
        # Of the actors that have ended.
        self._refused = self._dropped = self._restarts = 0

    def __len__(self) -> int:
        """Count the actors that take messages."""
        return len(self._cells)

    def __iter__(self) -> Iterator[Ref[M]]:
        """Go over the actors that take messages, oldest first; changes meanwhile are not seen."""
        return iter([cell.ref for cell in self._cells])

    def get(self, name: str) -> Ref[M] | None:
        """Find the live actor of this name; does not activate."""
        cell = self._cells.get(name)
        return None if cell is None else cell.ref

    def ref(self, name: str) -> Ref[M]:
        """Get the live actor of this name, or activate one.

        Returns at once; what is told to the actor before its `on_start` is over waits.

        Raises:
            TooManyActors: the group or the system is full; nothing was started.
            ActorUnavailable: it kept crashing and `retry_after_s` is not over, or the group is
                shutting down; nothing was started.
        """
        cell = self._cells.get(name)
        return self._activate(name) if cell is None else cell.ref

    def statistics(self) -> GroupStatistics:
        """Take one look; costs time in proportion to the live actors, so not for every message."""
        actors = [ref.statistics() for ref in self]
        mailboxes = [actor.mailbox for actor in actors]
        return GroupStatistics(
            kind=self.kind,
            active=len(actors),
            max_active=self.max,
            activated=self._activated,
            crashed_out=self._crashed_out,
            depth=sum(mailbox.depth for mailbox in mailboxes),
            oldest_wait_s=max((mailbox.oldest_wait_s for mailbox in mailboxes), default=0.0),
            refused=self._refused + sum(mailbox.refused for mailbox in mailboxes),
            dropped=self._dropped + sum(mailbox.dropped for mailbox in mailboxes),
            restarts=self._restarts + sum(actor.restarts for actor in actors),
        )

    async def stop(self) -> None:
        """Activate nothing any more, let every actor work on what waits and stop, and wait.

        Waits as long as the slowest actor takes: bound it by a scope. Cancellation: the actors go
        on draining, the group stays closed.
        """
        self._closing = True
        for cell in tuple(self._running):
            cell.drain()
        if self._running:
            await self._all_ended.wait()
        else:
            await trio.lowlevel.checkpoint()

    def _activate(self, name: str) -> Ref[M]:
        if self._closing:
            raise ActorUnavailable(self.kind, name, None)
        broken_until = self._broken_until.get(name)
        if broken_until is not None:
            retry_after_s = broken_until - self._host.services.clock()
            if retry_after_s > 0:
                raise ActorUnavailable(self.kind, name, retry_after_s)
            del self._broken_until[name]
        if len(self._running) >= self.max:
            raise TooManyActors(self.kind, self.max)
        self._host.check_room(self.kind, name)
        factory = self._factory
        cell = Cell(
            name,
            lambda: factory(name),
            spec=self._spec,
            services=self._host.services,
            release=self._release,
            ended=self._ended,
            predecessor=self._stopping.get(name),
        )
        self._cells.register(cell)
        self._running[cell] = None
        self._activated += 1
        self._host.adopt(cell)
        return cell.ref

    def _release(self, cell: Cell[M]) -> None:
        self._cells.drop(cell)
        self._stopping[cell.name] = cell.ref
        ended = cell.ref.statistics()
        self._refused += ended.mailbox.refused
        self._dropped += ended.mailbox.dropped
        self._restarts += ended.restarts
        if cell.gave_up:
            self._crashed_out += 1
            now = self._host.services.clock()
            for name in [name for name, until in self._broken_until.items() if until <= now]:
                del self._broken_until[name]
            self._broken_until[cell.name] = now + self._spec.policy.period_s

    def _ended(self, cell: Cell[M]) -> None:
        if self._stopping.get(cell.name) is cell.ref:
            del self._stopping[cell.name]
        del self._running[cell]
        self._host.forget(cell)
        if self._closing and not self._running:
            self._all_ended.set()
