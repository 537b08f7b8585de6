"""Rooms: creating, finding, listing and taking them over."""

from collections.abc import Mapping, Sequence
from typing import Final

from storage.database import Tx
from storage.epochs import add_epoch
from storage.errors import Conflict
from storage.history import ENTRY_COLUMNS
from storage.model import (
    COUNTED_MAX,
    Activation,
    EpochStart,
    LogEntry,
    MemberRow,
    Membership,
    MembershipPage,
    NewRoom,
    PointerMove,
    Role,
    RoomId,
    RoomKind,
    RoomRow,
    SanctionKind,
    SanctionRow,
    StateRow,
)
from storage.reviews import read_rules

_ROOM_COLUMNS: Final = """
id, name, kind, topic, strict, slow_s, created_by, created_at_ms, language, locked, archived, retention_s
"""
_RoomColumns = tuple[RoomId, str, RoomKind, str, bool, float, str, int, str, bool, bool, int | None]

INSERT_ROOM: Final = """
INSERT INTO rooms (name, kind, topic, strict, slow_s, created_by, created_at_ms, language)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (name) DO NOTHING
RETURNING id
"""
INSERT_CREATOR: Final = """
INSERT INTO members (room_id, user_id, name, role, joined_at_ms, read_seq, read_n, room_name)
VALUES ($1, $2, $3, $6, $4, 0, 0, $5)
"""
FIND_ROOM: Final = f"SELECT {_ROOM_COLUMNS} FROM rooms WHERE name = $1"  # noqa: S608  constants only
LIST_ROOMS: Final = f"""
SELECT {_ROOM_COLUMNS} FROM rooms WHERE kind = 'public' AND NOT archived AND name > $1 ORDER BY name LIMIT $2
"""  # noqa: S608  constants only
LIST_ALL_ROOMS: Final = f"""
SELECT {_ROOM_COLUMNS} FROM rooms WHERE name > $1 ORDER BY name LIMIT $2
"""  # noqa: S608  constants only

# From now on there may be events that are not indexed (`storage/search_index.py`).
RAISE_EPOCH: Final = f"""
UPDATE rooms SET epoch = epoch + 1, search_due = true WHERE name = $1 RETURNING epoch, {_ROOM_COLUMNS}
"""  # noqa: S608  constants only
TAIL: Final = f"SELECT {ENTRY_COLUMNS} FROM log WHERE room_id = $1 ORDER BY seq DESC LIMIT $2"  # noqa: S608
EPOCHS: Final = "SELECT epoch, head_seq FROM room_epochs WHERE room_id = $1 ORDER BY epoch"
WRITE_EPOCH: Final = """
WITH forgotten AS (
    DELETE FROM room_epochs WHERE room_id = $1 AND NOT epoch = ANY ($5::int8[])
)
INSERT INTO room_epochs (room_id, epoch, head_seq, began_at_ms) VALUES ($1, $2, $3, $4)
"""
ALL_MEMBERS: Final = """
SELECT user_id, name, role, joined_at_ms, read_seq FROM members WHERE room_id = $1 ORDER BY user_id
"""

ALL_SANCTIONS: Final = """
SELECT user_id, kind, name, until_ms, reason, seq FROM sanctions WHERE room_id = $1 ORDER BY user_id, kind
"""

ROOM_SANCTIONS: Final = """
SELECT user_id, kind, name, until_ms, reason, seq FROM sanctions
WHERE room_id = $1 AND (user_id, kind) > ($2, $3) AND (until_ms IS NULL OR until_ms > $4)
ORDER BY user_id, kind LIMIT $5
"""

# The page first: the rooms' names are looked up for its rows alone.
USER_SANCTIONS: Final = """
SELECT r.name, s.room_id, s.user_id, s.kind, s.name, s.until_ms, s.reason, s.seq FROM (
    SELECT * FROM sanctions WHERE user_id = $1 AND (room_id, kind) > ($2, $3)
    ORDER BY room_id, kind LIMIT $4
) AS s JOIN rooms r ON r.id = s.room_id
ORDER BY s.room_id, s.kind
"""

ALL_STATE: Final = "SELECT key, value, version, seq FROM room_state WHERE room_id = $1 ORDER BY key"

