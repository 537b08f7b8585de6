"""PURE: what a verdict of automatic moderation leads to: the server's own events, and reports."""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from chat.automod import Filtered, Verdict
from chat.message_facts import KIND_DELETE
from chat.room_governance import KIND_OF, SanctionEvent
from chat.room_state import RoomState
from storage.model import LogEntry, SanctionRow
from storage.review_model import NewReport

if TYPE_CHECKING:
    from chat.room_messages import SendMessage

SERVER: Final = ""
"""Who does what no person does."""
SERVER_NAME: Final = "automod"
REASON_MAX_CHARACTERS: Final = 256


def order_mute(state: RoomState, verdict: Verdict, user_id: str, *, now_ms: int) -> LogEntry | None:
    """Mute somebody as a rule says, in the log and at once; None: no mute, or of a moderator."""
    member = state.members.get(user_id)
    rule = verdict.rule
    if rule.ttl is None or member is None or member.role != "member":
        return None
    until_ms = state.at_ms(now_ms) + round(rule.ttl * 1000)
    event = SanctionEvent(
        user=user_id, name=member.name, action="mute", until=until_ms, reason=rule.reason or verdict.said
    )
    entry = state.order_change(
        KIND_OF[SanctionEvent],
        by=SERVER,
        name=SERVER_NAME,
        cid=None,
        body=None,
        data=msgspec.json.encode(event).decode(),
        now_ms=now_ms,
    )
    reason = None if event.reason is UNSET else str(event.reason)
    state.roster.sanctions.impose(SanctionRow(user_id, "mute", member.name, until_ms, reason, entry.seq))
    return entry


def order_removal(state: RoomState, entry: LogEntry, verdict: Verdict, *, now_ms: int) -> LogEntry:
    """Delete a message that a rule let in without its text."""
    return state.order_change(
        KIND_DELETE,
        by=SERVER,
        name=SERVER_NAME,
        cid=None,
        body=None,
        data=msgspec.json.encode({"of": entry.seq, "reason": verdict.said}).decode(),
        now_ms=now_ms,
    )


def report_of(state: RoomState, entry: LogEntry, seq: int) -> NewReport | None:
    """What rules that only report have noted of a message that was just let in, or changed.

    Args:
        state: the room.
        entry: the event.
        seq: of the message.
    """
    automod = state.automod
    if automod is None or not automod.noted:
        return None
    noted = automod.noted
    return NewReport(
        room_id=state.row.room_id,
        room=state.name,
        kind="automod",
        seq=seq,
        reporter=SERVER,
        reporter_name=SERVER_NAME,
        author=entry.by,
        author_name=entry.name,
        reason="; ".join(verdict.reported for verdict in noted)[:REASON_MAX_CHARACTERS],
        rule=noted[0].rule.id,
        at_ms=entry.at_ms,
        body=entry.body,
    )


def held_message(state: RoomState, message: "SendMessage", filtered: Filtered, *, now_ms: int) -> NewReport:
    """A message that waits for a moderator."""
    verdict = filtered.verdict
    return NewReport(
        room_id=state.row.room_id,
        room=state.name,
        kind="held",
        seq=None,
        reporter=SERVER,
        reporter_name=SERVER_NAME,
        author=message.peer.user_id,
        author_name=message.peer.name,
        reason=verdict.reported[:REASON_MAX_CHARACTERS],
        rule=verdict.rule.id,
        at_ms=state.at_ms(now_ms),
        cid=message.cid,
        body=message.body,
        reply_to=message.reply_to,
        thread=message.thread,
    )
