"""PURE: whether the audit of a room is whole: its chain of hashes, and that it says what the room's log says.

The chain finds what was changed, or taken out from between two others; the log finds what was taken off the
end, and a chain that was made anew. What migrations 0005 and 0010 write into the audit is said here again.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from storage.audit_chain import chain_hash
from storage.model import AuditRow

UPON_ONESELF: Final = frozenset({"role", "purge", "act"})
"""Kinds of events that are in the audit also where somebody did it to himself."""


class Governing(NamedTuple):
    """An event of the log that may be in the audit.

    Attributes:
        deleted_author: of an event that deletes a message: who wrote that.
    """

    seq: int
    at_ms: int
    kind: str
    author: str
    author_name: str
    data: str | None
    deleted_author: str | None


class Finding(NamedTuple):
    """The first row of a room that is not in order."""

    room: str
    seq: int
    problem: str


class Judged(NamedTuple):
    """What came of a stretch of a room.

    Attributes:
        problem: the first seq that is not in order, and why; None: all is.
        last_hash: where the chain goes on.
    """

    problem: tuple[int, str] | None
    last_hash: bytes


def judge(before: bytes, events: Iterable[Governing], rows: Sequence[AuditRow]) -> Judged:
    """Compare a stretch of the log with the audit of the same stretch.

    Args:
        before: the hash of the last row before it; empty for the first.
        events: of the kinds that govern, by seq.
        rows: of the audit, by seq.
    """
    acts = {event.seq: event for event in events}
    audited = {row.seq for row in rows}
    missing = min((seq for seq, event in acts.items() if seq not in audited and act_of(event)), default=None)
    last_hash = before
    for row in rows:
        if missing is not None and missing < row.seq:
            break
        if row.hash != chain_hash(last_hash, row):
            return Judged((row.seq, "the hash does not follow from the row and the one before it"), last_hash)
        event = acts.get(row.seq)
        if event is None or act_of(event) != (row.action, row.target, row.reason):
            return Judged((row.seq, "the log does not say so"), last_hash)
        if (event.at_ms, event.author, event.author_name, event.data) != (
            row.at_ms,
            row.actor,
            row.actor_name,
            row.detail,
        ):
            return Judged((row.seq, "the log says otherwise"), last_hash)
        last_hash = row.hash
    if missing is not None:
        return Judged((missing, "the log says what the audit does not"), last_hash)
    return Judged(None, last_hash)


def act_of(event: Governing) -> tuple[str, str | None, str | None] | None:
    """Action, target and reason as the audit has them; None: it is no act upon others."""
    if event.data is None or not event.data.startswith("{"):
        return None
    fields: dict[str, object] = json.loads(event.data)
    action, target, reason = (_text(fields.get(name)) for name in ("action", "user", "reason"))
    if event.kind == "room":
        action = "update"
    elif event.kind == "delete":
        action, target = "delete", event.deleted_author
    elif event.kind in {"purge", "announce"}:
        action = event.kind
    elif event.kind == "act":
        if action is None:
            return None
    elif target is None:
        return None
    elif event.kind == "role":
        action = "role"
    if target == event.author and event.kind not in UPON_ONESELF:
        return None
    return (action or "", target, reason)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
