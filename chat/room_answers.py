"""Who is to be answered for what became of an entry, or of a message that no room will work on."""

from collections.abc import Iterator

from chat.errors import ErrorCode, Refused
from chat.room_messages import (
    ApplyRules,
    ChangeRoom,
    GovernRoom,
    InspectRoom,
    JoinRoom,
    Published,
    RoomMessage,
    SendMessage,
    Settled,
)
from chat.room_state import Twin
from storage.model import Entry, LogEntry


def waiting_for(entry: Entry, ticket: object) -> Iterator[tuple[Twin, int]]:
    """Every request that waits for what becomes of an entry: its own, and those that sent it again early."""
    if isinstance(ticket, SendMessage | ChangeRoom | GovernRoom):
        yield ticket.peer, ticket.request_id
        if ticket.progress is not None and isinstance(entry, LogEntry):
            yield from ticket.progress.twins.pop(entry.seq, ())
    elif isinstance(ticket, JoinRoom):
        yield ticket.peer, ticket.request_id


def refuse_all(
    entry: Entry, ticket: object, code: ErrorCode, message: str, *, retry_after_s: float | None = None
) -> None:
    """Refuse every request that waits for an entry."""
    for peer, request_id in waiting_for(entry, ticket):
        peer.refuse(Refused(code, message, retry_after_s=retry_after_s, request_id=request_id))


def answer_refused(message: RoomMessage, refused: Refused) -> None:
    """Answer a message that a room refused."""
    match message:
        case InspectRoom():
            message.reply.fail(refused)
        case Settled() | Published():
            pass
        case ApplyRules():
            if message.peer is not None:
                refused.request_id = message.request_id
                message.peer.refuse(refused)
        case _:
            refused.request_id = message.request_id
            message.peer.refuse(refused)


def answer_discarded(message: RoomMessage, refused: Refused) -> None:
    """Answer a message that no room will work on, unless its receipt will: never twice."""
    if isinstance(message, SendMessage | ChangeRoom | GovernRoom) and message.progress is not None:
        return
    if isinstance(message, JoinRoom) and message.submitted:
        return
    if isinstance(message, Settled):
        for entry, ticket, _ in message.results:
            refuse_all(entry, ticket, refused.code, refused.message, retry_after_s=refused.retry_after_s)
        return
    answer_refused(message, refused)
