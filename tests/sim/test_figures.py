"""Every counter that operators read is moved by what it says: none is published in vain."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

import chat.receipts
from actors import MailboxFull
from actors.testing import InjectedCrash
from chat.codec import MSGPACK
from chat.config import Config
from chat.room import Room
from chat.room_messages import RoomMessage, SendMessage, Settled
from chat.rooms import Rooms
from storage import BadData, RoomId, Unavailable
from storage.testing import Fault
from tests.sim.harness import Sim, SimClient, open_sim, read_answer, upgrade_request, virtual_time
from tests.sim.http_request import post

OPEN: Final = Config(rate_limits=False)
DRIVEN_ELSEWHERE: Final = {"accepts_failed"}
"""By `tests.chat.test_lifecycle`: it takes a listener."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Something that happens, and the counters that it moves.

    Attributes:
        moves: by name, without prefix and `_total`; a label stands in braces.
        errors: what the server may log as errors.
        prepare: changes the server's code before it starts.
    """

    play: Callable[[Sim, pytest.MonkeyPatch], Coroutine[object, object, None]]
    moves: set[str]
    config: Config = OPEN
    errors: list[str] = field(default_factory=list)
    prepare: Callable[[pytest.MonkeyPatch], None] | None = None


def counters(sim: Sim) -> dict[str, float]:
    """Every counter, and the count of every histogram, as exposed."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(sim.node.metrics.render().decode()):
        if family.type not in {"counter", "histogram"}:
            continue
        for sample in family.samples:
            if not sample.name.endswith(("_total", "_count")):
                continue
            name = sample.name.removeprefix("parley_").removesuffix("_total").removesuffix("_count")
            label = "".join(f"{{{value}}}" for value in sample.labels.values())
            found[name + label] = sample.value
    return found


