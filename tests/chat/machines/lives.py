"""What the scripts of rooms share: servers that live one after the other on one database, in any weather."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar, assert_never

from hypothesis import strategies as st

from actors import ActorUnavailable, MailboxFull
from chat.room_messages import RoomMessage
from storage import MemoryStore, WriterLimits
from storage.model import MemberChange, NewRoom
from storage.testing import Fault
from tests.chat.machines.naive_client import NaiveClient
from tests.chat.room_kit import AT_MS, ROOM_ID, Bench, Times, open_bench

USERS = ("ann", "bob", "cat")
LIMIT = 4
users = st.sampled_from(USERS)


@dataclass(frozen=True)
class Resume:
    """Lose the connection; come back and subscribe from where one was."""

    user: str


@dataclass(frozen=True)
class Database:
    """How the database fares from now on."""

    fault: Fault | None


@dataclass(frozen=True)
class CrashRoom:
    """A bug: before the next event is ordered, or between the writer and the subscribers."""

    midway: bool


@dataclass(frozen=True)
class CrashServer:
    """kill -9: what was only in memory is gone."""


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: float


Weather: TypeAlias = Database | CrashRoom | CrashServer | Wait


@dataclass(kw_only=True)
class World:
    """What outlives a server: the database, and the clients."""

    memory: MemoryStore = field(default_factory=MemoryStore)
    clients: dict[str, NaiveClient] = field(
        default_factory=lambda: {user: NaiveClient(user) for user in USERS}
    )
    requests: int = 0


O_contra = TypeVar("O_contra", contravariant=True)
W = TypeVar("W", bound=World)


class Life(ABC, Generic[W, O_contra]):
    """One server, from its start to its death."""

    def __init__(self, world: W, bench: Bench) -> None:
        self._world = world
        self._bench = bench

    @abstractmethod
    async def begin(self) -> None:
        """Have everybody come."""

    @abstractmethod
    async def play(self, op: O_contra) -> None:
        """Do one thing, and look at the world."""

    @abstractmethod
    async def calm_down(self) -> None:
        """Let everything be stored; then everybody comes back once more."""

    async def befall(self, op: Weather) -> None:
        """Have it happen; a `CrashServer` is `play_lives`' to do."""
        match op:
            case Database(fault):
                if fault is None:
                    self._bench.database_back()
                else:
                    self._bench.database_away(fault=fault)
            case CrashRoom(midway):
                self._bench.flusher.crashes, self._bench.crash_clock = (1, 0) if midway else (0, 1)
            case Wait(seconds):
                await self._bench.settle(seconds)
            case CrashServer():
                pass
            case _:
                assert_never(op)

    def online(self, user: str) -> NaiveClient:
        """A user's client, connected."""
        client = self._world.clients[user]
        if client.peer is None:
            client.connect(self._bench.peer(user))
        return client

    def tell(self, client: NaiveClient, request_id: int, message: RoomMessage) -> None:
        """Hand the room what the client has noted as asked; forget it where nobody takes it."""
        try:
            self._bench.tell(message)
        except (MailboxFull, ActorUnavailable):
            del client.asked[request_id]

    def next_id(self) -> int:
        """A request id that was not used before."""
        self._world.requests += 1
        return self._world.requests


async def play_lives(
    world: W, ops: Sequence[O_contra], times: Times, live: Callable[[W, Bench], Life[W, O_contra]]
) -> W:
    """Play a script over as many servers as it takes, to its calm end."""
    rest = list(ops)
    while True:
        async with open_bench(
            times,
            limits=WriterLimits(max_interval_s=0.0, max_batch_rows=3, retry_base_s=0.05, retry_cap_s=0.05),
            memory=world.memory,
        ) as bench:
            life = live(world, bench)
            await life.begin()
            while rest:
                op = rest.pop(0)
                await life.play(op)
                if isinstance(op, CrashServer):
                    break
            else:
                await life.calm_down()
                return world
            for client in world.clients.values():
                client.disconnect()


async def create_tea(memory: MemoryStore, *, strict: bool) -> None:
    """Make the room: ann owns it, bob and cat are members."""
    room = NewRoom(
        name="tea",
        kind="public",
        topic="",
        strict=strict,
        slow_s=0.0,
        created_by="u_ann",
        creator_name="ann",
        created_at_ms=AT_MS,
    )
    assert (await memory.create_room(room)).room_id == ROOM_ID
    activation = await memory.activate("tea", tail_events=0, at_ms=AT_MS)
    assert activation is not None
    await memory.append(
        [
            MemberChange(ROOM_ID, activation.epoch, f"u_{user}", user, "member", AT_MS, 0, 0)
            for user in ("bob", "cat")
        ]
    )
