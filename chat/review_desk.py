"""What moderators ask for: rules of a room, what waits to be looked at, and what is done about it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

import msgspec
import structlog
import trio

from actors import ActorError
from chat.automod import Verdict, try_text
from chat.automod_rules import (
    Rule,
    check_totals,
    decode_rules,
    encode_rules,
    kind_of,
    merge_rules,
    parse_rules,
)
from chat.cursors import from_cursor
from chat.errors import ErrorCode, Refused
from chat.message_desk import reply_fitting
from chat.protocol import (
    Automod,
    Envelope,
    Report,
    Reports,
    Resolve,
    Review,
    check_body,
    check_no_nul,
    ok,
)
from chat.rate_limit import KeyedBuckets
from chat.room_messages import ApplyRules, RoomInfo, SendMessage
from chat.room_rules import SERVER_RANKS, Rank, rank_of, require_right
from chat.room_state import KIND_MESSAGE
from chat.rooms import Rooms
from chat.rule_book import RuleBook
from chat.session import Session
from chat.session_requests import actor_of
from storage import Conflict
from storage.model import RoomId, RoomRow, RulesRow
from storage.review_model import EVERYWHERE, WAITING, NewReport, ReportMove, ReportRow, ReportState
from storage.store import Store

log = structlog.stdlib.get_logger("chat.review_desk")

RETRY_BUSY_S: Final = 0.25
ROOMS_TOLD_AT_ONCE: Final = 200
"""Of changed rules of every room; then the others on this thread have a turn."""
_CLOSING: Final[dict[str, ReportState]] = {
    "resolve": "resolved",
    "dismiss": "dismissed",
    "reject": "rejected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewServices:
    """What the desk needs.

    Attributes:
        rule_book: compiles rules.
        tell_staff: tells the moderators of a room how many reports wait there.
        sessions_of: a user's sessions on this node.
        limit: of the reports that a user makes; None: no limit.
        page_max: items of a page.
    """

    store: Store
    rooms: Rooms
    rule_book: RuleBook
    tell_staff: Callable[[str, int], None]
    sessions_of: Callable[[str], Sequence[Session]]
    limit: KeyedBuckets[str] | None
    now_ms: Callable[[], int]
    page_max: int


class _Moderated(NamedTuple):
    """A room that somebody moderates, and with which rank."""

    row: RoomRow
    rank: Rank


class HeldAuthor:
    """Stands for the author of a held message when a moderator lets it in: the room's answer comes here.

    Args:
        row: the message.
    """

    def __init__(self, row: ReportRow) -> None:
        self.user_id = row.author
        self.name = row.author_name
        self._answered = trio.Event()
        self._answer: Envelope | Refused = {}

    def reply(self, envelope: Envelope) -> None:
        """The message is stored."""
        self._answer = envelope
        self._answered.set()

    def refuse(self, refused: Refused) -> None:
        """The room does not take it."""
        self._answer = refused
        self._answered.set()

    async def wait(self) -> Envelope:
        """The `ok` of the message; the caller bounds the time.

        Raises:
            Refused: the room does not take it.
        """
        await self._answered.wait()
        if isinstance(self._answer, Refused):
            # It answers another request than the author's.
            self._answer.request_id = None
            raise self._answer
        return self._answer


class ReviewDesk:
    """Finishes the requests about rules and reports, for every session.

    Args:
        services: what it needs.
        inspect: what a room says of itself to a user.
    """

    def __init__(self, services: ReviewServices, inspect: Callable[[str, str], Awaitable[RoomInfo]]) -> None:
        self._services = services
        self._inspect = inspect

    async def finish(self, session: Session, request: Review) -> None:
        """Do what is asked, and answer it.

        Raises:
            Refused: to be answered.
        """
        match request:
            case Automod():
                await self._automod(session, request)
            case Report():
                await self._report(session, request)
            case Reports():
                await self._reports(session, request)
            case Resolve():
                await self._resolve(session, request)
            case _:
                assert_never(request)

    # -- who may ---------------------------------------------------------------------------------------

    async def _moderated(self, session: Session, room: str, action: str) -> _Moderated:
        """A room that the session's user moderates, as a member or for the server.

        Raises:
            Refused: `forbidden`; `room_not_found`, `banned` and what else keeps one from seeing the room.
        """
        role = actor_of(session).server_role
        if role in SERVER_RANKS:
            row = await self._services.store.find_room(room)
            if row is None:
                raise Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room")
            moderated = _Moderated(row, SERVER_RANKS[role])
        else:
            info = await self._inspect(room, session.user_id)
            moderated = _Moderated(info.row, rank_of(info.role, role))
        require_right(action, moderated.row.kind, moderated.rank)
        return moderated

    def _require_server_moderator(self, session: Session) -> None:
        if actor_of(session).server_role not in SERVER_RANKS:
            raise Refused(ErrorCode.FORBIDDEN, "it takes a moderator of the server to do this for all rooms")

    # -- rules -----------------------------------------------------------------------------------------

    async def _automod(self, session: Session, request: Automod) -> None:
        room_id = EVERYWHERE
        if request.room is None:
            self._require_server_moderator(session)
        else:
            room_id = (await self._moderated(session, request.room, "automod")).row.room_id
        stored = await self._services.store.read_rules(room_id)
        if request.rules is not None:
            await self._set_rules(session, request, stored)
        elif request.test:
            await self._try_text(session, request, stored)
        else:
            await self._read_rules(session, request, stored)

    async def _set_rules(self, session: Session, request: Automod, stored: RulesRow | None) -> None:
        """Store the next version, then have it applied: what comes after the answer is judged by it.

        The room answers. Where it cannot be told now the rules are stored all the same, and it takes them up
        when it is activated next, or with the next that are set.
        """
        services = self._services
        version = 0 if stored is None else stored.version
        if request.if_version not in {None, version}:
            raise _outdated(version)
        rules = parse_rules(request.rules)
        if request.add and stored is not None:
            rules = merge_rules(_understood(stored), rules)
        check_totals(rules)
        compiled = await services.rule_book.compile(rules, version + 1)
        actor = actor_of(session)
        row = RulesRow(version + 1, services.now_ms(), actor.user_id, actor.name, encode_rules(rules))
        if request.room is None:
            await self._write(EVERYWHERE, row)
            services.rule_book.everywhere = compiled
            await self._apply_everywhere()
            session.reply(ok(request.id, room=None, version=row.version))
        else:
            room = (await self._moderated(session, request.room, "automod")).row
            await self._write(room.room_id, row)
            message = ApplyRules(rules=compiled, peer=session, request_id=request.id)
            session.tell_room(request.room, message, control=True)
        log.info("rules.changed", room=request.room, version=row.version, by=actor.user_id, rules=len(rules))

    async def _write(self, room_id: RoomId, row: RulesRow) -> None:
        try:
            await self._services.store.write_rules(room_id, row)
        except Conflict:
            raise _outdated(row.version) from None

    async def _apply_everywhere(self) -> None:
        """Tell every active room of the rules of all of them; the others find them when they start."""
        unheard = 0
        for place, ref in enumerate(list(self._services.rooms.group)):
            try:
                ref.tell_nowait(ApplyRules(rules=None), control=True)
            except ActorError:
                unheard += 1
            if place % ROOMS_TOLD_AT_ONCE == ROOMS_TOLD_AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
        if unheard:
            log.warning("rules.rooms_not_told", rooms=unheard)

    async def _read_rules(self, session: Session, request: Automod, stored: RulesRow | None) -> None:
        place = 0
        scope = request.room or "*"
        if request.cursor is not None:
            where, _, at = from_cursor(request.cursor).partition("!")
            if where != scope or not (at.isascii() and at.isdecimal() and len(at) <= 4):  # noqa: PLR2004
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
            place = int(at)
        fields: dict[str, object] = {"room": request.room, "version": 0}
        rules: Sequence[Rule] = ()
        if stored is not None:
            rules = _understood(stored)
            fields |= {
                "version": stored.version,
                "by": stored.author,
                "name": stored.author_name,
                "at": stored.at_ms,
            }
        end = place + min(request.limit, self._services.page_max)
        items = [session.encode(msgspec.to_builtins(rule)) for rule in rules[place:end]]
        await reply_fitting(
            session,
            ok(request.id, **fields),
            items,
            is_last=end >= len(rules),
            cursor_after=lambda last: f"{scope}!{place + last + 1}",
        )

    async def _try_text(self, session: Session, request: Automod, stored: RulesRow | None) -> None:
        """Say what rules would make of a text; nothing else happens."""
        services = self._services
        if request.text is None:
            raise Refused(ErrorCode.BAD_REQUEST, "give the text that is to be tried", field="text")
        check_body(request.text, request_id=request.id, max_bytes=session.services.body_max_bytes)
        layers = [] if request.room is None else [services.rule_book.everywhere]
        if stored is not None:
            layers.append(await services.rule_book.compile(_understood(stored), stored.version))
        found = [
            verdict
            for layer in layers
            if layer is not None
            for verdict in try_text(layer, request.text, at_ms=services.now_ms())
        ]
        decides = next((verdict.rule.id for verdict in found if verdict.decides), None)
        session.reply(
            ok(
                request.id,
                room=request.room,
                version=0 if stored is None else stored.version,
                decides=decides,
                matches=[_match(verdict) for verdict in found],
            )
        )

    # -- reports ---------------------------------------------------------------------------------------

    async def _report(self, session: Session, request: Report) -> None:
        services = self._services
        check_no_nul(request.id, reason=request.reason)
        if services.limit is not None:
            wait_s = services.limit.take(session.user_id, session.services.clock())
            if wait_s:
                raise Refused(ErrorCode.RATE_LIMITED, "too many reports", retry_after_s=wait_s)
        info = await self._inspect(request.room, session.user_id)
        room_id = info.row.room_id
        page = await services.store.history(room_id, around=request.seq, limit=1)
        message = next((item for item in page.items if item.seq == request.seq), None)
        if message is None and page.durable_seq < request.seq <= info.head_seq:
            raise Refused(ErrorCode.BUSY, "the message is not stored yet", retry_after_s=RETRY_BUSY_S)
        if message is None or message.kind != KIND_MESSAGE or message.body is None:
            raise Refused(ErrorCode.NOT_FOUND, f"there is no message at seq {request.seq}", field="seq")
        report = NewReport(
            room_id=room_id,
            room=request.room,
            kind="person",
            seq=request.seq,
            reporter=session.user_id,
            reporter_name=session.name,
            author=message.by,
            author_name=message.name,
            reason=request.reason,
            rule=None,
            at_ms=services.now_ms(),
        )
        try:
            (filed,) = await services.store.file_reports([report])
        except Conflict:
            text = "an earlier report was closed just now"
            raise Refused(ErrorCode.BUSY, text, retry_after_s=RETRY_BUSY_S) from None
        session.reply(ok(request.id, report=filed.report, state=filed.state))
        if filed.is_new:
            await self._tell_staff(request.room, room_id)

    async def _reports(self, session: Session, request: Reports) -> None:
        room_id = None
        if request.room is None:
            self._require_server_moderator(session)
        else:
            room_id = (await self._moderated(session, request.room, "review")).row.room_id
        scope = request.room or "*"
        after = 0
        if request.cursor is not None:
            where, _, number = from_cursor(request.cursor).partition("#")
            if where != scope or not (number.isascii() and number.isdecimal() and len(number) <= 16):  # noqa: PLR2004
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
            after = int(number)
        limit = min(request.limit, self._services.page_max)
        rows = await self._services.store.list_reports(
            room_id=room_id, waiting=request.state == "waiting", after=after, limit=limit + 1
        )
        page = rows[:limit]
        await reply_fitting(
            session,
            ok(request.id, room=request.room),
            [session.encode(as_item(row)) for row in page],
            is_last=len(rows) <= limit,
            cursor_after=lambda last: f"{scope}#{page[last].report}",
        )

    async def _resolve(self, session: Session, request: Resolve) -> None:
        check_no_nul(request.id, note=request.note, audit=request.audit)
        row = await self._services.store.find_report(request.report)
        if row is None:
            raise _no_report()
        try:
            rank = (await self._moderated(session, row.room, "review")).rank
        except Refused as refused:
            if refused.code.temporary:
                raise
            # Who has no say there does not learn what there is.
            raise _no_report() from None
        if (row.kind == "held") != (request.action in {"approve", "reject"}) and request.action not in {
            "claim",
            "release",
        }:
            text = "a held message is approved or rejected, a report is resolved or dismissed"
            raise Refused(ErrorCode.BAD_REQUEST, text, field="action")
        if request.action == "approve":
            moved = await self._approve(session, request)
        elif request.action == "release":
            # Whoever ranks above moderators takes a report from one who has gone.
            moved = await self._move(session, request, "open", forced=rank >= Rank.OWNER)
        else:
            moved = await self._move(session, request, _CLOSING.get(request.action, "claimed"))
        session.reply(ok(request.id, report=moved.report, state=moved.state, seq=moved.seq))
        self._tell_sides(moved)
        await self._tell_staff(moved.room, moved.room_id)

    async def _approve(self, session: Session, request: Resolve) -> ReportRow:
        """Claim a held message, so that nobody rejects it meanwhile; let it into the room; then close it.

        Raises:
            Refused: somebody else has it, or the room does not take it: then it stays claimed.
        """
        row = await self._move(session, request, "claimed")
        if row.cid is None or row.body is None:
            raise AssertionError("a held message without its text")
        author = HeldAuthor(row)
        message = SendMessage(author, 0, row.cid, row.body, row.reply_to, row.thread, reviewed=True)
        session.tell_room(row.room, message, control=True)
        answer = await author.wait()
        seq = answer["seq"]
        return await self._move(session, request, "approved", seq=seq if isinstance(seq, int) else None)

    async def _move(
        self,
        session: Session,
        request: Resolve,
        to: ReportState,
        *,
        forced: bool = False,
        seq: int | None = None,
    ) -> ReportRow:
        services = self._services
        closes = to not in WAITING
        move = ReportMove(
            report=request.report,
            to=to,
            by=session.user_id,
            by_name=session.name,
            at_ms=services.now_ms(),
            forced=forced,
            note=request.note if closes else None,
            audit=request.audit if closes else None,
            seq=seq,
        )
        moved = await services.store.move_report(move)
        if moved is not None:
            return moved
        row = await services.store.find_report(request.report)
        if row is None:
            raise _no_report()
        who = "nobody has it" if row.holder is None else f"by {row.holder_name}"
        raise Refused(
            ErrorCode.CONFLICT,
            f"the report is {row.state}, {who}",
            current={"state": row.state, "holder": row.holder, "name": row.holder_name},
        )

    # -- telling ---------------------------------------------------------------------------------------

    async def _tell_staff(self, room: str, room_id: RoomId) -> None:
        count = (await self._services.store.count_waiting([room_id])).get(room_id, 0)
        self._services.tell_staff(room, count)

    def _tell_sides(self, row: ReportRow) -> None:
        """Tell who brought it, or whose message was held, what has become of it."""
        concerned = row.author if row.kind == "held" else row.reporter
        envelope: dict[str, object] = {
            "t": "report",
            "report": row.report,
            "room": row.room,
            "state": row.state,
        }
        if row.seq is not None:
            envelope["seq"] = row.seq
        if row.cid is not None:
            envelope["cid"] = row.cid
        for session in self._services.sessions_of(concerned) if concerned else ():
            session.reply(envelope)


def as_item(row: ReportRow) -> Envelope:
    """A report as moderators see it; what does not apply is left out."""
    fields: dict[str, object] = {
        "report": row.report,
        "room": row.room,
        "kind": row.kind,
        "state": row.state,
        "at": row.at_ms,
        "changed": row.changed_at_ms,
        "by": row.reporter,
        "name": row.reporter_name,
        "author": row.author,
        "author_name": row.author_name,
        "reason": row.reason,
    }
    optional = {
        "seq": row.seq,
        "rule": row.rule,
        "cid": row.cid,
        "body": row.body,
        "reply_to": row.reply_to,
        "thread": row.thread,
        "holder": row.holder,
        "holder_name": row.holder_name,
        "note": row.note,
        "audit": row.audit,
    }
    return fields | {name: value for name, value in optional.items() if value is not None}


def _match(verdict: Verdict) -> Envelope:
    rule = verdict.rule
    return {
        "rule": rule.id,
        "kind": kind_of(rule),
        "action": rule.action,
        "dry_run": rule.dry_run,
        "found": verdict.found,
        "reason": verdict.said,
    }


def _understood(stored: RulesRow) -> Sequence[Rule]:
    try:
        return decode_rules(stored.rules)
    except ValueError:
        text = "the rules are of a later version of this server: set them anew"
        raise Refused(ErrorCode.INTERNAL, text) from None


def _outdated(version: int) -> Refused:
    return Refused(ErrorCode.CONFLICT, f"the rules have version {version}", current={"version": version})


def _no_report() -> Refused:
    return Refused(ErrorCode.NOT_FOUND, "there is no such report", field="report")
