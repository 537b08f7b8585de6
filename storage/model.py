"""The rows that cross the storage boundary: immutable, typed, ignorant of chat's rules and of SQL.

Rows that are written in bulk are named tuples: building one costs a fraction of a frozen dataclass, and a
batch of them turns into columns with one `zip(*rows)`. Receipts are dataclasses: as tuples the empty ones
would all be equal, and the common one is made once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, NewType

RoomId = NewType("RoomId", int)
"""A room's number inside the database; never shown on the wire."""

RoomKind = Literal["public", "private", "direct"]
Role = Literal["owner", "moderator", "member"]
SanctionKind = Literal["ban", "mute"]

COUNTED_MAX: Final = 200
"""Rows that are looked at for one number: a welcome must not read a log for somebody who never does."""


class LogEntry(NamedTuple):
    """One event of a room's log, as ordered by the room and as stored.

    Attributes:
        room_id: the room.
        seq: from 1, gapless within the room.
        epoch: the ownership under which it was ordered; never falls while `seq` rises.
        at_ms: milliseconds since 1970 UTC; never falls while `seq` rises.
        kind: the protocol's event kind ("message", "member", "room", "void", ...).
        by: user id of the author; empty for the server itself.
        name: the author's display name when it was written.
        n: ordinal among the room's messages; for other kinds that of the last message before it. A message
            that became `void` keeps the ordinal it had taken, so that `n` never falls and is not given twice.
        cid: the client's idempotency key; only what clients asked for has one.
        body: the text of a message or of an edit, else None; None, too, once the message was deleted.
        reply_to: seq of the message this one answers.
        thread: seq of the thread's root message.
        data: further fields of the event as one JSON object (text), or None.
    """

    room_id: RoomId
    seq: int
    epoch: int
    at_ms: int
    kind: str
    by: str
    name: str
    n: int
    cid: str | None
    body: str | None
    reply_to: int | None
    thread: int | None
    data: str | None


class MemberChange(NamedTuple):
    """A membership to write beside the log: last change wins, in the order of submission.

    Attributes:
        role: of a new member; who is one already keeps the role there is, which changes by events of the log
            only. None ends the membership.
        read_seq: where a new member's read pointer starts (the head when it joined).
        read_n: ordinal of the last message at `read_seq`.
    """

    room_id: RoomId
    epoch: int
    user_id: str
    name: str
    role: Role | None
    at_ms: int
    read_seq: int
    read_n: int


