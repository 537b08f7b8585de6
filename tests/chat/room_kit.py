"""Rooms with the real writers, receipts and topics around them; and rows to build states from."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial, wraps
from random import Random
from typing import ParamSpec, cast

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import ActorSystem, open_system
from chat.codec import MSGPACK, Codec
from chat.house import House
from chat.measures import SECONDS, Counts, Histogram
from chat.presence_port import PresencePort
from chat.protocol import Leave
from chat.read_pointers import ReadPointers
from chat.receipts import Receipts
from chat.review_queue import ReviewQueue
from chat.room_messages import (
    GovernRoom,
    InspectRoom,
    JoinRoom,
    Member,
    ReadRoom,
    RoomInfo,
    RoomMessage,
    SendMessage,
    SubscribeRoom,
)
from chat.room_rules import Person
from chat.room_services import RoomServices
from chat.room_state import Known, RoomState
from chat.rooms import Rooms
from chat.rule_book import RuleBook
from chat.topic import Subscriber, Topics
from chat.transport import Flusher, Outbox
from storage import MemoryStore, Unavailable, WriterLimits, WriterPool
from storage.model import (
    Activation,
    Entry,
    EpochStart,
    LogEntry,
    MemberRow,
    NewRoom,
    Receipt,
    Role,
    RoomId,
    RoomKind,
    RoomRow,
    SanctionRow,
)
from storage.page import PageAsk
from storage.testing import Fault, FaultyStore
from tests.chat.peers_double import RecordingPeer, Wires

P = ParamSpec("P")

AT_MS = 1_700_000_000_000
ROOM_ID = RoomId(1)


def virtual_time(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run an async test on a clock that jumps to the next deadline whenever everybody waits."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.run(partial(test, *args, **kwargs), clock=MockClock(autojump_threshold=0))

    return run


# -- rows ------------------------------------------------------------------------------------------------


def room_row(
    *,
    kind: RoomKind = "public",
    strict: bool = False,
    slow_s: float = 0.0,
    locked: bool = False,
    archived: bool = False,
    retention_s: int | None = None,
    name: str = "tea",
) -> RoomRow:
    """A room's settings."""
    return RoomRow(
        room_id=ROOM_ID,
        name=name,
        kind=kind,
        topic="",
        strict=strict,
        slow_s=slow_s,
        created_by="u_owner",
        created_at_ms=AT_MS,
        locked=locked,
        archived=archived,
        retention_s=retention_s,
    )


def entry(seq: int, *, epoch: int = 1, by: str = "u_ann", cid: str | None = None) -> LogEntry:
    """A message that is stored."""
    return LogEntry(
        ROOM_ID,
        seq,
        epoch,
        AT_MS + seq,
        "message",
        by,
        by,
        seq,
        cid or f"c{seq}",
        f"body {seq}",
        None,
        None,
        None,
    )


def void_entry(seq: int, *, of: int | None = None, epoch: int = 1) -> LogEntry:
    """A seq that carries nothing, or the news of one."""
    data = None if of is None else f'{{"of": {of}}}'
    return LogEntry(ROOM_ID, seq, epoch, AT_MS + seq, "void", "", "", 0, None, None, None, None, data)


def member(user_id: str, role: Role = "member") -> MemberRow:
    """A member since ever."""
    return MemberRow(user_id, user_id, role, AT_MS, 0)


def state_of(
    tail: Sequence[LogEntry] = (),
    *,
    row: RoomRow | None = None,
    epoch: int = 1,
    epochs: Sequence[tuple[int, int]] | None = None,
    members: Sequence[MemberRow] = (member("u_ann"), member("u_bob"), member("u_owner", "owner")),
    sanctions: Sequence[SanctionRow] = (),
    tail_events: int = 100,
    members_max: int = 10,
) -> RoomState:
    """A room that was just activated, its log ending with `tail`."""
    head = tail[-1] if tail else None
    head_seq = head.seq if head else 0
    return RoomState(
        Activation(
            room=row or room_row(),
            epoch=epoch,
            head_seq=head_seq,
            head_n=head.n if head else 0,
            head_at_ms=head.at_ms if head else 0,
            tail=tail,
            epochs=[EpochStart(*start) for start in epochs or [(epoch, head_seq)]],
            members=members,
            sanctions=sanctions,
        ),
        tail_events=tail_events,
        members_max=members_max,
    )


