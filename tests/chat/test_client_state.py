"""A room's log on the client's side, against the server's for every order of events, losses and rewinds."""

from collections import deque
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.client_errors import ServerMisbehaved
from chat.client_state import (
    FILL_MAX,
    HELD_MAX,
    STALLS_MAX,
    Envelope,
    EventAdded,
    EventVoided,
    Hole,
    LogUpdate,
    OutOfOrder,
    Phase,
    Rewound,
    RoomLog,
    Want,
    WasReset,
)
from tests.chat.fake_server import FakeRoom

VOID = "(void)"


class Reader:
    """A reader who believes the updates and keeps the list that they make."""

    def __init__(self) -> None:
        self.shown: dict[int, str] = {}
        self.holes: list[Hole] = []

    def apply(self, updates: Sequence[LogUpdate]) -> None:
        """Do what the updates say; an event out of order is an error of the log's."""
        for update in updates:
            match update:
                case EventAdded():
                    seq = cast("int", update.event["seq"])
                    last = max(self.shown, default=seq - 1)
                    assert seq == last + 1 or (self.holes and self.holes[-1].last == seq - 1)
                    self.shown[seq] = text_of(update.event)
                case EventVoided():
                    if update.seq in self.shown:
                        self.shown[update.seq] = VOID
                case Rewound():
                    self.shown = {seq: body for seq, body in self.shown.items() if seq <= update.keep}
                case WasReset():
                    self.shown = {}
                case Hole():
                    self.holes.append(update)
                case OutOfOrder():
                    pass


def text_of(event: Envelope) -> str:
    """What a reader sees of an event."""
    return VOID if event["kind"] == "void" else str(event["body"])


class World:
    """One room, one client, and the wires between them, each in order."""

    def __init__(self, limit: int) -> None:
        self.room = FakeRoom("r")
        self.log = RoomLog("r")
        self.reader = Reader()
        self.limit = limit
        self.count = 0
        self.subscribed = False
        self.requests: deque[tuple[Want, object]] = deque()
        self.coming: deque[tuple[Want, Envelope]] = deque()

    def speak(self, *, delivered: bool) -> None:
        """An event, which the wire may lose."""
        self.count += 1
        self._publish(self.room.append("message", "u", body=f"b{self.count}"), delivered=delivered)

    def _publish(self, event: Envelope, *, delivered: bool) -> None:
        if self.subscribed and delivered:
            self.coming.append((Want.NOTHING, event))

    def void(self, back: int) -> None:
        """One of the latest messages turns out not to be stored, and that is announced."""
        seq = len(self.room.events) - back
        if seq > self.room.starts[self.room.epoch] and self.room.events[seq - 1]["kind"] == "message":
            self._make_void(seq)
            self._publish(self.room.append("void", "", of=seq), delivered=True)

    def void_in_place(self, back: int) -> None:
        """The same, told by sending the seq again as `void`."""
        seq = len(self.room.events) - back
        if seq > 0 and self.room.events[seq - 1]["kind"] == "message":
            self._publish(self._make_void(seq), delivered=True)

    def _make_void(self, seq: int) -> Envelope:
        old = self.room.events[seq - 1]
        void = {key: value for key, value in old.items() if key != "body"} | {"kind": "void"}
        self.room.events[seq - 1] = void
        return void

    def rewind(self, back: int, *, cut: bool) -> None:
        """The owner dies; some of what it broadcast did not survive."""
        keep = max(len(self.room.events) - back, self.room.starts[self.room.epoch])
        lost = [event["of"] for event in self.room.events[keep:] if "of" in event]
        self.room.rewind(keep)
        if cut:
            self.cut()
        for of in lost:
            if cast("int", of) <= keep:
                self._publish(self.room.append("void", "", of=of), delivered=True)

    def cut(self) -> None:
        """The connection breaks with all that is on it."""
        self.requests.clear()
        self.coming.clear()
        self.subscribed = False
        if self.log.phase is not Phase.PAUSED:
            self.log.detach()

    def ask(self) -> None:
        """The client asks for what it wants, one thing at a time."""
        if self.requests or any(want is not Want.NOTHING for want, _ in self.coming):
            return
        want = self.log.want
        if want is Want.SUBSCRIBE:
            self.requests.append((want, self.log.position))
            self.log.subscribing()
        elif want is Want.HISTORY:
            self.requests.append((want, self.log.page_after()))

    def serve(self) -> None:
        """The server answers one request."""
        if not self.requests:
            return
        want, argument = self.requests.popleft()
        if want is Want.SUBSCRIBE:
            since = None if argument is None else list(cast("tuple[int, int]", argument))
            self.coming.append((want, self.room.catch_up(since, self.limit)))
            self.subscribed = True
        else:
            after, missing = cast("tuple[int, int]", argument)
            self.coming.append((want, self.room.page({"after": after, "limit": min(missing, 3)})))

    def receive(self) -> None:
        """The client reads one message."""
        if not self.coming:
            return
        want, envelope = self.coming.popleft()
        if want is Want.SUBSCRIBE:
            self.reader.apply(self.log.answer(envelope))
        elif want is Want.HISTORY:
            self.reader.apply(self.log.page(envelope))
        elif self.log.take(envelope):
            self.reader.apply([EventAdded("r", envelope)])
        else:
            self.reader.apply(self.log.live(envelope))

    def settle(self) -> None:
        """Everything that is due happens, nothing more goes wrong."""
        self.log.resume()
        for _ in range(3):
            # An event makes a hole or a new owner known that nothing else would tell of.
            self.speak(delivered=True)
            for _ in range(500):
                self.ask()
                self.serve()
                self.receive()
        assert not self.coming
        assert self.log.phase is Phase.LIVE


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.booleans()),
        st.tuples(st.just("void"), st.integers(0, 4)),
        st.tuples(st.just("void_in_place"), st.integers(0, 4)),
        st.tuples(st.just("rewind"), st.integers(0, 6), st.booleans()),
        st.tuples(st.sampled_from(["ask", "serve", "receive", "cut", "pause", "resume"])),
    ),
    max_size=80,
)


