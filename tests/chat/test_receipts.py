"""What follows a commit: who is answered at once, and what the rooms are told."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from actors import ActorDied, MailboxFull, Normal
from chat.measures import SECONDS, Counts, Histogram
from chat.receipts import Receipts
from chat.room_messages import JoinRoom, Published, RoomMessage, SendMessage, ServerEntry, Settled
from chat.room_state import Progress
from chat.topic import Subscriber
from chat.transport import Flusher
from storage.model import (
    CidConflict,
    Duplicate,
    Entry,
    Fenced,
    MemberChange,
    Poisoned,
    Receipt,
    RoomId,
    Stored,
)
from tests.chat.peers_double import RecordingPeer
from tests.chat.room_kit import AT_MS, ROOM_ID, entry, leave_room

OTHER = RoomId(2)


class Desk:
    """Receipts whose rooms only take notes.

    Attributes:
        told: what the rooms were told, in order.
        error: raised by the next tellings instead.
    """

    def __init__(self) -> None:
        self.told: list[tuple[RoomId, RoomMessage]] = []
        self.error: Exception | None = None
        self.counts = Counts()
        self.ok_s = Histogram(SECONDS)
        self.receipts = Receipts(self._tell, self.counts, ok_s=self.ok_s, clock=lambda: 12.5)
        self.flusher = Flusher(clock=float)
        self.peer = RecordingPeer(self.flusher, "ann", _nothing)
        self.progress = Progress(0, strict=False)

    def _tell(self, room_id: RoomId, message: RoomMessage) -> None:
        if self.error is not None:
            raise self.error
        self.told.append((room_id, message))

    def ticket(self, request_id: int, progress: Progress | None = None) -> SendMessage:
        """A message that its room has ordered."""
        message = SendMessage(self.peer, request_id, "k", "b", None, None)
        message.progress = progress or self.progress
        return message

    def settled(self) -> Sequence[tuple[RoomId, list[tuple[Entry, object, Receipt]]]]:
        """What the rooms were told of results."""
        return [(room, list(one.results)) for room, one in self.told if isinstance(one, Settled)]


def _nothing(peer: Subscriber) -> None:
    del peer


def test_a_stored_message_is_answered_without_its_room() -> None:
    """The room's progress moves, and nobody is told."""
    desk = Desk()
    desk.receipts.deliver([(entry(n), desk.ticket(n), Stored()) for n in (1, 2)])
    assert desk.peer.got() == [
        {"t": "ok", "id": n, "seq": n, "epoch": 1, "at": AT_MS + n, "cid": f"c{n}"} for n in (1, 2)
    ]
    assert desk.progress.durable_seq == 2
    assert (desk.told, desk.counts.acks) == ([], 2)


def test_a_message_that_is_timed_is_observed() -> None:
    """From its coming to its `ok`; the others cost no look at the clock."""
    desk = Desk()
    timed = desk.ticket(1)
    timed.arrived_s = 12.0
    desk.receipts.deliver([(entry(1), timed, Stored()), (entry(2), desk.ticket(2), Stored())])
    assert (desk.ok_s.count, desk.ok_s.total) == (1, 0.5)


def test_an_entry_of_the_room_itself_answers_nobody() -> None:
    """It moves the progress all the same."""
    desk = Desk()
    desk.receipts.deliver([(entry(1), ServerEntry(progress=desk.progress), Stored())])
    assert desk.progress.durable_seq == 1
    assert (desk.peer.got(), desk.told, desk.counts.acks) == ([], [], 0)


def test_those_who_sent_it_again_early_are_answered_with_it() -> None:
    """Each once, as `dup`, also on a connection that came later."""
    desk = Desk()
    later = RecordingPeer(desk.flusher, "ann", _nothing)
    desk.progress.twins[1] = [(later, 7), (later, 8)]
    desk.progress.twins[2] = [(later, 9)]
    desk.receipts.deliver([(entry(1), desk.ticket(1), Stored())])
    assert desk.peer.answer(1).get("dup") is None
    assert [later.answer(n)["dup"] for n in (7, 8)] == [True, True]
    assert later.answer(7)["seq"] == 1
    assert list(desk.progress.twins) == [2]


@pytest.mark.parametrize("receipt", [Duplicate(1, 1, AT_MS), CidConflict(1), Poisoned("x"), Fenced()])
def test_any_other_receipt_of_a_message_is_for_its_room(receipt: Receipt) -> None:
    """It answers nobody here, moves no progress, and is noted until the room has heard of it."""
    desk = Desk()
    result = (entry(3), desk.ticket(3), receipt)
    desk.receipts.deliver([result])
    assert desk.settled() == [(ROOM_ID, [result])]
    assert desk.peer.got() == []
    assert (desk.progress.durable_seq, desk.progress.unsettled) == (0, {3})


def test_members_are_for_their_room_too() -> None:
    """What else it does for them is its business."""
    desk = Desk()
    change = MemberChange(ROOM_ID, 1, "u_ann", "ann", "member", AT_MS, 0, 0)
    join = JoinRoom(peer=desk.peer, request_id=1, since=None, limit=10)
    leave = leave_room(desk.peer, 2)
    results: list[tuple[Entry, object, Receipt]] = [(change, join, Stored()), (change, leave, Stored())]
    desk.receipts.deliver(results)
    assert desk.settled() == [(ROOM_ID, results)]


def test_each_room_is_told_once_a_batch() -> None:
    """Its results in order."""
    desk = Desk()
    other = entry(1)._replace(room_id=OTHER)
    first, second, third = (
        (entry(1), desk.ticket(1), Poisoned("x")),
        (other, desk.ticket(2, Progress(0, strict=False)), Poisoned("x")),
        (entry(2), desk.ticket(3), Poisoned("x")),
    )
    desk.receipts.deliver([first, second, third])
    assert desk.settled() == [(ROOM_ID, [first, third]), (OTHER, [second])]


def test_a_strict_room_is_told_how_much_it_may_show() -> None:
    """After what became of the others, once a batch."""
    desk = Desk()
    strict = Progress(0, strict=True)
    desk.receipts.deliver(
        [
            (entry(1), desk.ticket(1, strict), Stored()),
            (entry(2), desk.ticket(2, strict), Poisoned("x")),
            (entry(3), desk.ticket(3, strict), Stored()),
        ]
    )
    assert [type(message) for _, message in desk.told] == [Settled, Published]
    assert desk.told[-1] == (ROOM_ID, Published(seq=3))


@pytest.mark.parametrize("error", [MailboxFull("full"), ActorDied("room", "tea", Normal())])
def test_a_room_that_cannot_be_told_costs_the_others_nothing(error: Exception) -> None:
    """It is counted and logged, and messages are answered as ever."""
    desk = Desk()
    desk.error = error
    with capture_logs() as logs:
        desk.receipts.deliver(
            [(entry(1), desk.ticket(1), Poisoned("x")), (entry(2), desk.ticket(2), Stored())]
        )
    assert desk.receipts.undeliverable == 1
    assert [line["event"] for line in logs] == ["receipts.undeliverable"]
    assert [answer["id"] for answer in desk.peer.got()] == [2]
