"""A presence actor on a virtual clock, with peers and topics that write down what they got."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from actors import ActorSystem, MailboxSpec, Ref, Restart, RestartPolicy, open_system
from chat.codec import CODECS, MSGPACK
from chat.peers import Broadcast
from chat.presence import Presence
from chat.presence_limits import PresenceLimits
from chat.presence_messages import PresenceMessage, SessionOpened
from chat.presence_port import MAILBOX, PresencePort, answer_discarded
from chat.presence_services import PresenceServices
from chat.protocol import Envelope, Status
from tests.chat.presence_model import Row

Wire = Mapping[str, object]
T = TypeVar("T")


def payload(frame: bytes) -> bytes:
    """What an unmasked frame of the server carries (RFC 6455, 5.2)."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


class FakePeer:
    """A connection that keeps what it was given."""

    def __init__(self, session_id: int, user: str, encoding_index: int = 0) -> None:
        """A session of a user named by one letter."""
        self.session_id: int = session_id
        self.user_id: str = f"u_{user}"
        self.name: str = user.upper()
        self.encoding_index: int = encoding_index
        self.frames: list[bytes] = []
        self.got: list[Wire] = []
        self.sheds = False
        self.breaks = False
        self.is_closed = False

    def reply(self, envelope: Envelope) -> None:
        """Keep an answer, as its reader would see it."""
        self.got.append(MSGPACK.decode_envelope(MSGPACK.encode(envelope)))

    def push_ephemeral(self, frame: bytes) -> bool:
        """Keep a frame, unless told to shed."""
        if self.breaks:
            raise ZeroDivisionError
        if self.sheds:
            return False
        codec = next(codec for codec in CODECS.values() if codec.index == self.encoding_index)
        self.frames.append(frame)
        self.got.append(codec.decode_envelope(payload(frame)))
        return True

    def take(self) -> list[Wire]:
        """What came since the last call."""
        got, self.got = self.got, []
        return got


class FakeTopic:
    """A room's subscribers, as a number."""

    def __init__(self, subscribers: int) -> None:
        """So many."""
        self.subscribers = subscribers
        self.got: list[Envelope] = []

    def __len__(self) -> int:
        return self.subscribers

    def publish_ephemeral(self, message: Broadcast) -> None:
        """Keep it."""
        self.got.append(message.envelope)


class Bench:
    """A running presence actor, and what is around it."""

    def __init__(self, system: ActorSystem, mailbox: MailboxSpec, limits: PresenceLimits) -> None:
        """Start the actor."""
        self.system = system
        self.topics: dict[str, FakeTopic] = {"lobby": FakeTopic(10)}
        self.sessions: dict[int, SessionOpened] = {}
        self.services = PresenceServices(
            topics=self.topics,
            now_ms=lambda: int(trio.current_time() * 1000),
            sessions=lambda: list(self.sessions.values()),
            presence_limits=limits,
        )
        self.ref: Ref[PresenceMessage] = system.spawn(
            lambda: Presence(self.services),
            name="presence",
            kind="presence",
            mailbox=mailbox,
            restart=Restart.TRANSIENT,
            policy=RestartPolicy(),
            on_discard=answer_discarded,
        )
        self.port = PresencePort(self.ref, self.services)

    def open(
        self, session_id: int, user: str, status: Status = "online", *, encoding_index: int = 0
    ) -> FakePeer:
        """Welcome a session."""
        peer = FakePeer(session_id, user, encoding_index)
        self.sessions[session_id] = SessionOpened(peer=peer, status=status)
        self.port.session_opened(peer, status)
        return peer

    def close(self, peer: FakePeer, *, clean: bool = True) -> None:
        """End a session."""
        del self.sessions[peer.session_id]
        peer.is_closed = True
        self.port.session_closed(peer, clean=clean)

    def watch(self, peer: FakePeer, members: str, *, request_id: int = 1, cursor: str | None = None) -> None:
        """Watch the lobby, whose members are named by letters."""
        roster = [Row(f"u_{user}", user.upper()) for user in members]
        self.watch_rows(peer, roster, request_id=request_id, cursor=cursor)

    def watch_rows(
        self, peer: FakePeer, roster: Sequence[Row], *, request_id: int, cursor: str | None = None
    ) -> None:
        """Watch the lobby."""
        self.port.watch_room(peer, request_id, "lobby", epoch=1, roster=roster, cursor=cursor, limit=50)


@asynccontextmanager
async def open_bench(
    *, mailbox: MailboxSpec = MAILBOX, limits: PresenceLimits | None = None
) -> AsyncGenerator[Bench, None]:
    """Run presence and its alarm for the length of the block."""
    async with open_system() as system, trio.open_nursery() as nursery:
        bench = Bench(system, mailbox, limits or PresenceLimits())
        await nursery.start(bench.services.alarm.run, bench.port.tick)
        yield bench
        nursery.cancel_scope.cancel()
