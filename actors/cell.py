"""Runs the lives of one actor: start, turns, crash, back-off, next life, end.

Everything an actor raises ends here as data. Only cancellation, and what is no Exception, passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import structlog
import trio

from actors.actor import Actor, AnyActor
from actors.address import Address
from actors.batch import Batch
from actors.messages import Crashed, ExitReason, Normal, Shutdown
from actors.ref import Ref
from actors.restart import GiveUp, Times, decide, should_restart
from actors.spec import CellSpec, Services
from actors.turns import AsyncTurns, QueuedTurns

M = TypeVar("M")

log = structlog.stdlib.get_logger("actors")


class Cell(Generic[M]):
    """One name's mailbox and the lives behind it; the Context of the live instance.

    Args:
        name: unique within the kind.
        make: builds the instance of each life; a raise counts as a crash.
        spec: how it is run.
        services: what the system shares.
        release: frees the name; called once, before anyone hears of the end.
        ended: called once when the task is about to end, after the watchers were told.
        predecessor: the last actor of this name, while it still cleans up.

    Attributes:
        ref: the address.
        gave_up: whether it ended because it crashed too often.
        attention: whether something is asked for between turns: to stop, to drain, to look at the
            time. The only flag that a turn looks at.
        last_active: when the last turn ended, or the life began.
    """

    __slots__ = (
        "_address",
        "_backoff",
        "_batch",
        "_closed",
        "_draining",
        "_ended",
        "_idle_s",
        "_make",
        "_predecessor",
        "_release",
        "_scope",
        "_services",
        "_spec",
        "_stop_asked",
        "_watched",
        "attention",
        "gave_up",
        "last_active",
        "ref",
    )

    def __init__(
        self,
        name: str,
        make: Callable[[], AnyActor[M]],
        *,
        spec: CellSpec[M],
        services: Services,
        release: Callable[[Cell[M]], None],
        ended: Callable[[Cell[M]], None],
        predecessor: Ref[M] | None = None,
    ) -> None:
        self._address: Final = Address[M](spec.kind, name, spec.mailbox, clock=services.clock)
        self.ref: Final = Ref(self._address)
        self.gave_up = False
        self._make: Final = make
        self._spec: Final = spec
        self._services: Final = services
        self._release: Final = release
        self._ended: Final = ended
        self._predecessor = predecessor
        self._scope: Final = trio.CancelScope()
        self._backoff: trio.CancelScope | None = None
        self._batch: Final = Batch[M]()
        self._closed = False
        self._stop_asked = False
        self._draining = False
        self.attention = False
        self._idle_s: float | None = None
        self._watched = False
        self.last_active = services.clock()

    @property
    def name(self) -> str:
        """The actor's name."""
        return self._address.name

    @property
    def kind(self) -> str:
        """The actor's kind."""
        return self._address.kind

    @property
    def discarded(self) -> int:
        """Count the messages that were given up so far."""
        return self._address.discarded

    def stop(self) -> None:
        """Stop normally after this turn."""
        self._stop_asked = True
        self._call_attention()

    def passivate(self) -> bool:
        """Stop normally and free the name now, unless something waits."""
        address = self._address
        if self._closed:
            return True
        if len(address.mailbox) or self._batch.remaining or address.unanswered:
            return False
        self._close(Normal())
        self.stop()
        return True

    def drain(self) -> None:
        """Refuse ordinary messages, work on what waits, then stop; during a back-off at once."""
        self._draining = True
        address = self._address
        address.mailbox.close_to_ordinary(address.shutting_down)
        self._call_attention()

    def cancel(self) -> None:
        """End it where it stands; `on_stop` still gets its `shutdown_s`."""
        self._scope.cancel()

    def check_idle(self, now: float) -> float | None:
        """Wake the actor when it has been idle; for the sweeper."""
        idle_s = self._idle_s
        if self._closed or idle_s is None:
            self._watched = False
            return None
        due = self.last_active + idle_s
        if due > now:
            return due
        # The actor looks itself, after a turn, and asks for the next look.
        self._watched = False
        self.attention = True
        self._address.mailbox.wake()
        return None

    def stopping(self) -> bool:
        """Whether this life is to end after the present turn."""
        return self._stop_asked

    def attend(self, actor: AnyActor[M]) -> bool:
        """Act on what was asked for between turns; True ends this life."""
        if self.stopping():
            return True
        mailbox = self._address.mailbox
        if self._draining:
            if not len(mailbox):
                return True
            mailbox.wake()  # what is left may be quiet
            return False
        self.attention = False
        idle_s = self._idle_s
        if idle_s is None:
            return False
        now = self._services.clock()
        if self.last_active + idle_s <= now and not len(mailbox):
            actor.on_idle()
            if self.stopping():
                return True
            self._watch(now + idle_s)
        else:
            self._watch(self.last_active + idle_s)
        return False

    def crashed(self, exc: Exception) -> Crashed:
        """Turn what an instance raised into data, and tell those concerned."""
        reason = Crashed(exc)
        address = self._address
        log.error("actor.crashed", kind=address.kind, name=address.name, exc_info=exc)
        self._recover_batch(reason)
        address.fail_lost_asks(reason)
        observer = self._services.observer
        on_crash = self._spec.on_crash
        try:
            if observer is not None:
                observer.crashed(address.kind, exc)
            if on_crash is not None:
                on_crash(address.name, reason)
        except Exception:
            # A broken listener must not keep the actor from its next life.
            log.exception("actor.crash_listener_failed", kind=address.kind)
        return reason

    def end_life(self, reason: ExitReason | None = None) -> ExitReason:
        """End this life as asked, or for `reason`, and return why; closed when no other may follow."""
        if reason is None:
            reason = Normal() if self._stop_asked else Shutdown()
        if self._draining or not should_restart(self._spec.restart, reason):
            self._close(reason)
        else:
            # A wish of the instance that is gone does not bind the next one.
            self._stop_asked = False
        return reason

    async def run(self) -> None:
        """Run until the actor ends for good; raises nothing but what is no Exception."""
        reason: ExitReason = Shutdown()
        try:
            with self._scope:
                if self._predecessor is not None:
                    await self._predecessor.wait_stopped()
                    self._predecessor = None
                reason = await self._lives()
        except Exception as exc:  # noqa: BLE001  the supervision boundary; reported as a crash
            reason = self.crashed(exc)
        finally:
            self._close(reason)
            self._address.finish(reason)
            self._ended(self)

    async def _lives(self) -> ExitReason:
        history: Times = ()
        spec = self._spec
        services = self._services
        while True:
            reason = await self._live()
            if self._closed:
                return reason
            decision = decide(spec.policy, history, now=services.clock(), chance=services.rng.random())
            if isinstance(decision, GiveUp):
                self.gave_up = True
                log.error("actor.gave_up", kind=spec.kind, name=self._address.name)
                return reason
            history = decision.history
            with trio.move_on_after(decision.delay_s) as self._backoff:
                await trio.sleep_forever()
            self._backoff = None
            if self._draining:
                return Shutdown()
            self._address.restarts += 1

    async def _live(self) -> ExitReason:
        """Run one instance to its end; closed when no other may follow."""
        try:
            actor = self._make()
            actor.bind(self)
            await actor.on_start()
        except Exception as exc:  # noqa: BLE001  the supervision boundary
            return self.end_life(self.crashed(exc))
        try:
            self._arm_idle(actor)
            if isinstance(actor, Actor):
                turns = QueuedTurns(self, actor, self._address, self._batch, self._services)
                reason = await turns.run()
            else:
                reason = await AsyncTurns(self, actor, self._address, self._batch, self._services).run()
        except Exception as exc:  # noqa: BLE001  the supervision boundary
            reason = self.end_life(self.crashed(exc))
        except BaseException:
            self._recover_batch(Shutdown())
            self._close(Shutdown())
            await self._goodbye(actor, Shutdown())  # noqa: ASYNC102  shields itself, bounded
            raise
        return await self._goodbye(actor, reason)

    def _arm_idle(self, actor: AnyActor[M]) -> None:
        self._idle_s = actor.idle_s if self._spec.idle_s is None else self._spec.idle_s
        self.last_active = self._services.clock()
        if self._idle_s is not None:
            self._watch(self.last_active + self._idle_s)

    def _watch(self, at: float) -> None:
        if not self._watched:
            self._watched = True
            self._services.sweeper.watch(self, at)

    def _call_attention(self) -> None:
        self.attention = True
        self._address.mailbox.wake()
        if self._backoff is not None:
            self._backoff.cancel()

    def _close(self, reason: ExitReason) -> None:
        """Free the name, refuse all messages, give up those that wait; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._release(self)
        for message in self._address.close(reason):
            self._discard(message, reason)

    def _recover_batch(self, reason: ExitReason) -> None:
        """Keep what the batch had not reached; give up the message that it was at."""
        last, rest = self._batch.split()
        self._address.mailbox.restore(rest)
        for message in last:
            self._discard(message, reason)

    def _discard(self, message: M, reason: ExitReason) -> None:
        self._address.discarded += 1
        on_discard = self._spec.on_discard
        if on_discard is not None:
            try:
                on_discard(message, reason)
            except Exception:
                # The other messages' senders must still be told.
                log.exception("actor.on_discard_failed", kind=self._spec.kind)

    async def _goodbye(self, actor: AnyActor[M], reason: ExitReason) -> ExitReason:
        """Let the instance clean up, within its time, and return the reason that counts."""
        with trio.move_on_after(actor.shutdown_s, shield=True) as scope:
            try:
                await actor.on_stop(reason)
            except Exception as exc:
                log.exception("actor.on_stop_failed", kind=self._spec.kind, name=self.ref.name)
                if not isinstance(reason, Crashed):
                    reason = Crashed(exc)
        if scope.cancelled_caught:
            log.error("actor.on_stop_timeout", kind=self._spec.kind, name=self.ref.name)
        return reason
