"""PURE: who governs a room, and what the log then says: settings, members, roles, sanctions.

Each act is one more entry of the room's one log, and takes effect in the turn that orders it: what is asked
afterwards meets the room as it then is. Who may do what stands in `chat.room_rules`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple, TypeVar, assert_never

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chat.direct_rooms import direct_room_name
from chat.errors import ErrorCode, Refused
from chat.message_facts import KIND_PURGE
from chat.protocol import RETENTION_MIN_S, SERVER_ROOM, Invite, Leave, Mod, Update
from chat.room_rules import Person, Rank, rank_of, require_right
from chat.room_state import RoomState
from storage.model import LogEntry, MemberRow, Role, SanctionKind, SanctionRow

ServerAct = Literal["enroll", "reset", "assign", "disconnect", "drain", "automod", "report"]


class Act(NamedTuple):
    """What is done to an account, to the server, or beside a room's log: for the audit of `SERVER_ROOM`.

    Whoever asks for it has looked at who may.

    Attributes:
        id: of the request that it is done for.
        user: whose account, or sessions; None: nobody's.
        session: the one session that it is about.
        role: of a new account, or which an account has from then on.
        report: the number of the one that is closed; `user` is then whose message it is about.
        state: that it is closed with.
        room: whose rules have changed; None: those of every room, or no rules.
        version: of the rules from then on.
        rules: how many there are.
    """

    id: int
    action: ServerAct
    user: Person | None = None
    session: str | None = None
    role: str | None = None
    room: str | None = None
    version: int | None = None
    rules: int | None = None
    reason: str | None = None
    report: int | None = None
    state: str | None = None


class Expire(NamedTuple):
    """Delete messages that the room does not keep any more; asked for by the server, or by a moderator.

    Attributes:
        id: of the request, if there is one.
        retention_s: the policy by which they were chosen: under another one nothing is deleted.
        room: which.
        dry_run: whether it is only to be tried.
        reason: as everybody is told; None: how long it was kept.
    """

    id: int
    retention_s: int
    room: str
    dry_run: bool = False
    reason: str | None = None


Governing = Leave | Update | Invite | Mod | Act | Expire
"""Requests that change what a room is, or who belongs to it."""

Omitted = str | UnsetType
T = TypeVar("T")


class MemberEvent(Struct, frozen=True, kw_only=True):
    """Somebody becomes a member (`role`), or is one no more (None), by whose doing `action` says."""

    user: str
    name: str
    role: Role | None
    action: Literal["invite", "join", "leave", "kick"]
    reason: Omitted = UNSET


class RoleEvent(Struct, frozen=True, kw_only=True):
    """A member has another role."""

    user: str
    name: str
    role: Role
    reason: Omitted = UNSET


class SanctionEvent(Struct, frozen=True, kw_only=True):
    """Somebody is banned or muted, until a time if there is one, or no more; a ban ends the membership."""

    user: str
    name: str
    action: Literal["ban", "unban", "mute", "unmute"]
    until: int | UnsetType = UNSET
    reason: Omitted = UNSET


class RoomEvent(Struct, frozen=True, kw_only=True):
    """The room has other settings; what is not named stays."""

    topic: str | UnsetType = UNSET
    slow: float | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    retention: int | UnsetType = UNSET
    reason: Omitted = UNSET


class PurgeEvent(Struct, frozen=True, kw_only=True):
    """Messages are deleted, those of one user if there is one."""

    seqs: tuple[int, ...]
    user: str | UnsetType = UNSET
    reason: Omitted = UNSET


class AnnounceEvent(Struct, frozen=True, kw_only=True):
    """Something that all are told; no message: nobody answers it, and it is not unread."""

    body: str


class ActEvent(Struct, frozen=True, kw_only=True):
    """Something was done to an account, to the server, or beside a room's log; in the server's own room only.

    The other room is `where`: an event's `room` is the one that it is in.
    """

    action: ServerAct
    user: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    session: str | UnsetType = UNSET
    report: int | UnsetType = UNSET
    state: str | UnsetType = UNSET
    where: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    rules: int | UnsetType = UNSET
    reason: Omitted = UNSET


GoverningEvent = MemberEvent | RoleEvent | SanctionEvent | RoomEvent | PurgeEvent | AnnounceEvent | ActEvent
KIND_OF: Final[dict[type[GoverningEvent], str]] = {
    MemberEvent: "member",
    RoleEvent: "role",
    SanctionEvent: "sanction",
    RoomEvent: "room",
    PurgeEvent: KIND_PURGE,
    AnnounceEvent: "announce",
    ActEvent: "act",
}
SERVER_ACTIONS: Final = frozenset({"ban", "unban", "mute", "unmute", "announce"})
KINDS: Final = frozenset(KIND_OF.values())
"""Events that govern; where the database refuses one for ever, the room is not what it took itself for."""
KINDS_OF_PEOPLE: Final = frozenset({"member", "role", "sanction"})
_KIND_OF_SANCTION: Final[dict[str, SanctionKind]] = {
    "ban": "ban",
    "unban": "ban",
    "mute": "mute",
    "unmute": "mute",
}


class Governed(NamedTuple):
    """What was done.

    Attributes:
        entry: as it is in the log; None: it was so already, or was only to be tried.
        joined: who became a member.
        left: who is a member no more.
        shut_out: who may not read any more.
        concerns_stranger: whether it is about somebody who does not belong to the room.
        affected: people, or rooms, that it concerns.
    """

    entry: LogEntry | None
    joined: MemberRow | None = None
    left: str | None = None
    shut_out: str | None = None
    concerns_stranger: bool = False
    affected: int = 1


class _Case(NamedTuple):
    """What is asked, and who asks.

    Attributes:
        rank: of who asks.
        target: whom it names, as far as the server knows.
        seqs: of the messages that it is about.
        at_ms: the room's time.
    """

    state: RoomState
    actor: Person
    rank: Rank
    target: Person | None
    seqs: tuple[int, ...]
    at_ms: int


def order_governance(
    state: RoomState,
    request: Governing,
    *,
    actor: Person,
    target: Person | None,
    seqs: Sequence[int] = (),
    now_ms: int,
) -> Governed:
    """Decide about an act, and put it into the log.

    Args:
        state: the room.
        request: what is asked; its texts were looked at.
        actor: who asks.
        target: whom it names, as far as the server knows; a member need not be known otherwise.
        seqs: of the messages that a purge is about: stored, and not deleted.
        now_ms: the wall clock.

    Raises:
        Refused: `not_member`, `room_not_found`, `banned`, `forbidden`, `not_found`, `room_full`, `muted`,
            `locked`, `bad_request`; the log is as it was.
    """
    # In the server's own room nobody but the server's people is anybody.
    role = None if state.name == SERVER_ROOM else state.roster.role_of(actor.user_id)
    rank = rank_of(role, actor.server_role)
    case = _Case(state, actor, rank, target, tuple(seqs), state.at_ms(now_ms))
    event = _decide(case, request)
    if event is None:
        return Governed(None, affected=0)
    affected = len(event.seqs) if isinstance(event, PurgeEvent) else 1
    if isinstance(request, Mod | Update | Expire) and request.dry_run:
        return Governed(None, affected=affected)
    stranger = isinstance(event, SanctionEvent) and event.user not in state.members
    entry = state.order_change(
        KIND_OF[type(event)],
        by=actor.user_id,
        name=actor.name,
        cid=None,
        body=None,
        data=msgspec.json.encode(event).decode(),
        now_ms=now_ms,
    )
    return _apply(state, event, entry)._replace(affected=affected, concerns_stranger=stranger)


class _About(Struct, frozen=True):
    """What the log keeps of whom an event is about."""

    user: str | None = None


_decode_about: Final = msgspec.json.Decoder(_About).decode


def concerned(entry: LogEntry) -> str | None:
    """Whom an event is about: that user's sessions hear of it wherever they are."""
    if entry.kind not in KINDS_OF_PEOPLE or entry.data is None:
        return None
    return _decode_about(entry.data).user


