"""PURE: who belongs to a room, as what, and who may not: members, their names and roles, bans and mutes."""

from collections.abc import Sequence

from chat.errors import ErrorCode, Refused
from chat.mentions import NOBODY, MemberNames, Mentioned
from chat.sanctions import Sanctions
from storage.model import MemberRow, Role, SanctionRow


class Roster:
    """The people of one room.

    Args:
        members: as they are stored.
        sanctions: as they are stored, ended ones included.
        members_max: how many the room takes.

    Attributes:
        members: by user id; changed by this class alone.
        sanctions: bans and mutes.
    """

    __slots__ = ("_members_max", "_names", "members", "sanctions")

    def __init__(
        self, members: Sequence[MemberRow], sanctions: Sequence[SanctionRow], *, members_max: int
    ) -> None:
        self.members: dict[str, MemberRow] = {member.user_id: member for member in members}
        self._members_max = members_max
        self.sanctions = Sanctions(sanctions, "this room")
        # Made by the first message with a sign in it.
        self._names: MemberNames | None = None

    def role_of(self, user_id: str) -> Role | None:
        """A user's role, None for somebody who is no member."""
        member = self.members.get(user_id)
        return None if member is None else member.role

    def staff(self) -> frozenset[str]:
        """Moderators and owners."""
        return frozenset(user_id for user_id, member in self.members.items() if member.role != "member")

    def require_place(self) -> None:
        """Let one more in.

        Raises:
            Refused: `room_full`.
        """
        if len(self.members) >= self._members_max:
            raise Refused(ErrorCode.ROOM_FULL, f"the room has its {self._members_max} members")

    def add(self, member: MemberRow) -> None:
        """Take in a new member, for whom there is a place."""
        self.members[member.user_id] = member
        if self._names is not None:
            self._names.add(member.user_id, member.name)

    def rename(self, member: MemberRow, name: str) -> MemberRow:
        """Give a member another display name."""
        renamed = self.members[member.user_id] = member._replace(name=name)
        if self._names is not None:
            self._names.remove(member.user_id, member.name)
            self._names.add(member.user_id, name)
        return renamed

    def set_role(self, user_id: str, role: Role) -> None:
        """Give a member another role."""
        self.members[user_id] = self.members[user_id]._replace(role=role)

    def move_read(self, user_id: str, seq: int) -> None:
        """Put a member's read pointer somewhere else."""
        self.members[user_id] = self.members[user_id]._replace(read_seq=seq)

    def drop(self, user_id: str) -> MemberRow | None:
        """End a membership; the one that there was."""
        member = self.members.pop(user_id, None)
        if member is not None and self._names is not None:
            self._names.remove(user_id, member.name)
        return member

    def is_last_owner(self, user_id: str) -> bool:
        """Whether the room would be without an owner if this one were none."""
        return self.role_of(user_id) == "owner" and not any(
            member.role == "owner" for member in self.members.values() if member.user_id != user_id
        )

    def require_may_leave(self, user_id: str) -> None:
        """Let a member go whom the room can do without.

        Raises:
            Refused: `forbidden` for the last owner, who would leave the room without one.
        """
        if self.is_last_owner(user_id):
            raise Refused(ErrorCode.FORBIDDEN, "the last owner cannot leave the room")

    def mentioned(self, body: str) -> Mentioned:
        """Whom a text mentions of the members of now."""
        if "@" not in body:
            return NOBODY
        if self._names is None:
            self._names = MemberNames((member.user_id, member.name) for member in self.members.values())
        return self._names.find(body)
