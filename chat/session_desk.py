"""What a session has to wait for: who it is, pages of history and lists, rooms that must be made first.

Nothing here is on the way of a message. Every wait ends: the database's in `Unavailable`, a room's or the
whole request's in `timeout`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

import structlog
import trio

from chat.admin_desk import AdminDesk, AdminServices
from chat.auth import Authenticator, SignedIn
from chat.batch_loader import BatchLoader
from chat.cursors import MINE_CURSOR, from_cursor
from chat.direct_rooms import RESERVED, direct_room_name
from chat.errors import ErrorCode, Refused
from chat.greeting import Greeter, own_rooms
from chat.measures import Counts
from chat.message_desk import MessageDesk, reply_page
from chat.names import is_room_name
from chat.people import People
from chat.protocol import (
    AnyRequest,
    Assign,
    Audit,
    Automod,
    Busiest,
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
    Send,
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
    check_no_nul,
    ok,
)
from chat.purge_desk import PurgeDesk
from chat.report_desk import ReportDesk
from chat.review_access import ReviewServices
from chat.revocations import Revocations
from chat.room import RETRY_UNAVAILABLE_S
from chat.room_maker import RoomMaker
from chat.room_news import RECEIPTS_MAX_MEMBERS
from chat.rooms import Rooms as RoomActors
from chat.rule_desk import RuleDesk
from chat.session import Session
from chat.session_requests import counted_as, govern, join, named_user, oversees, subscribe
from chat.session_search import SearchDesk
from chat.session_state import Phase
from storage import LANGUAGES, Conflict, StorageError, StoreClosed, Unavailable
from storage.model import MembershipPage, NewRoom, RoomRow
from storage.store import Store

log = structlog.stdlib.get_logger("chat.session")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskServices:
    """What the desk needs.

    Attributes:
        greeter: welcomes who is let in.
        searches: answers `search`.
        memberships: the rooms of a user; many users in one query.
        room_maker: has rooms exist that are to be joined; all who want one at a time share a query.
        revocations: what was revoked while a `hello` was being checked.
        people: who a user is.
        admin: what the server's people ask for.
        reviews: what rules and reports need.
        timeout_s: the longest that a request may wait.
        pressure: how hard the server is pressed, 0 to 4.
    """

    store: Store
    rooms: RoomActors
    authenticator: Authenticator
    greeter: Greeter
    searches: SearchDesk
    memberships: BatchLoader[str, MembershipPage]
    room_maker: RoomMaker
    revocations: Revocations
    people: People
    admin: AdminServices
    reviews: ReviewServices
    now_ms: Callable[[], int]
    timeout_s: float
    page_max: int
    pressure: Callable[[], int]
    counts: Counts


class SessionDesk:
    """Finishes the requests that have to wait, for every session."""

    def __init__(self, services: DeskServices) -> None:
        self._services = services
        self._messages = MessageDesk(
            services.store,
            services.rooms,
            timeout_s=services.timeout_s,
            page_max=services.page_max,
            pressure=services.pressure,
            counts=services.counts,
        )
        self._purges = PurgeDesk(services.store, services.searches, self._messages, now_ms=services.now_ms)
        self._admin = AdminDesk(services.admin, self._messages.inspect)
        self._rules = RuleDesk(services.reviews, self._messages.inspect)
        self._reports = ReportDesk(services.reviews, self._messages.inspect)

    async def finish(self, session: Session, request: AnyRequest) -> None:
        """Do what a request waits for, and answer it.

        Raises:
            Refused: to be answered.

        Cancellation: the session has ended; a room may have been created.
        """
        services = self._services
        with trio.move_on_after(services.timeout_s) as scope:
            try:
                await self._finish(session, request)
            except (Unavailable, StoreClosed):
                raise Refused(
                    ErrorCode.UNAVAILABLE, "the database is away", retry_after_s=RETRY_UNAVAILABLE_S
                ) from None
            except StorageError as exc:
                log.exception("session.storage_failed", request=type(request).__name__)
                raise Refused(ErrorCode.INTERNAL, "the database failed", retry_after_s=1.0) from exc
            finally:
                if isinstance(request, Hello) and session.state.phase is Phase.GREETING:
                    session.state.phase = Phase.NEW
        if scope.cancelled_caught:
            raise Refused(ErrorCode.TIMEOUT, "no answer in time", retry_after_s=1.0)

    async def _finish(self, session: Session, request: AnyRequest) -> None:
        match request:
            case Hello():
                await self._hello(session, request)
            case Subscribe():
                await session.wait_uncrowded()
                subscribe(session, request)
            case Join():
                await session.wait_uncrowded()
                await self._join(session, request)
            case Create():
                await self._create(session, request)
            case Send() | Edit() | Delete() | React() | Pin() | SetState():
                await self._messages.write(session, request)
            case Update() | Invite() | Mod():
                await self._govern(session, request)
            case History() | Reactions() | Pins() | GetState():
                await self._messages.read(session, request)
            case Automod() | Report() | Reports() | Resolve():
                await self._review(session, request)
            case Search():
                await self._services.searches.search(session, request)
            case Rooms():
                await self._rooms(session, request)
            case Room():
                await self._room(session, request)
            case Members():
                await self._members(session, request)
            case (
                Audit()
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
            ):
                await self._admin.answer(session, request)
            case Ping() | Unsubscribe() | Leave() | Presence() | Watch() | Unwatch() | Typing() | Read():
                raise AssertionError(f"{type(request).__name__} waits for nothing")
            case _:
                assert_never(request)

    async def _review(self, session: Session, request: Automod | Report | Reports | Resolve) -> None:
        if isinstance(request, Automod):
            await self._rules.finish(session, request)
        else:
            await self._reports.finish(session, request)

    # -- hello -----------------------------------------------------------------------------------------

    async def _hello(self, session: Session, request: Hello) -> None:
        """Welcome somebody who brings a token, for whom the database may have to be asked."""
        services = self._services
        try:
            seen = services.revocations.seen
            signed_in = await self._sign_in(request)
            user_id = signed_in.principal.user_id
            page = await services.memberships.get(user_id, timeout_s=services.timeout_s)
            while seen != services.revocations.seen:
                # Something was revoked since; what is revoked from here on ends the session that is opened.
                seen = services.revocations.seen
                signed_in = await self._sign_in(request)
        except Refused as refused:
            services.greeter.turn_away(session, refused)
            return
        if not session.is_closed:
            services.greeter.welcome(session, request, signed_in, page)

    async def _sign_in(self, request: Hello) -> SignedIn:
        return await self._services.authenticator.sign_in(
            token=request.token, guest=request.guest, request_id=request.id
        )

    # -- rooms -----------------------------------------------------------------------------------------

    async def _join(self, session: Session, request: Join) -> None:
        """Join a room that may have to be made."""
        if not request.create:
            join(session, request)
            return
        session.require_place(request.room)
        if request.room.startswith(RESERVED):
            # It is there, or nobody may make it by this name.
            join(session, request)
            return

        async def make() -> None:
            self._count_creation(session)
            try:
                await self._services.store.create_room(self._new_room(session, Create(id=0), request.room))
            except Conflict:
                # Another node's made it in between: it is there, which is all that was asked.
                log.debug("session.join_raced", room=request.room)

        await self._services.room_maker.ensure(request.room, make)
        join(session, request, must_exist=True)

    async def _govern(self, session: Session, request: Update | Invite | Mod) -> None:
        """Find out who somebody is who has no session here, or what is to be purged, then ask the room."""
        user_id = named_user(request)
        target = None if user_id is None else await self._services.people.find(user_id)
        if isinstance(request, Mod) and request.action == "purge":
            await self._purges.purge(session, request, target)
        else:
            govern(session, request, target)

    async def _create(self, session: Session, request: Create) -> None:
        if request.kind == "direct":
            await self._create_direct(session, request)
            return
        room = request.room
        if request.user is not None:
            raise Refused(ErrorCode.BAD_REQUEST, "only a direct room is with a user", field="user")
        if room is None or room.startswith(RESERVED):
            what = "say which" if room is None else f"names that begin with {' or '.join(RESERVED)} are taken"
            raise Refused(ErrorCode.BAD_REQUEST, what, field="room")
        check_no_nul(request.id, topic=request.topic)
        if request.topic:
            session.services.house.require_voice(session.user_id)
        if request.language not in LANGUAGES:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                f"the language is one of {', '.join(sorted(LANGUAGES))}",
                field="language",
            )
        self._count_creation(session)
        try:
            row = await self._services.store.create_room(self._new_room(session, request, room))
        except Conflict:
            raise Refused(ErrorCode.CONFLICT, "there is a room of this name") from None
        session.reply(ok(request.id, **_settings(row)))

    async def _create_direct(self, session: Session, request: Create) -> None:
        """Find the one room of two people, or make it; its log then says who was taken in."""
        user_id = request.user
        if request.room is not None or user_id is None or user_id == session.user_id:
            field = "room" if request.room is not None else "user"
            raise Refused(ErrorCode.BAD_REQUEST, "a direct room is with one other user", field=field)
        services = self._services
        target = await services.people.find(user_id)
        name = direct_room_name(session.user_id, user_id)
        row = await services.store.find_room(name)
        if row is None:
            if target is None:
                raise Refused(ErrorCode.NOT_FOUND, f"nobody here knows a user {user_id}", field="user")
            self._count_creation(session)
            direct = Create(id=request.id, kind="direct")
            try:
                row = await services.store.create_room(
                    replace(self._new_room(session, direct, name), creator_role="member")
                )
            except Conflict:
                # The other one had the same thought.
                row = await services.store.find_room(name)
        if row is None or row.kind != "direct":
            raise Refused(ErrorCode.CONFLICT, "there is another room of this name")
        invite = Invite(id=request.id, room=name, user=user_id)
        govern(session, invite, target, fields=_settings(row))

    def _count_creation(self, session: Session) -> None:
        """Count a room that is about to be made; one that turns out to exist stays counted.

        Raises:
            Refused: `rate_limited`.
        """
        wait_s = session.services.ledger.take_create(counted_as(session), session.services.clock())
        if wait_s:
            raise Refused(ErrorCode.RATE_LIMITED, "too many new rooms", retry_after_s=wait_s)

    def _new_room(self, session: Session, request: Create, name: str) -> NewRoom:
        return NewRoom(
            name=name,
            kind=request.kind,
            topic=request.topic,
            strict=request.strict,
            slow_s=request.slow,
            created_by=session.user_id,
            creator_name=session.name,
            created_at_ms=self._services.now_ms(),
            language=request.language,
        )

    async def _room(self, session: Session, request: Room) -> None:
        info = await self._messages.inspect(request.room, session.user_id, oversees=oversees(session))
        session.reply(
            ok(
                request.id,
                **_settings(info.row),
                members=info.members,
                role=info.role,
                epoch=info.epoch,
                head=info.head_seq,
                durable=info.durable_seq,
            )
        )

    async def _rooms(self, session: Session, request: Rooms) -> None:
        limit = min(request.limit, self._services.page_max)
        if request.mine:
            await self._own_rooms(session, request, limit)
            return
        after = None if request.cursor is None else from_cursor(request.cursor)
        if after is not None and not is_room_name(after):
            raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
        if request.all and not oversees(session):
            raise Refused(ErrorCode.FORBIDDEN, "it takes the rank of a server moderator to list all rooms")
        rows = await self._services.store.list_rooms(after=after, limit=limit + 1, all_kinds=request.all)
        page = rows[:limit]
        reply_page(
            session,
            request.id,
            [{**_settings(row)} for row in page],
            page[-1].name if len(rows) > limit else None,
        )

    async def _own_rooms(self, session: Session, request: Rooms, limit: int) -> None:
        after = None
        if request.cursor is not None:
            mark, _, after = from_cursor(request.cursor).partition(":")
            if f"{mark}:" != MINE_CURSOR or not is_room_name(after):
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
        user_id = session.user_id
        pages = await self._services.store.memberships([user_id], after=after, limit=limit)
        page = pages.get(user_id)
        if page is None:
            reply_page(session, request.id, [], None)
            return
        next_after = None if page.next_after is None else MINE_CURSOR + page.next_after
        reply_page(session, request.id, own_rooms(page), next_after)

    async def _members(self, session: Session, request: Members) -> None:
        info = await self._messages.inspect(request.room, session.user_id, oversees=oversees(session))
        limit = min(request.limit, self._services.page_max)
        after = None
        if request.cursor is not None:
            room, _, after = from_cursor(request.cursor).partition("/")
            if room != request.room or not after:
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
        rows = await self._services.store.list_members(info.row.room_id, after=after, limit=limit + 1)
        page = rows[:limit]
        # As with the receipts themselves: for the members of small rooms.
        with_read = info.role is not None and info.members <= RECEIPTS_MAX_MEMBERS
        reply_page(
            session,
            request.id,
            [
                {"user": member.user_id, "name": member.name, "role": member.role}
                | ({"read": member.read_seq} if with_read else {})
                for member in page
            ],
            f"{request.room}/{page[-1].user_id}" if len(rows) > limit else None,
        )


def _settings(row: RoomRow) -> Envelope:
    return {
        "room": row.name,
        "kind": row.kind,
        "topic": row.topic,
        "slow": row.slow_s,
        "strict": row.strict,
        "locked": row.locked,
        "archived": row.archived,
        "retention": row.retention_s or 0,
        "language": row.language,
        "by": row.created_by,
        "at": row.created_at_ms,
    }
