"""The end of a server: in order, complete, and never longer than `drain_s`."""

import pytest
import trio

from chat.config import Config
from chat.health import Readiness
from chat.node import Node
from storage import Unavailable
from storage.testing import Fault
from tests.sim.harness import PATIENCE_S, open_sim, read_answer, virtual_time


class StillReady(Readiness):
    """Lets clients in after the drain has begun, as if they had asked a moment before."""

    def drain(self) -> None:
        """Do nothing."""


def let_everybody_in(node: Node) -> None:
    """Have a server take connections while it stops."""
    node.readiness = StillReady()
    node.readiness.started()


@virtual_time
async def test_a_message_whose_look_up_ended_late_is_stored_all_the_same() -> None:
    """What a room orders after everything was flushed is seen by nobody, or stored before the end."""
    async with open_sim(Config(drain_s=10.0)) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        room = await sim.store.find_room("tea")
        assert room is not None
        sim.faults["find_cids"] = Fault(after_s=1.0)
        sim.faults["append"] = Fault(before_s=2.0)
        await ann.send("send", room="tea", cid="first", body="first")
        await ann.send("send", room="tea", cid="again", body="again", retry=True)
        await bob.expect("event", body="first")
        await sim.stop()
        page = await sim.store.history(room.room_id, limit=10)
        stored = [entry.body for entry in page.items]
        assert bob.bodies("tea") == stored[: len(bob.bodies("tea"))]
        assert stored == ["first", "again"]
        assert sim.node.writers.statistics().backlog_rows == 0


@virtual_time
async def test_what_is_ordered_after_the_goodbyes_is_stored_before_the_end() -> None:
    """A look-up that ends when everybody has been told `bye` leaves nothing behind that is not stored."""
    async with open_sim(Config(drain_s=20.0)) as sim:
        (ann,) = await sim.join("tea", "ann")
        room = await sim.store.find_room("tea")
        assert room is not None
        ann.answers_close = False
        sim.faults["find_cids"] = Fault(after_s=0.5)
        await ann.send("send", room="tea", cid="again", body="again", retry=True)
        await trio.sleep(0.1)
        sim.faults["append"] = Fault(before_s=5.0)
        await sim.stop()
        assert sim.node.metrics.counts.sends == 1
        page = await sim.store.history(room.room_id, limit=10)
        assert [entry.body for entry in page.items] == ["again"]


@virtual_time
async def test_who_comes_in_during_the_stop_is_told_goodbye_too() -> None:
    """A client that was let in just before hears `bye` 4000 with a time to come back, as everybody."""
    async with open_sim(Config(drain_s=10.0), prepare=let_everybody_in) as sim:
        ann, _ = await sim.join("tea", "ann", "bob")
        sim.faults["append"] = Fault(before_s=2.0)
        await ann.send("send", room="tea", cid="1", body="one")
        await ann.expect("event", body="one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sim.stop)
            await trio.sleep(0.5)
            late = await sim.connect("late")
        assert await late.wait_closed() == await ann.wait_closed() == 4000
        (bye,) = late.heard("bye")
        assert bye["code"] == 4000
        assert bye["retry_after"]


@pytest.mark.parametrize("drain_s", [1.0, 4.0, 15.0])
@virtual_time
async def test_nothing_makes_a_stop_longer_than_its_time(drain_s: float) -> None:
    """Storage away, a client that never answers the close, one that reads nothing, one that says nothing."""
    config = Config(drain_s=drain_s)
    async with open_sim(config, errors=["server.not_stored"]) as sim:
        (deaf,) = await sim.join("tea", "deaf")
        deaf.answers_close = False
        sim.dial()
        sim.faults["append"] = Fault(refusal=Unavailable("away"))
        sim.faults["activate"] = Fault(refusal=Unavailable("away"))
        await deaf.send("send", room="tea", cid="1", body="one")
        await deaf.send("subscribe", room="den")
        await deaf.expect("event", body="one")
        began_s = trio.current_time()
        await sim.stop()
        assert trio.current_time() - began_s <= drain_s
        (bye,) = deaf.heard("bye")
        assert bye["code"] == 4000
        assert "ok" not in {answer["t"] for answer in deaf.received if answer.get("id") == 3}


@virtual_time
async def test_connections_that_say_nothing_do_not_hold_the_stop_up() -> None:
    """Somebody who connected and never asked for anything is not waited for."""
    async with open_sim(Config(drain_s=60.0)) as sim:
        (ann,) = await sim.join("tea", "ann")
        silent = sim.dial()
        began_s = trio.current_time()
        await sim.stop()
        assert trio.current_time() - began_s < 2.0
        assert await ann.wait_closed() == 4000
        with trio.fail_after(PATIENCE_S):
            assert await read_answer(silent) == b""


@virtual_time
async def test_goodbyes_come_in_batches_while_there_is_time() -> None:
    """Between two batches the others are left alone; when time runs short everybody is told at once."""
    config = Config(drain_s=100.0, drain_batch=2, drain_interval_s=1.0)
    async with open_sim(config) as sim:
        clients = [await sim.connect(f"guest {number}") for number in range(6)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sim.stop)
            await trio.sleep(0.5)
            first = [len(client.heard("bye")) for client in clients]
            await trio.sleep(1.0)
            second = [len(client.heard("bye")) for client in clients]
        assert (sum(first), sum(second)) == (2, 4)
        assert [len(client.heard("bye")) for client in clients] == [1] * 6
