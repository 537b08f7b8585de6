"""Groups: activation on first use, crash and comeback, passivation without a gap, limits."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import (
    ActorDied,
    ActorGroup,
    ActorSystem,
    ActorUnavailable,
    Crashed,
    ExitReason,
    Normal,
    RestartPolicy,
    Shutdown,
    TooManyActors,
    open_system,
)
from actors.testing import InjectedCrash, MemoryObserver, Saboteur, wait_idle
from tests.actors.support import Add, Boom, Crash, Hold, Ledger, Message, Passivate, Stop, read

STEADY: Final = RestartPolicy(intensity=2, period_s=60, backoff_s=1, backoff_max_s=4, jitter=0)


@dataclass
class World:
    """A group of ledgers whose lines are kept by name, as a storage would."""

    system: ActorSystem
    observer: MemoryObserver
    saboteur: Saboteur[Message]
    lines: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    discarded: list[tuple[Message, ExitReason]] = field(default_factory=list[tuple[Message, ExitReason]])
    crashed: list[str] = field(default_factory=list[str])

    def ledgers(
        self,
        *,
        mailbox_capacity: int = 1024,
        idle_s: float | None = None,
        max_active: int | None = None,
    ) -> ActorGroup[Message]:
        """Make the group."""
        return self.system.group(
            "ledger",
            self.saboteur.wrap(self.make),
            mailbox_capacity=mailbox_capacity,
            idle_s=idle_s,
            max_active=max_active,
            policy=STEADY,
            on_discard=lambda message, reason: self.discarded.append((message, reason)),
            on_crash=lambda name, _: self.crashed.append(name),
        )

    def make(self, name: str) -> Ledger:
        """Build one instance."""
        return Ledger(self.lines.setdefault(name, []))


@asynccontextmanager
async def open_world() -> AsyncGenerator[World, None]:
    """Open a system with everything that the tests look at."""
    observer = MemoryObserver()
    async with open_system(observer=observer, rng=random.Random(0)) as system:  # noqa: S311  repeatable
        yield World(system, observer, Saboteur())


async def test_a_name_is_activated_once_and_found_again() -> None:
    """`ref` makes it, `get` only looks."""
    async with open_world() as world:
        group = world.ledgers()
        assert group.get("a") is None
        ref = group.ref("a")
        assert group.ref("a") is ref
        assert group.get("a") is ref
        assert (len(group), [*group]) == (1, [ref])
        ref.tell_nowait(Add("hello"))
        assert await read(ref) == ("start", "hello")


async def test_a_crash_keeps_the_mail_behind_it_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What was done stays done, the crashing message is given up, the rest reaches a new life."""
    del autojump_clock
    async with open_world() as world:
        ref = world.ledgers().ref("a")
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("one"))
        ref.tell_nowait(Crash())
        ref.tell_nowait(Add("two"))
        ref.tell_nowait(Add("three"))
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("four"))
        assert await read(ref) == ("start", "one", "stop Crashed", "start", "two", "three", "four")
        assert trio.current_time() == 1
        ((message, reason),) = world.discarded
        assert message == Crash()
        assert isinstance(reason, Crashed)
        assert world.crashed == ["a"]
        ((kind, exc),) = world.observer.crashes
        assert (kind, type(exc)) == ("ledger", Boom)
        seen = ref.statistics()
        assert (seen.restarts, seen.discarded) == (1, 1)
        assert world.system.statistics().started == 1


async def test_a_crash_fails_the_questions_that_are_lost_and_keeps_those_that_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The one held by the dead instance fails at once, the one behind the crash is answered."""
    del autojump_clock
    async with open_world() as world:
        ref = world.ledgers().ref("a")
        events: list[str] = []

        async def held() -> None:
            with pytest.raises(ActorDied):
                await ref.ask(Hold, timeout_s=600)
            events.append(f"failed at {trio.current_time():g}")

        async def behind() -> None:
            await read(ref)
            events.append(f"answered at {trio.current_time():g}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(held)
            await trio.testing.wait_all_tasks_blocked()
            ref.tell_nowait(Crash())
            nursery.start_soon(behind)
        assert events == ["failed at 0", "answered at 1"]


async def test_one_crashing_actor_never_affects_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its neighbour answers without any time passing."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers()
        group.ref("bad").tell_nowait(Crash())
        assert await read(group.ref("good")) == ("start",)
        assert trio.current_time() == 0


async def test_delays_grow_and_beyond_the_intensity_the_name_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After 1 and 2 seconds of back-off the third crash is final; all mail and asks are told."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers()
        ref = group.ref("a")
        for _ in range(3):
            ref.tell_nowait(Crash())
        ref.tell_nowait(Add("never"))
        reason = await ref.wait_stopped()
        assert trio.current_time() == 3
        assert isinstance(reason, Crashed)
        assert [message for message, _ in world.discarded] == [Crash(), Crash(), Crash(), Add("never")]
        assert group.get("a") is None
        assert group.statistics().crashed_out == 1


async def test_a_given_up_name_is_unavailable_for_the_period_and_then_starts_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The error says when to come back, and others are not concerned."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers()
        ref = group.ref("a")
        for _ in range(3):
            ref.tell_nowait(Crash())
        await ref.wait_stopped()
        await trio.sleep(20)
        with pytest.raises(ActorUnavailable) as caught:
            group.ref("a")
        assert caught.value.retry_after_s == 40
        assert await read(group.ref("b")) == ("start",)
        await trio.sleep(40)
        assert (await read(group.ref("a")))[-1] == "start"


async def test_in_a_back_off_mail_is_taken_in_until_the_mailbox_is_full(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Senders notice nothing but a delay."""
    del autojump_clock
    async with open_world() as world:
        ref = world.ledgers(mailbox_capacity=4).ref("a")
        ref.tell_nowait(Crash())
        await trio.testing.wait_all_tasks_blocked()
        assert ref.is_alive
        for text in "abc":
            ref.tell_nowait(Add(text))
        with pytest.raises(AssertionError, match="leaves 3 messages"):
            await wait_idle(ref)
        await trio.sleep(1.5)
        await wait_idle(ref)
        assert world.lines["a"][-3:] == ["a", "b", "c"]