# -- deciding --------------------------------------------------------------------------------------------


def _decide(case: _Case, request: Governing) -> GoverningEvent | None:
    """The event; None: it is so already."""
    state = case.state
    if isinstance(request, Act):
        return _note(case, request)
    if isinstance(request, Expire):
        require_right("purge", state.row.kind, case.rank)
        if state.row.retention_s != request.retention_s or not case.seqs:
            return None
        reason = request.reason or f"kept for {_lasting(request.retention_s)}"
        return PurgeEvent(seqs=case.seqs, reason=reason)
    if state.name == SERVER_ROOM and not (isinstance(request, Mod) and request.action in SERVER_ACTIONS):
        raise Refused(ErrorCode.BAD_REQUEST, "that is not done to a whole server", field="action")
    if isinstance(request, Invite) and state.row.kind == "direct":
        return _complete_pair(case, request.user)
    if case.rank is Rank.NOBODY:
        state.require_member(case.actor.user_id, case.at_ms)
    match request:
        case Leave():
            return _leave(case)
        case Update():
            return _update(case, request)
        case Invite():
            return _invite(case, request.user)
        case Mod():
            return _moderate(case, request)
        case _:
            assert_never(request)


def _lasting(seconds: int) -> str:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _note(case: _Case, act: Act) -> ActEvent:
    if case.state.name != SERVER_ROOM:
        raise AssertionError("only the server's own room has such acts")
    return ActEvent(
        action=act.action,
        user=_given(act.user and act.user.user_id),
        name=_given(act.user and act.user.name),
        role=_given(act.role),
        session=_given(act.session),
        report=_given(act.report),
        state=_given(act.state),
        where=_given(act.room),
        version=_given(act.version),
        rules=_given(act.rules),
        reason=_given(act.reason),
    )


