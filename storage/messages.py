"""Finding messages that were not deleted, to delete many of them: by who wrote them, and when."""

from collections.abc import Sequence
from typing import Final

from storage.database import Tx
from storage.model import MessagePage, MessageRange, RoomId

LOOKED_AT_MAX: Final = 20_000
"""Events that are looked at for one page: some tens of milliseconds where none of them is wanted."""

# By halving: seqs have no gaps and times never fall, so some twenty look-ups by key do it.
FIRST_SINCE: Final = """
WITH RECURSIVE halves (low, high) AS (
    SELECT 0::bigint,
        1 + coalesce((SELECT seq FROM log WHERE room_id = $1 ORDER BY seq DESC LIMIT 1), 0)
    UNION ALL
    SELECT
        CASE WHEN middle.at_ms < $2 THEN middle.seq ELSE halves.low END,
        CASE WHEN middle.at_ms < $2 THEN halves.high ELSE middle.seq END
    FROM halves, LATERAL (
        SELECT seq, at_ms FROM log WHERE room_id = $1 AND seq = (halves.low + halves.high) / 2
    ) AS middle
    WHERE halves.high - halves.low > 1
)
SELECT min(high) FROM halves
"""
HEAD: Final = """
SELECT coalesce((SELECT seq FROM log WHERE room_id = $1 ORDER BY seq DESC LIMIT 1), 0)
"""
FIND: Final = """
SELECT seq FROM log
WHERE room_id = $1 AND seq > $2 AND seq < $3 AND kind = 'message' AND body IS NOT NULL
ORDER BY seq LIMIT $4
"""
FIND_OF: Final = """
SELECT seq FROM log
WHERE room_id = $1 AND seq > $2 AND seq < $3 AND author = $5 AND kind = 'message' AND body IS NOT NULL
ORDER BY seq LIMIT $4
"""
FIND_SEQS: Final = """
SELECT seq FROM log
WHERE room_id = $1 AND seq = ANY ($2::int8[]) AND kind = 'message' AND body IS NOT NULL
    AND ($3::text IS NULL OR author = $3)
ORDER BY seq
"""


async def find_messages(
    tx: Tx, room_id: RoomId, wanted: MessageRange, limit: int, looked_at_max: int = LOOKED_AT_MAX
) -> MessagePage:
    """Seqs of a room's messages that were not deleted, in order; see `Store.find_messages`."""
    if wanted.seqs is not None:
        named = await tx.fetch_as(int, FIND_SEQS, room_id, sorted(wanted.seqs), wanted.author)
        return _page([seq for seq in named if seq > wanted.after], limit, None)
    low, high = wanted.after, await tx.fetchval_as(int, HEAD, room_id) + 1
    if wanted.since_ms is not None:
        low = max(low, await _first_since(tx, room_id, wanted.since_ms) - 1)
    if wanted.until_ms is not None:
        high = min(high, await _first_since(tx, room_id, wanted.until_ms))
    end = min(high, low + looked_at_max + 1)
    if wanted.author is None:
        found = await tx.fetch_as(int, FIND, room_id, low, end, limit + 1)
    else:
        found = await tx.fetch_as(int, FIND_OF, room_id, low, end, limit + 1, wanted.author)
    return _page(found, limit, end - 1 if end < high else None)


def _page(found: Sequence[int], limit: int, looked_through: int | None) -> MessagePage:
    more = len(found) > limit
    return MessagePage(found[:limit], found[limit - 1] if more else looked_through)


async def _first_since(tx: Tx, room_id: RoomId, at_ms: int) -> int:
    """The seq of a room's first event at a time or later; that after the last event when there is none."""
    return await tx.fetchval_as(int, FIRST_SINCE, room_id, at_ms)
