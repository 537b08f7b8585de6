"""The wire's vocabulary: every request as a typed record, every answer as a builder (docs/protocol.md 2-4).

Pure: no I/O, no clock. What arrives is validated into these records by `codec`; what leaves is a plain
map built here, so that field names stand in one file.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from chat.errors import CloseCode, ErrorCode, Refused
from chat.json_value import EXACT_MAX

SUBPROTOCOL_MSGPACK: Final = "parley.v1.msgpack"
SUBPROTOCOL_JSON: Final = "parley.v1.json"

BODY_MAX_BYTES: Final = 8192
TTL_MAX_S: Final = 10 * 366 * 86_400.0
"""Of a sanction: longer is for ever, which needs no number."""
RETENTION_MIN_S: Final = 60
"""The shortest time for which a room keeps what is said in it."""
SERVER_ROOM: Final = "sys.server"
"""The room of what is done server-wide (`chat.house`); names that begin so are nobody's to choose."""
PURGED_MAX: Final = 500
"""Messages that one request deletes: an event of some kilobytes, a transaction of some milliseconds."""
EMOJIS_MAX: Final = 20
"""Different emoji on one message."""

RequestId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
RoomName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
UserId = Annotated[str, Meta(pattern=r"^[ug]_[a-z2-7]{1,64}\Z")]
Seq = Annotated[int, Meta(ge=0, le=EXACT_MAX)]
Cid = Annotated[str, Meta(min_length=1, max_length=64)]
Body = Annotated[str, Meta(min_length=1)]
TimeMs = Annotated[int, Meta(ge=0, le=EXACT_MAX)]
Version = Annotated[int, Meta(ge=0, le=EXACT_MAX)]
Emoji = Annotated[str, Meta(min_length=1, max_length=16)]
"""Of which `chat.reaction_emoji` says whether it is one; the longest that there is has ten characters."""
StateKey = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Cursor = Annotated[str, Meta(min_length=1, max_length=256)]
Position = tuple[Seq, Seq]
Status = Literal["online", "away", "dnd", "invisible"]
Query = Annotated[str, Meta(min_length=1, max_length=256)]
Topic = Annotated[str, Meta(max_length=256)]
Reason = Annotated[str, Meta(min_length=1, max_length=256)]
RetentionS = Annotated[int, Meta(ge=0, le=int(TTL_MAX_S))]
SlowS = Annotated[float, Meta(ge=0, le=21600)]
StatusText = Annotated[str, Meta(max_length=128)]


class Request(Struct, frozen=True, tag_field="t", kw_only=True, forbid_unknown_fields=True):
    """What every request has: `id`, chosen by the client and echoed in its one answer.

    Unknown fields are ignored (docs/protocol.md 1) by the codec, which leaves them out before it converts;
    the short way of its decoders refuses them, since it would not look at what they hold.
    """

    id: RequestId


class Hello(Request, frozen=True, tag="hello"):
    """Who the session is: a token, or a guest's display name."""

    token: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    guest: str | None = None
    client: Annotated[str, Meta(max_length=128)] | None = None
    status: Status = "online"


class Ping(Request, frozen=True, tag="ping"):
    """Heartbeat of a client that cannot send WebSocket pings."""


class Join(Request, frozen=True, tag="join"):
    """Become a member, then as `subscribe`."""

    room: RoomName
    create: bool = False
    since: Position | None = None
    limit: Limit | None = None


class Subscribe(Request, frozen=True, tag="subscribe"):
    """Receive a room's events from now on, and what came after `since`."""

    room: RoomName
    since: Position | None = None
    limit: Limit | None = None


class Unsubscribe(Request, frozen=True, tag="unsubscribe"):
    """Stop receiving; membership stays."""

    room: RoomName


class Leave(Request, frozen=True, tag="leave"):
    """Stop being a member, and receiving."""

    room: RoomName


class Send(Request, frozen=True, tag="send"):
    """Put a message into the room's log; `ok` says that it is stored."""

    room: RoomName
    cid: Cid
    body: Body
    reply_to: Seq | None = None
    thread: Seq | None = None
    retry: bool = False


class Edit(Request, frozen=True, tag="edit"):
    """Give a message of one's own another text."""

    room: RoomName
    seq: Seq
    body: Body
    if_version: Version | None = None
    cid: Cid | None = None
    retry: bool = False


class Delete(Request, frozen=True, tag="delete"):
    """Erase a message; its place in the order stays."""

    room: RoomName
    seq: Seq
    reason: Reason | None = None
    cid: Cid | None = None
    retry: bool = False


