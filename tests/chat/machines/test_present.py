"""For every kind of event: a snapshot at q, with the events after q, is the snapshot of now.

Scripts of messages and of all that changes them, of values, settings, roles, sanctions and members are
played on rooms with everything around them but sockets, while the database fails, rooms crash, servers die
and clients come and go. In the end what a server would show anew, what was shown at any moment and then
changed by the events since, and what every client has made of the events that it saw, are one and the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never, cast

from hypothesis import event, given, settings
from hypothesis import strategies as st

from chat.json_value import encode_value
from chat.protocol import Change, Delete, Edit, Invite, Mod, ModAction, Pin, React, SetState, Update
from chat.room_governance import Governing
from chat.room_messages import ChangeRoom, GovernRoom, SendMessage, SubscribeRoom
from chat.room_news import as_event
from chat.room_rules import Person
from storage import Unavailable
from storage.model import LogEntry, Role
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
from tests.chat.machines.naive_client import NaiveClient
from tests.chat.machines.naive_fold import Present, read_present
from tests.chat.peers_double import Wires
from tests.chat.room_kit import ROOM_ID, Times, virtual_time


@dataclass(frozen=True)
class Say:
    """Some messages, perhaps in a thread."""

    user: str
    body: str
    count: int
    thread: int | None


@dataclass(frozen=True)
class Ask:
    """A change of a message, counted from the latest, or of a key; perhaps under a key that was used."""

    user: str
    what: str
    back: int
    variant: int
    cid: str | None


@dataclass(frozen=True)
class Govern:
    """Something about the room, or somebody: a member, or one of two who come and go by others' doing."""

    user: str
    what: str
    target: str
    variant: int


@dataclass(frozen=True)
class Snapshot:
    """Look at what a server shows now."""

    user: str


Op: TypeAlias = Say | Ask | Govern | Resume | Snapshot | Weather

asks = st.builds(
    Ask,
    users,
    st.sampled_from([*["edit"] * 4, "delete", *["react"] * 5, "pin", "pin", *["set"] * 4]),
    st.sampled_from([0, 0, 0, 1, 1, 2, 5, 9]),
    st.integers(0, 7),
    st.sampled_from([None, None, None, "k", "l"]),
)
calm: list[st.SearchStrategy[Op]] = [
    st.builds(
        Say,
        users,
        st.sampled_from(["x", "@bob, look", "@here"]),
        st.integers(1, 3),
        st.sampled_from([None, 0, 1]),
    ),
    asks,
    asks,
    asks,
    asks,
    st.builds(
        Govern,
        st.sampled_from(["ann", "ann", "ann", "bob", "cat"]),
        st.sampled_from(
            [
                "topic",
                "slow",
                "lock",
                "unlock",
                "archive",
                *["unarchive"] * 3,
                "retention",
                *["purge"] * 2,
                "mute",
                "unmute",
                "role",
                "role",
                *["invite", "kick", "ban"] * 2,
            ]
        ),
        st.sampled_from(["bob", "cat", "dan", "eve"]),
        st.integers(0, 3),
    ),
    st.builds(Resume, users),
    st.builds(Snapshot, users),
    st.builds(Wait, st.sampled_from([0.0, 0.01, 0.2, 1.0])),
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
    st.builds(CrashRoom, st.just(value=True)),
]
deaths: list[st.SearchStrategy[Op]] = [st.builds(CrashRoom, st.booleans()), st.builds(CrashServer)]


class Client(NaiveClient):
    """A client that also asks for changes; what was answered stands in the log."""

    def _stored(self, cid: str, body: str, ok: Wires, durable: Sequence[LogEntry]) -> None:
        del cid
        if "seq" not in ok:
            event("nothing had to be done")
            return
        seq = cast("int", ok["seq"])
        assert seq <= len(durable), f"ok, and not stored: {ok}"
        row = durable[seq - 1]
        # A message that was purged is deleted already: by that event.
        assert row.kind == body or (body, row.kind, ok.get("dup")) == ("delete", "purge", True)
        if "dup" not in ok:
            assert (row.by, row.epoch, row.at_ms) == (f"u_{self.user}", ok["epoch"], ok["at"])
        event(f"done: {body}{' again' if 'dup' in ok else ''}")


@dataclass(kw_only=True)
class World(lives.World):
    """What outlives a server, and what was looked at."""

    clients: dict[str, NaiveClient] = field(default_factory=lambda: {user: Client(user) for user in USERS})
    snapshots: list[tuple[int, Present]] = field(default_factory=list[tuple[int, Present]])

    async def log(self) -> Sequence[LogEntry]:
        """What is stored."""
        return (await self.memory.history(ROOM_ID, limit=100_000)).items


