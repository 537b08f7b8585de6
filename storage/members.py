"""What a run of membership changes comes to, among the events that change memberships, too. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from storage.model import Entry, LogEntry, MemberChange, RoomId

KINDS_OF_MEMBERS: Final = frozenset({"member", "role", "sanction"})
"""Events of the log that change memberships by themselves (migration 0005)."""


def outdated_changes(batch: Sequence[Entry], stored: Mapping[RoomId, int]) -> set[int]:
    """Places of the membership changes that must not be written, as they were, and what ended them, too.

    A batch whose commit reply was lost is sent again: its events are known by their seqs, its changes are
    not. One that came before an event about the same member that is stored already was stored with it.

    Args:
        batch: in the order of the rooms.
        stored: the last stored seq by room.
    """
    outdated: set[int] = set()
    places: dict[tuple[RoomId, str], list[int]] = {}
    for place, entry in enumerate(batch):
        if isinstance(entry, MemberChange):
            places.setdefault((entry.room_id, entry.user_id), []).append(place)
        elif places and entry.kind in KINDS_OF_MEMBERS and entry.seq <= stored.get(entry.room_id, 0):
            outdated.update(places.get((entry.room_id, _member_of(entry)), ()))
    return outdated


def _member_of(entry: LogEntry) -> str:
    fields = json.loads(entry.data or "{}")
    return str(fields.get("user", ""))


def fold_members(
    changes: Iterable[MemberChange],
) -> tuple[list[tuple[RoomId, str]], list[MemberChange]]:
    """Reduce changes to one delete and one upsert a member, with the same end as one after another.

    Returns:
        The memberships to end, as (room, user), and then the members to write, where one who is a member
        already keeps all but the name. A member who left and came back is in both, and starts anew.
    """
    ended: dict[tuple[RoomId, str], None] = {}
    members: dict[tuple[RoomId, str], MemberChange] = {}
    for change in changes:
        key = (change.room_id, change.user_id)
        if change.role is None:
            ended[key] = None
            members.pop(key, None)
        elif (first := members.get(key)) is None:
            members[key] = change
        else:
            members[key] = first._replace(name=change.name)
    return list(ended), list(members.values())
