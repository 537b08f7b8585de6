"""Reports and held messages: filed by people, listed for moderators, claimed and closed by one of them."""

from collections.abc import Mapping
from typing import Final, assert_never

from chat.cursors import from_cursor
from chat.errors import ErrorCode, Refused
from chat.message_desk import reply_fitting
from chat.protocol import Envelope, Report, Reports, Resolve, check_no_nul, ok
from chat.review_access import (
    Inspect,
    ReviewServices,
    require_moderator,
    require_no_part,
    require_server_moderator,
)
from chat.room_governance import Act
from chat.room_messages import SendMessage
from chat.room_rules import Person, Rank
from chat.room_state import KIND_MESSAGE
from chat.server_audit import note_act
from chat.session import Session
from chat.session_requests import counted_as
from chat.stand_in import StandIn
from storage import Conflict
from storage.model import RoomId
from storage.review_model import WAITING, NewReport, ReportMove, ReportRow, ReportState

RETRY_BUSY_S: Final = 0.25
RETRY_FULL_S: Final = 60.0
_CLOSING: Final[dict[str, ReportState]] = {
    "resolve": "resolved",
    "dismiss": "dismissed",
    "approve": "approved",
    "reject": "rejected",
}


class ReportDesk:
    """Finishes the requests about reports, for every session.

    Args:
        services: what it needs.
        inspect: what a room says of itself to a user.
    """

    def __init__(self, services: ReviewServices, inspect: Inspect) -> None:
        self._services = services
        self._inspect = inspect

    async def finish(self, session: Session, request: Report | Reports | Resolve) -> None:
        """Do what is asked, and answer it.

        Raises:
            Refused: to be answered.
        """
        match request:
            case Report():
                await self._report(session, request)
            case Reports():
                await self._reports(session, request)
            case Resolve():
                await self._resolve(session, request)
            case _:
                assert_never(request)

    async def _report(self, session: Session, request: Report) -> None:
        services = self._services
        check_no_nul(request.id, reason=request.reason)
        if services.limit is not None:
            wait_s = services.limit.take(counted_as(session), session.services.clock())
            if wait_s:
                raise Refused(ErrorCode.RATE_LIMITED, "too many reports", retry_after_s=wait_s)
        info = await self._inspect(request.room, session.user_id)
        room_id = info.row.room_id
        page = await services.store.history(room_id, around=request.seq, limit=1, fold_for=session.user_id)
        message = next((item for item in page.items if item.seq == request.seq), None)
        if message is None and page.durable_seq < request.seq <= info.head_seq:
            raise Refused(ErrorCode.BUSY, "the message is not stored yet", retry_after_s=RETRY_BUSY_S)
        present = page.folded.get(request.seq)
        if message is None or message.kind != KIND_MESSAGE or present is None or present.body is None:
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
            body=present.body,
        )
        try:
            (filed,) = await services.store.file_reports([report])
        except Conflict:
            text = "an earlier report was closed just now"
            raise Refused(ErrorCode.BUSY, text, retry_after_s=RETRY_BUSY_S) from None
        if filed.state == "full":
            text = "the moderators of this room have too much to look at"
            raise Refused(ErrorCode.BUSY, text, retry_after_s=RETRY_FULL_S)
        session.reply(ok(request.id, **_applying({"report": filed.report, "state": filed.state})))
        if filed.is_new:
            await self._tell_staff(request.room, room_id)

    async def _reports(self, session: Session, request: Reports) -> None:
        store = self._services.store
        waiting = request.state == "waiting"
        limit = min(request.limit, self._services.page_max)
        as_seen = as_item
        if request.mine:
            if request.room is not None:
                text = "your own reports are listed for all rooms together"
                raise Refused(ErrorCode.BAD_REQUEST, text, field="room")
            scope = f"@{session.user_id}"
            after = _last_listed(request.cursor, scope)
            rows = await store.list_own_reports(
                session.user_id, waiting=waiting, after=after, limit=limit + 1
            )
            as_seen = as_own_item
        else:
            room_id = None
            if request.room is None:
                require_server_moderator(session)
            else:
                moderated = await require_moderator(
                    self._services, self._inspect, session, request.room, "review"
                )
                room_id = moderated.row.room_id
            scope = request.room or "*"
            after = _last_listed(request.cursor, scope)
            rows = await store.list_reports(
                room_id=room_id,
                waiting=waiting,
                after=after,
                limit=limit + 1,
                # Nobody learns here who has reported him.
                not_about=session.user_id,
            )
        page = rows[:limit]
        await reply_fitting(
            session,
            ok(request.id, room=request.room),
            [session.encode(as_seen(row)) for row in page],
            is_last=len(rows) <= limit,
            cursor_after=lambda last: f"{scope}#{page[last].report}",
        )

    async def _resolve(self, session: Session, request: Resolve) -> None:
        check_no_nul(request.id, note=request.note, audit=request.audit)
        row = await self._services.store.find_report(request.report)
        if row is None:
            raise _no_report()
        try:
            rank = (await require_moderator(self._services, self._inspect, session, row.room, "review")).rank
        except Refused as refused:
            if refused.code.temporary:
                raise
            # Who has no say there does not learn what there is.
            raise _no_report() from None
        gives_back = request.action == "release" and row.holder == session.user_id
        if not gives_back or row.author == session.user_id:
            await require_no_part(self._services, self._inspect, session, row, rank)
        if (row.kind == "held") != (request.action in {"approve", "reject"}) and request.action not in {
            "claim",
            "release",
        }:
            text = "a held message is approved or rejected, a report is resolved or dismissed"
            raise Refused(ErrorCode.BAD_REQUEST, text, field="action")
        closed = _CLOSING.get(request.action)
        if closed is not None:
            moved = await self._close(session, request, row, closed)
        elif request.action == "release":
            # Whoever ranks above moderators takes a report from one who has gone.
            moved = await self._move(session, request, "open", forced=rank >= Rank.OWNER)
        else:
            moved = await self._move(session, request, "claimed")
        session.reply(ok(request.id, report=moved.report, state=moved.state, seq=moved.seq))
        self._tell_sides(moved)
        await self._tell_staff(moved.room, moved.room_id)

    async def _close(
        self, session: Session, request: Resolve, row: ReportRow, state: ReportState
    ) -> ReportRow:
        """Claim a report, so that nobody else decides meanwhile; do and note what is decided; then close it.

        Args:
            session: who decides.
            request: what.
            row: the report as it was found.
            state: that it is to have.

        Raises:
            Refused: somebody else has it; or the room does not take the message, or the audit the closing:
                then it stays claimed if that may work later, and otherwise is as it was.
        """
        claimed = await self._move(session, request, "claimed")
        seq: int | None = None
        refusal: Refused | None = None
        try:
            if state == "approved":
                seq = await self._let_in(session, claimed)
            await self._note(session, request, claimed, state)
        except Refused as refused:
            refusal = refused
        if refusal is not None:
            # What is in the log, or may yet be, is nobody's to reject; what was claimed before stays so.
            if row.state == "open" and seq is None and not refusal.code.temporary:
                await self._try_move(session, request, "open")
            raise refusal
        return await self._move(session, request, state, seq=seq)

    async def _let_in(self, session: Session, held: ReportRow) -> int | None:
        """Have the room order a held message; its seq.

        Raises:
            Refused: the room does not take it.
        """
        if held.cid is None or held.body is None:
            raise AssertionError("a held message without its text")
        author = StandIn(held.author, held.author_name)
        message = SendMessage(author, 0, held.cid, held.body, held.reply_to, held.thread, reviewed=True)
        session.tell_room(held.room, message, control=True)
        seq = (await author.wait())["seq"]
        return seq if isinstance(seq, int) else None

    async def _note(self, session: Session, request: Resolve, row: ReportRow, state: ReportState) -> None:
        """Have a closing in the server's audit before it is done.

        Raises:
            Refused: it cannot be stored, and so the report is not to be closed.
        """
        author = Person(row.author, row.author_name, "")
        act = Act(request.id, "report", author, reason=request.note, report=row.report, state=state)
        await note_act(session, act)

    async def _move(
        self,
        session: Session,
        request: Resolve,
        to: ReportState,
        *,
        forced: bool = False,
        seq: int | None = None,
    ) -> ReportRow:
        """Give the report its next state.

        Raises:
            Refused: `conflict`: it may not have it.
        """
        moved = await self._try_move(session, request, to, forced=forced, seq=seq)
        if moved is not None:
            return moved
        row = await self._services.store.find_report(request.report)
        if row is None:
            raise _no_report()
        who = "nobody has it" if row.holder is None else f"by {row.holder_name}"
        raise Refused(
            ErrorCode.CONFLICT,
            f"the report is {row.state}, {who}",
            current={"state": row.state, "holder": row.holder, "name": row.holder_name},
        )

    async def _try_move(
        self,
        session: Session,
        request: Resolve,
        to: ReportState,
        *,
        forced: bool = False,
        seq: int | None = None,
    ) -> ReportRow | None:
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
        return await services.store.move_report(move)

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