async def test_a_crash_while_starting_keeps_all_mail(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No message is blamed for what none has caused."""
    del autojump_clock
    fails = [Boom(), Boom()]

    class Unready(Ledger):
        async def on_start(self) -> None:
            await super().on_start()
            if fails:
                raise fails.pop()

    async with open_system() as system:
        discarded: list[Message] = []
        group = system.group(
            "l", lambda _: Unready(), policy=STEADY, on_discard=lambda m, _: discarded.append(m)
        )
        ref = group.ref("a")
        ref.tell_nowait(Add("kept"))
        assert await read(ref) == ("start", "kept")
        assert trio.current_time() == 3
        assert discarded == []


async def test_a_factory_that_raises_counts_as_a_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`ref` itself never raises what the factory does."""
    del autojump_clock

    def factory(_: str) -> Ledger:
        raise Boom

    async with open_system() as system:
        ref = system.group("l", factory, policy=STEADY).ref("a")
        reason = await ref.wait_stopped()
        assert isinstance(reason, Crashed)
        assert isinstance(reason.exc, Boom)


async def test_an_on_discard_that_raises_keeps_no_other_sender_from_hearing() -> None:
    """Its error is logged."""
    heard: list[Message] = []

    def on_discard(message: Message, _: ExitReason) -> None:
        heard.append(message)
        raise Boom

    async with open_system() as system:
        policy = RestartPolicy(intensity=0)
        ref = system.group("l", lambda _: Ledger(), policy=policy, on_discard=on_discard).ref("a")
        for message in (Crash(), Add("one"), Add("two")):
            ref.tell_nowait(message)
        await ref.wait_stopped()
    assert heard == [Crash(), Add("one"), Add("two")]


async def test_a_message_in_the_tick_of_a_passivation_reaches_the_next_instance() -> None:
    """The new one starts only when the old one has cleaned up, so it loads what that saved."""
    async with open_world() as world:
        group = world.ledgers()
        old = group.ref("a")
        old.tell_nowait(Passivate())
        while old.is_alive:
            await trio.lowlevel.checkpoint()
        new = group.ref("a")
        assert new is not old
        new.tell_nowait(Add("not lost"))
        assert await read(new) == ("start", "passivated True", "stop Normal", "start", "not lost")


@settings(max_examples=60, deadline=None)
@given(script=st.lists(st.sampled_from(["add", "passivate", "tick", "crash"]), max_size=40))
def test_no_message_ever_falls_between_two_instances(script: list[str]) -> None:
    """Whatever the interleaving of tells, passivations and crashes: each message once, in order."""

    async def simulate() -> None:
        async with open_world() as world:
            group = world.system.group(
                "ledger", world.saboteur.wrap(world.make), policy=RestartPolicy(intensity=100)
            )
            sent: list[str] = []
            for step in script:
                match step:
                    case "add":
                        sent.append(f"m{len(sent)}")
                        group.ref("a").tell_nowait(Add(sent[-1]))
                    case "passivate":
                        group.ref("a").tell_nowait(Passivate())
                    case "crash":
                        group.ref("a").tell_nowait(Crash())
                    case _:
                        await trio.lowlevel.checkpoint()
            await trio.sleep(1000)
            assert [line for line in world.lines.get("a", []) if line[0] == "m"] == sent

    trio.run(simulate, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_an_idle_actor_passivates_and_a_new_tell_activates_it_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Cost follows what is active; the group's idle time goes before the class's."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers(idle_s=30)
        group.ref("a").tell_nowait(Add("one"))
        await trio.sleep(31)
        assert len(group) == 0
        assert world.system.statistics().actors == 0
        assert (await read(group.ref("a")))[-2:] == ("stop Normal", "start")


async def test_a_full_group_refuses_and_has_room_again_when_one_is_gone() -> None:
    """The limit counts live actors, and a known name is no new one."""
    async with open_world() as world:
        group = world.ledgers(max_active=2)
        first = group.ref("a")
        group.ref("b")
        with pytest.raises(TooManyActors) as caught:
            group.ref("c")
        assert caught.value.limit == 2
        assert group.ref("a") is first
        first.tell_nowait(Stop())
        assert await first.wait_stopped() == Normal()
        group.ref("c")


async def test_a_full_system_refuses_activations() -> None:
    """The limit of all counts for each group."""
    async with open_system(max_actors=1) as system:
        group = system.group("l", lambda _: Ledger())
        group.ref("a")
        with pytest.raises(TooManyActors):
            group.ref("b")


async def test_a_stopping_group_drains_quiet_mail_too_and_refuses_the_rest() -> None:
    """Control still enters until the mailbox is empty; nothing is activated any more."""
    async with open_world() as world:
        group = world.ledgers()
        ref = group.ref("a")
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("loud"))
        ref.tell_quiet(Add("quiet"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.stop)
            while ref.statistics().mailbox.depth:
                await trio.lowlevel.checkpoint()
        with pytest.raises(ActorDied):
            ref.tell_nowait(Add("late"))
        assert await ref.wait_stopped() == Shutdown()
        assert world.lines["a"] == ["start", "loud", "quiet", "stop Shutdown"]
        with pytest.raises(ActorUnavailable) as caught:
            group.ref("b")
        assert caught.value.retry_after_s is None
        await group.stop()


async def test_a_stop_in_a_back_off_does_not_wait_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The mail that waited for the next life is discarded, and told."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers()
        ref = group.ref("a")
        ref.tell_nowait(Crash())
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait(Add("waiting"))
        await group.stop()
        assert trio.current_time() == 0
        assert world.discarded[-1] == (Add("waiting"), Shutdown())


async def test_the_figures_of_a_group_go_over_its_live_actors(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Depth and the oldest wait are of now, the counters of the live ones."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers()
        group.ref("ok")
        bad = group.ref("bad")
        world.saboteur.crash_next()
        bad.tell_nowait(Add("crashes"))
        bad.tell_nowait(Add("waits"))
        await trio.sleep(0.5)
        seen = group.statistics()
        assert (seen.kind, seen.active, seen.activated, seen.depth) == ("ledger", 2, 2, 1)
        assert seen.oldest_wait_s == 0.5
        await trio.sleep(1)
        assert group.statistics().restarts == 1
        assert isinstance(world.observer.crashes[0][1], InjectedCrash)


async def test_a_groups_counters_never_fall(autojump_clock: trio.testing.MockClock) -> None:
    """What an actor counted stays in the group's sums when the actor has ended."""
    del autojump_clock
    async with open_world() as world:
        group = world.ledgers()
        first = group.ref("a")
        world.saboteur.crash_next()
        first.tell_nowait(Add("crashes"))
        await trio.sleep(5)
        first.tell_nowait(Stop())
        await first.wait_stopped()
        seen = group.statistics()

        assert (seen.active, seen.restarts) == (0, 1)


async def test_listeners_that_raise_keep_no_actor_from_its_next_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What an on_crash raises is logged."""
    del autojump_clock

    def on_crash(name: str, _: Crashed) -> None:
        raise Boom(name)

    async with open_system() as system:
        ref = system.group("l", lambda _: Ledger(), on_crash=on_crash).ref("a")
        ref.tell_nowait(Crash())
        assert await read(ref) == ("start",)


class BrokenRandom(random.Random):
    """A source of chance that has run dry."""

    def random(self) -> float:
        """Raise."""
        raise Boom


async def test_a_fault_of_the_runtime_itself_ends_one_actor_and_no_other() -> None:
    """Its mail is told and its watchers hear; the neighbour goes on."""
    discarded: list[Message] = []
    async with open_system(rng=BrokenRandom()) as system:
        group = system.group("l", lambda _: Ledger(), on_discard=lambda m, _: discarded.append(m))
        good, bad = group.ref("good"), group.ref("bad")
        bad.tell_nowait(Crash())
        bad.tell_nowait(Add("behind"))
        assert isinstance(await bad.wait_stopped(), Crashed)
        assert discarded == [Crash(), Add("behind")]
        assert await read(good) == ("start",)


async def test_a_crash_in_the_turn_of_a_passivation_is_told_and_starts_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The name was free already; whoever wants the actor activates it."""
    del autojump_clock

    class Slammer(Ledger):
        def receive(self, message: Message) -> None:
            super().receive(message)
            assert self.passivate()
            raise Boom

    async with open_system() as system:
        discarded: list[Message] = []
        group = system.group(
            "l", lambda _: Slammer(), policy=STEADY, on_discard=lambda m, _: discarded.append(m)
        )
        ref = group.ref("a")
        ref.tell_nowait(Passivate())
        assert isinstance(await ref.wait_stopped(), Crashed)
        assert (discarded, trio.current_time(), len(group)) == ([Passivate()], 0, 0)
