"""The room log with everything around it but sockets, against naive lists: join, send, retry, crash, resume.

A script says what clients ask, how the database fares, and who dies when; time is virtual. All along, and
when everything is calm again: every `ok` stands in the log for ever, under its seq, once; the log has no gap
and no key twice; nobody is answered twice; and each client's own log, kept by the rules of the protocol and
nothing else, is the one that is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, assert_never

from hypothesis import event, given, settings
from hypothesis import strategies as st

from chat.protocol import Envelope
from chat.room_messages import JoinRoom, RoomMessage, SendMessage, SubscribeRoom
from chat.room_news import as_event
from storage import Unavailable
from storage.model import LogEntry
from storage.testing import Fault
from tests.chat.machines import lives
from tests.chat.machines.lives import (
    LIMIT,
    USERS,
    CrashRoom,
    CrashServer,
    Database,
    Resume,
    Wait,
    Weather,
    create_tea,
    play_lives,
    users,
)
from tests.chat.machines.naive_client import LEAVE, NaiveClient
from tests.chat.room_kit import AT_MS, ROOM_ID, Times, leave_room, virtual_time

IDLE_S = 30.0


@dataclass(frozen=True)
class Send:
    """A message, perhaps one that was sent before, perhaps with another body."""

    user: str
    cid: str
    body: str


@dataclass(frozen=True)
class Burst:
    """Some new messages at once, so that older ones leave the room's memory."""

    user: str
    count: int


@dataclass(frozen=True)
class Join:
    """Become a member, and subscribe."""

    user: str


@dataclass(frozen=True)
class Leave:
    """Be a member no more."""

    user: str


@dataclass(frozen=True)
class Vanish:
    """Lose the connection, for longer."""

    user: str


@dataclass(frozen=True)
class TakeOver:
    """Another node owns the room for a moment, and may write."""

    writes: bool


@dataclass(frozen=True)
class Passivate:
    """Everybody goes, for so long that the room leaves memory."""


Op: TypeAlias = Send | Burst | Join | Leave | Resume | Vanish | TakeOver | Passivate | Weather

sends = st.builds(Send, users, st.sampled_from("klmno"), st.sampled_from(["x", "x", "x", "y", "\x00"]))
databases = st.builds(
    Database,
    st.sampled_from(
        [
            None,
            None,
            Fault(before_s=0.3),
            Fault(after_s=0.3),
            Fault(refusal=Unavailable("away")),
            Fault(lost=Unavailable("cut")),
        ]
    ),
)
waits = st.builds(Wait, st.sampled_from([0.0, 0.0, 0.01, 0.2, 1.0]))
calm: list[st.SearchStrategy[Op]] = [
    sends,
    sends,
    sends,
    st.builds(Burst, users, st.integers(2, 5)),
    waits,
    waits,
    databases,
    st.builds(Join, users),
    st.builds(Leave, st.just("bob")),
    st.builds(Resume, users),
    st.builds(Vanish, users),
    st.builds(CrashRoom, st.just(value=True)),
    st.builds(Passivate),
]
deaths: list[st.SearchStrategy[Op]] = [
    st.builds(CrashRoom, st.booleans()),
    st.builds(CrashServer),
    st.builds(TakeOver, st.booleans()),
]
"""For long tails: who dies over a void leaves it to the next life, which looks for it in its tail only."""


@dataclass(kw_only=True)
class World(lives.World):
    """What outlives a server, and what has been seen of the log."""

    durable: Sequence[LogEntry] = ()
    ends: int = 0

    async def look(self) -> None:
        """Read the log: it only grows; then let every client read what came."""
        log = (await self.memory.history(ROOM_ID, limit=100_000)).items
        assert list(log[: len(self.durable)]) == list(self.durable), "what was stored has changed"
        self.durable = log
        for client in self.clients.values():
            client.absorb(log)
            if client.peer is not None and client.peer.is_closed:
                self.ends += 1
                client.disconnect()


