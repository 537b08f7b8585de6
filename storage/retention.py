"""Which rooms do not keep for ever what is said in them, and how far each was looked through."""

from collections.abc import Sequence
from typing import Final

from storage.database import Tx
from storage.model import RetainedRoom, RoomId

ROOMS_RETAINED: Final = """
SELECT id, name, retention_s, retained_seq FROM rooms
WHERE retention_s IS NOT NULL AND id > $1 ORDER BY id LIMIT $2
"""
NOTE_RETAINED: Final = "UPDATE rooms SET retained_seq = $2 WHERE id = $1 AND retained_seq < $2"


async def rooms_retained(tx: Tx, after: RoomId, limit: int) -> Sequence[RetainedRoom]:
    """See `Store.rooms_retained`."""
    return await tx.fetch_as(RetainedRoom, ROOMS_RETAINED, after, limit)


async def note_retained(tx: Tx, room_id: RoomId, seq: int) -> None:
    """See `Store.note_retained`."""
    await tx.execute(NOTE_RETAINED, room_id, seq)
