"""Builders of rows for the tests of storage, and the bench-like helpers they share."""

from collections.abc import Sequence

from storage import Activation, Entry, LogEntry, MemberChange, NewRoom, Role, RoomId, RoomKind, Store

AT_MS = 1_700_000_000_000


def message(
    room_id: RoomId,
    seq: int,
    *,
    epoch: int = 1,
    by: str = "u_ann",
    cid: str | None = None,
    body: str = "hello",
    n: int | None = None,
    reply_to: int | None = None,
    thread: int | None = None,
    data: str | None = None,
) -> LogEntry:
    """A message; its key is unique unless given."""
    return LogEntry(
        room_id=room_id,
        seq=seq,
        epoch=epoch,
        at_ms=AT_MS + seq,
        kind="message",
        by=by,
        name=by.upper(),
        n=seq if n is None else n,
        cid=f"c{epoch}-{seq}" if cid is None else cid,
        body=body,
        reply_to=reply_to,
        thread=thread,
        data=data,
    )


def event(room_id: RoomId, seq: int, *, kind: str = "room", epoch: int = 1, n: int = 0) -> LogEntry:
    """An event of the server itself, without a key or a body."""
    return LogEntry(
        room_id, seq, epoch, AT_MS + seq, kind, "", "", n, None, None, None, None, '{"topic":"x"}'
    )


def changed(
    room_id: RoomId,
    seq: int,
    kind: str,
    data: str,
    *,
    body: str | None = None,
    by: str = "u_ann",
    cid: str | None = None,
    epoch: int = 1,
) -> LogEntry:
    """A change of a message, or of the shared state."""
    return LogEntry(room_id, seq, epoch, AT_MS + seq, kind, by, by.upper(), seq, cid, body, None, None, data)


def void(entry: LogEntry) -> LogEntry:
    """What stands in the log when an entry was refused."""
    return LogEntry(
        entry.room_id,
        entry.seq,
        entry.epoch,
        entry.at_ms,
        "void",
        "",
        "",
        entry.n,
        None,
        None,
        None,
        None,
        None,
    )


def change(
    room_id: RoomId,
    user_id: str,
    role: Role | None = "member",
    *,
    epoch: int = 1,
    name: str | None = None,
    at_ms: int = AT_MS,
    read_seq: int = 0,
    read_n: int = 0,
) -> MemberChange:
    """A membership to write."""
    return MemberChange(room_id, epoch, user_id, name or user_id.upper(), role, at_ms, read_seq, read_n)


def new_room(name: str = "lobby", kind: RoomKind = "public", *, by: str = "u_owner") -> NewRoom:
    """A room to create."""
    return NewRoom(
        name=name,
        kind=kind,
        topic=f"about {name}",
        strict=False,
        slow_s=0.5,
        created_by=by,
        creator_name=by.upper(),
        created_at_ms=AT_MS,
    )


async def make_room(store: Store, name: str = "lobby", kind: RoomKind = "public") -> RoomId:
    """Create a room; nobody owns it yet."""
    return (await store.create_room(new_room(name, kind))).room_id


async def take_over(store: Store, name: str = "lobby", *, tail_events: int = 100) -> Activation:
    """Activate a room that exists."""
    activation = await store.activate(name, tail_events=tail_events, at_ms=AT_MS)
    assert activation is not None
    return activation


async def owned_room(store: Store, name: str = "lobby") -> RoomId:
    """Create a room and take it over: its epoch is 1."""
    room_id = await make_room(store, name)
    assert (await take_over(store, name)).epoch == 1
    return room_id


async def read_log(store: Store, room_id: RoomId) -> list[LogEntry]:
    """A room's whole log, read page by page."""
    items: list[LogEntry] = []
    after = 0
    while True:
        page = await store.history(room_id, after=after, limit=100)
        items += page.items
        if not page.more_after:
            return items
        after = items[-1].seq


def bodies(entries: Sequence[Entry]) -> list[str | None]:
    """The bodies of log entries, in order."""
    return [entry.body for entry in entries if isinstance(entry, LogEntry)]