class Life(lives.Life[World, Op]):
    """One server, from its start to its death."""

    async def begin(self) -> None:
        """Everybody subscribes."""
        for user in USERS:
            await self.play(Resume(user))

    async def play(self, op: Op) -> None:
        """Do one thing, and look at the world."""
        world = self._world
        match op:
            case Send(user, cid, body):
                client = self.online(user)
                self._ask(client, cid, body)
            case Burst(user, count):
                client = self.online(user)
                for _ in range(count):
                    self._ask(client, f"b{world.requests}", "x")
            case Join(user):
                self._ask(self.online(user), join=True)
            case Leave(user):
                self._leave(self.online(user))
            case Resume(user):
                await world.look()
                world.clients[user].disconnect()
                self._ask(self.online(user))
            case Vanish(user):
                await world.look()
                world.clients[user].disconnect()
            case TakeOver(writes):
                await self._take_over(writes=writes)
            case Passivate():
                await self._passivate()
            case Database() | CrashRoom() | CrashServer() | Wait():
                await self.befall(op)
            case _:
                assert_never(op)
        await world.look()

    async def calm_down(self) -> None:
        """Let everything be stored; then everybody comes back once more."""
        world, bench = self._world, self._bench
        bench.database_back()
        bench.flusher.crashes = bench.crash_clock = 0
        # Longer than a room that was given up stays so.
        await bench.settle(60.0)
        await world.look()
        for client in world.clients.values():
            if client.peer is not None:
                assert not client.asked, f"never answered: {client.asked}"
        # An owner learns that it is none any more when it writes.
        self._ask(self.online("ann"), "last", "x")
        await bench.settle(5.0)
        await world.look()
        for user in USERS:
            world.clients[user].disconnect()
            self._ask(self.online(user))
        await bench.settle(5.0)
        await world.look()
        for client in world.clients.values():
            assert client.subscribed
            assert not client.asked, f"never answered: {client.asked}"
            while (after := client.hole()) is not None:
                page = await world.memory.history(ROOM_ID, after=after, limit=3)
                assert page.items
                client.fill([dict(as_event("tea", one)) for one in page.items])

    def _ask(self, client: NaiveClient, cid: str = "", body: str = "", *, join: bool = False) -> None:
        peer = client.peer
        assert peer is not None
        if not cid and (client.subscribed or any(not asked for asked, _ in client.asked.values())):
            # One at a time: the position is not known before the answer.
            return
        request_id = self.next_id()
        message: RoomMessage
        if cid:
            message = SendMessage(peer, request_id, cid, body, None, None)
        elif join:
            message = JoinRoom(peer=peer, request_id=request_id, since=client.position, limit=LIMIT)
        else:
            message = SubscribeRoom(peer=peer, request_id=request_id, since=client.position, limit=LIMIT)
        client.ask(request_id, cid, body)
        self.tell(client, request_id, message)

    def _leave(self, client: NaiveClient) -> None:
        peer = client.peer
        assert peer is not None
        request_id = self.next_id()
        client.ask(request_id, "", LEAVE)
        self.tell(client, request_id, leave_room(peer, request_id))

    async def _take_over(self, *, writes: bool) -> None:
        memory = self._world.memory
        activation = await memory.activate("tea", tail_events=0, at_ms=AT_MS)
        assert activation is not None
        if writes:
            theirs = LogEntry(
                ROOM_ID,
                activation.head_seq + 1,
                activation.epoch,
                activation.head_at_ms,
                "message",
                "u_dan",
                "dan",
                activation.head_n + 1,
                f"e{activation.epoch}",
                "theirs",
                None,
                None,
                None,
            )
            await memory.append([theirs])

    async def _passivate(self) -> None:
        await self._world.look()
        for client in self._world.clients.values():
            client.disconnect()
        await self._bench.settle(2.5 * IDLE_S)


async def simulate(ops: Sequence[Op], *, tail_events: int, strict: bool) -> World:
    """Play a script over as many servers as it takes, to its calm end."""
    world = World()
    await create_tea(world.memory, strict=strict)
    times = Times(tail_events=tail_events, activation_s=2.0, idle_s=IDLE_S)
    return await play_lives(world, ops, times, Life)


# -- what holds in the end -------------------------------------------------------------------------------


def check_log(log: Sequence[LogEntry]) -> None:
    """No gap, no key twice, and neither time nor epoch nor ordinal falls."""
    assert [one.seq for one in log] == list(range(1, len(log) + 1))
    keys = [(one.by, one.cid) for one in log if one.cid is not None]
    assert len(keys) == len(set(keys))
    for before, after in pairwise(log):
        assert (before.at_ms, before.epoch, before.n) <= (after.at_ms, after.epoch, after.n)
        assert before.at_ms <= after.at_ms
        assert before.epoch <= after.epoch
        assert before.n <= after.n
    told = {one.data for one in log}
    for one in log:
        if one.kind == "void" and one.data is None:
            assert f'{{"of":{one.seq}}}' in told, f"nobody was told of the void at {one.seq}"


def check_client(client: NaiveClient, log: Sequence[LogEntry]) -> None:
    """What it has is what is stored, and each `rewind` was due and kept what it could."""
    assert client.last == len(log)
    stored: dict[int, Envelope] = {one.seq: as_event("tea", one) for one in log}
    for seq, seen in client.log.items():
        if seen["kind"] == "void" and "of" not in seen:
            assert stored[seq]["kind"] == "void"
        else:
            assert seen == stored[seq]
    for (cid, body), (seq, epoch) in client.stored.items():
        row = log[seq - 1]
        assert (row.by, row.cid, row.body, row.epoch) == (f"u_{client.user}", cid, body, epoch)
    for rewind in client.rewinds:
        if rewind.dropped is not None:
            there = stored.get(rewind.keep + 1)
            assert there is None or there["epoch"] != rewind.dropped["epoch"], "rewound, and it had survived"


def note(world: World) -> None:
    """Have hypothesis count what its scripts reach (`--hypothesis-show-statistics`)."""
    event(f"rewinds: {min(2, sum(len(client.rewinds) for client in world.clients.values()))}")
    event(f"voids: {min(2, sum(one.kind == 'void' and one.data is None for one in world.durable))}")
    event(f"ended by the server: {min(2, world.ends)}")
    for client in world.clients.values():
        for code in set(client.codes):
            event(f"refused: {code}")


def check(world: World) -> None:
    """Everything that holds in the end."""
    check_log(world.durable)
    for client in world.clients.values():
        check_client(client, world.durable)
    note(world)


@virtual_time
async def run_and_check(ops: Sequence[Op], tail_events: int, strict: bool) -> None:
    """One script."""
    check(await simulate(ops, tail_events=tail_events, strict=strict))


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm), min_size=5, max_size=60), st.integers(2, 6), st.booleans())
def test_a_room_that_crashes_loses_nothing(ops: list[Op], tail_events: int, strict: bool) -> None:
    """While the server lives nothing that was seen is ever taken back, but what could not be stored."""
    run_and_check(ops, tail_events, strict)


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm, *deaths), min_size=5, max_size=60), st.booleans())
def test_what_is_answered_survives_every_death(ops: list[Op], strict: bool) -> None:
    """Servers are killed and rooms taken over: who saw what did not survive is told, and nobody else."""
    run_and_check(ops, 100, strict)
