"""Reading the audit: who did what to whom, why and when. The log's own rows write it (migration 0005)."""

from collections.abc import Sequence
from typing import Final

from storage.database import Tx
from storage.model import AuditKey, AuditRow, RoomId

_COLUMNS: Final = (
    "a.room_id, r.name, a.seq, a.at_ms, a.actor, a.actor_name, a.action, a.target, a.reason, a.detail, a.hash"
)
_LAST: Final = 2**63 - 1

# The page first: the rooms' names are looked up for its rows alone.
OF_ROOM: Final = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM audit WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3
) AS a JOIN rooms r ON r.id = a.room_id
ORDER BY a.seq DESC
"""  # noqa: S608  constants only
OF_ALL: Final = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM audit WHERE (at_ms, room_id, seq) < ($1, $2, $3)
    ORDER BY at_ms DESC, room_id DESC, seq DESC LIMIT $4
) AS a JOIN rooms r ON r.id = a.room_id
ORDER BY a.at_ms DESC, a.room_id DESC, a.seq DESC
"""  # noqa: S608  constants only
CHAIN: Final = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM audit WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
) AS a JOIN rooms r ON r.id = a.room_id
ORDER BY a.seq
"""  # noqa: S608  constants only


async def list_audit(
    tx: Tx, room_id: RoomId | None, before: AuditKey | None, limit: int
) -> Sequence[AuditRow]:
    """A page of one room's audit, or of everybody's, the latest first."""
    key = before or AuditKey(_LAST, _LAST, _LAST)
    if room_id is not None:
        return await tx.fetch_as(AuditRow, OF_ROOM, room_id, key.seq, limit)
    return await tx.fetch_as(AuditRow, OF_ALL, *key, limit)


async def read_audit(tx: Tx, room_id: RoomId, after: int, limit: int) -> Sequence[AuditRow]:
    """A page of one room's audit, the oldest first."""
    return await tx.fetch_as(AuditRow, CHAIN, room_id, after, limit)
