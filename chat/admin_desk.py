"""What the server's people ask: the audit, users, their sessions, accounts (docs/protocol.md 3).

Nothing here is done in a room's turn, and whoever is nobody on the server learns nothing but `forbidden`; a
room's own moderators read that room's audit.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec
import structlog

from chat.auth import Principal
from chat.cursors import from_cursor
from chat.errors import CloseCode, ErrorCode, Refused
from chat.message_desk import reply_fitting, reply_page
from chat.names import display_name, name_key
from chat.passwords import Passwords
from chat.people import People
from chat.protocol import (
    SERVER_ROOM,
    AdminRequest,
    Assign,
    Audit,
    Busiest,
    Disconnect,
    Drain,
    Enroll,
    Envelope,
    ListSanctions,
    Reset,
    Sessions,
    User,
    Users,
    check_no_nul,
    ok,
)
from chat.review_access import Inspect
from chat.room_governance import Act
from chat.room_loads import RoomLoad
from chat.room_rules import Person, Rank, rank_of
from chat.server_audit import note_act, order_act
from chat.session import Session
from chat.session_requests import oversees
from chat.tokens import ADMIN_ROLE, new_user
from storage import Conflict, Store, TokenInfo
from storage.model import AuditKey, AuditRow, RoomRow, SanctionRow

TOKENS_MAX: Final = 100
SANCTIONS_MAX: Final = 100
"""Of a user, told at once."""
RETRY_S: Final = 1.0
"""When a client that was disconnected may come back."""

_PASSWORD_BYTES: Final = 15
_TOKEN_ID_BYTES: Final = 8
_LARGEST: Final = 2**63 - 1
_log = structlog.stdlib.get_logger("chat.admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """What the desk needs.

    Attributes:
        sessions_of: a user's sessions on this node.
        people: who a user is.
        now_ms: milliseconds since 1970 UTC.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        on_revoked: called when tokens were revoked here.
        on_changed: called with a user who has another role now.
        loads: of the busiest rooms in memory here, at most as many as asked for.
        sessions: how many there are here.
        drain: end this server in order, soon.
    """

    store: Store
    sessions_of: Callable[[str], Sequence[Session]]
    people: People
    passwords: Passwords
    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    on_revoked: Callable[[], None]
    on_changed: Callable[[str], None]
    loads: Callable[[int], Sequence[RoomLoad]]
    sessions: Callable[[], int]
    drain: Callable[[], None]
    page_max: int


class AdminDesk:
    """Answers what the server's people ask, for every session.

    Args:
        services: what it needs.
        inspect: asks a room.
    """

    def __init__(self, services: AdminServices, inspect: Inspect) -> None:
        self._services = services
        self._inspect = inspect

    async def answer(self, session: Session, request: AdminRequest) -> None:
        """Do what is asked, and answer.

        Raises:
            Refused: `forbidden`, `not_found`, `conflict`, `bad_request`, `bad_cursor`, or as of a room.
            StorageError: the store cannot take it now.
        """
        match request:
            case Audit():
                await self._audit(session, request)
            case ListSanctions():
                await self._sanctions(session, request)
            case Users():
                await self._users(session, request)
            case User():
                await self._user(session, request)
            case Sessions():
                await self._sessions(session, request)
            case Disconnect():
                await self._disconnect(session, request)
            case Enroll():
                await self._enroll(session, request)
            case Reset():
                await self._reset(session, request)
            case Assign():
                await self._assign(session, request)
            case Busiest():
                _require(session, Rank.SERVER_MODERATOR)
                loads = self._services.loads(request.limit)
                session.reply(ok(request.id, items=[_load_item(load) for load in loads]))
            case Drain():
                await self._drain(session, request)
            case _:
                assert_never(request)

    # -- reading ---------------------------------------------------------------------------------------

    async def _audit(self, session: Session, request: Audit) -> None:
        room_id = None
        before = None
        if request.room is None:
            _require(session, Rank.SERVER_MODERATOR)
            if request.seq is not None:
                raise Refused(ErrorCode.BAD_REQUEST, "a seq is of a room: say which", field="room")
        else:
            room_id = (await self._moderated(session, request.room, "audit")).room_id
            if request.seq is not None:
                before = AuditKey(_LARGEST, room_id, request.seq + 1)
        if request.cursor is not None:
            before = _audit_place(request.cursor, request.room)
        limit = min(request.limit, self._services.page_max)
        rows = await self._services.store.list_audit(room_id=room_id, before=before, limit=limit + 1)
        page = rows[:limit]
        await reply_fitting(
            session,
            ok(request.id),
            [session.encode(_audit_item(row)) for row in page],
            is_last=len(rows) <= limit,
            cursor_after=lambda place: _audit_cursor(page[place], request.room),
        )

    async def _sanctions(self, session: Session, request: ListSanctions) -> None:
        services = self._services
        if request.room is None:
            _require(session, Rank.SERVER_MODERATOR)
            room = await services.store.find_room(SERVER_ROOM)
        else:
            room = await self._moderated(session, request.room, "sanctions")
        after = None if request.cursor is None else _sanction_place(request.cursor, request.room)
        limit = min(request.limit, services.page_max)
        rows: Sequence[SanctionRow] = ()
        if room is not None:
            rows = await services.store.room_sanctions(
                room.room_id, at_ms=services.now_ms(), after=after, limit=limit + 1
            )
        page = rows[:limit]
        name = request.room or SERVER_ROOM
        await reply_fitting(
            session,
            ok(request.id),
            [
                session.encode({"user": row.user_id, "name": row.name, **_sanction_item(name, row)})
                for row in page
            ],
            is_last=len(rows) <= limit,
            cursor_after=lambda place: _sanction_cursor(page[place], request.room),
        )

    async def _users(self, session: Session, request: Users) -> None:
        _require(session, Rank.SERVER_MODERATOR)
        check_no_nul(request.id, query=request.query)
        limit = min(request.limit, self._services.page_max)
        after = None
        if request.cursor is not None:
            mark, _, after = from_cursor(request.cursor).partition("@")
            if mark != "user" or not after:
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
        rows = await self._services.store.list_users(name_key(request.query), after=after, limit=limit + 1)
        page = rows[:limit]
        reply_page(
            session,
            request.id,
            [{"user": row.user_id, "name": row.name, "role": row.role} for row in page],
            f"user@{page[-1].user_id}" if len(rows) > limit else None,
        )

    async def _user(self, session: Session, request: User) -> None:
        _require(session, Rank.SERVER_MODERATOR)
        services = self._services
        person = await self._find(request.user)
        sanctions = await services.store.user_sanctions(person.user_id, after=None, limit=SANCTIONS_MAX)
        answer: dict[str, object] = {
            "user": person.user_id,
            "name": person.name,
            "role": person.server_role,
            "sessions": len(services.sessions_of(person.user_id)),
            "sanctions": [
                {"room": room, **_sanction_item(room, row)}
                for room, _, row in sanctions
                if row.until_ms is None or row.until_ms > services.now_ms()
            ],
        }
        if _rank(session) >= Rank.SERVER_ADMIN:
            tokens = await services.store.list_tokens(person.user_id, limit=TOKENS_MAX)
            answer["tokens"] = [_token_item(token) for token in tokens]
        session.reply(ok(request.id, **answer))

    async def _sessions(self, session: Session, request: Sessions) -> None:
        _require(session, Rank.SERVER_MODERATOR)
        await self._find(request.user)
        found = self._services.sessions_of(request.user)
        session.reply(ok(request.id, items=[_session_item(each) for each in found]))

    # -- doing -----------------------------------------------------------------------------------------

    async def _disconnect(self, session: Session, request: Disconnect) -> None:
        _require(session, Rank.SERVER_MODERATOR)
        check_no_nul(request.id, reason=request.reason)
        person = await self._find(request.user)
        _require_above(session, person)
        ending = [
            each
            for each in self._services.sessions_of(request.user)
            # Who asks for no one session in particular wants to hear the answer.
            if each.session_id == request.session or (request.session is None and each is not session)
        ]
        if request.session is not None and not ending:
            raise Refused(ErrorCode.NOT_FOUND, "the user has no such session here", field="session")
        if request.dry_run or not ending:
            session.reply(ok(request.id, affected=len(ending)))
            return

        def end() -> None:
            _log.info("admin.disconnected", by=session.user_id, user=request.user, sessions=len(ending))
            for each in ending:
                reason = request.reason or "disconnected by the server's people"
                each.end(CloseCode.DISCONNECTED, reason, RETRY_S)

        act = Act(request.id, "disconnect", person, session=request.session, reason=request.reason)
        # As a ban it takes effect when it is ordered: a slow database lets nobody stay.
        order_act(session, session, act, fields={"affected": len(ending)}, then=end)

    async def _enroll(self, session: Session, request: Enroll) -> None:
        _require(session, Rank.SERVER_ADMIN)
        services = self._services
        name = display_name(request.name, field="name")
        if await services.store.find_user(name, name_key(name)) is not None:
            raise _taken(name)
        if request.dry_run:
            session.reply(ok(request.id, name=name, role=request.role))
            return
        password, encoded = await self._new_password()
        wanted = new_user(
            name, random_bytes=services.random_bytes, role=request.role, password=encoded, field="name"
        )
        person = Person(wanted.user_id, wanted.name, wanted.role)
        audit = await note_act(session, Act(request.id, "enroll", person, role=wanted.role))
        user = await services.store.create_user(wanted, at_ms=services.now_ms())
        if user.user_id != wanted.user_id:
            raise _taken(name)
        _log.info("admin.enrolled", by=session.user_id, user=user.user_id, role=user.role)
        account = {"user": user.user_id, "name": user.name, "role": user.role, "password": password}
        session.reply(ok(request.id, **account, **audit))

    async def _reset(self, session: Session, request: Reset) -> None:
        _require(session, Rank.SERVER_ADMIN)
        check_no_nul(request.id, reason=request.reason)
        services = self._services
        person = await self._find_registered(request.user)
        _require_above(session, person)
        if request.dry_run:
            tokens = await services.store.list_tokens(person.user_id, limit=TOKENS_MAX)
            now_ms = services.now_ms()
            session.reply(ok(request.id, affected=sum(_is_good(token, now_ms) for token in tokens)))
            return
        password, encoded = await self._new_password()
        audit = await note_act(session, Act(request.id, "reset", person, reason=request.reason))
        try:
            await services.store.set_password(person.user_id, name_key(person.name), encoded)
        except Conflict:
            raise _taken(person.name) from None
        # Afterwards: what was given for the old password in between goes with the rest.
        revoked = await services.store.revoke_user(person.user_id, at_ms=services.now_ms())
        services.on_revoked()
        _log.info("admin.reset", by=session.user_id, user=person.user_id, tokens=revoked)
        session.reply(ok(request.id, affected=revoked, password=password, **audit))

    async def _assign(self, session: Session, request: Assign) -> None:
        """Store a role, then end the sessions that began with another; who asks hears the answer first."""
        _require(session, Rank.SERVER_ADMIN)
        check_no_nul(request.id, reason=request.reason)
        services = self._services
        person = await self._find_registered(request.user)
        _require_above(session, person)
        told: Envelope = {"was": person.server_role, "role": request.role}
        if person.server_role == request.role:
            session.reply(ok(request.id, **told, affected=0))
            return
        if person.server_role == ADMIN_ROLE:
            # Admins come first: two of the staff say whether there is another.
            staff = await services.store.list_staff(limit=2)
            if all(row.user_id == person.user_id for row in staff if row.role == ADMIN_ROLE):
                raise _last_admin()
        if request.dry_run:
            affected = len(services.sessions_of(person.user_id))
            session.reply(ok(request.id, **told, affected=affected))
            return
        act = Act(request.id, "assign", person, role=request.role, reason=request.reason)
        audit = await note_act(session, act)
        try:
            is_stored = await services.store.set_role(person.user_id, request.role)
        except Conflict:
            raise _last_admin() from None
        if not is_stored:
            raise _not_registered(person.user_id)
        services.on_changed(person.user_id)
        ending = services.sessions_of(person.user_id)
        _log.info("admin.assigned", by=session.user_id, user=person.user_id, role=request.role)
        session.reply(ok(request.id, **told, affected=len(ending), **audit))
        for each in list(ending):
            each.end(CloseCode.DISCONNECTED, f"your role is {request.role} now", RETRY_S)

    async def _drain(self, session: Session, request: Drain) -> None:
        _require(session, Rank.SERVER_ADMIN)
        check_no_nul(request.id, reason=request.reason)
        audit: Envelope = {}
        if not request.dry_run:
            audit = await note_act(session, Act(request.id, "drain", reason=request.reason))
        session.reply(ok(request.id, affected=self._services.sessions(), **audit))
        if not request.dry_run:
            _log.warning("admin.drain", by=session.user_id)
            self._services.drain()

    # -- helpers ---------------------------------------------------------------------------------------

    async def _moderated(self, session: Session, room: str, what: str) -> RoomRow:
        """A room whose moderators' business this is, for one of them or of the server's people."""
        info = await self._inspect(room, session.user_id, oversees=oversees(session))
        if rank_of(info.role, _role(session)) < Rank.MODERATOR:
            text = f"it takes the rank of a moderator to read a room's {what}"
            raise Refused(ErrorCode.FORBIDDEN, text)
        return info.row

    async def _find(self, user_id: str) -> Person:
        person = await self._services.people.find(user_id)
        if person is None:
            raise Refused(ErrorCode.NOT_FOUND, f"nobody here knows a user {user_id}", field="user")
        return person

    async def _find_registered(self, user_id: str) -> Person:
        """A user as the accounts know him, whatever the sessions say that are here."""
        row = (await self._services.store.find_users([user_id])).get(user_id)
        if row is None:
            raise _not_registered(user_id)
        return Person(row.user_id, row.name, row.role)

    async def _new_password(self) -> tuple[str, str]:
        """A password that nobody chose, and its hash."""
        password = urlsafe_b64encode(self._services.random_bytes(_PASSWORD_BYTES)).decode("ascii")
        return password, await self._services.passwords.hash(password)


def _role(session: Session) -> str:
    principal: Principal | None = session.principal
    return "" if principal is None else principal.role


def _rank(session: Session) -> Rank:
    return rank_of(None, _role(session))


def _require(session: Session, needs: Rank) -> None:
    if _rank(session) < needs:
        raise Refused(ErrorCode.FORBIDDEN, f"it takes the rank of {needs.words} to ask this")


def _require_above(session: Session, target: Person) -> None:
    """Let people act on who ranks below them, and on themselves."""
    if target.user_id != session.user_id and rank_of(None, target.server_role) >= _rank(session):
        raise Refused(ErrorCode.FORBIDDEN, "this can be done only to people of a lower rank", field="user")


def _taken(name: str) -> Refused:
    return Refused(ErrorCode.CONFLICT, f"somebody is called {name} already", field="name")


def _not_registered(user_id: str) -> Refused:
    return Refused(ErrorCode.NOT_FOUND, f"there is no registered user {user_id}", field="user")


def _last_admin() -> Refused:
    return Refused(ErrorCode.FORBIDDEN, "the server would be without an admin", field="user")


def _is_good(token: TokenInfo, now_ms: int) -> bool:
    return token.revoked_at_ms is None and (token.expires_at_ms is None or token.expires_at_ms > now_ms)


def _audit_item(row: AuditRow) -> Envelope:
    item: dict[str, object] = {
        "audit": f"{row.room}:{row.seq}",
        "room": row.room,
        "seq": row.seq,
        "at": row.at_ms,
        "by": row.actor,
        "name": row.actor_name,
        "action": row.action,
        "hash": row.hash.hex(),
    }
    if row.target is not None:
        item["target"] = row.target
    if row.reason is not None:
        item["reason"] = row.reason
    if row.detail is not None:
        item["detail"] = msgspec.json.decode(row.detail, type=dict[str, object])
    return item


def _audit_cursor(row: AuditRow, room: str | None) -> str:
    return f"{room or ''}!{row.at_ms}!{row.room_id}!{row.seq}"


def _audit_place(cursor: str, room: str | None) -> AuditKey:
    where, *numbers = from_cursor(cursor).split("!")
    try:
        at_ms, room_id, seq = (int(number) for number in numbers)
    except ValueError:
        at_ms = room_id = seq = -1
    if where != (room or "") or not all(0 <= number <= _LARGEST for number in (at_ms, room_id, seq)):
        raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
    return AuditKey(at_ms, room_id, seq)


def _sanction_cursor(row: SanctionRow, room: str | None) -> str:
    return f"{room or ''}#{row.user_id}#{row.kind}"


def _sanction_place(cursor: str, room: str | None) -> tuple[str, str]:
    where, _, place = from_cursor(cursor).partition("#")
    user_id, _, kind = place.partition("#")
    if where != (room or "") or not user_id or kind not in {"ban", "mute"}:
        raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
    return user_id, kind


def _sanction_item(room: str, row: SanctionRow) -> Envelope:
    item: dict[str, object] = {"kind": row.kind, "audit": f"{room}:{row.seq}"}
    if row.until_ms is not None:
        item["until"] = row.until_ms
    if row.reason is not None:
        item["reason"] = row.reason
    return item


def _token_item(token: TokenInfo) -> Envelope:
    item: dict[str, object] = {
        "token": token.token_hash[:_TOKEN_ID_BYTES].hex(),
        "created": token.created_at_ms,
    }
    if token.expires_at_ms is not None:
        item["expires"] = token.expires_at_ms
    if token.revoked_at_ms is not None:
        item["revoked"] = token.revoked_at_ms
    return item


def _load_item(load: RoomLoad) -> Envelope:
    return {
        "room": load.room,
        "subscribers": load.subscribers,
        "waiting": load.waiting,
        "wait_ms": round(load.wait_s * 1000, 3),
        "messages": load.messages,
        "turn_ms": round(load.turn_s * 1000, 3),
        "turn_max_ms": round(load.turn_max_s * 1000, 3),
    }


def _session_item(session: Session) -> Envelope:
    item: dict[str, object] = {
        "session": session.session_id,
        "name": session.name,
        "status": session.status,
        "peer": session.stream.peer,
    }
    if session.expires_at_ms is not None:
        item["expires"] = session.expires_at_ms
    return item
