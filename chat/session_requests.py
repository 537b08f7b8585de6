"""The requests that need no waiting: what each one does, once phase and limits have let it through."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from chat.addresses import address_key
from chat.config import is_loopback
from chat.errors import ErrorCode, Refused
from chat.json_value import encode_value
from chat.people import person_of
from chat.protocol import (
    AnyRequest,
    Assign,
    Audit,
    Automod,
    Busiest,
    Change,
    Create,
    Delete,
    Disconnect,
    Drain,
    Edit,
    Enroll,
    Envelope,
    GetState,
    Hello,
    History,
    Invite,
    Join,
    Leave,
    ListSanctions,
    Members,
    Mod,
    Pin,
    Ping,
    Pins,
    Presence,
    React,
    Reactions,
    Read,
    Report,
    Reports,
    Reset,
    Resolve,
    Room,
    Rooms,
    Search,
    Sessions,
    SetState,
    Subscribe,
    Typing,
    Unsubscribe,
    Unwatch,
    Update,
    User,
    Users,
    Watch,
    check_body,
    check_no_nul,
    ok,
)
from chat.reaction_emoji import canonical_emoji
from chat.room_governance import Expire
from chat.room_messages import (
    ChangeRoom,
    GovernRoom,
    JoinRoom,
    ReadRoom,
    SubscribeRoom,
    UnsubscribeRoom,
    WatchMembers,
)
from chat.room_rules import SERVER_RANKS, Person
from chat.session_services import SessionServices
from chat.session_state import Phase
from storage.model import FoldedPage

if TYPE_CHECKING:
    from chat.session import Session

REFUSING_LEVEL: Final = 4
"""From this level of pressure on, joins are refused."""


def perform(session: "Session", request: AnyRequest) -> bool:
    """Do a request that was admitted; False when it has to wait for something (`SessionDesk.finish`).

    Raises:
        Refused: to be answered.
    """
    services = session.services
    match request:
        case Ping():
            session.reply(ok(request.id))
        case Join() if services.pressure() >= REFUSING_LEVEL:
            raise Refused(ErrorCode.OVERLOADED, "the server is overloaded", retry_after_s=5.0)
        case Join() | Subscribe() if session.crowded:
            return False
        case Join() if not request.create or services.topics.get(request.room) is not None:
            join(session, request)
        case Subscribe():
            subscribe(session, request)
        case Unsubscribe():
            session.tell_room(request.room, UnsubscribeRoom(peer=session, request_id=request.id))
            session.leaving(request.room, request.id)
        case Leave() | Read():
            _tell(session, request)
        case Presence():
            session.status = request.status
            session.status_text = request.text
            services.presence.set_status(session, request.id, request.status, request.text)
        case Watch():
            _watch(session, services, request)
        case Unwatch():
            _unwatch(session, services, request)
        case Typing():
            _type(session, request)
        case Hello():
            return _hello(session, request)
        case Update() | Invite() | Mod():
            return _govern(session, request)
        case (
            Create()
            | Join()
            | History()
            | Search()
            | Rooms()
            | Room()
            | Members()
            | Reactions()
            | Pins()
            | GetState()
            | Audit()
            | ListSanctions()
            | Users()
            | User()
            | Sessions()
            | Disconnect()
            | Enroll()
            | Reset()
            | Assign()
            | Busiest()
            | Drain()
            | Automod()
            | Report()
            | Reports()
            | Resolve()
        ):
            return False
        case _:
            # `Send` and changes have ways of their own; the type checker holds the rest.
            raise AssertionError(request)
    return True


def _tell(session: "Session", request: Leave | Read) -> None:
    if isinstance(request, Read):
        message: ReadRoom | GovernRoom = ReadRoom(peer=session, request_id=request.id, seq=request.seq)
    else:
        # It may be refused: its place is free when the room delivers no more.
        message = GovernRoom(session, request, actor=actor_of(session), fields={"room": request.room})
    session.tell_room(request.room, message)


def perform_change(session: "Session", request: Change) -> bool:
    """The same for a change of a message, or of the shared state.

    Raises:
        Refused: to be answered.
    """
    services = session.services
    command = change_room(session, request)
    wait_s = services.ledger.take_send(session.user_id, request.room, services.clock())
    if wait_s:
        raise Refused(ErrorCode.RATE_LIMITED, "too many changes in this room", retry_after_s=wait_s)
    if request.retry and request.cid is not None:
        return False
    if not isinstance(request, Delete):
        services.house.require_voice(session.user_id)
    session.tell_room(request.room, command)
    return True


def _govern(session: "Session", request: Update | Invite | Mod) -> bool:
    """Ask a room to be governed; False when a user, or messages, have to be looked for."""
    services = session.services
    check_no_nul(
        request.id,
        topic=request.topic if isinstance(request, Update) else None,
        reason=None if isinstance(request, Invite) else request.reason,
    )
    if not oversees(session):
        wait_s = services.ledger.take_send(session.user_id, request.room, services.clock())
        if wait_s:
            raise Refused(ErrorCode.RATE_LIMITED, "too many changes in this room", retry_after_s=wait_s)
    says = request.topic if isinstance(request, Update) else None
    if isinstance(request, Mod) and request.body is not None:
        check_body(request.body, request_id=request.id, max_bytes=services.body_max_bytes)
        says = request.body
    if says is not None:
        services.house.require_voice(session.user_id)
    user_id = named_user(request)
    target = None if user_id is None else services.people.here(user_id)
    if (user_id is not None and target is None) or (isinstance(request, Mod) and request.action == "purge"):
        return False
    govern(session, request, target)
    return True


def named_user(request: Update | Invite | Mod) -> str | None:
    """Whom a request names."""
    match request:
        case Invite():
            return request.user
        case Mod():
            return request.target
        case Update():
            return None
        case _:
            assert_never(request)


def govern(
    session: "Session",
    request: Update | Invite | Mod | Expire,
    target: Person | None,
    *,
    seqs: Sequence[int] = (),
    fields: Envelope | None = None,
) -> None:
    """Ask a room to be governed.

    Args:
        session: who asks.
        request: what.
        target: whom it names, as far as the server knows.
        seqs: of the messages to purge.
        fields: what its `ok` carries besides.

    Raises:
        Refused: as `Session.tell_room`.
    """
    actor = actor_of(session)
    message = GovernRoom(session, request, actor=actor, target=target, seqs=seqs, fields=fields)
    control = isinstance(request, Mod | Expire) and moderates(session, request.room)
    session.tell_room(request.room, message, control=control)


def moderates(session: "Session", room: str) -> bool:
    """Whether a session's user has something to say in a room: it then says it past a full mailbox."""
    topic = session.services.topics.get(room)
    return (topic is not None and session.user_id in topic.staff) or oversees(session)


