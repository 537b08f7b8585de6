"""What actors are run with: what all of a system share, and how one kind is run."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.executor import Executor
from actors.idle import IdleSweeper
from actors.mailbox_spec import MailboxSpec
from actors.messages import Crashed, ExitReason, Restart
from actors.observer import TurnObserver
from actors.restart import RestartPolicy

M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all actors of a system share.

    Attributes:
        clock: trio's clock, in seconds; virtual in tests.
        rng: chance for the jitter of back-offs.
        observer: told about batches and crashes, if any.
        sweeper: finds idle actors.
        executor: runs synchronous turns.
    """

    clock: Callable[[], float]
    rng: random.Random
    observer: TurnObserver | None
    sweeper: IdleSweeper
    executor: Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpec(Generic[M]):
    """How the actors of one kind are run.

    Attributes:
        kind: short constant for metrics and logs.
        mailbox: size and policy.
        restart: when a next life follows.
        policy: how many lives, and how soon.
        idle_s: seconds before `on_idle`; None leaves it to the actor's class.
        on_discard: told each message that nobody will work on.
        on_crash: told the name of an actor that crashed, before its next life.
    """

    kind: str
    mailbox: MailboxSpec
    restart: Restart
    policy: RestartPolicy
    idle_s: float | None = None
    on_discard: Callable[[M, ExitReason], None] | None = None
    on_crash: Callable[[str, Crashed], None] | None = None
