"""Keeps a row of long-running tasks alive, in order, after the model of OTP's supervisor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from actors.errors import ActorError, RestartLimit, StartFailed
from actors.messages import ChildSpec, Crashed, ExitReason, Normal, Shutdown, StopRequest
from actors.restart import GiveUp, RestartPolicy, Strategy, Times, decide, plan, should_restart

log = structlog.stdlib.get_logger("actors")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStatistics:
    """One look at a child.

    Attributes:
        id: the child's id.
        running: whether it runs now, ready or not yet.
        restarts: how often it was started again.
        reason: how its last life ended; None while the first one goes on.
    """

    id: str
    running: bool
    restarts: int
    reason: ExitReason | None


class _Life:
    """One run of a child; handed to it as its `task_status`."""

    def __init__(self, child: _Child) -> None:
        self.child: Final = child
        # Shielded, so that a cancelled supervisor can still end its children one after the other.
        self.scope: Final = trio.CancelScope(shield=True)
        self.settled: Final = trio.Event()  # ready, or ended before it was
        self.ended: Final = trio.Event()
        self.ready = False
        self.reason: ExitReason = Normal()
        self.request_stop: StopRequest | None = None

    def started(self, value: StopRequest | None = None) -> None:
        """Take the child's word that it is ready, and how to stop it softly."""
        if self.ready:
            raise RuntimeError("a child is ready once")
        self.ready = True
        self.request_stop = value
        self.settled.set()