def oversees(session: "Session") -> bool:
    """Whether a session's user is one of the server's people, who may read every room."""
    return session.principal is not None and session.principal.role in SERVER_RANKS


def counted_as(session: "Session") -> str:
    """For whom a limit counts what costs something: a user, or the address that a guest comes from.

    A new guest costs nothing, so the address counts; behind loopback may be everybody, through a proxy.
    """
    peer = session.stream.peer
    principal = session.principal
    by_address = principal is not None and principal.is_guest and not is_loopback(peer)
    return address_key(peer) if by_address else session.user_id


def actor_of(session: "Session") -> Person:
    """Whom a welcomed session speaks for."""
    if session.principal is None:
        raise AssertionError("nobody was welcomed")
    return person_of(session.principal)


def change_room(session: "Session", request: Change, stored: FoldedPage | None = None) -> ChangeRoom:
    """A change as its room takes it: the emoji spelt the one way, the value as text.

    Args:
        session: whose.
        request: what is asked.
        stored: what storage says of the message.

    Raises:
        Refused: `bad_request` or `too_large`, with the field.
    """
    check_no_nul(request.id, cid=request.cid)
    value = None
    match request:
        case Edit():
            check_body(request.body, request_id=request.id, max_bytes=session.services.body_max_bytes)
        case Delete():
            check_no_nul(request.id, reason=request.reason)
        case React():
            request = msgspec.structs.replace(request, emoji=require_emoji(request.emoji))
        case SetState():
            value = encode_value(request.value) if request.value is not None else None
        case Pin():
            pass
        case _:
            assert_never(request)
    return ChangeRoom(session, request, value=value, stored=stored, standing=session.standing)