def as_own_item(row: ReportRow) -> Envelope:
    """A report as its reporter sees it: without who works on it, what was done, and the message's text."""
    fields = {
        "report": row.report,
        "room": row.room,
        "kind": row.kind,
        "state": row.state,
        "at": row.at_ms,
        "changed": row.changed_at_ms,
        "author": row.author,
        "author_name": row.author_name,
        "reason": row.reason,
    }
    return {**fields, **_applying({"seq": row.seq, "note": row.note})}


def as_item(row: ReportRow) -> Envelope:
    """A report as moderators see it; what does not apply is left out."""
    more = {
        "by": row.reporter,
        "name": row.reporter_name,
        "rule": row.rule,
        "cid": row.cid,
        "body": row.body,
        "reply_to": row.reply_to,
        "thread": row.thread,
        "holder": row.holder,
        "holder_name": row.holder_name,
        "audit": row.audit,
    }
    return {**as_own_item(row), **_applying(more)}


def _applying(fields: Mapping[str, object]) -> Envelope:
    return {name: value for name, value in fields.items() if value is not None}


def _last_listed(cursor: str | None, scope: str) -> int:
    """The last report of the page before; 0 for the first page.

    Args:
        cursor: as the request has it.
        scope: which list is asked for.

    Raises:
        Refused: `bad_cursor`: it is of another list.
    """
    if cursor is None:
        return 0
    where, _, number = from_cursor(cursor).partition("#")
    if where != scope or not (number.isascii() and number.isdecimal() and len(number) <= 16):  # noqa: PLR2004
        raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
    return int(number)


def _no_report() -> Refused:
    return Refused(ErrorCode.NOT_FOUND, "there is no such report", field="report")
