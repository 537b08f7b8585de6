"""Turns, hooks, stopping, passivation and idleness of single actors."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import ActorDied, Crashed, ExitReason, MailboxFull, MailboxSpec, Normal, open_system
from actors.testing import MemoryObserver
from tests.actors.support import (
    Add,
    Boom,
    Crash,
    Hold,
    Ledger,
    Message,
    Pager,
    Passivate,
    Read,
    SlowLedger,
    Stop,
    read,
)


async def test_messages_told_at_once_wait_for_on_start() -> None:
    """None is worked on before the state is there, none is lost."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        ref.tell_nowait(Add("early"))
        assert await read(ref) == ("start", "early")


async def test_what_waits_is_one_batch_and_is_reported_as_one() -> None:
    """The observer hears kind, count, wait and turn time once per batch."""
    observer = MemoryObserver()
    async with open_system(observer=observer) as system:
        ref = system.spawn(Ledger(), name="a")
        await trio.testing.wait_all_tasks_blocked()
        for text in "abc":
            ref.tell_nowait(Add(text))
        await trio.testing.wait_all_tasks_blocked()
        (batch,) = observer.batches
        assert (batch.kind, batch.messages) == ("ledger", 3)
        assert batch.wait_s >= 0
        assert batch.turn_s >= 0
        seen = ref.statistics()
        assert (seen.batches, seen.messages, seen.restarts, seen.discarded) == (1, 3, 0, 0)
        assert seen.turn_max_s == seen.turn_s
        assert (seen.mailbox.enqueued, seen.mailbox.high_water, seen.mailbox.depth) == (3, 3, 0)


async def test_stopping_ends_after_the_turn_and_gives_up_what_comes_behind_it() -> None:
    """The batch in hand is finished; on_stop is the last thing, told why."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")
        ref.tell_nowait(Stop())
        ref.tell_nowait(Add("same turn"))
        assert await ref.wait_stopped() == Normal()
        assert ledger.lines == ["start", "same turn", "stop Normal"]


async def test_an_async_actor_stops_between_two_messages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its turn is one message; what waits behind is discarded and told."""
    del autojump_clock
    lines: list[str] = []
    discarded: list[tuple[Message, ExitReason]] = []
    async with open_system() as system:
        ref = system.spawn(SlowLedger(lines), name="a", on_discard=lambda m, why: discarded.append((m, why)))
        for message in (Add("one"), Stop(), Add("two")):
            ref.tell_nowait(message)
        assert await ref.wait_stopped() == Normal()
    assert lines == ["one"]
    assert discarded == [(Add("two"), Normal())]


async def test_a_turn_may_end_early_and_the_rest_comes_in_the_next() -> None:
    """Nothing is lost, nothing is done twice, order holds."""
    async with open_system() as system:
        pager = Pager()
        ref = system.spawn(pager, name="a")
        await trio.testing.wait_all_tasks_blocked()
        for text in "abcde":
            ref.tell_nowait(Add(text))
        await trio.testing.wait_all_tasks_blocked()
        assert [line for line in pager.lines if len(line) == 1] == list("abcde")
        turns = [line for line in pager.lines if line.startswith("turn")]
        assert turns[0] == "turn of 5"
        assert len(turns) >= 3
        assert ref.statistics().messages == 5


async def test_passivating_frees_the_name_now_and_stops() -> None:
    """An actor with nothing left to do may go; its ref is dead in the same moment."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")
        ref.tell_nowait(Passivate())
        assert await ref.wait_stopped() == Normal()
        assert ledger.lines == ["start", "passivated True", "stop Normal"]
        with pytest.raises(ActorDied):
            ref.tell_nowait(Add("late"))


async def test_no_passivation_while_the_batch_holds_another_message() -> None:
    """The message behind it in the same tick is worked on, not lost."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        ref.tell_nowait(Passivate())
        ref.tell_nowait(Add("same tick"))
        assert await read(ref) == ("start", "passivated False", "same tick")