def require_emoji(text: str) -> str:
    """An emoji, spelt the one way.

    Raises:
        Refused: `bad_request`: it is none, or more than one.
    """
    emoji = canonical_emoji(text)
    if emoji is None:
        raise Refused(ErrorCode.BAD_REQUEST, "that is not one emoji", field="emoji")
    return emoji


def _hello(session: "Session", request: Hello) -> bool:
    if request.token is None and request.guest is not None:
        session.services.newcomers.welcome_newcomer(session, request.guest, request)
        return True
    session.state.phase = Phase.GREETING
    return False


def join(session: "Session", request: Join, *, must_exist: bool = False) -> None:
    """Ask a room to make the session's user a member.

    Args:
        session: whose.
        request: its `room`.
        must_exist: it was created a moment ago.

    Raises:
        Refused: `forbidden` at the limit of subscriptions; `busy`, `overloaded` or `unavailable`;
            `rate_limited` for a room that was asked for before.
    """
    ticket = session.asking(request.room, request.id)
    _ask(
        session,
        request.room,
        JoinRoom(
            peer=session,
            request_id=ticket,
            since=request.since,
            limit=_events(session.services, request.limit),
            must_exist=must_exist,
        ),
    )


def subscribe(session: "Session", request: Subscribe) -> None:
    """Ask a room to deliver to the session; raises as `join`."""
    ticket = session.asking(request.room, request.id)
    _ask(
        session,
        request.room,
        SubscribeRoom(
            peer=session,
            oversees=oversees(session),
            request_id=ticket,
            since=request.since,
            limit=_events(session.services, request.limit),
        ),
    )


def _ask(session: "Session", room: str, question: JoinRoom | SubscribeRoom) -> None:
    services = session.services
    services.counts.look_up_room(found=services.topics.get(room) is not None)
    try:
        session.tell_room(room, question)
    except Refused:
        session.not_asked(question.request_id)
        raise


def _events(services: SessionServices, limit: int | None) -> int:
    return services.subscribe_events if limit is None else min(limit, services.page_max)


def _watch(session: "Session", services: SessionServices, request: Watch) -> None:
    if (request.room is None) == (request.users is None):
        raise Refused(ErrorCode.BAD_REQUEST, "watch either a room or users", field="room")
    if request.room is None:
        services.presence.watch_users(session, request.id, request.users or ())
    else:
        session.tell_room(
            request.room,
            WatchMembers(
                peer=session,
                request_id=request.id,
                cursor=request.cursor,
                limit=min(request.limit, services.page_max),
            ),
        )


def _unwatch(session: "Session", services: SessionServices, request: Unwatch) -> None:
    if request.room is None and request.users is None:
        raise Refused(ErrorCode.BAD_REQUEST, "unwatch a room or users", field="room")
    services.presence.unwatch(session, request.id, room=request.room, users=request.users or ())


def _type(session: "Session", request: Typing) -> None:
    services = session.services
    if not session.receives(request.room):
        raise Refused(ErrorCode.NOT_MEMBER, "subscribe to the room first")
    if not request.stop:
        services.house.require_voice(session.user_id)
        wait_s = services.ledger.take_typing(session.user_id, request.room, services.clock())
        if wait_s:
            raise Refused(ErrorCode.RATE_LIMITED, "too many typing notices", retry_after_s=wait_s)
    services.presence.typing(session, request.id, request.room, stop=request.stop)
