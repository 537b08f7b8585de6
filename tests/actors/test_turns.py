"""Turns from the run queue keep what an actor promises: containment, accounting, order, its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from actors import (
    Actor,
    ActorDied,
    Crashed,
    ExitReason,
    MailboxSpec,
    Normal,
    Overflow,
    Ref,
    Shutdown,
    open_system,
)
from tests.actors.support import Add, Boom, Crash, Ledger, Message, Pager, Stop, read


class Halt(BaseException):
    """No Exception: not for an actor to survive."""


class Calls(Ledger):
    """A ledger that calls `act` for the line "act"."""

    def __init__(self, lines: list[str] | None = None) -> None:
        super().__init__(lines)
        self.scope = trio.CancelScope()
        self.error: BaseException | None = None

    def receive(self, message: Message) -> None:
        """Cancel or raise as prepared."""
        super().receive(message)
        if message == Add("act"):
            self.scope.cancel()
            if self.error is not None:
                raise self.error


async def told_in_a_scope(
    calls: Calls, *messages: Message, on_discard: Callable[[Message], None] = lambda _: None
) -> Ref[Message]:
    """Run a system within the scope that the actor can cancel; its address when all is over."""
    refs: list[Ref[Message]] = []
    with calls.scope:
        async with open_system() as system:
            refs.append(system.spawn(calls, name="a", on_discard=lambda m, _: on_discard(m)))
            await trio.testing.wait_all_tasks_blocked()
            for message in messages:
                refs[0].tell_nowait(message)
            await trio.sleep_forever()
    return refs[0]


async def test_an_actor_with_much_mail_takes_turns_with_the_others() -> None:
    """One batch, then the next actor's."""
    lines: list[str] = []
    async with open_system() as system:
        pagers = [system.spawn(Pager(lines), name=name) for name in ("a", "b")]
        await trio.testing.wait_all_tasks_blocked()
        lines.clear()
        for pager in pagers:
            for text in "123456":
                pager.tell_nowait(Add(f"{pager.name}{text}"))
        await trio.testing.wait_all_tasks_blocked()
    done = [line for line in lines if not line.startswith("turn")]
    assert done[:12] == ["a1", "a2", "b1", "b2", "a3", "a4", "b3", "b4", "a5", "a6", "b5", "b6"]


async def test_mail_told_in_a_turn_is_worked_on_in_a_later_one() -> None:
    """A turn never runs inside another one, not even the actor's own."""
    depth = 0
    deepest = 0

    class Caller(Actor[int]):
        def receive(self, message: int) -> None:
            nonlocal depth, deepest
            depth += 1
            deepest = max(deepest, depth)
            if message:
                self.ref.tell_nowait(message - 1)
            depth -= 1

    async with open_system() as system:
        ref = system.spawn(Caller(), name="a")
        ref.tell_nowait(5)
        await trio.testing.wait_all_tasks_blocked()
        assert (deepest, ref.statistics().batches) == (1, 6)


@pytest.mark.parametrize("last", [Stop(), Crash()])
async def test_an_actor_that_ended_takes_nothing_from_the_turn_that_follows(last: Message) -> None:
    """It is gone when its turn is over, not when its task gets to clean up."""
    heard: list[str] = []

    class Heir(Actor[Ref[Message]]):
        def receive(self, message: Ref[Message]) -> None:
            try:
                message.tell_nowait(Add("too late"))
            except ActorDied:
                heard.append("died")

    async with open_system() as system:
        ledger = Ledger()
        ending = system.spawn(ledger, name="ending")
        heir = system.spawn(Heir(), name="heir")
        await trio.testing.wait_all_tasks_blocked()
        ending.tell_nowait(last)
        heir.tell_nowait(ending)
        await trio.testing.wait_all_tasks_blocked()
    assert heard == ["died"]
    assert "too late" not in ledger.lines


async def test_a_crash_does_not_touch_the_turns_of_the_same_round() -> None:
    """They share a task, not their fate."""
    async with open_system() as system:
        refs = [system.spawn(Ledger(), name=name) for name in "abc"]
        await trio.testing.wait_all_tasks_blocked()
        messages: list[Message] = [Add("x"), Crash(), Add("x")]
        for ref, message in zip(refs, messages, strict=True):
            ref.tell_nowait(message)
        assert isinstance(await refs[1].wait_stopped(), Crashed)
        assert [await read(ref) for ref in (refs[0], refs[2])] == [("start", "x")] * 2


async def test_what_is_no_exception_brings_the_system_down_and_leaves_nothing_untold() -> None:
    """It is raised to the owner; every actor still cleans up, every message is accounted for."""
    lines: list[str] = []
    other = Ledger()
    discarded: list[tuple[Message, ExitReason]] = []
    calls = Calls(lines)
    calls.error = Halt()

    async def serve() -> None:
        async with open_system() as system:
            system.spawn(other, name="other")
            ref = system.spawn(calls, name="a", on_discard=lambda m, why: discarded.append((m, why)))
            await trio.testing.wait_all_tasks_blocked()
            for text in ("done", "act", "behind"):
                ref.tell_nowait(Add(text))
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await serve()
    assert caught.value.subgroup(Halt) is not None
    assert lines == ["start", "done", "act", "stop Shutdown"]
    assert other.lines == ["start", "stop Shutdown"]
    assert discarded == [(Add("act"), Shutdown()), (Add("behind"), Shutdown())]


async def test_a_turn_that_cancels_its_own_actor_is_finished_first() -> None:
    """The batch in hand is worked on and counted; what came meanwhile is told."""
    discarded: list[Message] = []

    class Generous(Calls):
        def receive(self, message: Message) -> None:
            super().receive(message)
            if message == Add("act"):
                self.ref.tell_nowait(Add("behind"))

    calls = Generous()
    ref = await told_in_a_scope(calls, Add("act"), Add("same turn"), on_discard=discarded.append)
    assert calls.lines == ["start", "act", "same turn", "stop Shutdown"]
    assert ref.statistics().messages == 2
    assert discarded == [Add("behind")]


@pytest.mark.parametrize(
    ("error", "message", "reason"), [(Boom(), Add("same turn"), Crashed), (None, Stop(), Normal)]
)
async def test_how_a_turn_that_cancels_its_own_actor_ends_it_still_counts(
    error: Exception | None, message: Message, reason: type[ExitReason]
) -> None:
    """A crash is a crash and a stop is a stop, also under cancellation."""
    calls = Calls()
    calls.error = error
    ref = await told_in_a_scope(calls, Add("act"), message)
    assert isinstance(await ref.wait_stopped(), reason)
    assert calls.lines[-1] == f"stop {reason.__name__}"


async def test_an_actor_that_is_cut_off_while_it_waits_for_its_turn_has_none() -> None:
    """Its mail is told to be lost, as any that waits."""
    discarded: list[Message] = []
    ledger = Ledger()
    async with open_system() as system:
        ref = system.spawn(ledger, name="a", on_discard=lambda m, _: discarded.append(m))
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("never"))
    assert ledger.lines == ["start", "stop Shutdown"]
    assert discarded == [Add("never")]


async def test_room_made_by_a_turn_goes_to_senders_that_waited_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Their mail asks for the next turn by itself."""
    del autojump_clock
    lines: list[str] = []
    async with open_system() as system, trio.open_nursery() as nursery:
        ref = system.spawn(Ledger(lines), name="a", mailbox=MailboxSpec(capacity=1, overflow=Overflow.WAIT))
        for text in "abcd":
            nursery.start_soon(ref.tell, Add(text))
    assert sorted(lines[1:5]) == list("abcd")
