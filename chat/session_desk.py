"""What a session has to wait for: who it is, pages of history and lists, rooms that must be made first.

Nothing here is on the way of a message. Every wait ends: the database's in `Unavailable`, a room's or the
whole request's in `timeout`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, assert_never

import structlog
import trio

from actors import ActorDied, ActorUnavailable, AskTimeout, MailboxFull, TooManyActors
from chat.addresses import address_key
from chat.answer_size import fitting
from chat.auth import Authenticator, SignedIn
from chat.batch_loader import BatchLoader
from chat.config import is_loopback
from chat.cursors import MINE_CURSOR, from_cursor, to_cursor
from chat.errors import ErrorCode, Refused
from chat.greeting import Greeter, own_rooms
from chat.measures import Counts
from chat.names import is_room_name
from chat.protocol import (
    AnyRequest,
    Create,
    Envelope,
    Hello,
    History,
    Join,
    Leave,
    Members,
    Ping,
    Presence,
    Room,
    Rooms,
    Search,
    Send,
    Subscribe,
    Typing,
    Unsubscribe,
    Unwatch,
    Watch,
    ok,
)
from chat.revocations import Revocations
from chat.room import RETRY_UNAVAILABLE_S, as_event
from chat.room_messages import InspectRoom, RoomInfo
from chat.rooms import Rooms as RoomActors
from chat.session import BUSY_RETRY_S, Session
from chat.session_requests import join, subscribe
from chat.session_search import SearchDesk
from chat.session_state import Phase
from storage import LANGUAGES, Conflict, StorageError, StoreClosed, Unavailable
from storage.model import LogEntry, MembershipPage, NewRoom, RoomRow
from storage.store import Store

log = structlog.stdlib.get_logger("chat.session")
T = TypeVar("T")

PRESSED_LEVEL: Final = 3
"""From this level of pressure on, pages of history are a quarter as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskServices:
    """What the desk needs.

    Attributes:
        greeter: welcomes who is let in.
        searches: answers `search`.
        memberships: the rooms of a user; many users in one query.
        revocations: what was revoked while a `hello` was being checked.
        timeout_s: the longest that a request may wait.
        pressure: how hard the server is pressed, 0 to 4.
    """

    store: Store
    rooms: RoomActors
    authenticator: Authenticator
    greeter: Greeter
    searches: SearchDesk
    memberships: BatchLoader[str, MembershipPage]
    revocations: Revocations
    now_ms: Callable[[], int]
    timeout_s: float
    page_max: int
    pressure: Callable[[], int]
    counts: Counts