class React(Request, frozen=True, tag="react"):
    """Put an emoji to a message, or take it back."""

    room: RoomName
    seq: Seq
    emoji: Emoji
    remove: bool = False
    cid: Cid | None = None
    retry: bool = False


class Pin(Request, frozen=True, tag="pin"):
    """Pin a message, or take the pin off."""

    room: RoomName
    seq: Seq
    remove: bool = False
    cid: Cid | None = None
    retry: bool = False


class SetState(Request, frozen=True, tag="set"):
    """Set a key of the room's shared state; null removes it."""

    room: RoomName
    key: StateKey
    value: object
    if_version: Version | None = None
    cid: Cid | None = None
    retry: bool = False


Change = Edit | Delete | React | Pin | SetState
"""Requests that a room puts into its log besides messages."""


class GetState(Request, frozen=True, tag="get"):
    """One key of the room's shared state, or a page of them."""

    room: RoomName
    key: StateKey | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class Reactions(Request, frozen=True, tag="reactions"):
    """Who reacted to a message."""

    room: RoomName
    seq: Seq
    emoji: Emoji | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class Pins(Request, frozen=True, tag="pins"):
    """What is pinned in a room."""

    room: RoomName
    cursor: Cursor | None = None
    limit: Limit = 50


class History(Request, frozen=True, tag="history"):
    """A page of stored events, of one thread with `thread`; with `fold` the present of its messages."""

    room: RoomName
    before: Seq | None = None
    after: Seq | None = None
    around: Seq | None = None
    thread: Seq | None = None
    fold: bool = False
    limit: Limit = 50


class Search(Request, frozen=True, tag="search"):
    """A page of messages with these words, newest first, from one room or all that may be read."""

    query: Query
    room: RoomName | None = None
    cursor: Cursor | None = None
    limit: Limit = 20


class Rooms(Request, frozen=True, tag="rooms"):
    """The public rooms by name, with `mine` the user's own, with `all` every room (the server's people)."""

    mine: bool = False
    all: bool = False
    cursor: Cursor | None = None
    limit: Limit = 50


class Room(Request, frozen=True, tag="room"):
    """One room's settings."""

    room: RoomName


class Members(Request, frozen=True, tag="members"):
    """A room's members, by user id."""

    room: RoomName
    cursor: Cursor | None = None
    limit: Limit = 50


class Presence(Request, frozen=True, tag="presence"):
    """Say how available one is."""

    status: Status
    text: StatusText | None = None


class Watch(Request, frozen=True, tag="watch"):
    """Hear of the presence of a room's members, or of users by id."""

    room: RoomName | None = None
    users: Annotated[list[UserId], Meta(min_length=1, max_length=100)] | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class Unwatch(Request, frozen=True, tag="unwatch"):
    """Stop hearing of them."""

    room: RoomName | None = None
    users: Annotated[list[UserId], Meta(min_length=1, max_length=100)] | None = None


class Typing(Request, frozen=True, tag="typing"):
    """Say that one is typing in a room, or has stopped."""

    room: RoomName
    stop: bool = False


class Read(Request, frozen=True, tag="read"):
    """Say how far one has read a room: the pointer never goes back."""

    room: RoomName
    seq: Seq


class Create(Request, frozen=True, tag="create"):
    """Create a room and own it, or find the direct room with another user."""

    room: RoomName | None = None
    user: UserId | None = None
    kind: Literal["public", "private", "direct"] = "public"
    topic: Topic = ""
    slow: SlowS = 0.0
    strict: bool = False
    language: Annotated[str, Meta(max_length=32)] = "simple"


class Update(Request, frozen=True, tag="update"):
    """Give a room other settings; `retention` 0: it keeps for ever what is said in it."""

    room: RoomName
    topic: Topic | None = None
    slow: SlowS | None = None
    retention: RetentionS | None = None
    reason: Reason | None = None
    dry_run: bool = False


class Invite(Request, frozen=True, tag="invite"):
    """Make somebody a member."""

    room: RoomName
    user: UserId


ModAction = Literal[
    "kick",
    "ban",
    "unban",
    "mute",
    "unmute",
    "role",
    "lock",
    "unlock",
    "slow",
    "archive",
    "unarchive",
    "purge",
    "announce",
]