Entry = LogEntry | MemberChange
"""What a writer takes. Both are fenced by their room's epoch."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Committed. For a log entry: exactly once, for ever, under its seq."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The (room, sender, cid) was stored before under `seq`; the new seq was committed as `void`."""

    seq: int
    epoch: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class CidConflict:
    """The (room, sender, cid) was stored before with another body; the new seq is `void`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Poisoned:
    """The database refuses this row for ever; it was parked with `error`, its seq is `void`."""

    error: str


@dataclass(frozen=True, slots=True)
class Fenced:
    """The room has a newer owner: nothing was written, this activation must end."""


Receipt = Stored | Duplicate | CidConflict | Poisoned | Fenced


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomRow:
    """A room's settings.

    Attributes:
        language: whose rules make words of its texts, see `storage.search_model.LANGUAGES`.
        locked: whether members only read.
        archived: whether it is closed for good: everybody only reads, and nobody joins.
        retention_s: how long what is said is kept; None: for ever.
    """

    room_id: RoomId
    name: str
    kind: RoomKind
    topic: str
    strict: bool
    slow_s: float
    created_by: str
    created_at_ms: int
    language: str = "simple"
    locked: bool = False
    archived: bool = False
    retention_s: int | None = None


class RetainedRoom(NamedTuple):
    """A room that does not keep for ever what is said in it.

    Attributes:
        retention_s: how long it keeps it.
        retained_seq: up to there nothing is left that it does not keep.
    """

    room_id: RoomId
    name: str
    retention_s: int
    retained_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoom:
    """A room to create; its creator becomes the first member in the same transaction.

    Attributes:
        creator_role: None: nobody becomes a member.
    """

    name: str
    kind: RoomKind
    topic: str
    strict: bool
    slow_s: float
    created_by: str
    creator_name: str
    created_at_ms: int
    language: str = "simple"
    creator_role: Role | None = "owner"


class MemberRow(NamedTuple):
    """One member of one room."""

    user_id: str
    name: str
    role: Role
    joined_at_ms: int
    read_seq: int


class SanctionRow(NamedTuple):
    """What somebody may not do in a room.

    Attributes:
        name: the display name when it was said.
        until_ms: when it ends; None: it does not end by itself.
        reason: as the user is told.
        seq: of the event.
    """

    user_id: str
    kind: SanctionKind
    name: str
    until_ms: int | None
    reason: str | None
    seq: int


class MessageRange(NamedTuple):
    """Which of a room's messages are wanted; all conditions hold together.

    Attributes:
        author: by this user; None: by anybody.
        since_ms: at this time or later.
        until_ms: before this time.
        seqs: among these; None: among all. Not together with times.
        after: above this seq.
    """

    author: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    seqs: Sequence[int] | None = None
    after: int = 0


class MessagePage(NamedTuple):
    """Some of a room's messages.

    Attributes:
        seqs: in order.
        next_after: above which there may be more; None: there are none.
    """

    seqs: Sequence[int]
    next_after: int | None


class AuditRow(NamedTuple):
    """An act of somebody upon somebody else, or upon a room.

    Attributes:
        room: the room's name.
        seq: of the event that it is in the room's log.
        actor: who did it; empty: the server itself.
        action: "invite", "kick", "role", "ban", "unban", "mute", "unmute", "delete", "update", "reset", ...
        target: upon whom; None: upon the room.
        detail: the event's `data`.
        hash: see `storage.audit_chain`.
    """

    room_id: RoomId
    room: str
    seq: int
    at_ms: int
    actor: str
    actor_name: str
    action: str
    target: str | None
    reason: str | None
    detail: str | None
    hash: bytes


class AuditKey(NamedTuple):
    """Where a row stands among all of the audit, by time."""

    at_ms: int
    room_id: int
    seq: int


class PointerMove(NamedTuple):
    """A read pointer to move: this user has read this room up to `seq`."""

    room_id: RoomId
    user_id: str
    seq: int


class EpochStart(NamedTuple):
    """The log's head when `epoch` took over: events of older epochs above it did not survive.

    What survived of a client's epoch E is the `head_seq` of the first epoch after E.
    """

    epoch: int
    head_seq: int


class StateRow(NamedTuple):
    """One key of a room's shared state.

    Attributes:
        key: empty for the one row that has no value: its version is the highest that a removed key had.
        value: JSON text.
        version: rises with every change of the key.
        seq: of the event that set it.
    """

    key: str
    value: str | None
    version: int
    seq: int


class RulesRow(NamedTuple):
    """A version of a room's rules.

    Attributes:
        version: 1 for the first, and one more with each change.
        author: who made it.
        rules: JSON text.
    """

    version: int
    at_ms: int
    author: str
    author_name: str
    rules: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """All that a room needs to take over: the new epoch is already written.

    Attributes:
        epoch: this ownership's fencing token.
        head_seq: seq of the last stored event, 0 for an empty log.
        head_n: ordinal of the last stored message.
        head_at_ms: time of the last stored event.
        tail: the latest events, oldest first, at most as many as asked for.
        epochs: the latest ownership changes, oldest first, this one included. Epochs that wrote nothing are
            left out, which changes no answer. When the oldest has a `head_seq` above 0 older ones were
            forgotten, and a position from before it cannot be judged.
        members: every member.
        state: the shared state, with the row of the empty key when keys were removed.
        sanctions: those that are stored, ended ones included.
        rules: of its automatic moderation; None: it never had any.
    """

    room: RoomRow
    epoch: int
    head_seq: int
    head_n: int
    head_at_ms: int
    tail: Sequence[LogEntry]
    epochs: Sequence[EpochStart]
    members: Sequence[MemberRow]
    state: Sequence[StateRow] = ()
    sanctions: Sequence[SanctionRow] = ()
    rules: RulesRow | None = None


class ReactionCount(NamedTuple):
    """How many reacted to a message with an emoji; `own_seq` is the reaction of the user who asks, if any."""

    emoji: str
    total: int
    own_seq: int | None


class FoldedMessage(NamedTuple):
    """A log event's present, after everything that was stored about it.

    Attributes:
        seq: of the event.
        kind: of the event; only messages change.
        author: who wrote it.
        body: the present text; None when it was deleted.
        version: 1, and one more with each edit.
        edited_at_ms: when it was last edited, None: never.
        edit_data: the `data` of the last edit.
        delete_seq: the event that deleted it.
        pin_seq: the event that pinned it, None while it is not pinned.
        thread_count: messages in the thread that begins here.
        thread_last: seq of the last of them.
        reactions: by the time of each emoji's first.
    """

    seq: int
    kind: str
    author: str
    body: str | None
    version: int
    edited_at_ms: int | None
    edit_data: str | None
    delete_seq: int | None
    pin_seq: int | None
    thread_count: int
    thread_last: int | None
    reactions: Sequence[ReactionCount]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Events in order of seq, and what is known of the log around them.

    Attributes:
        more_before: older events exist before the first item.
        more_after: newer stored events exist after the last item.
        epoch: the room's present epoch.
        durable_seq: the last stored seq at the time of the read.
        folded: where it was asked for, the present of the items by seq, as of `durable_seq`.
    """

    items: Sequence[LogEntry]
    more_before: bool
    more_after: bool
    epoch: int
    durable_seq: int
    folded: Mapping[int, FoldedMessage] = field(default_factory=dict[int, FoldedMessage])


