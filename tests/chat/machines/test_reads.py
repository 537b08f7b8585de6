"""Read pointers and counts against a naive list: sends, edits, deletions, joins, leaves, reads and deaths.

Scripts are played on rooms with everything around them but sockets, while the database fails, rooms crash and
servers die. Whatever is in the store at any moment: no pointer is above the log or below what was answered
`ok`, and what is unread is what somebody counts who reads the log from the pointer on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never, cast

from hypothesis import event, given, settings
from hypothesis import strategies as st

from chat.protocol import Change, Delete, Edit, React
from chat.room_messages import ChangeRoom, JoinRoom, ReadRoom, SendMessage, SubscribeRoom
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
    Wait,
    Weather,
    create_tea,
    play_lives,
    users,
)
from tests.chat.machines.naive_client import LEAVE, NaiveClient
from tests.chat.peers_double import Wires
from tests.chat.room_kit import ROOM_ID, Times, leave_room, virtual_time

READ = "read"


@dataclass(frozen=True)
class Say:
    """Some messages."""

    user: str
    body: str
    count: int


@dataclass(frozen=True)
class Ask:
    """A change of a message, counted from the latest."""

    user: str
    what: str
    back: int
    body: str


@dataclass(frozen=True)
class ReadUp:
    """Say that one has read up to so many events before the last that one has seen; below 0: beyond it."""

    user: str
    back: int


@dataclass(frozen=True)
class Join:
    """Become a member."""

    user: str


@dataclass(frozen=True)
class Leave:
    """Be one no more."""

    user: str


Op: TypeAlias = Say | Ask | ReadUp | Join | Leave | Weather

bodies = st.sampled_from(["x", "x", "@bob", "@cat and @bob", "@here", "@here @ann"])
reads = st.builds(ReadUp, users, st.sampled_from([0, 0, 0, 1, 2, 5, -1]))
calm: list[st.SearchStrategy[Op]] = [
    st.builds(Say, users, bodies, st.integers(1, 3)),
    st.builds(Ask, users, st.sampled_from(["edit", "edit", "delete", "react"]), st.integers(0, 4), bodies),
    reads,
    reads,
    st.builds(Join, st.sampled_from(USERS[1:])),
    st.builds(Leave, st.sampled_from(USERS[1:])),
    st.builds(Wait, st.sampled_from([0.0, 0.01, 0.06, 1.0])),
    st.builds(
        Database,
        st.sampled_from(
            [
                None,
                None,
                Fault(before_s=0.3),
                Fault(refusal=Unavailable("away")),
                Fault(lost=Unavailable("cut")),
            ]
        ),
    ),
]
deaths: list[st.SearchStrategy[Op]] = [st.builds(CrashRoom, st.booleans()), st.builds(CrashServer)]


class Client(NaiveClient):
    """A client that also reads.

    Attributes:
        confirmed: the highest pointer that was answered `ok`.
        pointers: by user, the pointers that this connection was told of, in the order of coming.
    """

    confirmed: int
    pointers: dict[str, list[int]]

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.confirmed = 0
        self.pointers = {}

    def disconnect(self) -> None:
        """The connection is gone."""
        super().disconnect()
        self.pointers = {}

    def _take(self, envelope: Wires, durable: Sequence[LogEntry]) -> None:
        if envelope["t"] == READ:
            assert envelope["room"] == "tea"
            seqs = self.pointers.setdefault(cast("str", envelope["user"]), [])
            seqs.append(cast("int", envelope["seq"]))
        elif envelope["t"] == "event":
            # Whether none is missing is what `test_room_log` is about.
            self.last = max(self.last, cast("int", envelope["seq"]))
        else:
            super()._take(envelope, durable)

    def _caught_up(self, ok: Wires) -> None:
        self.last, self.epoch = cast("int", ok["head"]), cast("int", ok["epoch"])
        self.subscribed = True

    def _stored(self, cid: str, body: str, ok: Wires, durable: Sequence[LogEntry]) -> None:
        if cid != READ:
            assert cast("int", ok["seq"]) <= len(durable), f"ok, and not stored: {ok}"
            return
        pointer = cast("int", ok["read"])
        assert int(body) <= pointer <= len(durable), f"up to {body} was asked for: {ok}"
        event("a pointer was moved" if pointer == int(body) else "a pointer was further already")
        self.confirmed = max(self.confirmed, pointer)


@dataclass(kw_only=True)
class World(lives.World):
    """What outlives a server.

    Attributes:
        calm: whether nothing crashes, so that no pointer that was told of is taken back.
    """

    clients: dict[str, NaiveClient] = field(default_factory=lambda: {user: Client(user) for user in USERS})
    calm: bool = True

    async def log(self) -> Sequence[LogEntry]:
        """What is stored."""
        return (await self.memory.history(ROOM_ID, limit=100_000)).items


def count(log: Sequence[LogEntry], user_id: str, pointer: int) -> tuple[int, int]:
    """What is unread after a pointer, and how much of it mentions a user, for whoever reads the whole log."""
    messages = {entry.seq: as_event("tea", entry) for entry in log if entry.kind == "message"}
    present = dict(messages)
    for change in (as_event("tea", entry) for entry in log):
        if change["kind"] == "edit":
            present[cast("int", change["of"])] = change
        elif change["kind"] == "delete":
            present[cast("int", change["of"])] = {}
    unread = [seq for seq, one in messages.items() if seq > pointer and one["by"] != user_id]
    mentions = [
        seq
        for seq in unread
        if present[seq].get("here") or user_id in cast("list[str]", present[seq].get("mentions", ()))
    ]
    return len(unread), len(mentions)


class Life(lives.Life[World, Op]):
    """One server, from its start to its death."""

    async def begin(self) -> None:
        """Everybody subscribes."""
        for user in USERS:
            self._subscribe(user)
        await self._bench.settle()
        await self.look()

    async def play(self, op: Op) -> None:
        """Do one thing, and look at the world."""
        match op:
            case Say(user, body, times):
                for _ in range(times):
                    client, request_id = self._asking(user)
                    assert client.peer is not None
                    client.ask(request_id, f"m{request_id}", "message")
                    message = SendMessage(client.peer, request_id, f"m{request_id}", body, None, None)
                    self.tell(client, request_id, message)
            case Ask():
                await self._change(op)
            case ReadUp(user, back):
                client, request_id = self._asking(user)
                assert client.peer is not None
                seq = max(0, client.last - back)
                client.ask(request_id, READ, str(seq))
                self.tell(client, request_id, ReadRoom(peer=client.peer, request_id=request_id, seq=seq))
            case Join(user):
                self._subscribe(user, joining=True)
            case Leave(user):
                client, request_id = self._asking(user)
                assert client.peer is not None
                client.ask(request_id, "", LEAVE)
                self.tell(client, request_id, leave_room(client.peer, request_id))
            case Database() | CrashRoom() | CrashServer() | Wait():
                self._world.calm = self._world.calm and not isinstance(op, CrashRoom | CrashServer)
                await self.befall(op)
            case _:
                assert_never(op)
        await self.look()

    async def look(self) -> None:
        """Let clients read what came, and compare what is stored with what a naive reader makes of it."""
        world = self._world
        log = await world.log()
        for client in world.clients.values():
            client.absorb(log)
            if client.peer is not None and client.peer.is_closed:
                client.disconnect()
        for client in world.clients.values():
            await self._compare(cast("Client", client))
        if world.calm:
            for client in world.clients.values():
                for told in cast("Client", client).pointers.values():
                    assert told == sorted(set(told)), f"{client.user} was told of {told}"

    async def _compare(self, client: Client) -> None:
        user_id = f"u_{client.user}"
        confirmed = client.confirmed
        while True:
            log = await self._world.log()
            page = (await self._world.memory.memberships([user_id], after=None, limit=9))[user_id]
            if len(await self._world.log()) == len(log):
                # Each is of one moment; together they are when nothing was written in between.
                break
        for room in page.rooms:
            assert confirmed <= room.read_seq <= len(log), f"{room}, and {confirmed} was ok"
            assert (room.unread, room.mentions) == count(log, user_id, room.read_seq)
            if room.mentions:
                event("somebody is mentioned")

    async def calm_down(self) -> None:
        """Let everything be stored and answered."""
        bench = self._bench
        bench.database_back()
        bench.flusher.crashes = bench.crash_clock = 0
        for _ in range(3):
            # Longer than a room that was given up stays so.
            await bench.settle(60.0)
            await self.look()
        assert bench.reads.statistics().waiting == 0
        for client in self._world.clients.values():
            assert not client.asked, f"never answered: {client.asked}"
            for code in set(client.codes):
                event(f"refused: {code}")

    def _asking(self, user: str) -> tuple[NaiveClient, int]:
        client = self.online(user)
        return client, self.next_id()

    async def _change(self, op: Ask) -> None:
        seqs = [entry.seq for entry in await self._world.log() if entry.kind == "message"]
        seq = seqs[max(0, len(seqs) - 1 - op.back)] if seqs else 1
        client, request_id = self._asking(op.user)
        request: Change
        match op.what:
            case "edit":
                request = Edit(id=request_id, room="tea", seq=seq, body=op.body)
            case "delete":
                request = Delete(id=request_id, room="tea", seq=seq)
            case _:
                request = React(id=request_id, room="tea", seq=seq, emoji="👍")
        assert client.peer is not None
        client.ask(request_id, "-", op.what)
        self.tell(client, request_id, ChangeRoom(client.peer, request))

    def _subscribe(self, user: str, *, joining: bool = False) -> None:
        client, request_id = self._asking(user)
        if not joining and client.subscribed:
            return
        assert client.peer is not None
        ask = JoinRoom if joining else SubscribeRoom
        client.ask(request_id, "", "")
        message = ask(peer=client.peer, request_id=request_id, since=client.position, limit=LIMIT)
        self.tell(client, request_id, message)


@virtual_time
async def run(ops: Sequence[Op], strict: bool) -> None:
    """Play a script over as many servers as it takes, to its calm end."""
    world = World()
    await create_tea(world.memory, strict=strict)
    script: list[Op] = [*(Say(user, "x", 2) for user in USERS), Wait(0.1), *ops]
    await play_lives(world, script, Times(tail_events=100), Life)


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm), min_size=20, max_size=60), st.booleans())
def test_what_is_unread_is_what_comes_after_the_pointer(ops: list[Op], strict: bool) -> None:
    """And whoever is told of a pointer is told once, and never of a lower one."""
    run(ops, strict)


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm, *deaths), min_size=20, max_size=60), st.booleans())
def test_a_pointer_that_was_answered_is_never_lower_whoever_dies(ops: list[Op], strict: bool) -> None:
    """Rooms and servers are killed in the middle of it."""
    run(ops, strict)