class Mod(Request, frozen=True, tag="mod"):
    """Moderate a room, or without one the server: do something to somebody, to messages, or to the room.

    What is purged: messages by `target`, of the time from `since_ms` to `until_ms`, with the words of
    `query`, among `seqs`, or those that are `expired`: older than the room keeps what is said. A page of
    them a request, and `cursor` goes on.
    """

    action: ModAction
    room: RoomName = SERVER_ROOM
    target: UserId | None = None
    role: Literal["owner", "moderator", "member"] | None = None
    slow: SlowS | None = None
    body: Body | None = None
    ttl: Annotated[float, Meta(gt=0, le=TTL_MAX_S)] | None = None
    reason: Reason | None = None
    since_ms: TimeMs | None = None
    until_ms: TimeMs | None = None
    seqs: Annotated[list[Seq], Meta(min_length=1, max_length=PURGED_MAX)] | None = None
    query: Query | None = None
    expired: bool = False
    cursor: Cursor | None = None
    dry_run: bool = False


class Audit(Request, frozen=True, tag="audit"):
    """What was done to others, the latest first: in a room, from `seq` on downwards, or everywhere."""

    room: RoomName | None = None
    seq: Seq | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class ListSanctions(Request, frozen=True, tag="sanctions"):
    """Who is banned or muted now: in a room, or without one on the whole server."""

    room: RoomName | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class Users(Request, frozen=True, tag="users"):
    """The registered users by name, those whose name begins so."""

    query: Annotated[str, Meta(max_length=256)] = ""
    cursor: Cursor | None = None
    limit: Limit = 50


class User(Request, frozen=True, tag="user"):
    """What is known of a user."""

    user: UserId


class Sessions(Request, frozen=True, tag="sessions"):
    """A user's sessions on this node."""

    user: UserId


class Disconnect(Request, frozen=True, tag="disconnect"):
    """End a user's sessions but the one that asks, or one of them; the client may come back."""

    user: UserId
    session: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    reason: Reason | None = None
    dry_run: bool = False


class Enroll(Request, frozen=True, tag="enroll"):
    """Make an account, with a password that is told once."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    role: Literal["user", "moderator", "admin"] = "user"
    dry_run: bool = False


class Reset(Request, frozen=True, tag="reset"):
    """Revoke all of a user's tokens and set another password, which is told once."""

    user: UserId
    reason: Reason | None = None
    dry_run: bool = False


class Assign(Request, frozen=True, tag="assign"):
    """Give a registered user another role on the server."""

    user: UserId
    role: Literal["user", "moderator", "admin"]
    reason: Reason | None = None
    dry_run: bool = False


class Busiest(Request, frozen=True, tag="busiest"):
    """The rooms in memory here for which messages wait longest, then those that most receive."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class Drain(Request, frozen=True, tag="drain"):
    """End this server in order, as SIGTERM does."""

    reason: Reason | None = None
    dry_run: bool = False


AdminRequest = (
    Audit | ListSanctions | Users | User | Sessions | Disconnect | Enroll | Reset | Assign | Busiest | Drain
)
"""What the server's people ask; `audit` and `sanctions` of a room its own moderators, too."""


class Automod(Request, frozen=True, tag="automod"):
    """The rules of a room's automatic moderation, or without one of every room: read, set or try them."""

    room: RoomName | None = None
    rules: list[object] | None = None
    add: bool = False
    if_version: Version | None = None
    reason: Reason | None = None
    dry_run: bool = False
    test: bool = False
    text: Body | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class Report(Request, frozen=True, tag="report"):
    """Bring a message before the moderators."""

    room: RoomName
    seq: Seq
    reason: Reason


class Reports(Request, frozen=True, tag="reports"):
    """What waits for the moderators of a room, or without one of the server, or all that ever did.

    With `mine` what the user has reported, in all rooms.
    """

    room: RoomName | None = None
    mine: bool = False
    state: Literal["waiting", "all"] = "waiting"
    cursor: Cursor | None = None
    limit: Limit = 50


class Resolve(Request, frozen=True, tag="resolve"):
    """Do something about a report, or about a message that is held."""

    report: Annotated[int, Meta(ge=1, le=EXACT_MAX)]
    action: Literal["claim", "release", "resolve", "dismiss", "approve", "reject"]
    note: Reason | None = None
    audit: Annotated[str, Meta(min_length=1, max_length=96)] | None = None


AnyRequest = (
    Hello
    | Ping
    | Join
    | Subscribe
    | Unsubscribe
    | Leave
    | Send
    | Edit
    | Delete
    | React
    | Pin
    | SetState
    | GetState
    | Reactions
    | Pins
    | History
    | Search
    | Rooms
    | Room
    | Members
    | Presence
    | Watch
    | Unwatch
    | Typing
    | Read
    | Create
    | Update
    | Invite
    | Mod
    | AdminRequest
    | Automod
    | Report
    | Reports
    | Resolve
)