@settings(max_examples=400, deadline=None)
@given(steps=STEPS, limit=st.integers(1, 6))
def test_a_reader_of_the_updates_ends_with_the_servers_list(
    steps: list[tuple[object, ...]], limit: int
) -> None:
    """Whatever is lost, rewound, voided or paused, the reader's list becomes the server's, in order."""
    world = World(limit)
    for name, *arguments in steps:
        match name:
            case "speak":
                world.speak(delivered=cast("bool", arguments[0]))
            case "void":
                world.void(cast("int", arguments[0]))
            case "void_in_place" if not world.coming and world.subscribed and world.log.phase is Phase.LIVE:
                world.void_in_place(cast("int", arguments[0]))
            case "rewind":
                world.rewind(cast("int", arguments[0]), cut=cast("bool", arguments[1]))
            case "pause":
                if world.log.phase is Phase.LIVE:
                    world.log.pause()
            case "resume":
                world.log.resume()
            case "ask":
                world.ask()
            case "serve":
                world.serve()
            case "receive":
                world.receive()
            case "cut":
                world.cut()
            case _:
                pass
    world.settle()

    shown = world.reader.shown
    expected = {cast("int", event["seq"]): text_of(event) for event in world.room.events}
    assert world.reader.holes == []
    assert shown == {seq: body for seq, body in expected.items() if seq >= min(shown)}


def event(seq: int, *, epoch: int = 1, kind: str = "message", **fields: object) -> Envelope:
    """One event of the room r."""
    return {"t": "event", "room": "r", "seq": seq, "epoch": epoch, "kind": kind, "body": f"b{seq}", **fields}


def answer(
    mode: str, head: int, events: Sequence[Envelope] = (), *, epoch: int = 1, **more: object
) -> Envelope:
    """The answer to `subscribe`."""
    return {"mode": mode, "head": head, "events": list(events), "epoch": epoch, **more}


def live_at(seq: int, *, epoch: int = 1) -> RoomLog:
    """A log that has everything up to a seq."""
    log = RoomLog("r", (epoch, seq))
    log.subscribing()
    assert log.answer(answer("tail", seq, epoch=epoch)) == []
    return log


def test_begins_without_a_position_and_asks_without_since() -> None:
    """A room that was never answered has no position; an empty one has [epoch, 0]."""
    log = RoomLog("r")
    assert log.position is None
    assert log.want is Want.SUBSCRIBE
    log.subscribing()
    assert log.answer(answer("fresh", 0, epoch=4)) == []
    assert log.position == (4, 0)


def test_duplicates_are_dropped() -> None:
    """An event that came in the answer is not handed on again when it also comes live."""
    log = RoomLog("r")
    log.subscribing()
    assert log.live(event(2)) == []
    updates = log.answer(answer("fresh", 2, [event(1), event(2)]))
    assert [update.event["seq"] for update in updates if isinstance(update, EventAdded)] == [1, 2]
    assert not log.take(event(2))
    assert log.live(event(2)) == [OutOfOrder("r", 2, 2)]


def test_a_live_event_that_skips_one_is_told() -> None:
    """What is missing is asked for, and whoever watches the server hears of it."""
    log = RoomLog("r")
    log.subscribing()
    log.answer(answer("fresh", 2, [event(1), event(2)]))
    assert log.live(event(4)) == [OutOfOrder("r", 2, 4)]
    assert log.want is Want.SUBSCRIBE


def test_a_new_owners_event_is_not_out_of_order() -> None:
    """What survived of the old owner's is for the subscription to say."""
    log = RoomLog("r")
    log.subscribing()
    log.answer(answer("fresh", 2, [event(1), event(2)]))
    assert log.live(event(5, epoch=2)) == []