def _leave(case: _Case) -> MemberEvent:
    state, user_id = case.state, case.actor.user_id
    member = state.require_member(user_id, case.at_ms)
    if state.row.kind == "direct":
        raise Refused(ErrorCode.FORBIDDEN, "a direct room cannot be left")
    state.roster.require_may_leave(user_id)
    return MemberEvent(user=user_id, name=member.name, role=None, action="leave")


def _update(case: _Case, request: Update) -> RoomEvent | None:
    row = case.state.row
    if request.topic is None and request.slow is None and request.retention is None:
        raise Refused(ErrorCode.BAD_REQUEST, "give a topic, slow or retention", field="topic")
    if request.topic is not None:
        require_right("topic", row.kind, case.rank)
        case.state.roster.sanctions.require_free(case.actor.user_id, "mute", case.at_ms)
    if request.slow is not None:
        require_right("slow", row.kind, case.rank)
    if request.retention is not None:
        require_right("retention", row.kind, case.rank)
        if 0 < request.retention < RETENTION_MIN_S:
            text = f"what is said is kept for {RETENTION_MIN_S} s at least, or for ever (0)"
            raise Refused(ErrorCode.BAD_REQUEST, text, field="retention")
    event = RoomEvent(
        topic=_changed(request.topic, row.topic),
        slow=_changed(request.slow, row.slow_s),
        retention=_changed(request.retention, row.retention_s or 0),
    )
    if event == RoomEvent():
        return None
    if request.reason is not None:
        event = msgspec.structs.replace(event, reason=request.reason)
    if event.topic is not UNSET or event.slow is not UNSET:
        case.state.require_open()
    return event


