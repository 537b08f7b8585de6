"""What moderators' requests need: the parts that they share, and who may ask for what where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from chat.errors import ErrorCode, Refused
from chat.people import People
from chat.rate_limit import KeyedBuckets
from chat.room_messages import RoomInfo
from chat.room_rules import SERVER_RANKS, Rank, rank_of, require_right
from chat.rooms import Rooms
from chat.rule_book import RuleBook
from chat.session import Session
from chat.session_requests import actor_of
from storage.model import RoomRow
from storage.review_model import ReportRow
from storage.store import Store


class Inspect(Protocol):
    """Asks a room what a user may know of it."""

    async def __call__(self, room: str, user_id: str, *, oversees: bool = False) -> RoomInfo:
        """See `MessageDesk.inspect`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewServices:
    """What the desk needs.

    Attributes:
        people: who a user is.
        rule_book: compiles rules.
        tell_staff: tells the moderators of a room how many reports wait there.
        sessions_of: a user's sessions on this node.
        limit: of the reports that a user, or an address of guests, makes; None: no limit.
        page_max: items of a page.
    """

    store: Store
    rooms: Rooms
    people: People
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


async def require_no_part(
    services: ReviewServices, inspect: Inspect, session: Session, report: ReportRow, rank: Rank
) -> None:
    """Let through who may decide about a report: nobody about himself, nor about who ranks as high.

    Above all ranks of a room the server's people decide about each other.

    Args:
        services: what is asked.
        inspect: what rooms say.
        session: who asks.
        report: what is to be decided.
        rank: of who asks, in the report's room.

    Raises:
        Refused: `forbidden`; what keeps the room from answering.
    """
    if report.author == session.user_id:
        raise Refused(ErrorCode.FORBIDDEN, "it is about your own message: somebody else has to decide")
    if rank >= Rank.SERVER_MODERATOR:
        return
    # Whether or not the author may read the room by now: what counts is the role.
    info = await inspect(report.room, report.author, oversees=True)
    author = await services.people.find(report.author)
    if rank_of(info.role, "" if author is None else author.server_role) >= rank:
        text = "its author ranks no lower: somebody of a higher rank has to decide, or the server's people"
        raise Refused(ErrorCode.FORBIDDEN, text)


def require_server_moderator(session: Session) -> None:
    """Let the server's moderators through.

    Raises:
        Refused: `forbidden`.
    """
    if actor_of(session).server_role not in SERVER_RANKS:
        raise Refused(ErrorCode.FORBIDDEN, "it takes a moderator of the server to do this for all rooms")
