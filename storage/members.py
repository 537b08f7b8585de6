"""What a run of membership changes comes to. Pure."""

from collections.abc import Iterable

from storage.model import MemberChange, RoomId


def fold_members(
    changes: Iterable[MemberChange],
) -> tuple[list[tuple[RoomId, str]], list[MemberChange]]:
    """Reduce changes to one delete and one upsert a member, with the same end as one after another.

    Returns:
        The memberships to end, as (room, user), and then the members to write, where one who is a member
        already keeps the time of joining and the read pointer. A member who left and came back is in
        both, and starts anew.
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
            members[key] = first._replace(name=change.name, role=change.role)
    return list(ended), list(members.values())