class SessionDesk:
    """Finishes the requests that have to wait, for every session."""

    def __init__(self, services: DeskServices) -> None:
        self._services = services

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
            case Send():
                await self._send_again(session, request)
            case History():
                await self._history(session, request)
            case Search():
                await self._services.searches.search(session, request)
            case Rooms():
                await self._rooms(session, request)
            case Room():
                await self._room(session, request)
            case Members():
                await self._members(session, request)
            case Ping() | Unsubscribe() | Leave() | Presence() | Watch() | Unwatch() | Typing():
                raise AssertionError(f"{type(request).__name__} waits for nothing")
            case _:
                assert_never(request)

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
        if await self._services.store.find_room(request.room) is None:
            self._count_creation(session)
            try:
                await self._services.store.create_room(
                    self._new_room(session, Create(id=0, room=request.room))
                )
            except Conflict:
                # Somebody else made it in between: it is there, which is all that was asked.
                log.debug("session.join_raced", room=request.room)
        join(session, request, must_exist=True)

    async def _create(self, session: Session, request: Create) -> None:
        if request.kind == "direct":
            raise Refused(
                ErrorCode.BAD_REQUEST, "direct rooms cannot be created by this version", field="kind"
            )
        if "\0" in request.topic:
            raise Refused(ErrorCode.BAD_REQUEST, "the topic holds a NUL character", field="topic")
        if request.language not in LANGUAGES:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                f"the language is one of {', '.join(sorted(LANGUAGES))}",
                field="language",
            )
        self._count_creation(session)
        try:
            row = await self._services.store.create_room(self._new_room(session, request))
        except Conflict:
            raise Refused(ErrorCode.CONFLICT, "there is a room of this name") from None
        session.reply(ok(request.id, **_settings(row)))

    def _count_creation(self, session: Session) -> None:
        """Count a room that is about to be made; one that turns out to exist stays counted.

        Raises:
            Refused: `rate_limited`.
        """
        peer = session.stream.peer
        principal = session.principal
        # A new guest costs nothing, so the address counts; behind loopback may be everybody, through a proxy.
        by_address = principal is not None and principal.is_guest and not is_loopback(peer)
        who = address_key(peer) if by_address else session.user_id
        wait_s = session.services.ledger.take_create(who, session.services.clock())
        if wait_s:
            raise Refused(ErrorCode.RATE_LIMITED, "too many new rooms", retry_after_s=wait_s)

    def _new_room(self, session: Session, request: Create) -> NewRoom:
        return NewRoom(
            name=request.room,
            kind=request.kind,
            topic=request.topic,
            strict=request.strict,
            slow_s=request.slow,
            created_by=session.user_id,
            creator_name=session.name,
            created_at_ms=self._services.now_ms(),
            language=request.language,
        )

    async def _inspect(self, room: str, user_id: str) -> RoomInfo:
        """What the room's actor says of itself.

        Raises:
            Refused: `room_not_found`, `busy`, `overloaded`, `unavailable`, `timeout`.
        """
        services = self._services
        try:
            return await services.rooms.ref(room).ask(
                lambda reply: InspectRoom(user_id=user_id, reply=reply), timeout_s=services.timeout_s
            )
        except MailboxFull:
            raise Refused(ErrorCode.BUSY, "the room is busy", retry_after_s=BUSY_RETRY_S) from None
        except TooManyActors:
            raise Refused(ErrorCode.OVERLOADED, "too many rooms are active", retry_after_s=5.0) from None
        except (ActorUnavailable, ActorDied):
            raise Refused(
                ErrorCode.UNAVAILABLE, "the room is not available now", retry_after_s=RETRY_UNAVAILABLE_S
            ) from None
        except AskTimeout:
            raise Refused(ErrorCode.TIMEOUT, "the room did not answer in time", retry_after_s=1.0) from None

    async def _room(self, session: Session, request: Room) -> None:
        info = await self._inspect(request.room, session.user_id)
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
        rows = await self._services.store.list_rooms(after=after, limit=limit + 1)
        page = rows[:limit]
        _reply_page(
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
            _reply_page(session, request.id, [], None)
            return
        next_after = None if page.next_after is None else MINE_CURSOR + page.next_after
        _reply_page(session, request.id, own_rooms(page), next_after)

    async def _members(self, session: Session, request: Members) -> None:
        info = await self._inspect(request.room, session.user_id)
        limit = min(request.limit, self._services.page_max)
        after = None
        if request.cursor is not None:
            room, _, after = from_cursor(request.cursor).partition("/")
            if room != request.room or not after:
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
        rows = await self._services.store.list_members(info.row.room_id, after=after, limit=limit + 1)
        page = rows[:limit]
        _reply_page(
            session,
            request.id,
            [{"user": member.user_id, "name": member.name, "role": member.role} for member in page],
            f"{request.room}/{page[-1].user_id}" if len(rows) > limit else None,
        )

    # -- messages --------------------------------------------------------------------------------------

    async def _send_again(self, session: Session, request: Send) -> None:
        """Find out whether a re-sent message is stored already, before the room orders it again."""
        info = await self._inspect(request.room, session.user_id)
        known = await self._services.store.find_cids(info.row.room_id, session.user_id, [request.cid])
        found = known.get(request.cid)
        if found is None:
            session.send_message(request)
        elif found.body != request.body:
            raise Refused(ErrorCode.CID_CONFLICT, f"this cid sent another body, at seq {found.seq}")
        else:
            self._services.counts.duplicates += 1
            session.reply(
                ok(
                    request.id,
                    seq=found.seq,
                    epoch=found.epoch,
                    at=found.at_ms,
                    cid=request.cid,
                    dup=True,
                )
            )

    def _page_max(self) -> int:
        page_max = self._services.page_max
        return page_max if self._services.pressure() < PRESSED_LEVEL else max(1, page_max // 4)

    async def _history(self, session: Session, request: History) -> None:
        if sum(seq is not None for seq in (request.before, request.after, request.around)) > 1:
            raise Refused(ErrorCode.BAD_REQUEST, "give one of before, after and around", field="before")
        info = await self._inspect(request.room, session.user_id)
        page = await self._services.store.history(
            info.row.room_id,
            before=request.before,
            after=request.after,
            around=request.around,
            limit=min(request.limit, self._page_max()),
        )
        fields: dict[str, object] = {"room": request.room, "epoch": page.epoch, "durable": page.durable_seq}
        items = [session.encode(as_event(request.room, entry)) for entry in page.items]
        if items:
            places = fitting(items, _first_wanted(request, page.items), session.answer_max_bytes)
            if page.more_before or places.start > 0:
                fields["prev"] = page.items[places.start].seq
            if page.more_after or places.stop < len(items):
                fields["next"] = page.items[places.stop - 1].seq
            items = items[places.start : places.stop]
        await session.wait_uncrowded()
        session.reply_listing(ok(request.id, **fields), "items", items)


def _first_wanted(request: History, items: Sequence[LogEntry]) -> int:
    """The place in a page that a reader looks for: what must be there when not all of it fits."""
    if request.after is not None:
        return 0
    if request.around is None:
        return len(items) - 1
    return min(range(len(items)), key=lambda place: abs(items[place].seq - (request.around or 0)))


def _settings(row: RoomRow) -> Envelope:
    return {
        "room": row.name,
        "kind": row.kind,
        "topic": row.topic,
        "slow": row.slow_s,
        "strict": row.strict,
        "language": row.language,
        "by": row.created_by,
        "at": row.created_at_ms,
    }


def _reply_page(session: Session, request_id: int, items: Sequence[Envelope], next_after: str | None) -> None:
    if next_after is None:
        session.reply(ok(request_id, items=items))
    else:
        session.reply(ok(request_id, items=items, next=to_cursor(next_after)))
