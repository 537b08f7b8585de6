"""The system: spawning, names, ordered shutdown, and an end by cancellation that is always safe."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import (
    ActorUnavailable,
    ExitReason,
    NameTaken,
    Normal,
    Restart,
    RestartPolicy,
    Shutdown,
    ShutdownReport,
    TooManyActors,
    open_system,
)
from tests.actors.support import Add, Crash, Ledger, Message, SlowLedger, Stop, read


async def test_a_name_is_taken_while_its_actor_lives_and_free_after() -> None:
    """A second one is refused and nothing is started."""
    async with open_system() as system:
        ref = system.spawn(Ledger(), name="a")
        assert system.get("a") is ref
        with pytest.raises(NameTaken):
            system.spawn(Ledger(), name="a")
        assert system.statistics().actors == 1
        ref.tell_nowait(Stop())
        await ref.wait_stopped()
        assert system.get("a") is None
        system.spawn(Ledger(), name="a")


async def test_a_full_system_starts_nothing() -> None:
    """One is one."""
    async with open_system(max_actors=1) as system:
        system.spawn(Ledger(), name="a")
        with pytest.raises(TooManyActors):
            system.spawn(Ledger(), name="b")


async def test_an_instance_lives_once_and_a_builder_is_restarted_after_a_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """State must not survive a crash, so only a builder can come back."""
    del autojump_clock
    async with open_system() as system:
        with pytest.raises(ValueError, match="builder"):
            system.spawn(Ledger(), name="a", restart=Restart.TRANSIENT)
        lines: list[str] = []
        ref = system.spawn(lambda: Ledger(lines), name="a")
        ref.tell_nowait(Crash())
        assert await read(ref) == ("start", "stop Crashed", "start")
        ref.tell_nowait(Stop())
        assert await ref.wait_stopped() == Normal()


async def test_a_permanent_actor_comes_back_even_after_a_normal_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Until its intensity is exceeded; then it is gone for good."""
    del autojump_clock
    lines: list[str] = []
    async with open_system() as system:
        ref = system.spawn(
            lambda: Ledger(lines),
            name="a",
            restart=Restart.PERMANENT,
            policy=RestartPolicy(intensity=1),
        )
        ref.tell_nowait(Stop())
        await trio.testing.wait_all_tasks_blocked()
        assert await read(ref) == ("start", "stop Normal", "start")
        ref.tell_nowait(Stop())
        assert await ref.wait_stopped() == Normal()


async def test_shutdown_ends_groups_in_the_given_order_and_then_the_spawned_newest_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each is drained and gone before the next one is asked."""
    del autojump_clock
    ends: list[str] = []

    class Slow(SlowLedger):
        def __init__(self, name: str) -> None:
            super().__init__([])
            self.name = name

        async def on_stop(self, reason: ExitReason) -> None:
            assert reason == Shutdown()
            ends.append(f"{self.name} {','.join(self.lines)} at {trio.current_time():g}")

    async with open_system() as system:
        writer = system.spawn(Slow("writer"), name="writer")
        system.spawn(Slow("helper"), name="helper")
        rooms = system.group("room", lambda name: Slow(f"room {name}"))
        sessions = system.group("session", lambda name: Slow(f"session {name}"))
        for ref in (rooms.ref("r"), sessions.ref("s"), writer):
            ref.tell_nowait(Add("x"))
            ref.tell_nowait(Add("y"))
        report = await system.shutdown(deadline_s=60, order=[sessions, rooms])
        assert ends == [
            "session s x,y at 2",
            "room r x,y at 2",
            "helper  at 2",
            "writer x,y at 2",
        ]
        assert report == ShutdownReport(stopped=4, cancelled=0, left=0, took_s=2)
        with pytest.raises(ActorUnavailable):
            system.spawn(Ledger(), name="late")


async def test_what_is_not_done_at_the_deadline_is_cut_off_and_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The report counts it, on_discard gets each message, on_stop still runs."""
    del autojump_clock
    lines: list[str] = []
    discarded: list[tuple[Message, ExitReason]] = []
    stopped: list[ExitReason] = []

    class Slow(SlowLedger):
        async def on_stop(self, reason: ExitReason) -> None:
            await trio.sleep(2)
            stopped.append(reason)

    async with open_system() as system:
        group = system.group(
            "slow", lambda _: Slow(lines), on_discard=lambda m, why: discarded.append((m, why))
        )
        for text in "abcd":
            group.ref("a").tell_nowait(Add(text))
        await trio.testing.wait_all_tasks_blocked()
        report = await system.shutdown(deadline_s=1.5)
    assert lines == ["a"]
    assert stopped == [Shutdown()]
    assert discarded == [(Add(text), Shutdown()) for text in "bcd"]
    assert report == ShutdownReport(stopped=0, cancelled=1, left=3, took_s=3.5)


async def test_leaving_the_block_ends_every_actor_within_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without an ordered shutdown all end at once, each with its on_stop; later use is refused."""
    del autojump_clock
    ledger = Ledger()
    async with open_system() as system:
        ref = system.spawn(ledger, name="a")
        group = system.group("l", lambda _: Ledger())
        ref.tell_nowait(Add("worked on or not"))
        await trio.testing.wait_all_tasks_blocked()
    assert ledger.lines == ["start", "worked on or not", "stop Shutdown"]
    assert await ref.wait_stopped() == Shutdown()
    with pytest.raises(ActorUnavailable):
        group.ref("late")


async def test_cancelling_the_surrounding_scope_is_safe_at_any_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In a turn, in a back-off, in a shutdown: all ends, all mail is told."""
    del autojump_clock
    discarded: list[Message] = []
    with trio.move_on_after(0.5) as scope:
        async with open_system() as system:
            policy = RestartPolicy(backoff_s=100, backoff_max_s=100)
            group = system.group(
                "l", lambda _: Ledger(), policy=policy, on_discard=lambda m, _: discarded.append(m)
            )
            slow = system.spawn(SlowLedger([]), name="slow", on_discard=lambda m, _: discarded.append(m))
            group.ref("a").tell_nowait(Crash())
            group.ref("a").tell_nowait(Add("behind"))
            slow.tell_nowait(Add("in its turn"))
            slow.tell_nowait(Add("waiting"))
            await trio.testing.wait_all_tasks_blocked()
            slow.tell_nowait(Add("later"))
            await trio.sleep(0.1)
            await system.shutdown(deadline_s=60)
    assert scope.cancelled_caught
    assert set(discarded) == {
        Crash(),
        Add("behind"),
        Add("in its turn"),
        Add("waiting"),
        Add("later"),
    }


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("inf")])
async def test_a_shutdown_needs_a_deadline(deadline_s: float) -> None:
    """Every wait has an end."""
    async with open_system() as system:
        with pytest.raises(ValueError, match="deadline_s"):
            await system.shutdown(deadline_s=deadline_s)


async def test_limits_below_one_are_refused() -> None:
    """For a system and for a group."""
    async with open_system() as system:
        with pytest.raises(ValueError, match="max_active"):
            system.group("l", lambda _: Ledger(), max_active=0)
    with pytest.raises(ValueError, match="max_actors"):
        async with open_system(max_actors=0):
            pass


async def test_an_empty_system_shuts_down_at_once() -> None:
    """There is nothing to wait for."""
    async with open_system() as system:
        report = await system.shutdown(deadline_s=1)
    assert report == ShutdownReport(stopped=0, cancelled=0, left=0, took_s=report.took_s)
