"""Rules of rooms, reports, and messages that are held (migration 0009)."""

from collections.abc import Mapping, Sequence
from typing import Final

from storage.database import Tx
from storage.errors import Conflict
from storage.model import RoomId, RulesRow
from storage.review_model import (
    RULES_KEPT,
    WAITING_COUNTED_MAX,
    WAITING_OF_KIND_MAX,
    WAITING_OF_TEXT_MAX,
    Filed,
    FiledState,
    NewReport,
    ReportMove,
    ReportRow,
)

READ_RULES: Final = """
SELECT version, at_ms, author, author_name, rules FROM automod_rules
WHERE room_id = $1 ORDER BY version DESC LIMIT 1
"""
# Two that write the same version at once meet in the primary key.
WRITE_RULES: Final = """
INSERT INTO automod_rules (room_id, version, at_ms, author, author_name, rules)
SELECT $1, $2, $3, $4, $5, $6
WHERE $2 = 1 + coalesce(
    (SELECT version FROM automod_rules WHERE room_id = $1 ORDER BY version DESC LIMIT 1), 0
)
ON CONFLICT DO NOTHING
RETURNING version
"""
FORGET_RULES: Final = "DELETE FROM automod_rules WHERE room_id = $1 AND version <= $2"

# A trigger (migration 0013) leaves out what is too much.
# `body` is a copy: what becomes of the message in the log, or of its text, leaves it alone.
FILE_REPORTS: Final = """
INSERT INTO reports (
    room_id, room, kind, seq, reporter, reporter_name, author, author_name, reason, rule, at_ms,
    changed_at_ms, cid, body, reply_to, thread
)
SELECT room_id, room, kind, seq, reporter, reporter_name, author, author_name, reason, rule, at_ms,
    at_ms, cid, body, reply_to, thread
FROM unnest(
    $1::int8[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::int8[], $12::text[], $13::text[], $14::int8[], $15::int8[]
) WITH ORDINALITY AS report (
    room_id, room, kind, seq, reporter, reporter_name, author, author_name, reason, rule, at_ms, cid,
    body, reply_to, thread, i
)
ORDER BY i
ON CONFLICT DO NOTHING
RETURNING id
"""
FIND_FILED: Final = f"""
SELECT coalesce(held.id, waiting.id), coalesce(held.state, waiting.state, CASE
    WHEN (
        SELECT count(*) FROM (
            SELECT FROM reports
            WHERE room_id = report.room_id AND seq = report.seq AND state IN ('open', 'claimed')
                AND body IS NOT DISTINCT FROM report.body
            LIMIT {WAITING_OF_TEXT_MAX}
        ) AS same
    ) = {WAITING_OF_TEXT_MAX} THEN 'known'
    WHEN (
        SELECT count(*) FROM (
            SELECT FROM reports
            WHERE room_id = report.room_id AND kind = report.kind AND state IN ('open', 'claimed')
            LIMIT {WAITING_OF_KIND_MAX}
        ) AS alike
    ) = {WAITING_OF_KIND_MAX} THEN 'full'
END)
FROM unnest($1::int8[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    WITH ORDINALITY AS report (room_id, seq, reporter, author, cid, kind, body, i)
LEFT JOIN reports held ON held.room_id = report.room_id AND held.author = report.author
    AND held.cid = report.cid AND held.kind = 'held'
LEFT JOIN reports waiting ON waiting.room_id = report.room_id AND waiting.seq = report.seq
    AND waiting.reporter = report.reporter AND waiting.state IN ('open', 'claimed')
    AND waiting.seq IS NOT NULL
ORDER BY report.i
"""  # noqa: S608  constants only

_COLUMNS: Final = (
    "id, room_id, room, kind, state, seq, at_ms, changed_at_ms, reporter, reporter_name, author, author_name,"
    " reason, rule, cid, body, reply_to, thread, holder, holder_name, note, audit"
)
FIND_REPORT: Final = f"SELECT {_COLUMNS} FROM reports WHERE id = $1"  # noqa: S608  constants only
ALL_OF_ROOM: Final = f"""
SELECT {_COLUMNS} FROM reports
WHERE room_id = $1 AND id > $2 AND author IS DISTINCT FROM $4 ORDER BY id LIMIT $3
"""  # noqa: S608  constants only
WAITING_OF_ROOM: Final = f"""
SELECT {_COLUMNS} FROM reports
WHERE room_id = $1 AND id > $2 AND author IS DISTINCT FROM $4 AND state IN ('open', 'claimed')
ORDER BY id LIMIT $3
"""  # noqa: S608  constants only
ALL_OF_ALL: Final = f"""
SELECT {_COLUMNS} FROM reports WHERE id > $1 AND author IS DISTINCT FROM $3 ORDER BY id LIMIT $2
"""  # noqa: S608  constants only
WAITING_OF_ALL: Final = f"""
SELECT {_COLUMNS} FROM reports
WHERE id > $1 AND author IS DISTINCT FROM $3 AND state IN ('open', 'claimed') ORDER BY id LIMIT $2
"""  # noqa: S608  constants only
# Who has reported much has closed reports mostly: each list has an index of its own.
ALL_OF_REPORTER: Final = f"""
SELECT {_COLUMNS} FROM reports WHERE reporter = $1 AND id > $2 AND kind = 'person' ORDER BY id LIMIT $3
"""  # noqa: S608  constants only
WAITING_OF_REPORTER: Final = f"""
SELECT {_COLUMNS} FROM reports
WHERE reporter = $1 AND id > $2 AND kind = 'person' AND state IN ('open', 'claimed') ORDER BY id LIMIT $3
"""  # noqa: S608  constants only