class Life(lives.Life[World, Op]):
    """One server, from its start to its death."""

    async def begin(self) -> None:
        """Everybody subscribes."""
        for user in USERS:
            await self.play(Resume(user))
        await self._bench.settle()

    async def play(self, op: Op) -> None:
        """Do one thing, and look at the world."""
        world = self._world
        match op:
            case Say(user, body, count, thread):
                seqs = await self._messages()
                root = None if thread is None or not seqs else seqs[max(0, len(seqs) - 1 - thread)]
                for _ in range(count):
                    self._say(user, body, root)
            case Ask():
                await self._ask(op)
            case Govern():
                await self._govern(op)
            case Resume(user):
                await self.look()
                world.clients[user].disconnect()
                self._subscribe(user)
            case Snapshot(user):
                world.snapshots.append(await read_present(world.memory, ROOM_ID, f"u_{user}"))
            case Database() | CrashRoom() | CrashServer() | Wait():
                await self.befall(op)
            case _:
                assert_never(op)
        await self.look()

    async def look(self) -> None:
        """Let clients read what came, and look up for the room what it does not remember, as a desk does."""
        log = await self._world.log()
        for client in self._world.clients.values():
            client.absorb(log)
        for client in self._world.clients.values():
            peer = client.peer
            if peer is None:
                continue
            if peer.is_closed:
                client.disconnect()
                continue
            wanted, peer.looked_up = peer.looked_up, []
            for request in wanted:
                event("looked up")
                assert not isinstance(request, SetState)
                page = await self._world.memory.fold_messages(ROOM_ID, [request.seq], user_id=peer.user_id)
                self.tell(client, request.id, ChangeRoom(peer, request, stored=page))

    async def calm_down(self) -> None:
        """Let everything be stored; then everybody comes back once more, and has no hole."""
        world, bench = self._world, self._bench
        bench.database_back()
        bench.flusher.crashes = bench.crash_clock = 0
        for _ in range(3):
            # Longer than a room that was given up stays so.
            await bench.settle(60.0)
            await self.look()
        for client in world.clients.values():
            assert client.peer is None or not client.asked, f"never answered: {client.asked}"
            client.disconnect()
            self._subscribe(client.user)
        await bench.settle(5.0)
        await self.look()
        for client in world.clients.values():
            assert client.subscribed
            while (after := client.hole()) is not None:
                page = await world.memory.history(ROOM_ID, after=after, limit=3)
                client.fill([dict(as_event("tea", one)) for one in page.items])

    async def _messages(self, author: str | None = None) -> list[int]:
        return [
            entry.seq
            for entry in await self._world.log()
            if entry.kind == "message" and author in {None, entry.by}
        ]

    def _say(self, user: str, body: str, thread: int | None) -> None:
        client = self.online(user)
        request_id = self.next_id()
        assert client.peer is not None
        message = SendMessage(client.peer, request_id, f"m{request_id}", body, None, thread)
        client.ask(request_id, message.cid, "message")
        self.tell(client, request_id, message)

    async def _ask(self, op: Ask) -> None:
        # Mostly what may be edited, or who may not would be all that this is about.
        author = f"u_{op.user}" if op.what in {"edit", "delete"} and op.variant % 4 else None
        seqs = await self._messages(author)
        seq = seqs[max(0, len(seqs) - 1 - op.back)] if seqs else 1
        client = self.online(op.user)
        request_id = self.next_id()
        request, kind = build(op, request_id, seq)
        value = None
        if isinstance(request, SetState) and request.value is not None:
            value = encode_value(request.value)
        assert client.peer is not None
        client.ask(request_id, op.cid or "-", kind)
        self.tell(client, request_id, ChangeRoom(client.peer, request, value=value))

    async def _govern(self, op: Govern) -> None:
        client = self.online(op.user)
        peer = client.peer
        assert peer is not None
        request_id = self.next_id()
        request, kind = govern(op, request_id)
        client.ask(request_id, "-", kind)
        target = Person(f"u_{op.target}", op.target, "user")
        actor = Person(peer.user_id, peer.name, "user")
        seqs = (await self._messages(target.user_id))[op.variant :] if op.what == "purge" else []
        governing = GovernRoom(peer, request, actor=actor, target=target, seqs=seqs)
        self.tell(client, request_id, governing)

    def _subscribe(self, user: str) -> None:
        client = self.online(user)
        if client.subscribed:
            return
        request_id = self.next_id()
        assert client.peer is not None
        client.ask(request_id, "", "")
        self.tell(
            client,
            request_id,
            SubscribeRoom(peer=client.peer, request_id=request_id, since=client.position, limit=LIMIT),
        )