LIST_MEMBERS: Final = """
SELECT user_id, name, role, joined_at_ms, read_seq FROM members
WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3
"""
# One index scan a user for the page; then, a room, one look-up for its epoch, one for its head, and two short
# scans of indexes alone for what is counted after the pointer, each bounded before it is filtered.
MEMBERSHIPS: Final = f"""
SELECT u.user_id, m.room_name, r.epoch, coalesce(head.seq, 0), m.role, m.read_seq,
    greatest(0, coalesce(head.n, 0) - m.read_n - own.count), mentioned.count
FROM unnest($1::text[]) AS u (user_id)
CROSS JOIN LATERAL (
    SELECT room_id, room_name, role, read_seq, read_n FROM members
    WHERE user_id = u.user_id AND room_name > $2 ORDER BY room_name LIMIT $3
) AS m
JOIN rooms r ON r.id = m.room_id
LEFT JOIN LATERAL (
    SELECT seq, n FROM log WHERE room_id = m.room_id ORDER BY seq DESC LIMIT 1
) AS head ON true
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE author = u.user_id AND kind = 'message') FROM (
        SELECT author, kind FROM log WHERE room_id = m.room_id AND seq > m.read_seq
        ORDER BY seq LIMIT {COUNTED_MAX}
    ) AS event
) AS own
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE author <> u.user_id) FROM (
        SELECT author FROM mentions
        WHERE room_id = m.room_id AND user_id = ANY (ARRAY['', u.user_id]) AND seq > m.read_seq
        LIMIT {COUNTED_MAX}
    ) AS mention
) AS mentioned
ORDER BY u.user_id, m.room_name
"""  # noqa: S608  constants only
# Locks members alone, and waits for none of them: a membership that is being changed at this moment is passed
# over, so that no order of locks can end in a deadlock. A pointer that is far enough is not written.
MOVE_POINTERS: Final = """
WITH held AS MATERIALIZED (
    SELECT m.room_id, m.user_id, m.read_seq, coalesce(l.seq, 0) AS seq, coalesce(l.n, 0) AS n
    FROM (
        SELECT unnest($1::int8[]) AS room_id, unnest($2::text[]) AS user_id, unnest($3::int8[]) AS seq
    ) AS move
    JOIN members m ON m.room_id = move.room_id AND m.user_id = move.user_id
    LEFT JOIN LATERAL (
        SELECT seq, n FROM log WHERE room_id = move.room_id AND seq = move.seq LIMIT 1
    ) AS l ON true
    FOR NO KEY UPDATE OF m SKIP LOCKED
), moved AS (
    UPDATE members m SET read_seq = held.seq, read_n = held.n
    FROM held
    WHERE m.room_id = held.room_id AND m.user_id = held.user_id AND m.read_seq < held.seq
)
SELECT room_id, user_id, greatest(read_seq, seq) FROM held
"""


async def create_room(tx: Tx, room: NewRoom) -> RoomRow:
    """Create a room and its first member, in the transaction that the caller has opened.

    Raises:
        Conflict: the name is taken.
    """
    row = await tx.fetchrow_as(
        RoomId,
        INSERT_ROOM,
        room.name,
        room.kind,
        room.topic,
        room.strict,
        room.slow_s,
        room.created_by,
        room.created_at_ms,
        room.language,
    )
    if row is None:
        raise Conflict(f"a room {room.name!r} exists already")
    if room.creator_role is not None:
        await tx.execute(
            INSERT_CREATOR,
            row,
            room.created_by,
            room.creator_name,
            room.created_at_ms,
            room.name,
            room.creator_role,
        )
    return RoomRow(
        room_id=row,
        name=room.name,
        kind=room.kind,
        topic=room.topic,
        strict=room.strict,
        slow_s=room.slow_s,
        created_by=room.created_by,
        created_at_ms=room.created_at_ms,
        language=room.language,
    )


async def find_room(tx: Tx, name: str) -> RoomRow | None:
    """A room's settings, or None."""
    return await tx.fetchrow_as(_room, FIND_ROOM, name)


async def list_rooms(
    tx: Tx,
    after: str | None,
    limit: int,
    all_kinds: bool,  # noqa: FBT001  positional, as all arguments of a transaction
) -> Sequence[RoomRow]:
    """Rooms by name; a name is never empty, so the empty one is before all."""
    return await tx.fetch_as(_room, LIST_ALL_ROOMS if all_kinds else LIST_ROOMS, after or "", limit)


async def user_sanctions(
    tx: Tx, user_id: str, after: tuple[RoomId, str] | None, limit: int
) -> Sequence[tuple[str, RoomId, SanctionRow]]:
    """What a user may not do, by room and kind."""
    room_id, kind = after or (0, "")
    return await tx.fetch_as(_user_sanction, USER_SANCTIONS, user_id, room_id, kind, limit)


