"""What governs a room, in memory: what the trigger of migrations 0005 and 0010 does in Postgres."""

import json
from dataclasses import replace
from typing import Final, Required, TypedDict, cast

from storage.audit_chain import chain_hash
from storage.audit_check import UPON_ONESELF
from storage.memory_room import StoredMember, StoredRoom
from storage.model import AuditRow, LogEntry, MemberRow, Role, SanctionKind, SanctionRow

KINDS: Final = frozenset({"member", "role", "sanction", "room", "delete", "purge", "announce", "act"})


class _Data(TypedDict, total=False):
    """What such an event says beside its columns."""

    action: Required[str]
    user: str
    name: Required[str]
    role: Required[Role | None]
    reason: str
    until: int
    topic: str
    slow: float
    locked: bool
    archived: bool
    retention: int
    of: int


def govern(room: StoredRoom, entry: LogEntry) -> None:
    """Take in an entry that was stored: settings, members, roles, sanctions, and the audit."""
    if entry.kind not in KINDS or entry.data is None or not entry.data.startswith("{"):
        return
    data = cast("_Data", json.loads(entry.data))
    action, target = data.get("action", ""), data.get("user")
    if entry.kind == "room":
        action = "update"
        _update(room, data)
    elif entry.kind == "delete":
        action = "delete"
        of = data.get("of", 0)
        target = room.log[of - 1].by if 0 < of <= len(room.log) else None
    elif entry.kind in {"purge", "announce"}:
        action = entry.kind
    elif entry.kind == "act":
        if not action:
            return
    elif target is None:
        return
    elif entry.kind == "member":
        _change_member(room, entry, data, target)
    elif entry.kind == "role":
        action = "role"
        member = room.members.get(target)
        if member is not None:
            member.row = member.row._replace(role=data["role"] or member.row.role)
    else:
        _sanction(room, entry, data, target)
    if target != entry.by or entry.kind in UPON_ONESELF:
        _audit(room, entry, action, target, data.get("reason"))


def _update(room: StoredRoom, data: _Data) -> None:
    row = room.row
    room.row = replace(
        row,
        topic=data.get("topic", row.topic),
        slow_s=data.get("slow", row.slow_s),
        locked=data.get("locked", row.locked),
        archived=data.get("archived", row.archived),
        retention_s=data.get("retention", row.retention_s) or None,
    )


def _change_member(room: StoredRoom, entry: LogEntry, data: _Data, target: str) -> None:
    role = data.get("role")
    if role is None:
        room.members.pop(target, None)
    elif target not in room.members:
        row = MemberRow(target, data["name"], role, entry.at_ms, entry.seq)
        room.members[target] = StoredMember(row, entry.n)


def _sanction(room: StoredRoom, entry: LogEntry, data: _Data, target: str) -> None:
    action = data["action"]
    if action in {"unban", "unmute"}:
        room.sanctions.pop((target, action[2:]), None)
        return
    kind = cast("SanctionKind", action)
    room.sanctions[target, kind] = SanctionRow(
        target, kind, data["name"], data.get("until"), data.get("reason"), entry.seq
    )
    if kind == "ban":
        room.members.pop(target, None)


def _audit(room: StoredRoom, entry: LogEntry, action: str, target: str | None, reason: str | None) -> None:
    before = room.audit[-1].hash if room.audit else b""
    row = AuditRow(
        entry.room_id,
        room.row.name,
        entry.seq,
        entry.at_ms,
        entry.by,
        entry.name,
        action,
        target,
        reason,
        entry.data,
        b"",
    )
    room.audit.append(row._replace(hash=chain_hash(before, row)))
