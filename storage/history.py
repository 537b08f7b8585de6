"""Reading a room's log by position: keyset only, one round trip a page."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from storage.database import Tx
from storage.model import HistoryPage, KnownCid, LogEntry, RoomId

ENTRY_COLUMNS: Final = (
    "room_id, seq, epoch, at_ms, kind, author, author_name, n, cid, body, reply_to, thread, data"
)
NO_BOUND: Final = 2**63 - 1
"""A seq above every other."""

# The room's epoch and the ends of its log stand beside every row: eight bytes each, and no second round trip.
_BOUNDS: Final = """
SELECT r.epoch AS room_epoch,
    coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq LIMIT 1), 0) AS first_seq,
    coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq DESC LIMIT 1), 0) AS last_seq
FROM rooms r WHERE r.id = $1
"""
_OLDER: Final = f"SELECT {ENTRY_COLUMNS} FROM log WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"  # noqa: S608


def _page(rows: str) -> str:
    """The statement that gives the bounds and these rows, in rising order."""
    return f"""
SELECT room_epoch, first_seq, last_seq, page.*
FROM ({_BOUNDS}) AS bounds LEFT JOIN ({rows}) AS page ON true
ORDER BY page.seq
"""  # noqa: S608  constants only


PAGE_BEFORE: Final = _page(_OLDER)
PAGE_AFTER: Final = _page(
    f"SELECT {ENTRY_COLUMNS} FROM log WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"  # noqa: S608
)
PAGE_AROUND: Final = _page(
    f"""({_OLDER}) UNION ALL
    (SELECT {ENTRY_COLUMNS} FROM log WHERE room_id = $1 AND seq >= $2 ORDER BY seq LIMIT $4)"""  # noqa: S608
)

FIND_CIDS: Final = """
SELECT cid, seq, epoch, at_ms, coalesce(body, '') FROM log
WHERE room_id = $1 AND author = $2 AND cid = ANY ($3::text[])
"""


class Bounds(NamedTuple):
    """A room's epoch, and the first and last seq of its log (0 when it is empty)."""

    epoch: int
    first_seq: int
    last_seq: int


def around_limits(limit: int) -> tuple[int, int]:
    """How many events below, and how many from the seq itself upwards, make a page around it."""
    return limit // 2, limit - limit // 2


def make_page(bounds: Bounds, items: Sequence[LogEntry], *, lowest: int, highest: int) -> HistoryPage:
    """A page from its events and the room's bounds.

    Args:
        bounds: read before or with the items.
        items: in rising order of seq.
        lowest: for an empty page: older events are those below it.
        highest: for an empty page: newer events are those above it.
    """
    if items:
        lowest, highest = items[0].seq, items[-1].seq
    return HistoryPage(
        items=items,
        more_before=0 < bounds.first_seq < lowest,
        more_after=bounds.last_seq > highest,
        epoch=bounds.epoch,
        durable_seq=bounds.last_seq,
    )


async def read_history(
    tx: Tx, room_id: RoomId, before: int | None, after: int | None, around: int | None, limit: int
) -> HistoryPage:
    """A page of a room's log; see `Store.history`."""
    if after is not None:
        lowest, highest = after + 1, after
        rows = await tx.fetch(PAGE_AFTER, room_id, after, limit)
    elif around is not None:
        lowest, highest = around, around - 1
        rows = await tx.fetch(PAGE_AROUND, room_id, around, *around_limits(limit))
    else:
        before = NO_BOUND if before is None else before
        lowest, highest = before, before - 1
        rows = await tx.fetch(PAGE_BEFORE, room_id, before, limit)
    if not rows:
        return make_page(Bounds(0, 0, 0), [], lowest=0, highest=0)
    columns = [tuple(row) for row in rows]
    bounds = Bounds._make(columns[0][:3])
    items = [] if columns[0][3] is None else [LogEntry._make(row[3:]) for row in columns]
    return make_page(bounds, items, lowest=lowest, highest=highest)


async def find_cids(tx: Tx, room_id: RoomId, user_id: str, cids: Sequence[str]) -> Mapping[str, KnownCid]:
    """Which idempotency keys a sender has used in a room."""
    rows = await tx.fetch_as(_known, FIND_CIDS, room_id, user_id, list(cids))
    return dict(rows)


def _known(cid: str, seq: int, epoch: int, at_ms: int, body: str) -> tuple[str, KnownCid]:
    return cid, KnownCid(seq, epoch, at_ms, body)
