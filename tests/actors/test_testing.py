"""The test tools fail when they should, and do what they say on virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import Normal, Shutdown, open_system
from actors.testing import InjectedCrash, MemoryObserver, Probe, Saboteur, wait_idle
from tests.actors.support import Add, Ledger, Message, Pager, Stop, read


async def test_a_probe_hands_out_messages_in_order_and_by_type(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also one that comes while it waits."""
    del autojump_clock
    async with open_system() as system:
        probe = Probe[Message].spawn(system)
        probe.ref.tell_nowait(Add("one"))
        assert await probe.expect(Add) == Add("one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe.expect, Stop)
            await trio.sleep(0.5)
            probe.ref.tell_nowait(Stop())
        assert probe.messages == [Add("one"), Stop()]
        await probe.expect_nothing(within_s=1)
        await system.shutdown(deadline_s=1)
        assert probe.reason == Shutdown()


async def test_a_probe_fails_on_silence_on_the_wrong_type_and_on_the_unexpected(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each with an AssertionError that says what was there."""
    del autojump_clock
    async with open_system() as system:
        probe = Probe[Message].spawn(system)
        with pytest.raises(AssertionError, match="no Add came within 3 s"):
            await probe.expect(Add, timeout_s=3)
        assert trio.current_time() == 3
        probe.ref.tell_nowait(Stop())
        with pytest.raises(AssertionError, match="expected Add, got Stop"):
            await probe.expect(Add)
        probe.ref.tell_nowait(Stop())
        with pytest.raises(AssertionError, match="expected nothing"):
            await probe.expect_nothing(within_s=1)


async def test_a_saboteur_crashes_real_actors_where_it_is_ordered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once for each order, and the actor works as ever otherwise, its own hooks included."""
    del autojump_clock
    observer = MemoryObserver()
    saboteur = Saboteur[Message]()
    lines: list[str] = []
    async with open_system(observer=observer) as system:
        group = system.group("ledger", saboteur.wrap(lambda _: Ledger(lines, idle_s=100)), period_s=30)
        saboteur.crash_on(lambda message: message == Add("b"))
        ref = group.ref("a")
        for text in "abc":
            ref.tell_nowait(Add(text))
        await trio.sleep(10)
        assert (await read(ref)) == ("start", "a", "stop Crashed", "start", "c")
        assert [type(exc) for _, exc in observer.crashes] == [InjectedCrash]
        saboteur.crash_next()
        ref.tell_nowait(Add("d"))
        assert await ref.wait_stopped() == Normal()
        assert lines[-3:] == ["start", "idle", "stop Normal"]


async def test_a_sabotaged_actor_still_gets_every_message_of_its_own_turns() -> None:
    """An actor with its own on_batch works behind the saboteur, too."""
    lines: list[str] = []
    saboteur = Saboteur[Message]()
    async with open_system() as system:
        ref = system.group("p", saboteur.wrap(lambda _: Pager(lines))).ref("a")
        for text in "abc":
            ref.tell_nowait(Add(text))
        (seen,) = await wait_idle(ref)
        assert seen.messages == 3
        assert [line for line in lines if len(line) == 1] == ["a", "b", "c"]
