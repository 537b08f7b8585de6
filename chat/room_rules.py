"""PURE: who may do what to whom in a room: the rules as data, and the one function that decides by them."""

from enum import IntEnum
from typing import Final, NamedTuple

from chat.errors import ErrorCode, Refused
from storage.model import Role, RoomKind


class Rank(IntEnum):
    """How much somebody has to say, in a room or on the server; who ranks higher may act on who is below."""

    NOBODY = 0
    MEMBER = 1
    MODERATOR = 2
    OWNER = 3
    SERVER_MODERATOR = 4
    SERVER_ADMIN = 5

    @property
    def words(self) -> str:
        """As people say it: "an owner", "a server moderator"."""
        name = self.name.lower().replace("_", " ")
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


class Person(NamedTuple):
    """A user, as far as it matters to a room.

    Attributes:
        server_role: as in `chat.tokens.ROLES`, or a guest's.
    """

    user_id: str
    name: str
    server_role: str


ROOM_RANKS: Final[dict[Role, Rank]] = {
    "member": Rank.MEMBER,
    "moderator": Rank.MODERATOR,
    "owner": Rank.OWNER,
}
SERVER_RANKS: Final = {"moderator": Rank.SERVER_MODERATOR, "admin": Rank.SERVER_ADMIN}


def rank_of(role: Role | None, server_role: str) -> Rank:
    """The higher of what somebody is in a room and on the server.

    Args:
        role: in the room; None: no member.
        server_role: as in `chat.tokens.ROLES`, or a guest's.
    """
    room = Rank.NOBODY if role is None else ROOM_RANKS[role]
    return max(room, SERVER_RANKS.get(server_role, Rank.NOBODY))


class Rule(NamedTuple):
    """Who may do something.

    Attributes:
        needs: the lowest rank that may.
        upon: whether it is done to somebody, who must rank below.
        pair: the lowest rank that may in a direct room; its two people have nothing to say over each other.
    """

    needs: Rank
    upon: bool
    pair: Rank = Rank.SERVER_MODERATOR


RULES: Final[dict[str, Rule]] = {
    "topic": Rule(Rank.MODERATOR, upon=False, pair=Rank.MEMBER),
    "slow": Rule(Rank.MODERATOR, upon=False),
    "lock": Rule(Rank.MODERATOR, upon=False),
    "unlock": Rule(Rank.MODERATOR, upon=False),
    "archive": Rule(Rank.OWNER, upon=False),
    "unarchive": Rule(Rank.OWNER, upon=False),
    "retention": Rule(Rank.OWNER, upon=False),
    "announce": Rule(Rank.MODERATOR, upon=False),
    "automod": Rule(Rank.MODERATOR, upon=False),
    "review": Rule(Rank.MODERATOR, upon=False),
    "invite": Rule(Rank.MODERATOR, upon=False),
    "kick": Rule(Rank.MODERATOR, upon=True),
    "mute": Rule(Rank.MODERATOR, upon=True),
    "unmute": Rule(Rank.MODERATOR, upon=True),
    "ban": Rule(Rank.MODERATOR, upon=True),
    "unban": Rule(Rank.MODERATOR, upon=True),
    "purge": Rule(Rank.MODERATOR, upon=True),
    "role": Rule(Rank.OWNER, upon=True),
}


def require_right(action: str, kind: RoomKind, actor: Rank, target: Rank | None = None) -> None:
    """Let through who may do something.

    Args:
        action: a key of `RULES`.
        kind: of the room.
        actor: the rank of who asks.
        target: the rank of who it is done to; None: nobody, or oneself.

    Raises:
        Refused: `forbidden`, saying what it takes.
    """
    rule = RULES[action]
    needs = rule.pair if kind == "direct" else rule.needs
    if actor < needs:
        raise Refused(ErrorCode.FORBIDDEN, f"it takes the rank of {needs.words} to do this ({action})")
    if rule.upon and target is not None and target >= actor:
        raise Refused(ErrorCode.FORBIDDEN, f"this ({action}) can be done only to people of a lower rank")