REQUEST_TYPES: Final[Mapping[str, type[AnyRequest]]] = {
    str(cls.__struct_config__.tag): cls for cls in get_args(AnyRequest)
}
"""Every request that this server knows, by its `t`."""

Envelope = Mapping[str, object]
"""What leaves: string keys, values that both encodings know."""

SubscribeMode = Literal["fresh", "tail", "gap", "rewind", "reset"]


def ok(request_id: int, **fields: object) -> Envelope:
    """The one positive answer to a request."""
    return {"t": "ok", "id": request_id, **fields}


def error(refused: Refused) -> Envelope:
    """The one negative answer to a request, or to a frame that could not be read."""
    envelope: dict[str, object] = {"t": "error"}
    if refused.request_id is not None:
        envelope["id"] = refused.request_id
    envelope["code"] = refused.code.value
    envelope["message"] = refused.message
    envelope["temporary"] = refused.code.temporary
    if refused.retry_after_s is not None:
        envelope["retry_after"] = round(refused.retry_after_s, 3)
    if refused.field is not None:
        envelope["field"] = refused.field
    if refused.current is not None:
        envelope.update(refused.current)
    return envelope


def bye(code: CloseCode, reason: str, retry_after_s: float | None = None) -> Envelope:
    """Said just before the server closes."""
    envelope: dict[str, object] = {"t": "bye", "code": int(code), "reason": reason}
    if retry_after_s is not None:
        envelope["retry_after"] = round(retry_after_s, 3)
    return envelope


def notice(event: Envelope) -> Envelope:
    """An event about a user, for those of the user's sessions that do not receive its room."""
    return {"t": "notice", "room": event["room"], "event": event}


def has_read(room: str, user_id: str, seq: int) -> Envelope:
    """Where somebody's read pointer is now."""
    return {"t": "read", "room": room, "user": user_id, "seq": seq}


def waiting_reports(room: str, count: int) -> Envelope:
    """So many reports wait in a room now; for those of its moderators who receive it."""
    return {"t": "reports", "room": room, "open": count}


def check_body(body: str, *, request_id: int, max_bytes: int) -> None:
    """Refuse a body of more UTF-8 than allowed, or with a NUL, which Postgres text cannot hold.

    Args:
        body: the text.
        request_id: whose.
        max_bytes: the bound, `BODY_MAX_BYTES` at most.

    Raises:
        Refused: `too_large` or `bad_request`, with field `body`.
    """
    # A character takes four bytes of UTF-8 at most: most bodies need no encoding here.
    if len(body) * 4 > max_bytes and len(body.encode()) > max_bytes:
        raise Refused(
            ErrorCode.TOO_LARGE,
            f"the body is over {max_bytes} bytes",
            field="body",
            request_id=request_id,
        )
    if "\0" in body:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            "the body holds a NUL character",
            field="body",
            request_id=request_id,
        )


def check_no_nul(request_id: int, **fields: str | None) -> None:
    """Refuse texts with a NUL, which Postgres text cannot hold.

    Raises:
        Refused: `bad_request`, with the field.
    """
    for field, text in fields.items():
        if text is not None and "\0" in text:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                f"the {field} holds a NUL character",
                field=field,
                request_id=request_id,
            )


_decode_data: Final = msgspec.json.Decoder(dict[str, object]).decode


def event(  # noqa: PLR0913  one argument per wire field
    *,
    room: str,
    epoch: int,
    seq: int,
    at_ms: int,
    by: str,
    kind: str,
    name: str,
    n: int,
    cid: str | None,
    body: str | None,
    reply_to: int | None,
    thread: int | None,
    data: str | None,
) -> Envelope:
    """One entry of a room's log as clients see it, live and in history alike."""
    envelope: dict[str, object] = {
        "t": "event",
        "room": room,
        "epoch": epoch,
        "seq": seq,
        "at": at_ms,
        "by": by,
        "kind": kind,
    }
    if kind == "message":
        envelope["n"] = n
        envelope["cid"] = cid
        envelope["body"] = body
        envelope["name"] = name
        if reply_to is not None:
            envelope["reply_to"] = reply_to
        if thread is not None:
            envelope["thread"] = thread
    else:
        if cid is not None:
            envelope["cid"] = cid
        if kind == "edit":
            envelope["body"] = body
    if data is not None:
        envelope.update(_decode_data(data))
    return envelope
