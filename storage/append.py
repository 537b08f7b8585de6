"""Writing a batch: one statement when all is regular, one careful transaction otherwise.

Regular means: every entry is a log entry, every room's epoch is the entries', every room's entries
continue its log without a hole, no idempotency key was used before. That is nearly every batch, and it
costs one round trip and nothing per row on this side but turning rows into columns.

Both ways lock the rooms' rows (in order of id, so that batches cannot deadlock) before they look at the log.
The lock is FOR NO KEY UPDATE rather than FOR SHARE: it costs the same, and two writes to one room never
run side by side, so a batch that is sent again waits until the fate of the first attempt is known, and an
activation waits for a batch that is under way, or fences it. A statement that had to wait still sees the
log as it was when it began; then its rows meet the primary key, nothing is written, and the careful way,
whose statements see what was committed meanwhile, decides. No hole can be committed: the first seq is the
head plus one, and if that head was out of date, the primary key refuses.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from storage.database import Tx
from storage.errors import LogGap
from storage.members import KINDS_OF_MEMBERS, fold_members, outdated_changes
from storage.model import (
    CidConflict,
    Duplicate,
    Entry,
    Fenced,
    LogEntry,
    MemberChange,
    Poisoned,
    Receipt,
    RoomId,
    Stored,
)

_COLUMNS: Final = (
    "room_id, seq, epoch, at_ms, kind, author, author_name, n, cid, body, reply_to, thread, data"
)
_ROWS: Final = """SELECT
    unnest($1::int8[]) AS room_id, unnest($2::int8[]) AS seq, unnest($3::int8[]) AS epoch,
    unnest($4::int8[]) AS at_ms, unnest($5::text[]) AS kind, unnest($6::text[]) AS author,
    unnest($7::text[]) AS author_name, unnest($8::int8[]) AS n, unnest($9::text[]) AS cid,
    unnest($10::text[]) AS body, unnest($11::int8[]) AS reply_to, unnest($12::int8[]) AS thread,
    unnest($13::text[]) AS data"""
"""Set-returning functions in the select list run in lockstep; in FROM each would fill a table of its own."""

# The whole batch or nothing of it. The check compares one number, so that the insert needs no join, whose
# plan might be quadratic in the batch.
APPEND_REGULAR: Final = f"""
WITH span AS MATERIALIZED (
    SELECT room_id, min(epoch) AS low, max(epoch) AS high, min(seq) AS first, max(seq) AS last,
        count(*) AS rows
    FROM (
        SELECT unnest($1::int8[]) AS room_id, unnest($2::int8[]) AS seq, unnest($3::int8[]) AS epoch
    ) AS entry
    GROUP BY room_id
), owned AS MATERIALIZED (
    SELECT r.id, r.epoch, s.low, s.high, s.first, s.last, s.rows
    FROM rooms r JOIN span s ON r.id = s.room_id
    ORDER BY r.id
    FOR NO KEY UPDATE OF r
), regular AS MATERIALIZED (
    SELECT sum(rows) AS rows FROM owned
    WHERE epoch = low AND epoch = high AND last - first + 1 = rows
        AND first = 1 + coalesce((SELECT seq FROM log WHERE room_id = owned.id ORDER BY seq DESC LIMIT 1), 0)
)
INSERT INTO log ({_COLUMNS})
SELECT {_COLUMNS} FROM ({_ROWS}) AS entry
WHERE (SELECT rows FROM regular) = cardinality($1)
"""  # noqa: S608  constants only

LOCK_ROOMS: Final = "SELECT id, epoch FROM rooms WHERE id = ANY ($1::int8[]) ORDER BY id FOR NO KEY UPDATE"

HEADS: Final = """
SELECT room_id, coalesce((SELECT seq FROM log WHERE log.room_id = r.room_id ORDER BY seq DESC LIMIT 1), 0)
FROM unnest($1::int8[]) AS r (room_id)
"""

# Of two equal keys within the batch the first one wins, whence the order.
INSERT_FRESH: Final = f"""
INSERT INTO log ({_COLUMNS})
SELECT {_COLUMNS} FROM ({_ROWS}) AS entry ORDER BY room_id, seq
ON CONFLICT (room_id, author, cid) WHERE cid IS NOT NULL DO NOTHING
RETURNING room_id, seq
"""  # noqa: S608  constants only

INSERT_VOID: Final = """
INSERT INTO log (room_id, seq, epoch, at_ms, n, kind, author, author_name)
SELECT unnest($1::int8[]), unnest($2::int8[]), unnest($3::int8[]), unnest($4::int8[]), unnest($5::int8[]),
    'void', '', ''
"""

# What is stored under each entry's seq and under its key. A body that was erased later equals any.
FATES: Final = """
SELECT own.epoch, own.kind, own.author, own.cid, first.seq, first.epoch, first.at_ms,
    first.kind = entry.kind AND (first.body = entry.body) IS NOT FALSE, parked.error
