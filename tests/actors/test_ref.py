"""An address: telling, asking, watching, and what each does when the actor is gone."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import (
    ActorDied,
    AskTimeout,
    Crashed,
    Down,
    MailboxFull,
    MailboxSpec,
    Normal,
    Overflow,
    ReplyTo,
    open_system,
)
from tests.actors.support import Add, Boom, Crash, Hold, Ledger, Message, Read, SlowLedger, Stop, read


async def test_an_ask_gets_the_answer() -> None:
    """Messages told before it are worked on first."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        ref.tell_nowait(Add("one"))
        await ref.tell(Add("two"))
        ref.tell_quiet(Add("three"))
        assert await read(ref) == ("start", "one", "two", "three")


async def test_an_ask_raises_what_the_actor_answers_with() -> None:
    """`fail` is an answer, too; only the first answer counts."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")

        async def ask() -> None:
            with pytest.raises(Boom, match="no"):
                await ref.ask(Hold, timeout_s=60)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            (held,) = ledger.held
            held.fail(Boom("no"))
            held.set(None)
            assert held.done


async def test_an_unanswered_ask_times_out_and_a_late_answer_does_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The asker waits exactly as long as it said."""
    del autojump_clock
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")
        began_at = trio.current_time()
        with pytest.raises(AskTimeout):
            await ref.ask(Hold, timeout_s=5)
        assert trio.current_time() - began_at == 5
        (held,) = ledger.held
        assert held.done
        held.set(None)
        assert ref.is_alive


@pytest.mark.parametrize("last", [Stop(), Crash()])
async def test_the_end_of_the_actor_fails_every_ask_at_once(
    autojump_clock: trio.testing.MockClock, last: Message
) -> None:
    """The one it held, the one behind it, and the one that comes later; no time passes."""
    del autojump_clock
    failed: list[str] = []
    async with open_system() as system:
        ref = system.spawn(SlowLedger([]), name="slow")

        async def ask(name: str) -> None:
            try:
                await ref.ask(Hold, timeout_s=600)
            except ActorDied as died:
                failed.append(f"{name} {died.kind} {died.name} at {trio.current_time():g}")

        async with trio.open_nursery() as nursery:
            trio.lowlevel.current_clock()
            nursery.start_soon(ask, "held")
            await trio.testing.wait_all_tasks_blocked()
            ref.tell_nowait(last)
            nursery.start_soon(ask, "queued")
        nursery_end = trio.current_time()
        assert nursery_end == 2
        await ask("late")
    assert sorted(failed) == ["held slow slow at 2", "late slow slow at 2", "queued slow slow at 2"]


async def test_an_ask_that_finds_no_room_enqueues_nothing() -> None:
    """MailboxFull, and the asker is free again at once."""
    async with open_system() as system:
        ref = system.spawn(SlowLedger([]), name="a", mailbox=MailboxSpec(capacity=1))
        ref.tell_nowait(Add("fills it"))
        with pytest.raises(MailboxFull):
            await read(ref)
        assert ref.statistics().mailbox.depth == 1


async def test_an_ask_waits_for_room_within_its_own_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where the policy is WAIT, a full mailbox costs time, and the time is bounded."""
    del autojump_clock
    async with open_system() as system:
        spec = MailboxSpec(capacity=1, overflow=Overflow.WAIT)
        ref = system.spawn(SlowLedger([]), name="a", mailbox=spec)
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("taken"))
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("fills it"))
        with pytest.raises(AskTimeout):
            await ref.ask(Read, timeout_s=0.5)
        assert await read(ref) == ("taken", "fills it")


async def test_a_dropped_question_fails_at_once() -> None:
    """DROP_OLDEST tells the asker instead of letting it wait for its timeout."""
    async with open_system() as system:
        spec = MailboxSpec(capacity=1, overflow=Overflow.DROP_OLDEST)
        ref = system.spawn(SlowLedger([]), name="a", mailbox=spec)

        async def ask() -> None:
            with pytest.raises(MailboxFull):
                await ref.ask(Hold, timeout_s=600)

        ref.tell_nowait(Add("starts"))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            ref.tell_nowait(Add("newer"))


async def test_a_cancelled_ask_leaves_nothing_behind() -> None:
    """The actor may answer it, and stops as if it had never been asked."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ref.ask(Hold, timeout_s=600))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert ledger.held[0].done
        ref.tell_nowait(Stop())
        assert await ref.wait_stopped() == Normal()


async def test_a_monitor_gets_one_down_when_the_name_is_free_and_the_cleaning_up_is_done() -> None:
    """Who hears of the death never meets the ghost."""
    async with open_system() as system:
        ledger = Ledger()
        ref = system.spawn(ledger, name="a")
        heard: list[tuple[Down, bool, str]] = []
        ref.monitor(lambda down: heard.append((down, system.get("a") is None, ledger.lines[-1])))
        ref.tell_nowait(Stop())
        assert await ref.wait_stopped() == Normal()
        assert heard == [(Down("ledger", "a", Normal()), True, "stop Normal")]


async def test_a_monitor_that_comes_late_is_told_at_once_and_a_cancelled_one_never() -> None:
    """Both without waiting."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        cancelled: list[Down] = []
        late: list[Down] = []
        ref.monitor(cancelled.append).cancel()
        ref.tell_nowait(Crash())
        await ref.wait_stopped()
        monitor = ref.monitor(late.append)
        assert cancelled == []
        assert late == [await monitor.wait()]
        assert isinstance(late[0].reason, Crashed)
        assert isinstance(late[0].reason.exc, Boom)


async def test_a_monitor_that_raises_keeps_nobody_else_from_hearing() -> None:
    """Its error is logged; the next one is told."""

    def broken(_: Down) -> None:
        raise Boom

    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        heard: list[Down] = []
        ref.monitor(broken)
        ref.monitor(heard.append)
        ref.tell_nowait(Stop())
        await ref.wait_stopped()
        assert len(heard) == 1


async def test_telling_a_stopped_actor_says_so() -> None:
    """By every way of telling."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        ref.tell_nowait(Stop())
        await ref.wait_stopped()
        assert not ref.is_alive
        with pytest.raises(ActorDied):
            ref.tell_nowait(Add("x"), control=True)
        with pytest.raises(ActorDied):
            ref.tell_quiet(Add("x"))
        with pytest.raises(ActorDied):
            await ref.tell(Add("x"))


async def test_an_answer_given_before_the_wait_is_there() -> None:
    """Waiting for it is only a checkpoint."""
    reply = ReplyTo[int]()
    reply.set(7)
    with trio.testing.assert_checkpoints():
        assert await reply.wait() == 7
    assert repr(reply) == "<ReplyTo value>"


async def test_a_ref_shows_its_kind_and_name() -> None:
    """And nothing of what is inside."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        assert (repr(ref), ref.kind, ref.name) == ("<Ref ledger 'a'>", "ledger", "a")