def _given(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _changed(wanted: T | None, present: T) -> T | UnsetType:
    return UNSET if wanted is None or wanted == present else wanted


def _invite(case: _Case, user_id: str) -> MemberEvent | None:
    state = case.state
    require_right("invite", state.row.kind, case.rank)
    if user_id in state.members:
        return None
    target = _known(case, user_id, "user")
    _require_not_banned(case, user_id)
    state.require_open()
    state.roster.require_place()
    return MemberEvent(user=user_id, name=target.name, role="member", action="invite")


def _require_not_banned(case: _Case, user_id: str) -> None:
    if case.state.roster.sanctions.of(user_id, "ban", case.at_ms) is not None:
        raise Refused(ErrorCode.BANNED, "this user is banned: lift the ban first", field="user")


def _complete_pair(case: _Case, user_id: str) -> MemberEvent | None:
    """Make a member of whichever of a direct room's two people is none yet."""
    state, actor = case.state, case.actor
    if direct_room_name(actor.user_id, user_id) != state.name:
        state.require_member(actor.user_id, case.at_ms)
        raise Refused(ErrorCode.FORBIDDEN, "a direct room is for two people")
    state.roster.sanctions.require_free(actor.user_id, "ban", case.at_ms)
    if actor.user_id not in state.members:
        state.require_open()
        return MemberEvent(user=actor.user_id, name=actor.name, role="member", action="join")
    if user_id in state.members:
        return None
    target = _known(case, user_id, "user")
    _require_not_banned(case, user_id)
    state.require_open()
    return MemberEvent(user=user_id, name=target.name, role="member", action="invite")


def _moderate(case: _Case, request: Mod) -> GoverningEvent | None:
    row = case.state.row
    reason = _given(request.reason)
    match request.action:
        case "lock" | "unlock":
            require_right(request.action, row.kind, case.rank)
            locked = request.action == "lock"
            return None if row.locked == locked else RoomEvent(locked=locked, reason=reason)
        case "archive" | "unarchive":
            require_right(request.action, row.kind, case.rank)
            archived = request.action == "archive"
            return None if row.archived == archived else RoomEvent(archived=archived, reason=reason)
        case "announce":
            require_right("announce", row.kind, case.rank)
            if request.body is None:
                raise Refused(ErrorCode.BAD_REQUEST, "say what", field="body")
            case.state.roster.sanctions.require_free(case.actor.user_id, "mute", case.at_ms)
            case.state.require_open()
            return AnnounceEvent(body=request.body)
        case "purge":
            return _purge(case, request, reason)
        case "slow":
            require_right("slow", row.kind, case.rank)
            if request.slow is None:
                raise Refused(ErrorCode.BAD_REQUEST, "say how slow", field="slow")
            case.state.require_open()
            return None if row.slow_s == request.slow else RoomEvent(slow=request.slow, reason=reason)
        case _:
            return _moderate_person(case, request, reason)


def _moderate_person(
    case: _Case, request: Mod, reason: Omitted
) -> MemberEvent | RoleEvent | SanctionEvent | None:
    state, target = case.state, case.target
    if request.target is None:
        raise Refused(ErrorCode.BAD_REQUEST, "say whom", field="target")
    user_id = request.target
    member = state.members.get(user_id)
    # An owner may step down, though nobody ranks below oneself.
    steps_down = request.action == "role" and user_id == case.actor.user_id
    rank = rank_of(None if member is None else member.role, "" if target is None else target.server_role)
    require_right(request.action, state.row.kind, case.rank, None if steps_down else rank)
    match request.action:
        case "kick":
            member = _require_target(member, user_id)
            return MemberEvent(user=user_id, name=member.name, role=None, action="kick", reason=reason)
        case "role":
            return _change_role(case, request.role, _require_target(member, user_id), reason)
        case "unban" | "unmute":
            kind = _KIND_OF_SANCTION[request.action]
            row = state.roster.sanctions.of(user_id, kind, case.at_ms)
            if row is None:
                raise Refused(ErrorCode.NOT_FOUND, f"{user_id} is under no {kind} here", field="target")
            return SanctionEvent(user=user_id, name=row.name, action=request.action, reason=reason)
        case "ban" | "mute":
            name = member.name if member is not None else _known(case, user_id, "target").name
            until = UNSET if request.ttl is None else case.at_ms + round(request.ttl * 1000)
            return SanctionEvent(user=user_id, name=name, action=request.action, until=until, reason=reason)
        case _:
            raise AssertionError(request.action)


def _purge(case: _Case, request: Mod, reason: Omitted) -> PurgeEvent | None:
    state, user_id = case.state, request.target
    rank = None
    if user_id is not None and user_id != case.actor.user_id:
        server_role = "" if case.target is None else case.target.server_role
        rank = rank_of(state.roster.role_of(user_id), server_role)
    require_right("purge", state.row.kind, case.rank, rank)
    if not case.seqs:
        return None
    return PurgeEvent(seqs=case.seqs, user=_given(user_id), reason=reason)


def _change_role(case: _Case, role: Role | None, member: MemberRow, reason: Omitted) -> RoleEvent | None:
    if role is None:
        raise Refused(ErrorCode.BAD_REQUEST, "say which role", field="role")
    if role == member.role:
        return None
    if case.state.roster.is_last_owner(member.user_id):
        raise Refused(ErrorCode.FORBIDDEN, "the room would be without an owner")
    return RoleEvent(user=member.user_id, name=member.name, role=role, reason=reason)


def _require_target(member: MemberRow | None, user_id: str) -> MemberRow:
    if member is None:
        raise Refused(ErrorCode.NOT_FOUND, f"{user_id} is no member of the room", field="target")
    return member


def _known(case: _Case, user_id: str, field: str) -> Person:
    if case.target is None:
        raise Refused(ErrorCode.NOT_FOUND, f"nobody here knows a user {user_id}", field=field)
    return case.target


# -- doing -----------------------------------------------------------------------------------------------


def _apply(state: RoomState, event: GoverningEvent, entry: LogEntry) -> Governed:
    """Make the room what its log now says."""
    roster = state.roster
    match event:
        case MemberEvent(role=None):
            roster.drop(event.user)
            return Governed(entry, left=event.user)
        case MemberEvent():
            joined = MemberRow(event.user, event.name, "member", entry.at_ms, entry.seq)
            roster.add(joined)
            return Governed(entry, joined=joined)
        case RoleEvent():
            roster.set_role(event.user, event.role)
            return Governed(entry)
        case SanctionEvent():
            return _sanction(state, event, entry)
        case PurgeEvent() | AnnounceEvent() | ActEvent():
            return Governed(entry)
        case RoomEvent():
            row = state.row
            state.row = replace(
                row,
                topic=row.topic if event.topic is UNSET else event.topic,
                slow_s=row.slow_s if event.slow is UNSET else event.slow,
                locked=row.locked if event.locked is UNSET else event.locked,
                archived=row.archived if event.archived is UNSET else event.archived,
                retention_s=row.retention_s if event.retention is UNSET else event.retention or None,
            )
            return Governed(entry)
        case _:
            assert_never(event)


def _sanction(state: RoomState, event: SanctionEvent, entry: LogEntry) -> Governed:
    roster = state.roster
    kind = _KIND_OF_SANCTION[event.action]
    if event.action in {"unban", "unmute"}:
        roster.sanctions.lift(event.user, kind)
        return Governed(entry)
    until_ms = None if event.until is UNSET else event.until
    reason = None if event.reason is UNSET else event.reason
    roster.sanctions.impose(SanctionRow(event.user, kind, event.name, until_ms, reason, entry.seq))
    if kind != "ban":
        return Governed(entry)
    was_member = roster.drop(event.user) is not None
    # Also who is no member may be watching, or receive a public room.
    return Governed(entry, left=event.user if was_member else None, shut_out=event.user)