async def activate(tx: Tx, name: str, tail_events: int, at_ms: int) -> Activation | None:
    """Take a room over, in the transaction that the caller has opened.

    The update waits for an append of the former owner that is under way, and keeps later ones out until the
    end of the transaction: they then see the new epoch. So the head that is read next is final.
    """
    owned = await tx.fetchrow_as(_owned, RAISE_EPOCH, name)
    if owned is None:
        return None
    epoch, room = owned
    room_id = room.room_id
    tail = await tx.fetch_as(LogEntry, TAIL, room_id, max(1, tail_events))
    head = tail[0] if tail else None
    known = await tx.fetch_as(EpochStart, EPOCHS, room_id)
    start = EpochStart(epoch, head.seq if head else 0)
    epochs = add_epoch(known, start)
    await tx.execute(WRITE_EPOCH, room_id, *start, at_ms, [epoch for epoch, _ in epochs])
    members = await tx.fetch_as(MemberRow, ALL_MEMBERS, room_id)
    state = await tx.fetch_as(StateRow, ALL_STATE, room_id)
    sanctions = await list_sanctions(tx, room_id)
    rules = await read_rules(tx, room_id)
    return Activation(
        room=room,
        epoch=epoch,
        head_seq=start.head_seq,
        head_n=head.n if head else 0,
        head_at_ms=head.at_ms if head else 0,
        tail=tail[::-1] if tail_events else (),
        epochs=epochs,
        members=members,
        state=state,
        sanctions=sanctions,
        rules=rules,
    )


async def list_sanctions(tx: Tx, room_id: RoomId) -> Sequence[SanctionRow]:
    """A room's sanctions, ended ones included, by user."""
    return await tx.fetch_as(SanctionRow, ALL_SANCTIONS, room_id)


async def room_sanctions(
    tx: Tx, room_id: RoomId, at_ms: int, after: tuple[str, str] | None, limit: int
) -> Sequence[SanctionRow]:
    """A page of a room's sanctions that have not ended, by user and kind; an id is never empty."""
    user_id, kind = after or ("", "")
    return await tx.fetch_as(SanctionRow, ROOM_SANCTIONS, room_id, user_id, kind, at_ms, limit)


async def list_members(tx: Tx, room_id: RoomId, after: str | None, limit: int) -> Sequence[MemberRow]:
    """A room's members by user id; an id is never empty, so the empty one is before all."""
    return await tx.fetch_as(MemberRow, LIST_MEMBERS, room_id, after or "", limit)


async def memberships(
    tx: Tx, user_ids: Sequence[str], after: str | None, limit: int
) -> Mapping[str, MembershipPage]:
    """The rooms of each user by name; every user asked for has a page."""
    rooms: dict[str, list[Membership]] = {user_id: [] for user_id in user_ids}
    # One more than asked for tells whether there are more.
    for user_id, membership in await tx.fetch_as(
        _membership, MEMBERSHIPS, list(rooms), after or "", limit + 1
    ):
        rooms[user_id].append(membership)
    return {user_id: membership_page(found, limit) for user_id, found in rooms.items()}


async def move_pointers(tx: Tx, moves: Sequence[PointerMove]) -> Mapping[tuple[RoomId, str], int]:
    """Move read pointers in one statement, which is its own transaction; see `Store.move_pointers`."""
    pointers = await tx.fetch_as(PointerMove, MOVE_POINTERS, *zip(*moves, strict=True))
    return {(room_id, user_id): seq for room_id, user_id, seq in pointers}


def membership_page(found: Sequence[Membership], limit: int) -> MembershipPage:
    """A page of at most `limit` from what was found, which is one more when there are more."""
    more = len(found) > limit
    found = found[:limit]
    return MembershipPage(found, found[-1].room if more and found else None)


def _room(*columns: *_RoomColumns) -> RoomRow:
    room_id, name, kind, topic, strict, slow_s, by, at_ms, language, locked, archived, retention_s = columns
    return RoomRow(
        room_id=room_id,
        name=name,
        kind=kind,
        topic=topic,
        strict=strict,
        slow_s=slow_s,
        created_by=by,
        created_at_ms=at_ms,
        language=language,
        locked=locked,
        archived=archived,
        retention_s=retention_s,
    )


def _user_sanction(
    room: str,
    room_id: RoomId,
    user_id: str,
    kind: SanctionKind,
    name: str,
    until_ms: int | None,
    reason: str | None,
    seq: int,
) -> tuple[str, RoomId, SanctionRow]:
    return room, room_id, SanctionRow(user_id, kind, name, until_ms, reason, seq)


def _owned(epoch: int, *columns: *_RoomColumns) -> tuple[int, RoomRow]:
    return epoch, _room(*columns)


def _membership(
    user_id: str, room: str, epoch: int, head_seq: int, role: Role, read_seq: int, unread: int, mentions: int
) -> tuple[str, Membership]:
    return user_id, Membership(room, epoch, head_seq, role, read_seq, unread, mentions)