def send(
    state: RoomState,
    cid: str,
    body: str = "hello",
    *,
    by: str = "u_ann",
    now_ms: int = AT_MS,
    reply_to: int | None = None,
    thread: int | None = None,
) -> LogEntry | Known:
    """Put a message into the log."""
    return state.order_message(
        by=by, name=by, cid=cid, body=body, reply_to=reply_to, thread=thread, now_ms=now_ms
    )


def leave_room(peer: Member, request_id: int, *, room: str = "tea") -> GovernRoom:
    """What a session tells a room that its user leaves."""
    leave = Leave(id=request_id, room=room)
    return GovernRoom(peer, leave, actor=Person(peer.user_id, peer.name, "user"), fields={"room": room})


def bodies(log: Sequence[LogEntry]) -> list[str | None]:
    """What was said."""
    return [one.body for one in log if one.kind == "message"]


# -- actors ----------------------------------------------------------------------------------------------


AWAY = Fault(refusal=Unavailable("away"))
SLOW = Fault(before_s=1.0)


def code(envelope: Wires) -> object:
    """What an error says; for an `ok` its type."""
    return envelope.get("code", envelope["t"])


def no_fault(call: str) -> None:
    """The script of a store that does what it is asked."""
    del call


class Bang(Exception):
    """A bug, raised where a test wants it."""


class CrashingFlusher(Flusher):
    """Raises in the next broadcast when told to: in the middle of a turn, the entry is with the writer.

    Attributes:
        passes: broadcasts that are let through before.
        crashes: broadcasts that are then to raise.
    """

    def __init__(self) -> None:
        super().__init__(clock=trio.current_time)
        self.passes = 0
        self.crashes = 0

    def broadcast(self, outboxes: Iterable[Outbox], frame: bytes, *, ephemeral: bool = False) -> None:
        """Deliver, or raise."""
        if self.passes:
            self.passes -= 1
        elif self.crashes:
            self.crashes -= 1
            raise Bang
        super().broadcast(outboxes, frame, ephemeral=ephemeral)


class QuietPresence:
    """Stands for a `PresencePort`.

    Attributes:
        calls: every method's name, with the arguments by name.
        crashes: calls that are still to raise.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.crashes = 0

    def members_changed(self, room: str, *, joined: Sequence[MemberRow], left: Sequence[str]) -> None:
        """Take a note, or raise."""
        if self.crashes:
            self.crashes -= 1
            raise Bang
        self.calls.append(("members_changed", {"room": room, "joined": joined, "left": left}))

    def watch_room(self, peer: object, request_id: int, room: str, **rest: object) -> None:
        """Take a note."""
        self.calls.append(("watch_room", {"peer": peer, "request_id": request_id, "room": room, **rest}))


@dataclass(frozen=True)
class Times:
    """What a bench's rooms are configured with."""

    tail_events: int = 100
    members_max: int = 10
    activation_s: float = 2.0
    idle_s: float = 60.0
    mailbox: int = 64


def _tell_nobody(room: str, count: int) -> None:
    """Moderators who are not here."""
    del room, count


