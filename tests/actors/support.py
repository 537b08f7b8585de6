"""One small actor that the tests of the runtime share: a ledger that does what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

import trio

from actors import Actor, AsyncActor, Batch, ExitReason, Ref, ReplyTo


class Boom(Exception):
    """What a crashing ledger raises."""


@dataclass(frozen=True, slots=True)
class Add:
    """Write a line."""

    text: str


@dataclass(frozen=True, slots=True)
class Crash:
    """Raise Boom."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """Answer with all lines."""

    reply: ReplyTo[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the question and never answer it."""

    reply: ReplyTo[None]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop after this turn."""


@dataclass(frozen=True, slots=True)
class Passivate:
    """Try to passivate and write down whether it worked."""


Message: TypeAlias = Add | Crash | Read | Hold | Stop | Passivate


class Ledger(Actor[Message]):
    """Writes lines into `lines`, which outlives it, as a storage would."""

    kind = "ledger"

    def __init__(self, lines: list[str] | None = None, *, idle_s: float | None = None) -> None:
        self.lines: Final = [] if lines is None else lines
        self.idle_s = idle_s
        self.held: Final[list[ReplyTo[None]]] = []

    async def on_start(self) -> None:
        """Write that a life began."""
        self.lines.append("start")
        await trio.lowlevel.checkpoint()

    async def on_stop(self, reason: ExitReason) -> None:
        """Write how it ended."""
        await trio.lowlevel.checkpoint()
        self.lines.append(f"stop {type(reason).__name__}")

    def on_idle(self) -> None:
        """Write it down and passivate."""
        self.lines.append("idle")
        self.passivate()

    def receive(self, message: Message) -> None:
        """Do as told."""
        match message:
            case Add(text):
                self.lines.append(text)
            case Crash(text):
                raise Boom(text)
            case Read(reply):
                reply.set(tuple(self.lines))
            case Hold(reply):
                self.held.append(reply)
            case Stop():
                self.stop()
            case Passivate():
                self.lines.append(f"passivated {self.passivate()}")
            case _:
                assert_never(message)


class SlowLedger(AsyncActor[Message]):
    """The same with turns of a second each."""

    kind = "slow"

    def __init__(self, lines: list[str]) -> None:
        self.lines: Final = lines

    async def receive(self, message: Message) -> None:
        """Wait, then do as told."""
        await trio.sleep(1)
        match message:
            case Add(text):
                self.lines.append(text)
            case Crash(text):
                raise Boom(text)
            case Read(reply):
                reply.set(tuple(self.lines))
            case Hold() | Passivate():
                pass
            case Stop():
                self.stop()
            case _:
                assert_never(message)


class Pager(Ledger):
    """Works on at most two messages per turn."""

    def on_batch(self, batch: Batch[Message]) -> None:
        """Write where each turn begins."""
        self.lines.append(f"turn of {len(batch)}")
        # The range goes first: the other way round, zip would take a third message for nothing.
        for _, message in zip(range(2), batch, strict=False):
            self.receive(message)


async def read(ref: Ref[Message]) -> tuple[str, ...]:
    """Ask for all lines."""
    return await ref.ask(Read, timeout_s=60)
