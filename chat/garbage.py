"""The cyclic garbage collector, kept from stopping a process that holds many connections.

CPython's collector (before 3.14 at least) goes through *everything* whenever the oldest generation is due:
with 10,000 connections that is some hundred milliseconds in which nobody is served. What `GcKeeper` does:

1. Only the youngest objects are collected automatically: every 2,000 allocations, which takes about a
   millisecond at most.
2. Everything older is collected by steps. When the heap has grown by a step (50,000 memory blocks, halved
   whenever a collection took more than 10 ms), everything that came since is collected once and what
   survives is *frozen*: the collector never looks at it again. Reference counting frees frozen objects as
   ever; only a cycle among them would stay.
3. So that such cycles cannot add up for ever, everything is thawed and collected once after many more
   connections have ended than are open (20,000, and four times as many). That one pause is logged.
"""

import gc
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, Literal, NoReturn

import structlog
import trio

YOUNG_ALLOCATIONS: Final = 2_000
NEVER: Final = 1_000_000_000

STEP_BLOCKS: Final = 50_000
STEP_MIN_BLOCKS: Final = 12_500
STEP_PAUSE_S: Final = 0.010
THAW_CLOSED: Final = 20_000
THAW_RATIO: Final = 4
TICK_S: Final = 0.1

_log = structlog.get_logger()


@contextmanager
def gc_watch(observe: Callable[[float], None]) -> Generator[None]:
    """Report the length of every garbage collection, in seconds, while the block runs.

    Args:
        observe: called in whichever thread collects, with the process stopped: quick, never raises.
    """
    started_s = 0.0

    def watch(phase: str, _info: dict[str, int]) -> None:
        nonlocal started_s
        if phase == "start":
            started_s = perf_counter()
        else:
            observe(perf_counter() - started_s)

    gc.callbacks.append(watch)
    try:
        yield
    finally:
        gc.callbacks.remove(watch)


@contextmanager
def gc_tune() -> Generator[None]:
    """Collect and freeze what there is, make old collections manual; undo it when the block ends.

    Enter it when everything is imported and started, and have a `GcKeeper` running inside: without one
    old garbage is never collected. The settings are the whole process's.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_ALLOCATIONS, NEVER, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


Plan = Literal["rest", "collect", "thaw"]


class GcKeeper:
    """Decides when old garbage is collected, and what is never looked at again. Rules: see the module.

    Args:
        connections: open now, and ended since the start.
        blocks: how many memory blocks are allocated; takes well under a millisecond.
    """

    def __init__(
        self,
        connections: Callable[[], tuple[int, int]],
        *,
        blocks: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        self._connections = connections
        self._blocks = blocks
        self._baseline_blocks = blocks()
        self._closed_at_thaw = connections()[1]
        self.step_blocks = STEP_BLOCKS

    def plan(self) -> Plan:
        """What is due now."""
        opened, closed = self._connections()
        if closed - self._closed_at_thaw >= max(THAW_CLOSED, THAW_RATIO * opened):
            return "thaw"
        blocks = self._blocks()
        # What was freed may come again: growth counts from the lowest point since the last collection.
        self._baseline_blocks = min(self._baseline_blocks, blocks)
        return "collect" if blocks - self._baseline_blocks >= self.step_blocks else "rest"

    def done(self, plan: Plan, took_s: float) -> None:
        """Take note that a plan was carried out, and how long everything stood still for it."""
        if plan == "thaw":
            self._closed_at_thaw = self._connections()[1]
        elif took_s > STEP_PAUSE_S:
            self.step_blocks = max(STEP_MIN_BLOCKS, self.step_blocks // 2)
        self._baseline_blocks = self._blocks()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Carry out what is due, ten times a second, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(TICK_S)
            plan = self.plan()
            if plan == "rest":
                continue
            started_s = perf_counter()
            if plan == "thaw":
                gc.unfreeze()
            found = gc.collect()
            gc.freeze()
            took_s = perf_counter() - started_s
            self.done(plan, took_s)
            if plan == "thaw":
                _log.info("gc.thawed", found=found, took_ms=round(took_s * 1000, 1))