def test_a_new_owners_event_is_not_taken_before_asking() -> None:
    """A live event of a higher epoch may follow on a rewind: the log asks with its position first."""
    log = live_at(5)
    assert not log.take(event(6, epoch=2))
    assert log.live(event(6, epoch=2)) == []
    assert log.want is Want.SUBSCRIBE
    assert log.position == (1, 5)


def test_a_dead_owners_event_is_not_taken_either() -> None:
    """A live event of a lower epoch than the known one is asked about."""
    log = live_at(5, epoch=3)
    assert log.live(event(6, epoch=2)) == []
    assert log.want is Want.SUBSCRIBE


def test_a_rewind_above_what_we_have_takes_nothing_back() -> None:
    """`keep` at or above our position needs no update."""
    log = live_at(5)
    log.detach()
    log.subscribing()
    assert log.answer(answer("rewind", 5, keep=7, epoch=2)) == []
    assert log.position == (2, 5)


def test_an_unknown_mode_is_an_error() -> None:
    """A mode that the protocol does not know is not guessed at."""
    log = RoomLog("r")
    log.subscribing()
    with pytest.raises(ServerMisbehaved, match="sideways"):
        log.answer(answer("sideways", 0))


def test_a_hole_too_wide_to_fill_is_told_up_to_what_is_fetched() -> None:
    """A year's backlog is not fetched: its older part is told as a hole."""
    log = live_at(1)
    log.detach()
    log.subscribing()
    head = FILL_MAX + 500
    updates = log.answer(answer("gap", head, [event(head)]))
    assert updates == [Hole("r", 2, head - 1 - FILL_MAX)]
    assert log.page_after() == (head - 1 - FILL_MAX, FILL_MAX)


def test_a_history_that_brings_nothing_ends_in_a_told_hole() -> None:
    """After some empty pages the rest is told as missing, and the room goes on."""
    log = live_at(1)
    log.detach()
    log.subscribing()
    assert log.answer(answer("gap", 5, [event(5)])) == []
    updates: list[LogUpdate] = []
    for _ in range(STALLS_MAX):
        assert updates == []
        updates = log.page({"items": [], "epoch": 1})
    assert updates == [Hole("r", 2, 4), EventAdded("r", event(5))]
    assert log.phase is Phase.LIVE


def test_a_seq_missing_inside_a_page_is_told() -> None:
    """A page that leaves one out does not hide it."""
    log = live_at(1)
    log.detach()
    log.subscribing()
    log.answer(answer("gap", 5, [event(5)]))
    updates = log.page({"items": [event(2), event(4)], "epoch": 1})
    assert updates == [
        EventAdded("r", event(2)),
        Hole("r", 3, 3),
        EventAdded("r", event(4)),
        EventAdded("r", event(5)),
    ]


def test_a_page_of_a_new_owner_is_not_trusted() -> None:
    """When the epoch rose between answer and page, the log asks anew with its position."""
    log = live_at(1)
    log.detach()
    log.subscribing()
    log.answer(answer("gap", 5, [event(5)]))
    assert log.page({"items": [event(2, epoch=2)], "epoch": 2}) == []
    assert log.want is Want.SUBSCRIBE
    assert log.position == (1, 1)


def test_live_events_held_during_an_answer_are_bounded() -> None:
    """More live events than are held while waiting cost one more `subscribe`, nothing else."""
    log = live_at(0)
    log.detach()
    log.subscribing()
    for seq in range(1, HELD_MAX + 3):
        assert log.live(event(seq)) == []
    updates = log.answer(answer("tail", 0))
    assert len(updates) == HELD_MAX
    assert log.want is Want.SUBSCRIBE


def test_late_answers_are_ignored() -> None:
    """What was asked before the connection broke changes nothing after it."""
    log = live_at(3)
    log.detach()
    assert log.answer(answer("reset", 0)) == []
    assert log.page({"items": [event(4)], "epoch": 1}) == []
    assert log.position == (1, 3)


def test_an_answer_that_names_a_head_without_events_is_filled() -> None:
    """A head above our position and no events: what is missing is read from the history."""
    log = live_at(1)
    log.detach()
    log.subscribing()
    assert log.answer(answer("gap", 3)) == []
    assert log.page_after() == (1, 2)
    updates = log.page({"items": [event(1), event(2), event(3), event(4)], "epoch": 1})
    assert updates == [EventAdded("r", event(2)), EventAdded("r", event(3))]
    assert log.phase is Phase.LIVE


def test_giving_up_without_a_hole_changes_nothing() -> None:
    """Only a hole can be given up."""
    log = live_at(3)
    updates: list[LogUpdate] = []
    log.give_up(updates)
    log.resume()
    assert (updates, log.phase) == ([], Phase.LIVE)


def test_a_paused_room_lets_events_pass() -> None:
    """While the reader is behind nothing is taken; then the room asks with its position."""
    log = live_at(3)
    log.pause()
    assert not log.take(event(4))
    assert log.live(event(4)) == []
    assert log.want is Want.NOTHING
    log.resume()
    assert (log.want, log.position) == (Want.SUBSCRIBE, (1, 3))