class KnownCid(NamedTuple):
    """Where an idempotency key was first stored, and with what; a `body` that was erased is None."""

    seq: int
    epoch: int
    at_ms: int
    body: str | None
    kind: str
    data: str | None


class ReactionRow(NamedTuple):
    """One user's reaction."""

    emoji: str
    user_id: str
    name: str
    seq: int


class FoldedPage(NamedTuple):
    """The present of some events: all that was stored up to `durable_seq`, and nothing after it."""

    durable_seq: int
    messages: Mapping[int, FoldedMessage]


class PinPage(NamedTuple):
    """Pinned messages, each with its present, as of `durable_seq`."""

    durable_seq: int
    pins: Sequence[tuple[LogEntry, FoldedMessage]]


class StatePage(NamedTuple):
    """Keys in order, as of `durable_seq`."""

    durable_seq: int
    rows: Sequence[StateRow]


class Membership(NamedTuple):
    """One room of one user, for the welcome.

    Attributes:
        unread: messages after the read pointer, without the user's own as far as they are among the first
            `COUNTED_MAX` events; it is one too high for each message that became `void`.
        mentions: messages of others after the pointer whose present text mentions the user, or everybody;
            `COUNTED_MAX` at most.
    """

    room: str
    epoch: int
    head_seq: int
    role: Role
    read_seq: int
    unread: int
    mentions: int


class MembershipPage(NamedTuple):
    """A user's rooms by name; `next_after` is the name to continue after, or None."""

    rooms: Sequence[Membership]
    next_after: str | None


class UserRow(NamedTuple):
    """A registered user.

    Attributes:
        created_at_ms: when the account was made; of an outside issuer's user: when it was first seen here.
    """

    user_id: str
    name: str
    role: str
    created_at_ms: int


class TokenRow(NamedTuple):
    """Whom a token speaks for, and until when (None: no end)."""

    user: UserRow
    expires_at_ms: int | None


class NewUser(NamedTuple):
    """A user to be created.

    Attributes:
        name: as everyone sees it.
        name_key: what names are compared by: two users never have the same.
        password: the password's hash, encoded with all that is needed to check it; None: no password.
    """

    user_id: str
    name: str
    name_key: str
    role: str
    password: str | None = None


class Account(NamedTuple):
    """A user and the password's hash; None: nobody logs in as this user by password."""

    user: UserRow
    password: str | None


class Stranger(NamedTuple):
    """A user of an outside issuer, as created at first sight.

    Attributes:
        spare_name: the name instead, where somebody has `name` or its key.
        spare_key: its key.
    """

    user_id: str
    name: str
    name_key: str
    spare_name: str
    spare_key: str
    role: str


class IssuedUser(NamedTuple):
    """A user of an outside issuer.

    Attributes:
        revoked_before_ms: tokens issued up to then are not taken any more; None: none was revoked.
    """

    user: UserRow
    revoked_before_ms: int | None


class TokenInfo(NamedTuple):
    """A token, as operators see it."""

    token_hash: bytes
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None


class Revocation(NamedTuple):
    """Something that was revoked.

    Attributes:
        number: rises with every revocation.
        token_hash: the token; None: all of the user's that an outside issuer has made so far.
    """

    number: int
    token_hash: bytes | None
    user_id: str
