"""What moderators' requests need: the parts that they share, and who may ask for what where."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chat.errors import ErrorCode, Refused
from chat.rate_limit import KeyedBuckets
from chat.room_messages import RoomInfo
from chat.room_rules import SERVER_RANKS, Rank, rank_of, require_right
from chat.rooms import Rooms
from chat.rule_book import RuleBook
from chat.session import Session
from chat.session_requests import actor_of
from storage.model import RoomRow
from storage.store import Store

Inspect = Callable[[str, str], Awaitable[RoomInfo]]
"""What a room says of itself to a user; raises `Refused`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewServices:
    """What the desk needs.

    Attributes:
        rule_book: compiles rules.
        tell_staff: tells the moderators of a room how many reports wait there.
        sessions_of: a user's sessions on this node.
        limit: of the reports that a user makes; None: no limit.
        page_max: items of a page.
    """

    store: Store
    rooms: Rooms
    rule_book: RuleBook
    tell_staff: Callable[[str, int], None]
    sessions_of: Callable[[str], Sequence[Session]]
    limit: KeyedBuckets[str] | None
    now_ms: Callable[[], int]
    page_max: int


class Moderated(NamedTuple):
    """A room that somebody moderates, and with which rank."""

    row: RoomRow
    rank: Rank


async def require_moderator(
    services: ReviewServices, inspect: Inspect, session: Session, room: str, action: str
) -> Moderated:
    """A room that the session's user moderates, as a member or for the server.

    Args:
        services: what is asked.
        inspect: what rooms say to their members.
        session: who asks.
        room: its name.
        action: what is to be done, as in `chat.room_rules.RULES`.

    Raises:
        Refused: `forbidden`; `room_not_found`, `banned` and what else keeps one from seeing the room.
    """
    role = actor_of(session).server_role
    if role in SERVER_RANKS:
        row = await services.store.find_room(room)
        if row is None:
            raise Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room")
        moderated = Moderated(row, SERVER_RANKS[role])
    else:
        info = await inspect(room, session.user_id)
        moderated = Moderated(info.row, rank_of(info.role, role))
    require_right(action, moderated.row.kind, moderated.rank)
    return moderated


def require_server_moderator(session: Session) -> None:
    """Let the server's moderators through.

    Raises:
        Refused: `forbidden`.
    """
    if actor_of(session).server_role not in SERVER_RANKS:
        raise Refused(ErrorCode.FORBIDDEN, "it takes a moderator of the server to do this for all rooms")