async def test_no_passivation_while_mail_waits_or_a_question_is_open() -> None:
    """Quiet mail counts, and so does an ask that is not answered yet."""

    class Talkative(Ledger):
        def receive(self, message: Message) -> None:
            if message == Passivate():
                self.ref.tell_quiet(Add("quiet"))
            super().receive(message)

    async with open_system() as system:
        talkative = system.spawn(Talkative(), name="t")
        talkative.tell_nowait(Passivate())
        await trio.testing.wait_all_tasks_blocked()
        assert await read(talkative) == ("start", "passivated False", "quiet")
        asked = system.spawn(Ledger(), name="a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: asked.ask(Hold, timeout_s=600))
            await trio.testing.wait_all_tasks_blocked()
            asked.tell_nowait(Passivate())
            assert await read(asked) == ("start", "passivated False")
            nursery.cancel_scope.cancel()


async def test_an_actor_is_idle_exactly_idle_s_after_its_last_message(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Messages in between put it off, at no cost per message."""
    del autojump_clock
    async with open_system() as system:
        ledger = Ledger(idle_s=10)
        ref = system.spawn(ledger, name="a")
        for _ in range(3):
            await trio.sleep(8)
            ref.tell_nowait(Add("busy"))
        assert await ref.wait_stopped() == Normal()
        assert trio.current_time() == 34
        assert ledger.lines == ["start", "busy", "busy", "busy", "idle", "stop Normal"]


async def test_quiet_mail_is_worked_on_at_the_idle_check_before_anything_stops(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """So nothing that was told quietly is lost to passivation."""
    del autojump_clock
    async with open_system() as system:
        ledger = Ledger(idle_s=10)
        ref = system.spawn(ledger, name="a")
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_quiet(Add("quiet"))
        await ref.wait_stopped()
        assert ledger.lines == ["start", "quiet", "idle", "stop Normal"]


async def test_an_actor_that_stays_is_asked_again_after_the_next_idle_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Every idle_s seconds, until it goes."""
    del autojump_clock
    times: list[float] = []

    class Stayer(Ledger):
        def __init__(self) -> None:
            super().__init__(idle_s=5)

        def on_idle(self) -> None:
            times.append(trio.current_time())
            if len(times) == 3:
                self.stop()

    async with open_system() as system:
        await system.spawn(Stayer(), name="a").wait_stopped()
    assert times == [5, 10, 15]


async def test_control_gets_through_a_flooded_mailbox() -> None:
    """A quarter of the room is kept for it."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a", mailbox=MailboxSpec(capacity=8))
        for _ in range(6):
            ref.tell_nowait(Add("flood"))
        with pytest.raises(MailboxFull):
            ref.tell_nowait(Add("too much"))
        ref.tell_nowait(Stop(), control=True)
        assert await ref.wait_stopped() == Normal()
        assert ledger.lines == ["start", *["flood"] * 6, "stop Normal"]


async def test_a_crash_in_on_start_ends_the_actor_without_on_stop() -> None:
    """What was not started is not stopped; the reason says what happened."""

    class Unready(Ledger):
        async def on_start(self) -> None:
            await trio.lowlevel.checkpoint()
            raise Boom

    async with open_system() as system:
        unready = Unready()
        ref = system.spawn(unready, name="a")
        reason = await ref.wait_stopped()
        assert isinstance(reason, Crashed)
        assert unready.lines == []


async def test_on_stop_is_told_of_the_crash_and_may_raise_itself() -> None:
    """A raise in it makes a normal end a crash, and hides no earlier one."""

    class Clumsy(Ledger):
        async def on_stop(self, reason: ExitReason) -> None:
            await super().on_stop(reason)
            raise Boom("in on_stop")

    async with open_system() as system:
        ledger = Clumsy()
        ref = system.spawn(ledger, name="a")
        ref.tell_nowait(Stop())
        reason = await ref.wait_stopped()
        assert isinstance(reason, Crashed)
        assert str(reason.exc) == "in on_stop"
        ref = system.spawn(Clumsy(ledger.lines), name="a")
        ref.tell_nowait(Crash("first"))
        reason = await ref.wait_stopped()
        assert isinstance(reason, Crashed)
        assert str(reason.exc) == "first"
        assert str(reason) == "Crashed(Boom)"
        assert ledger.lines == ["start", "stop Normal", "start", "stop Crashed"]


async def test_on_stop_is_cut_off_after_shutdown_s(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An actor that does not come to an end is ended."""
    del autojump_clock

    class Endless(Ledger):
        shutdown_s = 3.0

        async def on_stop(self, reason: ExitReason) -> None:
            del reason
            await trio.sleep_forever()

    async with open_system() as system:
        ref = system.spawn(Endless(), name="a")
        ref.tell_nowait(Stop())
        assert await ref.wait_stopped() == Normal()
        assert trio.current_time() == 3


async def test_an_ask_in_the_same_batch_behind_a_stop_is_still_answered() -> None:
    """The turn is the batch, so the answer comes before the end."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        ref.tell_nowait(Stop())
        assert await ref.ask(Read, timeout_s=60) == ("start",)


async def test_an_actor_in_a_long_turn_is_not_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The time counts from the end of its last turn."""
    del autojump_clock
    times: list[float] = []

    class Sleeper(SlowLedger):
        idle_s: float | None = 0.4

        def on_idle(self) -> None:
            times.append(trio.current_time())
            self.passivate()

    async with open_system() as system:
        ref = system.spawn(Sleeper([]), name="a")
        ref.tell_nowait(Add("one second"))
        await ref.wait_stopped()
    assert times == [1.4]


async def test_an_actor_that_stopped_is_not_asked_whether_it_is_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The sweeper forgets it at its next look."""
    del autojump_clock
    async with open_system() as system:
        ledger = Ledger(idle_s=10)
        ref = system.spawn(ledger, name="a")
        ref.tell_nowait(Stop())
        await trio.sleep(20)
        assert ledger.lines == ["start", "stop Normal"]


async def test_quiet_mail_of_an_actor_that_would_be_idle_puts_the_check_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is a turn like any other; idle comes idle_s after it."""
    del autojump_clock
    async with open_system() as system:
        ref = system.spawn(Ledger(idle_s=10), name="a")
        await trio.sleep(1)
        ref.tell_quiet(Add("quiet"))
        await ref.wait_stopped()
        assert trio.current_time() == 20


async def test_an_actor_knows_its_own_address() -> None:
    """An instance from the moment it is spawned."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")
        assert ledger.ref is ref
        assert ledger.context.ref is ref