class Bench:
    """Rooms of one node, and peers to talk to them.

    Attributes:
        memory: what is stored.
        store: in front of it; its `script` may be changed at any time.
        crash_clock: how often the wall clock raises when it is read next: a crash before anything happened.
        before_receipts: called once, when the next batch is committed and nobody has heard of it.
        logs: what was logged.
    """

    def __init__(self, system: ActorSystem, memory: MemoryStore, limits: WriterLimits, times: Times) -> None:
        self.system = system
        self.memory = memory
        self.store = FaultyStore(memory, no_fault)
        self.counts = Counts()
        self.flusher = CrashingFlusher()
        self.topics = Topics(self.flusher, self.counts)
        self.presence = QuietPresence()
        self.crash_clock = 0
        self.before_receipts: Callable[[], None] | None = None
        self.logs: list[MutableMapping[str, object]] = []
        self.rooms = Rooms(
            system,
            self.topics,
            mailbox_capacity=times.mailbox,
            reserve_fraction=0.25,
            idle_s=times.idle_s,
            max_active=100,
        )
        self.receipts = Receipts(
            self.rooms.tell_control, self.counts, ok_s=Histogram(SECONDS), clock=trio.current_time
        )
        self.reads = ReadPointers(self.store, rng=Random(1))  # noqa: S311  jitter is no secret
        self.sessions: list[RecordingPeer] = []
        self.writers = WriterPool[object](
            2,
            self.store,
            on_receipts=self._deliver,
            limits=limits,
            rng=Random(1),  # noqa: S311  jitter is no secret
        )
        self.reviews = ReviewQueue(self.store, _tell_nobody, Random(1))  # noqa: S311  same
        self.rooms.serve(
            RoomServices(
                store=self.store,
                writers=self.writers,
                topics=self.topics,
                presence=cast("PresencePort", self.presence),
                reads=self.reads,
                sessions_of=self.sessions_of,
                counts=self.counts,
                now_ms=self.now_ms,
                successor=self.rooms.hand_on,
                house=House(
                    sessions=lambda: self.sessions,
                    sessions_of=self.sessions_of,
                    flusher=self.flusher,
                    now_ms=self.now_ms,
                ),
                tail_events=times.tail_events,
                members_max=times.members_max,
                activation_s=times.activation_s,
                rule_book=RuleBook(),
                reviews=self.reviews,
            )
        )
        self._ids = 0

    def _deliver(self, results: Sequence[tuple[Entry, object, Receipt]]) -> None:
        before, self.before_receipts = self.before_receipts, None
        if before is not None:
            before()
        self.receipts.deliver(results)
        self.reads.committed()

    def sessions_of(self, user_id: str) -> Sequence[RecordingPeer]:
        """A user's connections."""
        return [peer for peer in self.sessions if peer.user_id == user_id and not peer.is_closed]

    def now_ms(self) -> int:
        """The wall clock."""
        if self.crash_clock:
            self.crash_clock -= 1
            raise Bang
        return AT_MS + int(trio.current_time() * 1000)

    async def create(
        self, name: str = "tea", *, kind: RoomKind = "public", strict: bool = False, slow_s: float = 0.0
    ) -> RoomRow:
        """Make a room that `u_owner` owns."""
        return await self.memory.create_room(
            NewRoom(
                name=name,
                kind=kind,
                topic="",
                strict=strict,
                slow_s=slow_s,
                created_by="u_owner",
                creator_name="owner",
                created_at_ms=AT_MS,
            )
        )

    def peer(self, user: str = "owner", codec: Codec = MSGPACK) -> RecordingPeer:
        """A connection of a user."""
        peer = RecordingPeer(self.flusher, user, self._leave, codec)
        self.sessions.append(peer)
        return peer

    def _leave(self, peer: Subscriber) -> None:
        for name in ("tea", "other"):
            topic = self.topics.get(name)
            if topic is not None:
                topic.discard(peer)

    # -- requests: each returns its id; the answer comes when the room has had its turn -----------------

    def tell(self, message: RoomMessage, room: str = "tea") -> None:
        """Tell a room anything."""
        self.rooms.tell(room, message)

    def new_id(self) -> int:
        """A request id that was not used before."""
        self._ids += 1
        return self._ids

    def send(
        self,
        peer: RecordingPeer,
        cid: str,
        body: str = "hello",
        *,
        room: str = "tea",
        reply_to: int | None = None,
    ) -> int:
        """Put a message into a room's mailbox."""
        request_id = self.new_id()
        self.tell(SendMessage(peer, request_id, cid, body, reply_to, None), room)
        return request_id

    def join(self, peer: RecordingPeer, *, must_exist: bool = False, room: str = "tea") -> int:
        """Ask to become a member."""
        request_id = self.new_id()
        message = JoinRoom(peer=peer, request_id=request_id, since=None, limit=50, must_exist=must_exist)
        self.tell(message, room)
        return request_id

    def leave(self, peer: RecordingPeer) -> int:
        """Ask to be a member no more."""
        request_id = self.new_id()
        self.tell(leave_room(peer, request_id))
        return request_id

    def subscribe(
        self, peer: RecordingPeer, since: tuple[int, int] | None = None, *, limit: int = 50, room: str = "tea"
    ) -> int:
        """Ask to receive."""
        request_id = self.new_id()
        self.tell(SubscribeRoom(peer=peer, request_id=request_id, since=since, limit=limit), room)
        return request_id

    def read(self, peer: RecordingPeer, seq: int) -> int:
        """Ask to move the read pointer."""
        request_id = self.new_id()
        self.tell(ReadRoom(peer=peer, request_id=request_id, seq=seq))
        return request_id

    async def inspect(self, user_id: str, page: PageAsk | None = None) -> RoomInfo:
        """Ask what a user may know of the room; raises what the session would answer from."""
        return await self.rooms.ref("tea").ask(
            lambda reply: InspectRoom(user_id=user_id, reply=reply, page=page), timeout_s=5.0
        )

    # -- time and faults -------------------------------------------------------------------------------

    async def member(self, user: str = "ann", *, codec: Codec = MSGPACK) -> RecordingPeer:
        """A connection of a new member, who is subscribed and has nothing unread."""
        peer = self.peer(user, codec)
        request_id = self.join(peer)
        await self.settle()
        assert peer.answer(request_id)["t"] == "ok"
        peer.outbox.frames.clear()
        return peer

    async def settle(self, seconds: float = 0.0) -> None:
        """Let everybody do what can be done now, and what falls due within so many seconds."""
        await trio.sleep(seconds)
        await wait_all_tasks_blocked()

    def database_away(self, *calls: str, fault: Fault) -> None:
        """Make these calls of the store go wrong until `database_back`; without a name, all of them."""

        def script(name: str) -> Fault | None:
            return fault if name in calls or not calls else None

        self.store.script = script

    def database_back(self) -> None:
        """Let every call through again."""
        self.store.script = no_fault

    async def log(self, room_id: RoomId = ROOM_ID) -> Sequence[LogEntry]:
        """What is stored of a room, after a look at its numbers."""
        items = (await self.memory.history(room_id, limit=100_000)).items
        assert [item.seq for item in items] == list(range(1, len(items) + 1))
        return items

    async def take_away(self, name: str = "tea") -> None:
        """Have another node take a room over: whatever its owner here writes from now on is fenced."""
        assert await self.memory.activate(name, tail_events=0, at_ms=AT_MS) is not None


@asynccontextmanager
async def open_bench(
    times: Times | None = None, *, limits: WriterLimits | None = None, memory: MemoryStore | None = None
) -> AsyncGenerator[Bench]:
    """Rooms with running writers; leaving the block kills everything, as kill -9 does."""
    with capture_logs() as logs:
        async with open_system(rng=Random(1)) as system, trio.open_nursery() as nursery:  # noqa: S311
            bench = Bench(
                system,
                memory or MemoryStore(),
                limits or WriterLimits(max_interval_s=0.0, retry_base_s=0.05, retry_cap_s=0.05),
                times or Times(),
            )
            bench.logs = logs
            await nursery.start(bench.writers.run)
            await nursery.start(bench.reads.run)
            yield bench
            nursery.cancel_scope.cancel()
