"""PURE: what crosses the storage boundary for moderators: reports, and messages that are held."""

from typing import Final, Literal, NamedTuple

from storage.model import RoomId

ReportKind = Literal["person", "automod", "held"]
ReportState = Literal["open", "claimed", "resolved", "dismissed", "approved", "rejected"]
FiledState = ReportState | Literal["known", "full"]
WAITING: Final = frozenset({"open", "claimed"})
"""States of a report that something is still to be done about."""
EVERYWHERE: Final = RoomId(0)
"""Stands for all rooms where rules are kept."""
RULES_KEPT: Final = 20
"""Versions of a room's rules."""
WAITING_COUNTED_MAX: Final = 1000
"""Of the reports that wait in a room; there may be more."""

WAITING_OF_TEXT_MAX: Final = 20
"""Reports of one message with one text that wait; as in migration 0013."""
WAITING_OF_KIND_MAX: Final = 1000
"""Reports of one kind that wait in a room; as in migration 0013."""


class NewReport(NamedTuple):
    """Something that moderators are to look at.

    Attributes:
        kind: whether a person brought it, a rule did, or it is a message that waits for it.
        seq: of the message; None for one that is held.
        reporter: who brought it; empty: the server itself.
        author: of the message.
        reason: what is wrong with it.
        rule: the rule's id, where a rule brought it.
        cid: of a message that is held, as are `reply_to` and `thread`.
        body: the message's text, as it is now; it is kept until the report is closed.
    """

    room_id: RoomId
    room: str
    kind: ReportKind
    seq: int | None
    reporter: str
    reporter_name: str
    author: str
    author_name: str
    reason: str
    rule: str | None
    at_ms: int
    cid: str | None = None
    body: str | None = None
    reply_to: int | None = None
    thread: int | None = None


class Filed(NamedTuple):
    """Where something is filed.

    Attributes:
        report: its number; None: it was not filed.
        state: what has become of it: one that was brought before is not filed again. `known`: enough reports
            of this message and text wait. `full`: too much of this kind waits in the room.
        is_new: whether it was filed by this call.
    """

    report: int | None
    state: FiledState
    is_new: bool


class ReportRow(NamedTuple):
    """A report as it is now.

    Attributes:
        changed_at_ms: when its state last changed.
        body: the message's text, as it was when it was brought; None once it is closed.
        holder: who has claimed it, or closed it.
        note: what was said about it when it was closed.
        audit: what was done about it, as the audit calls it.
    """

    report: int
    room_id: RoomId
    room: str
    kind: ReportKind
    state: ReportState
    seq: int | None
    at_ms: int
    changed_at_ms: int
    reporter: str
    reporter_name: str
    author: str
    author_name: str
    reason: str
    rule: str | None
    cid: str | None
    body: str | None
    reply_to: int | None
    thread: int | None
    holder: str | None
    holder_name: str | None
    note: str | None
    audit: str | None


class ReportMove(NamedTuple):
    """What a moderator does with a report; see `ReviewStore.move_report` for what may follow what.

    Attributes:
        to: its next state.
        by: who does it.
        forced: also where somebody else has claimed it.
        seq: where a message that was held stands in the log now.
    """

    report: int
    to: ReportState
    by: str
    by_name: str
    at_ms: int
    forced: bool = False
    note: str | None = None
    audit: str | None = None
    seq: int | None = None
