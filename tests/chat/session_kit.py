"""A session without a server around it: rooms and presence that only take notes, a line to nowhere."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import trio
import trio.testing

from chat.auth import GUEST_ROLE, Principal
from chat.codec import JSON, MSGPACK, Codec
from chat.errors import ErrorCode
from chat.house import House
from chat.measures import Counts
from chat.people import People
from chat.presence_port import PresencePort
from chat.protocol import Hello, ok
from chat.room_messages import JoinRoom, RoomMessage, SubscribeRoom
from chat.session import Session
from chat.session_services import SessionServices
from chat.session_state import Phase, Rate, SessionLimits
from chat.topic import Topic, Topics
from chat.transport import Transport
from chat.user_ledger import UserLedger
from storage import MemoryStore
from tests.chat.transport.support import parse_server_frames

ANN = Principal("u_ann", "ann", "user", is_guest=False)


class NotedRooms:
    """A `RoomDirectory` that takes notes.

    Attributes:
        told: every room's name and message.
        controlled: of these, the messages that may use the reserve.
        error: raised instead, when there is one.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, RoomMessage]] = []
        self.controlled: list[RoomMessage] = []
        self.error: Exception | None = None

    def tell(self, room: str, message: RoomMessage, *, control: bool = False) -> None:
        """Take a note, or raise."""
        if self.error is not None:
            raise self.error
        self.told.append((room, message))
        if control:
            self.controlled.append(message)


class NotedPresence:
    """Stands for a `PresencePort`: takes notes of the calls.

    Attributes:
        calls: name, positional and keyword arguments of each.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, name: str) -> object:
        def note(*args: object, **kwargs: object) -> None:
            self.calls.append((name, args, kwargs))

        return note

    def called(self, name: str) -> list[dict[str, object]]:
        """The keyword arguments of each call of this name."""
        return [kwargs for called, _, kwargs in self.calls if called == name]


class Kit:
    """Makes sessions; inside of trio.

    Attributes:
        rooms: what sessions told to rooms.
        presence: what they told to presence.
        level: the pressure that they see.
        services: what they share.
    """

    def __init__(
        self, *, rate_limits: bool = False, outbox_bytes: int = 1024 * 1024, mailbox: int = 8
    ) -> None:
        rate = Rate(rate_per_s=1.0, burst=2) if rate_limits else None
        self.rooms = NotedRooms()
        self.presence = NotedPresence()
        self.level = 0
        self.transport = Transport(outbox_bytes=outbox_bytes)
        ledger = UserLedger[Session](sessions_max=2, sends=rate, typing=rate, creates=rate)
        self.services = SessionServices(
            clock=trio.current_time,
            rooms=self.rooms,
            newcomers=self,
            topics=Topics(self.transport.flusher, Counts()),
            presence=cast("PresencePort", self.presence),
            people=People(ledger.sessions_of, MemoryStore()),
            house=House(
                sessions=list[Session],
                sessions_of=ledger.sessions_of,
                flusher=self.transport.flusher,
                now_ms=int,
            ),
            ledger=ledger,
            limits=SessionLimits(
                searches=None,
                frames=rate,
                lists=rate,
                presence=rate,
                abuse_s=10.0,
                bad_frames=3,
                subscriptions=3,
            ),
            counts=Counts(),
            refused=Counter[ErrorCode](),
            pressure=lambda: self.level,
            page_max=100,
            subscribe_events=50,
            mailbox_capacity=mailbox,
        )
        self._serial = 0

    def welcome_newcomer(self, session: Session, guest: str, request: Hello) -> None:
        """Let anybody in."""
        session.greet(Principal(user_id="g_new", name=guest, role=GUEST_ROLE, is_guest=True), None)
        session.state.phase = Phase.READY
        session.reply({"t": "welcome", "id": request.id})

    def asked(self) -> list[int]:
        """What stands for the ids of all that was ever asked to join or subscribe, oldest first."""
        return [
            message.request_id
            for _, message in self.rooms.told
            if isinstance(message, JoinRoom | SubscribeRoom)
        ]

    def deliver(self, session: Session, topic: Topic) -> None:
        """Have a room grant what was asked for last."""
        session.reply_events(ok(self.asked()[-1], room=topic.room, mode="fresh"), [])
        topic.add(session)

    def session(self, codec: Codec = MSGPACK, *, welcomed: bool = True, hello_due_s: float = 10.0) -> Session:
        """A new session; `welcomed`: ann's, ready for requests."""
        self._serial += 1
        _, theirs = trio.testing.memory_stream_pair()
        session = Session(
            f"s-{self._serial}",
            self.transport.wrap(theirs),
            codec,
            self.services,
            hello_due_s=hello_due_s,
            spread=1.0,
        )
        if welcomed:
            session.greet(ANN, None)
            session.state.phase = Phase.READY
        return session


def give(session: Session, t: str, request_id: int = 1, **fields: object) -> bool:
    """Hand a session a request as the transport does."""
    codec = _codec(session)
    return session.on_frame(codec.encode({"t": t, "id": request_id, **fields}), codec.is_text)


def said(session: Session) -> Sequence[Mapping[str, object]]:
    """Every envelope that waits to leave to the client, oldest first."""
    frames = parse_server_frames(b"".join(session.outbox.frames))
    return [_codec(session).decode_envelope(payload) for first, payload in frames if first & 0x0F in {1, 2}]


def _codec(session: Session) -> Codec:
    return JSON if session.encoding_index else MSGPACK
