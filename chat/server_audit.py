"""The audit of the server's own room: what is done to accounts, to the server, or beside a room's log."""

from collections.abc import Callable

from chat.protocol import SERVER_ROOM, Envelope
from chat.room_governance import Act
from chat.room_messages import GovernRoom, Sender
from chat.session import Session
from chat.session_requests import actor_of
from chat.stand_in import StandIn


async def note_act(session: Session, act: Act) -> Envelope:
    """Have an act in the audit before it is done; its `audit`.

    Args:
        session: whose user does it, and may.
        act: what is done.

    Raises:
        Refused: it cannot be stored, and so is not to be done.
    """
    stand_in = StandIn(session.user_id, session.name)
    order_act(session, stand_in, act)
    return {"audit": (await stand_in.wait())["audit"]}


def order_act(
    session: Session,
    answered: Sender,
    act: Act,
    *,
    fields: Envelope | None = None,
    then: Callable[[], None] | None = None,
) -> None:
    """Have an act ordered in the server's room.

    Args:
        session: whose user does it, and may.
        answered: who is told when it is stored.
        act: what is done.
        fields: of that answer, besides.
        then: does it, when it is ordered.
    """
    message = GovernRoom(answered, act, actor=actor_of(session), fields=fields, then=then)
    session.tell_room(SERVER_ROOM, message, control=True)
