"""PURE: the hash that chains the audit of a room.

A row's hash covers its own fields and the hash of the row before it in its room: what is changed, or taken
out from between two others, is found by reading the chain once. Migration 0005 makes the same hash when it
writes the row. A field stands in it as its length in bytes, a colon and its UTF-8, and `-` where there is
none, so that no two rows read alike. The hash itself is SHA-256 (FIPS 180-4).
"""

from hashlib import sha256

from storage.model import AuditRow


def chain_hash(before: bytes, row: AuditRow) -> bytes:
    """The hash of a row.

    Args:
        before: the hash of the row before it in its room; empty for the first.
        row: without regard to its own `hash` and to the room's name, which is no part of it.
    """
    fields = (
        str(row.room_id),
        str(row.seq),
        str(row.at_ms),
        row.actor,
        row.actor_name,
        row.action,
        row.target,
        row.reason,
        row.detail,
    )
    return sha256(before + "".join(map(_field, fields)).encode()).digest()


def _field(text: str | None) -> str:
    return "-" if text is None else f"{len(text.encode())}:{text}"
