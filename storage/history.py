"""Reading a room's log by position: keyset only, one round trip a page."""

from collections.abc import Mapping, Sequence
from typing import Final

from storage.database import Tx
from storage.model import HistoryPage, KnownCid, LogEntry, RoomId
from storage.page import NO_BOUND, Bounds, around_limits, make_page

ENTRY_COLUMNS: Final = (
    "room_id, seq, epoch, at_ms, kind, author, author_name, n, cid, body, reply_to, thread, data"
)

# The room's epoch and the ends of its log stand beside every row: eight bytes each, and no second round trip.
_BOUNDS: Final = """
SELECT r.epoch AS room_epoch,
    coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq LIMIT 1), 0) AS first_seq,
    coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq DESC LIMIT 1), 0) AS last_seq
FROM rooms r WHERE r.id = $1
"""


def _page(rows: str, thread: str | None = None) -> str:
    """The statement that gives the bounds and these rows, in rising order.

    Args:
        rows: the events.
        thread: the parameter with the thread's root, where its messages are the whole.
    """
    if thread is None:
        ends = "first_seq, last_seq"
    else:
        first, last = (
            f"(SELECT seq FROM log WHERE room_id = $1 AND thread = {thread} ORDER BY seq{order} LIMIT 1)"  # noqa: S608
            for order in ("", " DESC")
        )
        ends = f"coalesce({first}, 0), coalesce({last}, 0)"
    return f"""
SELECT room_epoch, {ends}, last_seq AS durable_seq, page.*
FROM ({_BOUNDS}) AS bounds LEFT JOIN ({rows}) AS page ON true
ORDER BY page.seq
"""  # noqa: S608  constants only


def _older(condition: str = "") -> str:
    return f"""
SELECT {ENTRY_COLUMNS} FROM log WHERE room_id = $1{condition} AND seq < $2 ORDER BY seq DESC LIMIT $3
"""  # noqa: S608  constants only


def _newer(comparison: str, limit: str, condition: str = "") -> str:
    return f"""
SELECT {ENTRY_COLUMNS} FROM log WHERE room_id = $1{condition} AND seq {comparison} $2
ORDER BY seq LIMIT {limit}
"""  # noqa: S608  constants only


PAGE_BEFORE: Final = _page(_older())
PAGE_AFTER: Final = _page(_newer(">", "$3"))
PAGE_AROUND: Final = _page(f"({_older()}) UNION ALL ({_newer('>=', '$4')})")
THREAD_BEFORE: Final = _page(_older(" AND thread = $4"), "$4")
THREAD_AFTER: Final = _page(_newer(">", "$3", " AND thread = $4"), "$4")
THREAD_AROUND: Final = _page(
    f"({_older(' AND thread = $5')}) UNION ALL ({_newer('>=', '$4', ' AND thread = $5')})", "$5"
)

FIND_CIDS: Final = """
SELECT cid, seq, epoch, at_ms, body, kind, data FROM log
WHERE room_id = $1 AND author = $2 AND cid = ANY ($3::text[])
"""


async def read_history(
    tx: Tx,
    room_id: RoomId,
    before: int | None,
    after: int | None,
    around: int | None,
    thread: int | None,
    limit: int,
) -> HistoryPage:
    """A page of a room's log, or of one of its threads; see `Store.history`."""
    of = () if thread is None else (thread,)
    if after is not None:
        lowest, highest = after + 1, after
        rows = await tx.fetch(THREAD_AFTER if of else PAGE_AFTER, room_id, after, limit, *of)
    elif around is not None:
        lowest, highest = around, around - 1
        sql = THREAD_AROUND if of else PAGE_AROUND
        rows = await tx.fetch(sql, room_id, around, *around_limits(limit), *of)
    else:
        before = NO_BOUND if before is None else before
        lowest, highest = before, before - 1
        rows = await tx.fetch(THREAD_BEFORE if of else PAGE_BEFORE, room_id, before, limit, *of)
    if not rows:
        return make_page(Bounds(0, 0, 0, 0), [], lowest=0, highest=0)
    columns = [tuple(row) for row in rows]
    bounds = Bounds._make(columns[0][:4])
    items = [] if columns[0][4] is None else [LogEntry._make(row[4:]) for row in columns]
    return make_page(bounds, items, lowest=lowest, highest=highest)


async def find_cids(tx: Tx, room_id: RoomId, user_id: str, cids: Sequence[str]) -> Mapping[str, KnownCid]:
    """Which idempotency keys a sender has used in a room."""
    rows = await tx.fetch_as(_known, FIND_CIDS, room_id, user_id, list(cids))
    return dict(rows)


def _known(
    cid: str, seq: int, epoch: int, at_ms: int, body: str | None, kind: str, data: str | None
) -> tuple[str, KnownCid]:
    return cid, KnownCid(seq, epoch, at_ms, body, kind, data)
