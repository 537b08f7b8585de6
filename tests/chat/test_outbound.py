"""A client's messages on their way, against a server that orders, refuses and loses them at any point."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.client_errors import OutboundFull, RequestRefused
from chat.outbound import RETRY_MAX_S, Delivery, Outbound, Outgoing, Stored

TEMPORARY = RequestRefused("rate_limited", "slow down", temporary=True, retry_after_s=2.0)
FINAL = RequestRefused("filtered", "not here")


def stored(seq: int, *, dup: bool = False) -> Stored:
    """What `ok` says."""
    return Stored(seq=seq, epoch=1, at_ms=seq, dup=dup)


class Wire:
    """A server and the two directions to it; each direction keeps its order, a cut loses what is on it."""

    def __init__(self, *, unaccepted_max: int, unstored_max: int) -> None:
        self.outbound = Outbound(unaccepted_max=unaccepted_max, unstored_max=unstored_max)
        self.posted: list[Outgoing] = []
        self.now_s = 0.0
        self.going: deque[Outgoing] = deque()
        self.coming: deque[tuple[str, Outgoing, int]] = deque()
        self.log: dict[str, list[str]] = {}
        self.history: list[Delivery] = []

    def post(self, room: str) -> None:
        """Say something."""
        self.posted.append(self.outbound.post(room, f"c{len(self.posted)}", "x"))

    def send(self) -> None:
        """Put what is due on the wire."""
        self.going.extend(self.outbound.due(self.now_s))

    def serve(self, verdict: str) -> None:
        """The server takes one message off the wire: orders it, or refuses it."""
        if not self.going:
            return
        outgoing = self.going.popleft()
        log = self.log.setdefault(outgoing.room, [])
        if outgoing.cid in log:
            self.coming.append(("stored", outgoing, log.index(outgoing.cid) + 1))
        elif verdict == "order":
            log.append(outgoing.cid)
            self.coming.append(("accepted", outgoing, len(log)))
            self.coming.append(("stored", outgoing, len(log)))
        else:
            self.coming.append((verdict, outgoing, 0))

    def hear(self) -> None:
        """The client reads one answer."""
        if not self.coming:
            return
        what, outgoing, seq = self.coming.popleft()
        if what == "accepted":
            self.outbound.accepted(outgoing.room, outgoing.cid, seq)
        elif what == "stored":
            self.outbound.stored(outgoing, stored(seq))
        else:
            self.outbound.refused(outgoing, TEMPORARY if what == "temporary" else FINAL, self.now_s)

    def cut(self) -> None:
        """The connection breaks."""
        self.going.clear()
        self.coming.clear()
        self.outbound.lost()

    def settle(self) -> None:
        """Everything is ordered and answered from here on."""
        for _ in range(20 * len(self.posted) + 20):
            self.now_s += 1.0
            self.send()
            while self.going:
                self.serve("order")
            while self.coming:
                self.hear()


def steps(*verdicts: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """What may happen, in any order."""
    return st.lists(
        st.one_of(
            st.tuples(st.just("post"), st.sampled_from(["a", "b"])),
            st.tuples(st.just("serve"), st.sampled_from(verdicts)),
            st.tuples(st.sampled_from(["send", "send", "hear", "hear", "cut", "wait"]), st.just("")),
        ),
        max_size=100,
    )


def play(wire: Wire, script: list[tuple[str, str]]) -> None:
    """Do all of it, then settle, and check what must hold whatever happened."""
    for what, argument in script:
        match what:
            case "post":
                wire.post(argument)
            case "send":
                wire.send()
            case "serve":
                wire.serve(argument)
            case "hear":
                wire.hear()
            case "cut":
                wire.cut()
            case _:
                wire.now_s += 1.0
    wire.settle()
    assert wire.outbound.unfinished == 0
    for outgoing in wire.posted:
        assert outgoing.state in {Delivery.STORED, Delivery.REFUSED}
        times = wire.log.get(outgoing.room, []).count(outgoing.cid)
        assert times == (outgoing.state is Delivery.STORED)
    for room, log in wire.log.items():
        kept = [outgoing.cid for outgoing in wire.posted if outgoing.room == room and outgoing.cid in log]
        assert log == kept


@settings(max_examples=400, deadline=None)
@given(script=steps("order", "temporary", "final"), unstored_max=st.integers(1, 5))
def test_every_message_ends_once_and_in_order_with_one_unaccepted(
    script: list[tuple[str, str]], unstored_max: int
) -> None:
    """Refused for a while, for good, or lost anywhere: stored once or refused, in the order of `post`."""
    play(Wire(unaccepted_max=1, unstored_max=unstored_max), script)


@settings(max_examples=400, deadline=None)
@given(script=steps("order"), unaccepted_max=st.integers(2, 6))
def test_losses_alone_keep_the_order_of_a_whole_window(
    script: list[tuple[str, str]], unaccepted_max: int
) -> None:
    """With several unaccepted, a broken connection anywhere still keeps the order."""
    play(Wire(unaccepted_max=unaccepted_max, unstored_max=6), script)


def test_at_most_a_window_is_on_the_wire() -> None:
    """Per room, never more than the two bounds say; another room has its own."""
    outbound = Outbound(unaccepted_max=2, unstored_max=3)
    mine = [outbound.post("a", f"c{number}", "x") for number in range(5)]
    other = outbound.post("b", "c", "x")
    assert outbound.due(0.0) == [mine[0], mine[1], other]
    assert outbound.due(0.0) == []
    outbound.accepted("a", "c0", 1)
    outbound.accepted("a", "c1", 2)
    assert outbound.due(0.0) == [mine[2]]
    outbound.accepted("a", "c2", 3)
    assert outbound.due(0.0) == []
    outbound.stored(mine[0], stored(1))
    assert outbound.due(0.0) == [mine[3]]


def test_a_lost_connection_marks_a_retry_with_the_same_cid() -> None:
    """What was sent or accepted goes out again as it was, and says that it is a retry."""
    outbound = Outbound()
    outgoing = outbound.post("a", "c", "x", reply_to=3, thread=2)
    first = outbound.due(0.0)[0].fields()
    outbound.accepted("a", "c", 9)
    outbound.lost()
    assert outgoing.state is Delivery.QUEUED
    assert outgoing.seq == 0
    assert outbound.due(0.0) == [outgoing]
    assert outgoing.fields() == {**first, "retry": True}
    assert first == {"t": "send", "room": "a", "cid": "c", "body": "x", "reply_to": 3, "thread": 2}


def test_a_temporary_refusal_holds_its_room_and_no_other() -> None:
    """The refused message and those behind it wait for `retry_after`; other rooms go on."""
    outbound = Outbound()
    first = outbound.post("a", "1", "x")
    second = outbound.post("a", "2", "x")
    outbound.due(10.0)
    outbound.refused(first, TEMPORARY, 10.0)
    other = outbound.post("b", "3", "x")
    assert outbound.due(11.9) == [other]
    assert outbound.next_due_s() == 12.0
    assert outbound.due(12.0) == [first]
    assert not first.retry
    assert first.refused is TEMPORARY
    outbound.stored(first, stored(1))
    assert outbound.due(12.0) == [second]
    assert outbound.next_due_s() is None


def test_a_failure_that_may_have_stored_it_makes_a_retry() -> None:
    """After `timeout` or `unavailable` the server must look whether it has the message."""
    outbound = Outbound()
    outgoing = outbound.post("a", "1", "x")
    outbound.due(0.0)
    outbound.refused(outgoing, RequestRefused("timeout", "", temporary=True, retry_after_s=0.0), 0.0)
    assert outbound.due(0.0) == [outgoing]
    assert outgoing.retry


def test_refusals_without_a_time_wait_longer_and_longer() -> None:
    """Half a second at first, doubling, never above the cap."""
    outbound = Outbound()
    outgoing = outbound.post("a", "1", "x")
    now_s = 0.0
    waits_s: list[float] = []
    for _ in range(9):
        outbound.due(now_s)
        outbound.refused(outgoing, RequestRefused("busy", "", temporary=True), now_s)
        due_s = outbound.next_due_s()
        assert due_s is not None
        waits_s.append(due_s - now_s)
        now_s = due_s
    assert waits_s[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits_s[-1] == RETRY_MAX_S


def test_a_rewind_takes_back_what_was_accepted_above_it() -> None:
    """An accepted message that did not survive is only sent again, until its answer comes."""
    outbound = Outbound()
    outgoing = outbound.post("a", "1", "x")
    outbound.due(0.0)
    outbound.accepted("a", "1", 7)
    outbound.rewound("a", 7)
    states = [outgoing.state]
    outbound.rewound("a", 6)
    outbound.rewound("elsewhere", 0)
    assert [*states, outgoing.state] == [Delivery.ACCEPTED, Delivery.SENT]


def test_the_queue_is_bounded() -> None:
    """Above `queued_max` nothing is taken, until something has ended."""
    outbound = Outbound(queued_max=1)
    outgoing = outbound.post("a", "1", "x")
    with pytest.raises(OutboundFull):
        outbound.post("b", "2", "x")
    outbound.due(0.0)
    outbound.stored(outgoing, stored(1))
    assert outbound.post("b", "2", "x").state is Delivery.QUEUED


def test_every_change_is_told() -> None:
    """`on_change` sees each state once, in order; a second answer changes nothing."""
    seen: list[Delivery] = []
    outbound = Outbound()
    outgoing = outbound.post("a", "1", "x", on_change=lambda changed: seen.append(changed.state))
    outbound.due(0.0)
    outbound.accepted("a", "1", 4)
    outbound.accepted("a", "1", 4)
    outbound.stored(outgoing, stored(4, dup=True))
    outbound.post("a", "2", "x", on_change=lambda changed: seen.append(changed.state))
    outbound.abandon()
    assert seen == [Delivery.SENT, Delivery.ACCEPTED, Delivery.STORED, Delivery.ABANDONED]
    assert outgoing.stored == stored(4, dup=True)


def test_bounds_below_one_are_refused() -> None:
    """A window of nothing would wait for ever."""
    with pytest.raises(ValueError, match="at least 1"):
        Outbound(unaccepted_max=0)


def test_a_cid_used_twice_waits_for_its_first_use() -> None:
    """Two messages of one cid are never on the wire together: the second learns that it is a duplicate."""
    outbound = Outbound(unaccepted_max=4)
    first, second = outbound.post("a", "c", "x"), outbound.post("a", "c", "x")
    assert outbound.due(0.0) == [first]
    outbound.stored(first, stored(1))
    assert outbound.due(0.0) == [second]
    outbound.stored(second, stored(1, dup=True))
    assert second.state is Delivery.STORED


def test_answers_to_what_is_not_on_the_wire_change_nothing() -> None:
    """A second or late answer neither ends a message twice nor brings it back."""
    outbound = Outbound()
    outgoing = outbound.post("a", "c", "x")
    outbound.stored(outgoing, stored(1))
    outbound.refused(outgoing, FINAL, 0.0)
    assert outbound.unfinished == 1
    outbound.due(0.0)
    outbound.stored(outgoing, stored(1))
    outbound.refused(outgoing, FINAL, 0.0)
    outbound.stored(outgoing, stored(2))
    outbound.accepted("a", "c", 1)
    assert outbound.unfinished == 0
    assert outgoing.stored == stored(1)