class _Child:
    """A spec and its present life."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec: Final = spec
        self.life: _Life | None = None
        self.starts = 0
        self.reason: ExitReason | None = None


class Supervisor:
    """Runs children, restarts them by a strategy, and gives up beyond an intensity.

    Children start left to right, each when the one before it is ready, and stop in reverse. What a
    child raises becomes an exit reason; cancellation and what is no Exception pass through.
    A supervisor may be the child of another one: `run` is a child's body.

    Args:
        children: what to run, in the order of starting; ids are unique.
        strategy: who shares the fate of a child that is restarted; those are stopped at its crash
            and started after the back-off.
        policy: intensity and back-off, counted over all children together.
        rng: chance for the jitter.
        name: for logs.

    Raises:
        ValueError: two children with one id.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        policy: RestartPolicy | None = None,
        rng: random.Random | None = None,
        name: str = "supervisor",
    ) -> None:
        self._children: Final = {spec.id: _Child(spec) for spec in children}
        if len(self._children) != len(children):
            raise ValueError("children must have different ids")
        self._strategy: Final = strategy
        self._policy: Final = policy or RestartPolicy()
        self._rng: Final = rng or random.Random()  # noqa: S311  spreads restarts, guards nothing
        self._name: Final = name
        self._work: Final = trio.CancelScope()
        self._due: Final[dict[str, float]] = {}  # when the children that wait are to start
        self._history: Times = ()
        self._crashes: list[Exception] = []
        # At most two lives of a child end between two looks: the one that crashed, and the one that
        # was started instead.
        self._tell_ended, self._ended = trio.open_memory_channel[_Life](2 * len(children) or 1)
        self._used = False

    def stop(self) -> None:
        """Ask to stop all children in reverse and return; works in a back-off, too; idempotent."""
        self._work.cancel()

    def statistics(self) -> tuple[ChildStatistics, ...]:
        """Take one look at each child, in the order of starting."""
        return tuple(
            ChildStatistics(
                id=child_id,
                running=child.life is not None,
                restarts=max(0, child.starts - 1),
                reason=child.reason,
            )
            for child_id, child in self._children.items()
        )

    async def run(self, *, task_status: trio.TaskStatus[StopRequest] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until stopped; ready, with `stop` as the soft request, when all children are.

        Raises:
            StartFailed: a child failed before all were ready for the first time.
            RestartLimit: crashes beyond the intensity. All children are stopped by then.
            RuntimeError: it was run before.

        Cancellation: stops the children in reverse first. That takes, for each, at most its
        `shutdown_s` for a soft stop and as long again once cancelled; one that still cleans up then
        is reported, and waited for at the very end.
        """
        if self._used:
            raise RuntimeError("a supervisor runs once")
        self._used = True
        failure: tuple[ActorError, Exception] | None = None
        async with trio.open_nursery() as nursery:
            try:
                with self._work:
                    failure = await self._supervise(nursery, task_status)
            finally:
                for child in reversed(self._children.values()):
                    await self._stop_child(child)  # noqa: ASYNC102  shields itself, bounded
        if failure is not None:
            error, cause = failure
            raise error from cause

    async def _supervise(
        self, nursery: trio.Nursery, task_status: trio.TaskStatus[StopRequest]
    ) -> tuple[ActorError, Exception]:
        """Work until something cannot be mended; return what, and its cause."""
        for child in self._children.values():
            life = await self._start_child(child, nursery)
            if not life.ready and isinstance(life.reason, Crashed):
                return StartFailed(child.spec.id), life.reason.exc
        task_status.started(self.stop)
        while True:
            ended = await self._next_end()
            if ended is None:
                await self._start_due(nursery)
            elif ended.child.life is ended:
                failure = await self._mend(ended)
                if failure is not None:
                    return failure

    async def _next_end(self) -> _Life | None:
        """Wait for the end of a life; None when a start is due first."""
        with suppress(trio.WouldBlock):
            # Ends go before starts: one that ended may be what the due ones stand on.
            return self._ended.receive_nowait()
        due_at = min(self._due.values(), default=None)
        if due_at is None:
            return await self._ended.receive()
        with trio.move_on_at(due_at):
            return await self._ended.receive()
        return None

    async def _mend(self, life: _Life) -> tuple[ActorError, Exception] | None:
        """Act on the end of a life that nobody asked for."""
        child = life.child
        spec = child.spec
        child.life = None
        child.reason = life.reason
        if isinstance(life.reason, Crashed):
            self._crashes.append(life.reason.exc)
            log.error(
                "supervisor.child_crashed",
                supervisor=self._name,
                child=spec.id,
                exc_info=life.reason.exc,
            )
        if not should_restart(spec.restart, life.reason):
            return None
        decision = decide(self._policy, self._history, now=trio.current_time(), chance=self._rng.random())
        if isinstance(decision, GiveUp):
            error = RestartLimit(spec.id, self._policy.intensity, self._policy.period_s)
            if not self._crashes:
                return error, RuntimeError(f"{spec.id!r} ended though it is permanent")
            return error, ExceptionGroup(f"crashes below {self._name}", self._crashes)
        self._history = decision.history
        del self._crashes[: -len(decision.history)]
        actions = plan(
            self._strategy,
            [(child_id, c.spec.restart) for child_id, c in self._children.items()],
            spec.id,
        )
        # Looked at before the stopping: having been stopped by a plan is no wish to be gone.
        back = [i for i in actions.start if i == spec.id or self._is_wanted(self._children[i])]
        for child_id in actions.stop:
            await self._stop_child(self._children[child_id])
        due_at = trio.current_time() + decision.delay_s
        for child_id in back:
            self._due[child_id] = max(due_at, self._due.get(child_id, due_at))
        return None

    def _is_wanted(self, child: _Child) -> bool:
        """Whether it runs, or ended in a way that calls for a restart, or waits for one."""
        if child.life is None:
            return child.spec.id in self._due
        ended = child.life.ended.is_set()
        return not ended or should_restart(child.spec.restart, child.life.reason)

    async def _start_due(self, nursery: trio.Nursery) -> None:
        """Start, left to right, what waited long enough; a failure lets those after it wait."""
        now = trio.current_time()
        for child_id, child in self._children.items():
            if self._due.get(child_id, now + 1) > now:
                continue
            del self._due[child_id]
            life = await self._start_child(child, nursery)
            if not life.ready and isinstance(life.reason, Crashed):
                return  # its end is mended next

    async def _start_child(self, child: _Child, nursery: trio.Nursery) -> _Life:
        """Start it and wait until it is ready or over."""
        life = child.life = _Life(child)
        child.starts += 1
        nursery.start_soon(self._live, life, name=f"{self._name}: {child.spec.id}")
        await life.settled.wait()
        return life

    async def _live(self, life: _Life) -> None:
        try:
            with life.scope:
                await life.child.spec.start(task_status=life)
            if life.scope.cancelled_caught:
                life.reason = Shutdown()
        except Exception as exc:  # noqa: BLE001  the supervision boundary
            life.reason = Crashed(exc)
        finally:
            life.settled.set()
            life.ended.set()
        self._tell_ended.send_nowait(life)

    async def _stop_child(self, child: _Child) -> None:
        """End its present life, softly if it can, and wait; bounded and shielded."""
        self._due.pop(child.spec.id, None)
        life, child.life = child.life, None
        if life is None:
            return
        shutdown_s = child.spec.shutdown_s
        if life.request_stop is not None and not life.ended.is_set():
            life.request_stop()
            with trio.move_on_after(shutdown_s, shield=True):
                await life.ended.wait()
        if not life.ended.is_set():
            life.scope.cancel()
            with trio.move_on_after(shutdown_s, shield=True):
                await life.ended.wait()
        if not life.ended.is_set():
            log.error("supervisor.child_lingers", supervisor=self._name, child=child.spec.id)
        child.reason = life.reason
        if isinstance(life.reason, Crashed):
            log.error(
                "supervisor.child_crashed_stopping",
                supervisor=self._name,
                child=child.spec.id,
                exc_info=life.reason.exc,
            )