def build(op: Ask, request_id: int, seq: int) -> tuple[Change, str]:
    """A request of this kind, and the kind of its event."""
    flag = op.variant >= 4
    match op.what:
        case "edit":
            body = ("y", "@cat", "@here", "z")[op.variant % 4]
            version = op.variant % 3 + 1 if flag else None
            return Edit(id=request_id, room="tea", seq=seq, body=body, if_version=version, cid=op.cid), "edit"
        case "delete":
            return Delete(id=request_id, room="tea", seq=seq, cid=op.cid), "delete"
        case "pin":
            return Pin(id=request_id, room="tea", seq=seq, remove=flag, cid=op.cid), "pin"
        case "react":
            emoji = "👍🎉"[op.variant % 2]
            remove = op.variant >= 6
            return React(id=request_id, room="tea", seq=seq, emoji=emoji, remove=remove, cid=op.cid), "react"
        case _:
            value = (None, 1, "two", [3])[op.variant % 4]
            version = op.back % 4 if flag else None
            key = "ab"[op.back % 2]
            return (
                SetState(id=request_id, room="tea", key=key, value=value, if_version=version, cid=op.cid),
                "state",
            )


def govern(op: Govern, request_id: int) -> tuple[Governing, str]:
    """A request of this kind, and the kind of its event."""
    target = f"u_{op.target}"
    match op.what:
        case "topic":
            return Update(id=request_id, room="tea", topic="xyz"[: op.variant]), "room"
        case "slow":
            # So little that nobody has to wait for it.
            return Update(id=request_id, room="tea", slow=op.variant / 1000), "room"
        case "retention":
            return Update(id=request_id, room="tea", retention=60 * op.variant), "room"
        case "lock" | "unlock" | "archive" | "unarchive":
            return Mod(id=request_id, room="tea", action=op.what), "room"
        case "purge":
            return Mod(id=request_id, room="tea", action="purge", target=target), "purge"
        case "invite":
            return Invite(id=request_id, room="tea", user=target), "member"
        case "kick" if op.target in {"dan", "eve"}:
            return Mod(id=request_id, room="tea", action="kick", target=target), "member"
        case "ban" if op.target in {"dan", "eve"}:
            action: ModAction = "unban" if op.variant % 2 else "ban"
            return Mod(id=request_id, room="tea", action=action, target=target), "sanction"
        case "role":
            role: Role = "moderator" if op.variant % 2 else "member"
            return Mod(id=request_id, room="tea", action="role", target=target, role=role), "role"
        case _:
            action = "unmute" if op.variant % 2 else "mute"
            return Mod(id=request_id, room="tea", action=action, target=target, ttl=0.2), "sanction"


async def simulate(ops: Sequence[Op], *, tail_events: int, strict: bool) -> World:
    """Play a script over as many servers as it takes, to its calm end."""
    world = World()
    await create_tea(world.memory, strict=strict)
    script: list[Op] = [*(Say(user, "x", 2, None) for user in USERS), Wait(0.01), *ops]
    return await play_lives(world, script, Times(tail_events=tail_events), Life)


async def check(world: World) -> None:
    """Everything that holds in the end."""
    log = [as_event("tea", entry) for entry in await world.log()]
    for kind in {str(one["kind"]) for one in log}:
        event(f"in the log: {kind}")
    for client in world.clients.values():
        user_id = f"u_{client.user}"
        _, now = await read_present(world.memory, ROOM_ID, user_id)
        assert Present(user_id).after(log).shown() == now.shown(), "the log is not what is shown of it"
        seen = [client.log[seq] for seq in sorted(client.log)]
        assert Present(user_id).after(seen).shown() == now.shown(), f"{client.user} has seen something else"
        for code in set(client.codes):
            event(f"refused: {code}")
    for as_of, then in world.snapshots:
        _, now = await read_present(world.memory, ROOM_ID, then.user_id)
        since = [one for one in log if cast("int", one["seq"]) > as_of]
        assert then.after(since).shown() == now.shown(), f"the snapshot at {as_of} leads elsewhere"
        client = world.clients[then.user_id.removeprefix("u_")]
        seen = [client.log[seq] for seq in sorted(client.log) if seq > as_of]
        assert then.after(seen).shown() == now.shown()


@virtual_time
async def run_and_check(ops: Sequence[Op], tail_events: int, strict: bool) -> None:
    """One script."""
    await check(await simulate(ops, tail_events=tail_events, strict=strict))


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm), min_size=20, max_size=80), st.integers(2, 6), st.booleans())
def test_a_snapshot_and_the_events_after_it_are_the_snapshot_of_now(
    ops: list[Op], tail_events: int, strict: bool
) -> None:
    """Also for messages that the room has forgotten, and keys that turn out to have been used."""
    run_and_check(ops, tail_events, strict)


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm, *deaths), min_size=20, max_size=80), st.booleans())
def test_the_same_holds_whoever_dies(ops: list[Op], strict: bool) -> None:
    """Rooms and servers are killed in the middle of it; who resumes sees what one that stayed saw."""
    run_and_check(ops, 100, strict)