FROM unnest($1::int8[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
    AS entry (room_id, seq, author, cid, body, kind, i)
LEFT JOIN log own ON own.room_id = entry.room_id AND own.seq = entry.seq
LEFT JOIN log first ON first.room_id = entry.room_id AND first.author = entry.author AND first.cid = entry.cid
LEFT JOIN parked ON parked.room_id = entry.room_id AND parked.seq = entry.seq
ORDER BY entry.i
"""

# Who left and came back in the batch begins anew, once: where the batch is sent again, the membership that
# it began is there, and whoever has read since then keeps the pointer.
DELETE_MEMBERS: Final = """
DELETE FROM members m
USING unnest($1::int8[], $2::text[], $3::int8[]) AS ended (room_id, user_id, again_at_ms)
WHERE m.room_id = ended.room_id AND m.user_id = ended.user_id
    AND m.joined_at_ms IS DISTINCT FROM ended.again_at_ms
"""

UPSERT_MEMBERS: Final = """
INSERT INTO members (room_id, user_id, name, role, joined_at_ms, read_seq, read_n, room_name)
SELECT m.room_id, m.user_id, m.name, m.role, m.at_ms, m.read_seq, m.read_n, r.name
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::int8[])
    AS m (room_id, user_id, name, role, at_ms, read_seq, read_n)
JOIN rooms r ON r.id = m.room_id
ON CONFLICT (room_id, user_id) DO UPDATE SET name = EXCLUDED.name
"""

PARK: Final = """
INSERT INTO parked (room_id, seq, entry, error) VALUES ($1, $2, $3, $4)
ON CONFLICT (room_id, seq) DO NOTHING
"""


class Fate(NamedTuple):
    """What the database holds about one log entry.

    Attributes:
        own_epoch: of the event under the entry's seq, None when there is none; `own_kind`, `own_author` and
            `own_cid` belong to it.
        first_seq: where the entry's idempotency key is stored, None when it is not; `first_epoch` and
            `first_at_ms` belong to it.
        same_body: kind and body stored there are the entry's; meaningless without `first_seq`.
        parked: the error with which the entry's seq was parked.
    """

    own_epoch: int | None
    own_kind: str | None
    own_author: str | None
    own_cid: str | None
    first_seq: int | None
    first_epoch: int | None
    first_at_ms: int | None
    same_body: bool | None
    parked: str | None

    def receipt(self, entry: LogEntry) -> Receipt | None:
        """The receipt that the entry has got before; None when its seq is free or holds another event."""
        if self.own_epoch != entry.epoch:
            return None
        if (self.own_kind, self.own_author, self.own_cid) == (entry.kind, entry.by, entry.cid):
            return Stored()
        if self.own_kind != "void":
            return None
        if self.parked is not None:
            return Poisoned(self.parked)
        if self.first_seq is None or self.first_epoch is None or self.first_at_ms is None:
            return None
        if self.same_body:
            return Duplicate(self.first_seq, self.first_epoch, self.first_at_ms)
        return CidConflict(self.first_seq)


class _Run(NamedTuple):
    """A part of a batch: events, and then the memberships that change beside the log.

    An event that changes memberships itself begins another part when some wait: all of them take effect in
    the order in which the room decided them.
    """

    fresh: list[tuple[int, LogEntry]]
    changes: list[MemberChange]


async def append_regular(tx: Tx, batch: Sequence[LogEntry]) -> bool:
    """Write a regular batch in one statement, which is its own transaction; False: it is not regular.

    Raises:
        Conflict: a key was used before, or a statement that had to wait found the batch written. As with
            False, nothing was written and the careful way decides.
    """
    rows = len(batch)
    # A column without values is sent as NULL: unnest pads it, and nobody encodes it.
    columns = [None if column.count(None) == rows else column for column in zip(*batch, strict=True)]
    return await tx.execute(APPEND_REGULAR, *columns) == f"INSERT 0 {rows}"


async def append_carefully(tx: Tx, batch: Sequence[Entry]) -> Sequence[Receipt]:
    """Write any batch, in the transaction that the caller has opened; see `Store.append`."""
    epochs = await _lock(tx, {entry.room_id for entry in batch})
    stored = dict(await tx.fetch_as(_pair, HEADS, list(epochs)))
    heads = stored.copy()
    receipts: list[Receipt] = [Stored()] * len(batch)
    outdated = outdated_changes(batch, stored)
    runs = [_Run([], [])]
    doubtful: list[tuple[int, LogEntry]] = []  # written before, or never to be written
    for i, entry in enumerate(batch):
        room_id = entry.room_id
        owned = entry.epoch == epochs.get(room_id)
        if isinstance(entry, MemberChange):
            if not owned:
                receipts[i] = Fenced()
            elif i not in outdated:
                runs[-1].changes.append(entry)
        elif not owned or entry.seq <= stored[room_id]:
            doubtful.append((i, entry))
        elif entry.seq == heads[room_id] + 1:
            heads[room_id] = entry.seq
            if entry.kind in KINDS_OF_MEMBERS and runs[-1].changes:
                runs.append(_Run([], []))
            runs[-1].fresh.append((i, entry))
        else:
            raise LogGap(f"room {room_id}: seq {entry.seq} after {heads[room_id]}")
    for run in runs:
        if run.fresh:
            doubtful += await _insert(tx, run.fresh)
        if run.changes:
            await _write_members(tx, run.changes)
    if doubtful:
        fates = await _fates(tx, [entry for _, entry in doubtful])
        for (i, entry), fate in zip(doubtful, fates, strict=True):
            receipts[i] = _judge(entry, fate, owned=entry.epoch == epochs.get(entry.room_id))
    return receipts


async def park(tx: Tx, entry: Entry, error: str) -> Receipt:
    """Put a row aside, in the transaction that the caller has opened; see `Store.park`."""
    epochs = await _lock(tx, {entry.room_id})
    owned = entry.epoch == epochs.get(entry.room_id)
    seq = None
    if isinstance(entry, LogEntry):
        seq = entry.seq
        # By seq alone: the texts may be what the database refuses.
        (fate,) = await _fates(tx, [entry._replace(by="", cid=None, body=None)])
        if fate.own_epoch is not None:
            return _judge(entry, fate, owned=owned)
    if not owned:
        return Fenced()
    if isinstance(entry, LogEntry):
        ((_, head),) = await tx.fetch_as(_pair, HEADS, [entry.room_id])
        if seq != head + 1:
            raise LogGap(f"room {entry.room_id}: seq {seq} after {head}")
        await _insert_void(tx, [entry])
    poisoned = Poisoned(escape(error))
    await tx.execute(PARK, entry.room_id, seq, describe(entry), poisoned.error)
    return poisoned


def escape(text: str) -> str:
    """Any text as printable ASCII, so that every database takes it."""
    return text.encode("unicode_escape").decode("ascii")


def describe(entry: Entry) -> str:
    """A row as JSON in printable ASCII, whatever it holds."""
    return json.dumps({"type": type(entry).__name__, **entry._asdict()})


async def _lock(tx: Tx, room_ids: set[RoomId]) -> Mapping[RoomId, int]:
    """Lock the rooms until the transaction ends; their epochs, without those that do not exist."""
    return dict(await tx.fetch_as(_pair, LOCK_ROOMS, list(room_ids)))


async def _insert(tx: Tx, fresh: Sequence[tuple[int, LogEntry]]) -> list[tuple[int, LogEntry]]:
    """Insert entries that continue their rooms' logs; those whose key was used are void, and returned."""
    entries = [entry for _, entry in fresh]
    written = set(await tx.fetch_as(_pair, INSERT_FRESH, *zip(*entries, strict=True)))
    if len(written) == len(fresh):
        return []
    lost = [(i, entry) for i, entry in fresh if (entry.room_id, entry.seq) not in written]
    await _insert_void(tx, [entry for _, entry in lost])
    return lost


async def _insert_void(tx: Tx, entries: Sequence[LogEntry]) -> None:
    columns = zip(*[(e.room_id, e.seq, e.epoch, e.at_ms, e.n) for e in entries], strict=True)
    await tx.execute(INSERT_VOID, *columns)


async def _fates(tx: Tx, entries: Sequence[LogEntry]) -> list[Fate]:
    columns = zip(*[(e.room_id, e.seq, e.by, e.cid, e.body, e.kind) for e in entries], strict=True)
    return await tx.fetch_as(Fate, FATES, *columns)


def _judge(entry: LogEntry, fate: Fate, *, owned: bool) -> Receipt:
    """What became of an entry that was not simply inserted now."""
    if (receipt := fate.receipt(entry)) is not None:
        return receipt
    if owned:
        raise LogGap(f"room {entry.room_id}: seq {entry.seq} holds another event")
    return Fenced()


async def _write_members(tx: Tx, changes: Sequence[MemberChange]) -> None:
    ended, members = fold_members(changes)
    if ended:
        again_at_ms = {(m.room_id, m.user_id): m.at_ms for m in members}
        columns = zip(*[(*key, again_at_ms.get(key)) for key in ended], strict=True)
        await tx.execute(DELETE_MEMBERS, *columns)
    if members:
        columns = zip(
            *[(m.room_id, m.user_id, m.name, m.role, m.at_ms, m.read_seq, m.read_n) for m in members],
            strict=True,
        )
        await tx.execute(UPSERT_MEMBERS, *columns)


def _pair(room_id: RoomId, number: int) -> tuple[RoomId, int]:
    return room_id, number