MOVE: Final = f"""
UPDATE reports SET
    state = $2,
    holder = CASE WHEN $2 = 'open' THEN NULL ELSE $3 END,
    holder_name = CASE WHEN $2 = 'open' THEN NULL ELSE $4 END,
    changed_at_ms = $5,
    note = coalesce($7, note),
    audit = coalesce($8, audit),
    seq = coalesce($9, seq),
    body = CASE WHEN $2 IN ('open', 'claimed') THEN body END
WHERE id = $1 AND (state = 'open' AND $2 <> 'open' OR state = 'claimed' AND ($6 OR holder = $3))
RETURNING {_COLUMNS}
"""  # noqa: S608  constants only

# A held message's text is no copy: there is no other.
ERASE_COPIES: Final = """
UPDATE reports SET body = NULL WHERE id = ANY (ARRAY(
    SELECT id FROM reports
    WHERE at_ms < $1 AND state IN ('open', 'claimed') AND kind <> 'held' AND body IS NOT NULL
    ORDER BY at_ms LIMIT $2
))
RETURNING id
"""

COUNT_WAITING: Final = """
SELECT room.id, (
    SELECT count(*) FROM (
        SELECT FROM reports WHERE room_id = room.id AND state IN ('open', 'claimed') LIMIT $2
    ) AS waiting
)
FROM unnest($1::int8[]) AS room (id)
"""


async def read_rules(tx: Tx, room_id: RoomId) -> RulesRow | None:
    """The present rules of a room."""
    return await tx.fetchrow_as(RulesRow, READ_RULES, room_id)


async def write_rules(tx: Tx, room_id: RoomId, row: RulesRow) -> None:
    """Keep the next version, in the transaction that the caller has opened.

    Raises:
        Conflict: it is not the next.
    """
    if not await tx.fetch(WRITE_RULES, room_id, *row):
        raise Conflict(f"version {row.version} does not follow the present rules of room {room_id}")
    await tx.execute(FORGET_RULES, room_id, row.version - RULES_KEPT)


async def file_reports(tx: Tx, reports: Sequence[NewReport]) -> Sequence[Filed]:
    """File reports, in the transaction that the caller has opened.

    Raises:
        Conflict: one that was there was closed in between: to be tried again.
    """
    fresh = set(await tx.fetch_as(int, FILE_REPORTS, *zip(*reports, strict=True)))
    keys = [(r.room_id, r.seq, r.reporter, r.author, r.cid, r.kind, r.body) for r in reports]
    filed: list[Filed] = []
    for report, state in await tx.fetch_as(_found, FIND_FILED, *zip(*keys, strict=True)):
        if state is None:
            raise Conflict("a report was closed while it was filed again")
        filed.append(Filed(report, state, report in fresh))
        if report is not None:
            fresh.discard(report)
    return filed


async def list_reports(
    tx: Tx,
    room_id: RoomId | None,
    waiting: bool,  # noqa: FBT001  arguments cross to the other thread by position
    after: int,
    limit: int,
    not_about: str | None,
) -> Sequence[ReportRow]:
    """A page of reports, by number."""
    if room_id is None:
        sql = WAITING_OF_ALL if waiting else ALL_OF_ALL
        return await tx.fetch_as(ReportRow, sql, after, limit, not_about)
    sql = WAITING_OF_ROOM if waiting else ALL_OF_ROOM
    return await tx.fetch_as(ReportRow, sql, room_id, after, limit, not_about)


async def list_own_reports(
    tx: Tx,
    reporter: str,
    waiting: bool,  # noqa: FBT001  same
    after: int,
    limit: int,
) -> Sequence[ReportRow]:
    """A page of the reports that a person has made, by number."""
    sql = WAITING_OF_REPORTER if waiting else ALL_OF_REPORTER
    return await tx.fetch_as(ReportRow, sql, reporter, after, limit)


async def find_report(tx: Tx, report: int) -> ReportRow | None:
    """One report."""
    return await tx.fetchrow_as(ReportRow, FIND_REPORT, report)


async def move_report(tx: Tx, move: ReportMove) -> ReportRow | None:
    """Give a report its next state, if it may have it."""
    return await tx.fetchrow_as(
        ReportRow,
        MOVE,
        move.report,
        move.to,
        move.by,
        move.by_name,
        move.at_ms,
        move.forced,
        move.note,
        move.audit,
        move.seq,
    )


async def erase_copies(tx: Tx, before_ms: int, limit: int) -> int:
    """Erase some of the copies of texts that are too old; how many."""
    return len(await tx.fetch_as(int, ERASE_COPIES, before_ms, limit))


async def count_waiting(tx: Tx, room_ids: Sequence[RoomId]) -> Mapping[RoomId, int]:
    """How many reports wait in each room."""
    return dict(await tx.fetch_as(_count, COUNT_WAITING, list(room_ids), WAITING_COUNTED_MAX))


def _found(report: int | None, state: FiledState | None) -> tuple[int | None, FiledState | None]:
    return report, state


def _count(room_id: RoomId, count: int) -> tuple[RoomId, int]:
    return room_id, count