async def talk(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """What people do on a good day, and what strangers send."""
    del patch
    ann, bob = await sim.join("tea", "ann", "bob")
    await bob.request("watch", room="tea")
    await ann.request("presence", status="away")
    await ann.request("typing", room="tea")
    await bob.expect("presence", room="tea")
    await bob.expect("typing", count=1)
    await ann.request("send", room="tea", cid="1", body="hello")
    await ann.request("send", room="tea", cid="1", body="hello")
    await ann.send_payload(b"\xc1")
    await ann.expect("error", code="bad_request")
    stranger = await sim.open()
    await stranger.refused("hello", token="nonsense")
    assert await stranger.wait_closed() == 4500
    page = sim.dial()
    await page.send_all(upgrade_request(target="/healthz"))
    await read_answer(page)
    await bob.close()
    await trio.sleep(1)


async def read_along(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """Somebody reads what was said, while the database is away for a moment."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    await ann.request("send", room="tea", cid="1", body="hello")
    sim.faults["move_pointers"] = Fault(refusal=Unavailable("away"))
    asked = await ann.send("read", room="tea", seq=1)
    await trio.sleep(1)
    sim.faults.clear()
    await ann.answer(asked)


async def log_in_and_out(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """Somebody makes an account, mistypes the password, and leaves again."""
    del patch
    ann = {"name": "ann", "password": "correct horse"}
    await post(sim, "/api/register", ann)
    await post(sim, "/api/login", ann | {"password": "mistyped"})
    answer = await post(sim, "/api/login", ann)
    assert answer.body is not None
    await post(sim, "/api/logout", authorization=f"Bearer {answer.body['token']}")
    for _ in range(5):
        await post(sim, "/api/login", ann | {"password": "mistyped"})


async def find_in_memory(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """Pages that the room remembers, or not; two who come back with one token at one moment."""
    del patch
    answer = await post(sim, "/api/register", {"name": "ann", "password": "correct horse"})
    assert answer.body is not None
    token = answer.body["token"]
    ann = await sim.enter(token)
    await ann.request("join", room="tea", create=True)
    await ann.request("history", room="tea")
    await ann.request("history", room="tea", fold=True)
    await ann.request("subscribe", room="tea", since=[1, 0])
    others = [await sim.open() for _ in range(3)]
    sim.faults.update(find_tokens=Fault(before_s=1.0), find_room=Fault(before_s=1.0))
    for other in others:
        await other.send("hello", token=token)
    for other in others:
        await other.expect("welcome")
    for other in others[:2]:
        await other.send("join", room="new", create=True)
    for other in others[:2]:
        await other.expect("ok", room="new")


async def shake_no_hands(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A request that is no handshake."""
    del patch
    stream = sim.dial()
    await stream.send_all(b"nonsense\r\n\r\n")
    await read_answer(stream)


async def leave_rooms_idle(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """Everybody leaves, and the room's memory is given back."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    await ann.request("unsubscribe", room="tea")
    await trio.sleep(10)


async def come_back_late(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """One resumes from long ago, one from a future that did not survive."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    for number in range(5):
        await ann.request("send", room="tea", cid=f"{number}", body="x")
    await ann.request("unsubscribe", room="tea")
    assert (await ann.request("subscribe", room="tea", since=[1, 1], limit=2))["mode"] == "gap"
    await ann.request("unsubscribe", room="tea")
    await trio.sleep(10)
    assert (await ann.request("subscribe", room="tea", since=[1, 99]))["mode"] == "rewind"


async def read_nothing(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing: first ephemeral frames are shed, then it is cut."""
    del patch
    ann, bob = await sim.join("tea", "ann", "bob")
    deaf = SimClient(sim.dial(lockstep=True), MSGPACK)
    assert await deaf.upgrade(upgrade_request(sec_websocket_protocol=MSGPACK.subprotocol)) == 101
    await deaf.write(deaf.frame({"t": "hello", "id": 1, "guest": "deaf"}))
    await deaf.write(deaf.frame({"t": "subscribe", "id": 2, "room": "tea"}))
    await deaf.write(deaf.frame({"t": "watch", "id": 3, "users": [ann.user_id]}))
    for number in range(12):
        await ann.request("send", room="tea", cid=f"{number}", body="x" * 8000)
    await bob.request("typing", room="tea")
    await ann.request("presence", status="away")
    await trio.sleep(2)
    for number in range(12, 24):
        await ann.request("send", room="tea", cid=f"{number}", body="x" * 8000)
    await trio.sleep(20)


async def lose_the_database(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """The store is away for one batch."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    sim.faults["append"] = Fault(refusal=Unavailable("away"))
    request_id = await ann.send("send", room="tea", cid="1", body="x")
    await trio.sleep(1)
    sim.faults.clear()
    assert (await ann.answer(request_id))["t"] == "ok"


async def send_what_cannot_be_stored(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """The database refuses a row for ever."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    sim.faults["append"] = Fault(refusal=BadData("no"))
    request_id = await ann.send("send", room="tea", cid="1", body="x")
    await trio.sleep(1)
    sim.faults.clear()
    assert (await ann.answer(request_id))["code"] == "bad_request"


async def send_what_was_stored_long_ago(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A message that is not in the room's memory any more, and in the log."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    for number in range(5):
        await ann.request("send", room="tea", cid=f"{number}", body="x")
    assert (await ann.request("send", room="tea", cid="0", body="x"))["dup"]


async def lose_a_room_to_another_node(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """Somebody else takes the room over."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    await sim.store.activate("tea", tail_events=1, at_ms=0)
    assert (await ann.refused("send", room="tea", cid="1", body="x"))["code"] == "unavailable"


async def fail_to_hand_out_receipts(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A bug in what follows a commit."""
    (ann,) = await sim.join("tea", "ann")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a bug")

    with patch.context() as once:
        once.setattr(chat.receipts, "stored", fail)
        await ann.send("send", room="tea", cid="1", body="x")
        await trio.sleep(1)


def fill_mailboxes(patch: pytest.MonkeyPatch) -> None:
    """Have every room's mailbox full to the brim when results come."""
    tell = Rooms.tell_control

    def refuse(self: Rooms, room_id: RoomId, message: RoomMessage) -> None:
        if isinstance(message, Settled):
            raise MailboxFull("full")
        tell(self, room_id, message)

    patch.setattr(Rooms, "tell_control", refuse)


async def fail_to_tell_a_room(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A room cannot be told that somebody has joined."""
    del patch
    await sim.join("tea", "ann")
    bob = await sim.connect("bob")
    await bob.send("join", room="tea")
    await trio.sleep(1)


async def flood_a_room(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """More messages in one turn than the mailbox takes."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    sends = [
        ann.frame({"t": "send", "id": 100 + number, "room": "tea", "cid": f"{number}", "body": "x"})
        for number in range(40)
    ]
    await ann.write(b"".join(sends))
    for number in range(40):
        await ann.answer(100 + number)


async def crash_a_room(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A room crashes again and again, until it is given up for a while."""
    receive = Room.receive

    def crash(self: Room, message: RoomMessage) -> None:
        if isinstance(message, SendMessage):
            raise InjectedCrash
        receive(self, message)

    patch.setattr(Room, "receive", crash)
    (ann,) = await sim.join("tea", "ann")
    for number in range(8):
        if ann.closed_with is not None:
            break
        await ann.send("send", room="tea", cid=f"{number}", body="x")
        await trio.sleep(1)


async def say_what_cannot_be_indexed(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """The database finds no words in a message, ever."""
    del patch
    (ann,) = await sim.join("tea", "ann")
    sim.faults["index_rooms"] = Fault(refusal=BadData("no"))
    await ann.request("send", room="tea", cid="1", body="x")
    await trio.sleep(20)
    sim.faults.clear()


async def forget_what_was_said(sim: Sim, patch: pytest.MonkeyPatch) -> None:
    """A room keeps nothing for longer than a minute."""
    del patch
    ann = await sim.connect("ann")
    await ann.request("create", room="tea")
    await ann.request("update", room="tea", retention=60)
    await ann.request("send", room="tea", cid="1", body="x")
    await trio.sleep(120)


SCENES: Final = {
    "talk": Scene(
        play=talk,
        moves={
            "connections_opened",
            "connections_closed",
            "hellos",
            "hellos_refused",
            "frames_in",
            "bad_frames",
            "sends",
            "acks",
            "duplicates",
            "events",
            "deliveries",
            "ephemeral_deliveries",
            "rooms_activated",
            "http_requests",
            "sent_bytes",
            "sent_frames",
            "presence_diffs",
            "presence_deliveries",
            "presence_typing",
            "presence_lives",
            "search_batches",
            "search_indexed_rows",
            "refused{bad_request}",
            "refused{unauthenticated}",
            "closed{4500}",
            "ok_seconds",
            "commit_rows",
            "commit_bytes",
            "commit_seconds",
            "flush_frames",
            "flush_bytes",
            "flush_seconds",
            "turn_messages{room}",
            "turn_seconds{presence}",
            "mailbox_wait_seconds{room}",
        },
    ),
    "accounts": Scene(
        play=log_in_and_out,
        config=Config(registration=True),
        moves={"registrations", "logins", "logins_limited", "logins_refused", "logouts"},
    ),
    "reading": Scene(play=read_along, moves={"read_pointers_written", "read_batches", "read_failures"}),
    "memory": Scene(
        play=find_in_memory,
        config=Config(registration=True, rate_limits=False),
        moves={
            f"cache_lookups{{{cache}}}{{{result}}}"
            for cache in ("room", "history", "token", "membership", "room_name")
            for result in ("hit", "miss")
        }
        | {"cache_lookups{tail}{hit}"},
    ),
    "forgetting": Scene(play=forget_what_was_said, config=Config(retention_every_s=10.0), moves={"expired"}),
    "a handshake that fails": Scene(play=shake_no_hands, moves={"handshakes_failed"}),
    "idle": Scene(
        play=leave_rooms_idle,
        config=Config(rate_limits=False, room_idle_s=1.0),
        moves={"rooms_passivated"},
    ),
    "late": Scene(
        play=come_back_late,
        config=Config(rate_limits=False, room_idle_s=1.0, room_tail_events=3),
        moves={"gaps", "rewinds", "cache_lookups{tail}{miss}"},
    ),
    "deaf": Scene(
        play=read_nothing,
        config=Config(rate_limits=False, outbox_max_bytes=128 * 1024),
        moves={
            "shed_frames",
            "presence_shed",
            "slow_consumers",
            "flush_partial",
            "flush_overflowed",
            "closed{4002}",
        },
    ),
    "storage away": Scene(play=lose_the_database, moves={"writer_retries"}),
    "poison": Scene(
        play=send_what_cannot_be_stored,
        errors=["writer.refused", "room.poisoned"],
        moves={"writer_parked"},
    ),
    "no words": Scene(
        play=say_what_cannot_be_indexed,
        errors=["search.event_skipped"],
        moves={"search_failures", "search_skipped_rows"},
    ),
    "stored long ago": Scene(
        play=send_what_was_stored_long_ago,
        config=Config(rate_limits=False, room_tail_events=1),
        moves={"writer_duplicates"},
    ),
    "another owner": Scene(play=lose_a_room_to_another_node, moves={"writer_fenced", "closed{4006}"}),
    "receipts lost": Scene(
        play=fail_to_hand_out_receipts,
        errors=["writer.receipts_failed"],
        moves={"writer_receipt_errors"},
    ),
    "a room not told": Scene(
        play=fail_to_tell_a_room,
        prepare=fill_mailboxes,
        errors=["receipts.undeliverable"],
        moves={"receipts_undeliverable"},
    ),
    "flood": Scene(
        play=flood_a_room,
        config=Config(rate_limits=False, room_mailbox=8, room_mailbox_reserve=2),
        moves={"room_mailbox_refused", "refused{busy}"},
    ),
    "crashes": Scene(
        play=crash_a_room,
        errors=["actor.crashed", "actor.gave_up"],
        moves={"room_restarts", "room_crashed_out", "actor_crashes{room}"},
    ),
}


@pytest.mark.parametrize("name", SCENES)
@virtual_time
async def test_what_happens_moves_its_counters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was at zero, or not there, and is above it afterwards."""
    scene = SCENES[name]
    if scene.prepare is not None:
        scene.prepare(monkeypatch)
    async with open_sim(scene.config, errors=scene.errors) as sim:
        before = counters(sim)
        await scene.play(sim, monkeypatch)
        after = counters(sim)

    # Presence began its life while the server started, before anybody could look.
    before["presence_lives"] = 0
    assert {counter for counter in scene.moves if after.get(counter, 0) <= before.get(counter, 0)} == set()


@virtual_time
async def test_every_counter_has_a_scene() -> None:
    """Who publishes a new counter shows here what moves it; labels are told apart where they matter."""
    async with open_sim() as sim:
        published = {counter.partition("{")[0] for counter in counters(sim)}
    # What every process counts is the library's to test.
    published = {counter for counter in published if not counter.startswith("process_")}
    shown = {counter.partition("{")[0] for scene in SCENES.values() for counter in scene.moves}

    assert published - shown == DRIVEN_ELSEWHERE | {"gc_pause_seconds"}


@virtual_time
async def test_what_was_shed_is_not_counted_as_delivered() -> None:
    """A typing notice that a slow connection did not take is in one counter only."""
    config = Config(rate_limits=False, outbox_max_bytes=128 * 1024)
    async with open_sim(config) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        deaf = SimClient(sim.dial(lockstep=True), MSGPACK)
        assert await deaf.upgrade(upgrade_request(sec_websocket_protocol=MSGPACK.subprotocol)) == 101
        await deaf.write(deaf.frame({"t": "hello", "id": 1, "guest": "deaf"}))
        await deaf.write(deaf.frame({"t": "subscribe", "id": 2, "room": "tea"}))
        for number in range(12):
            await ann.request("send", room="tea", cid=f"{number}", body="x" * 8000)
        before = counters(sim)
        await bob.request("typing", room="tea")
        await ann.expect("typing", count=1)
        after = counters(sim)

        assert after["deliveries"] == before["deliveries"]
        assert after["ephemeral_deliveries"] - before["ephemeral_deliveries"] == 2
        assert after["shed_frames"] - before["shed_frames"] == 1


@virtual_time
async def test_one_message_in_eight_is_timed() -> None:
    """The time from a message's arrival to its `ok`, of the first and of every eighth after it."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults["append"] = Fault(before_s=2.0)
        for number in range(17):
            await ann.send("send", room="tea", cid=f"{number}", body="x")
        await trio.sleep(30)

        assert sim.node.metrics.ok_s.count == 3
        assert sim.node.metrics.ok_s.total >= 3 * 2.0
