"""What follows a commit: the sender's `ok`, and the news for rooms that have more to do.

Called by the writer on the trio thread, once per batch. The common case, a message that is stored, costs one
small envelope and no turn of the room: that is why the room's `Progress` is moved from here.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from actors import ActorDied, MailboxFull
from chat.measures import Counts, Histogram
from chat.message_facts import KIND_EDIT, KIND_STATE
from chat.room_messages import (
    ChangeRoom,
    GovernRoom,
    Published,
    RoomMessage,
    SendMessage,
    ServerEntry,
    Settled,
)
from storage.model import Entry, LogEntry, Receipt, RoomId, Stored

log = structlog.stdlib.get_logger("chat.receipts")

_Ordered = SendMessage | ChangeRoom | GovernRoom | ServerEntry
"""Tickets whose room counts what is stored; made once, because each row is asked about."""

VERSIONED: Final = frozenset({KIND_EDIT, KIND_STATE})
"""Events that give something a version."""


class Receipts:
    """Takes each batch's receipts to those who wait for them.

    Args:
        tell_room: hand a message to the room with this number, as control.
        counts: acknowledgements are counted there.
        ok_s: observes how long the messages that are timed took, in seconds.
        clock: seconds, as in `SendMessage.arrived_s`.

    Attributes:
        undeliverable: results that a room could not be told.
    """

    def __init__(
        self,
        tell_room: Callable[[RoomId, RoomMessage], None],
        counts: Counts,
        *,
        ok_s: Histogram,
        clock: Callable[[], float],
    ) -> None:
        self._tell_room = tell_room
        self._counts = counts
        self._ok_s = ok_s
        self._clock = clock
        self.undeliverable = 0

    def deliver(self, results: Sequence[tuple[Entry, object, Receipt]]) -> None:
        """Answer every sender whose message is stored; give all other results to their rooms.

        Never raises: a room that cannot be told (its mailbox is full even for control) is logged and
        counted, and the others are served.
        """
        for_rooms: dict[RoomId, deque[tuple[Entry, object, Receipt]]] = {}
        strict: dict[RoomId, int] = {}
        for result in results:
            entry, ticket, receipt = result
            progress = ticket.progress if isinstance(ticket, _Ordered) else None
            if progress is not None and type(entry) is LogEntry:
                if type(receipt) is Stored:
                    progress.durable_seq = entry.seq
                    if progress.strict:
                        strict[entry.room_id] = entry.seq
                    if type(ticket) is SendMessage:
                        self._counts.acks += 1
                        ticket.peer.reply(stored(ticket.request_id, entry))
                        if ticket.arrived_s is not None:
                            self._ok_s.observe(self._clock() - ticket.arrived_s)
                    elif type(ticket) is ChangeRoom:
                        self._counts.acks += 1
                        ticket.peer.reply(stored(ticket.request_id, entry))
                    elif type(ticket) is GovernRoom:
                        self._counts.acks += 1
                        ticket.peer.reply({**stored(ticket.request_id, entry), **ticket.fields})
                    if progress.twins:
                        for peer, request_id in progress.twins.pop(entry.seq, ()):
                            peer.reply(stored(request_id, entry, dup=True))
                    continue
                progress.unsettled.add(entry.seq)
            for_rooms.setdefault(entry.room_id, deque()).append(result)
        for room_id, settled in for_rooms.items():
            self._tell(room_id, Settled(results=settled))
        for room_id, seq in strict.items():
            self._tell(room_id, Published(seq=seq))

    def _tell(self, room_id: RoomId, message: RoomMessage) -> None:
        try:
            self._tell_room(room_id, message)
        except (MailboxFull, ActorDied):
            self.undeliverable += 1
            log.exception("receipts.undeliverable", room_id=room_id)


def stored(request_id: int, entry: LogEntry, *, dup: bool = False) -> dict[str, object]:
    """The `ok` of a message, or of a change, that is committed."""
    envelope: dict[str, object] = {
        "t": "ok",
        "id": request_id,
        "seq": entry.seq,
        "epoch": entry.epoch,
        "at": entry.at_ms,
    }
    if entry.cid is not None:
        envelope["cid"] = entry.cid
    if entry.data is not None and entry.kind in VERSIONED:
        envelope["version"] = _decode(entry.data).version
    if dup:
        envelope["dup"] = True
    return envelope


class _Versioned(msgspec.Struct, frozen=True):
    version: int


_decode: Final = msgspec.json.Decoder(_Versioned).decode
