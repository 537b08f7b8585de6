"""The read short cut without I/O, against wsproto as the reference."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, Ping, TextMessage

from chat.transport.intake import FRAGMENTS_MAX, FRAMES_PER_TURN, RAW_BYTES_PER_TURN, Intake
from tests.chat.transport.support import client_frame, close_payload, cut

Log = list[tuple[str, bytes]]


class Reader:
    """An intake and the wsproto connection behind it, as the stream and trio-websocket do it."""

    def __init__(self, *, short_cut: bool, limit: int = 1 << 20) -> None:
        self.intake = Intake(max_frame_bytes=limit)
        self.log: Log = []
        self.taken = 0
        self._ws = Connection(ConnectionType.SERVER)
        self._parts = b""
        if short_cut:
            self.intake.enable(self._take, None)

    def feed(self, data: bytes) -> None:
        """Take in one read, wsproto being served whenever bytes are passed on."""
        passed = self.intake.feed(data)
        while True:
            if passed:
                self._ws.receive_data(passed)
                self._serve()
            if not self.intake.pending:
                return
            passed = self.intake.feed(b"")

    def _serve(self) -> None:
        for event in self._ws.events():
            if isinstance(event, TextMessage | BytesMessage):
                data = event.data
                self._parts += data.encode() if isinstance(data, str) else bytes(data)
                if event.message_finished:
                    self.log.append(("message", self._parts))
                    self._parts = b""
                    self.intake.slow_message_delivered()
            elif isinstance(event, Ping):
                self.log.append(("ping", bytes(event.payload)))
            else:
                self.log.append((type(event).__name__, b""))

    def _take(self, payload: bytes, _is_text: bool) -> None:
        self.taken += 1
        self.log.append(("message", payload))


PARTS = st.one_of(
    st.binary(max_size=40).map(client_frame),
    st.binary(max_size=40).map(lambda body: client_frame(body, opcode=9)),
    st.lists(st.binary(max_size=20), min_size=2, max_size=4).map(
        lambda bodies: b"".join(
            client_frame(body, opcode=2 if index == 0 else 0, fin=index == len(bodies) - 1)
            + (client_frame(b"inside", opcode=9) if index < len(bodies) - 1 else b"")
            for index, body in enumerate(bodies)
        )
    ),
)


@given(
    parts=st.lists(PARTS, max_size=20),
    ending=st.sampled_from(
        (
            b"",
            client_frame(close_payload(1000), opcode=8) + client_frame(b"late"),
            client_frame(b"x", reserved=1) + client_frame(b"late"),
            client_frame(b"x", opcode=0),
            client_frame(b"x", opcode=2, fin=False) + client_frame(b"not a continuation"),
        )
    ),
    chooser=st.randoms(use_true_random=False),
    most=st.integers(1, 60),
)
def test_messages_and_pings_keep_their_one_order(
    parts: list[bytes], ending: bytes, chooser: random.Random, most: int
) -> None:
    """Interleaved exactly: even pings and messages do not change places."""
    pieces = cut(b"".join(parts) + ending, chooser, most=most)
    slow, short = Reader(short_cut=False), Reader(short_cut=True)
    for piece in pieces:
        slow.feed(piece)
        short.feed(piece)

    assert slow.log == short.log
    assert slow.taken == 0


def collect(intake: Intake) -> list[tuple[bytes, bool]]:
    """Enable an intake; return the list its messages go to."""
    got: list[tuple[bytes, bool]] = []
    intake.enable(lambda payload, is_text: got.append((payload, is_text)), None)
    return got


def test_a_frame_in_many_pieces_is_put_together_here() -> None:
    """Wsproto sees none of it."""
    intake = Intake(max_frame_bytes=100_000)
    got = collect(intake)
    frame = client_frame(b"a" * 70_000, opcode=1)

    passed = [intake.feed(frame[start : start + 1000]) for start in range(0, len(frame), 1000)]

    assert set(passed) == {b""}
    assert got == [(b"a" * 70_000, True)]


def test_the_slow_way_lasts_until_its_message_was_delivered() -> None:
    """Whole frames behind a fragmented message follow it through wsproto, all of them."""
    intake = Intake(max_frame_bytes=1000)
    got = collect(intake)
    fragmented = client_frame(b"a", fin=False) + client_frame(b"b", opcode=0)
    whole = client_frame(b"c")

    assert intake.feed(fragmented + whole) == fragmented + whole
    intake.slow_message_delivered()
    assert intake.feed(whole) == whole
    intake.slow_message_delivered()
    intake.slow_message_delivered()
    assert intake.feed(whole) == b""
    assert got == [(b"c", False)]


def test_a_message_waits_behind_a_ping_that_wsproto_has_not_had() -> None:
    """Passed bytes come first; the message follows with the next feed."""
    intake = Intake(max_frame_bytes=1000)
    got = collect(intake)
    ping = client_frame(b"p", opcode=9)

    assert intake.feed(ping + client_frame(b"m")) == ping
    assert (got, intake.pending) == ([], True)
    assert intake.feed(b"") == b""
    assert (got, intake.pending) == ([(b"m", False)], False)


def test_a_turn_takes_so_many_frames_and_no_more() -> None:
    """A read full of tiny frames is worked off in several turns."""
    intake = Intake(max_frame_bytes=1000)
    got = collect(intake)

    intake.feed(client_frame() * (FRAMES_PER_TURN + 1))

    assert (len(got), intake.pending) == (FRAMES_PER_TURN, True)
    intake.feed(b"")
    assert (len(got), intake.pending) == (FRAMES_PER_TURN + 1, False)


def test_false_pauses_after_the_message_that_was_taken() -> None:
    """The message counts as delivered, the next one waits."""
    intake = Intake(max_frame_bytes=1000)
    got: list[bytes] = []

    def take(payload: bytes, _is_text: bool) -> bool:
        got.append(payload)
        return payload != b"full"

    intake.enable(take, None)
    intake.feed(client_frame(b"one") + client_frame(b"full") + client_frame(b"three"))

    assert (got, intake.paused, intake.pending) == ([b"one", b"full"], True, True)
    intake.paused = False
    intake.feed(b"")
    assert got == [b"one", b"full", b"three"]


@pytest.mark.parametrize(
    ("before", "frame", "size"),
    [
        (b"", client_frame(b"a" * 1001), 1001),
        (b"", client_frame(b"a" * 70_000, opcode=1), 70_000),
        (client_frame(b"a" * 600, fin=False), client_frame(b"a" * 401, opcode=0), 1001),
    ],
)
def test_a_message_too_large_is_told_from_its_header_and_dropped(
    before: bytes, frame: bytes, size: int
) -> None:
    """Nothing of it is kept or passed on; control frames behind it are, for the close handshake."""
    intake = Intake(max_frame_bytes=1000)
    told: list[int] = []
    got: list[bytes] = []
    intake.enable(lambda payload, _is_text: got.append(payload), told.append)
    intake.feed(before)

    assert intake.feed(frame[:-300]) == b""
    assert told == [size]
    close = client_frame(close_payload(1000), opcode=8)
    assert intake.feed(frame[-300:] + client_frame(b"more") + close) == close
    assert (told, got) == ([size], [])


def test_a_message_too_large_is_wsprotos_when_nobody_wants_to_know() -> None:
    """All its bytes are passed on, and all after it."""
    intake = Intake(max_frame_bytes=10)
    collect(intake)
    data = client_frame(b"a" * 11) + client_frame(b"b")

    assert intake.feed(data) == data


def test_the_limit_may_change_between_two_frames() -> None:
    """8 KiB before welcome, 64 KiB after."""
    intake = Intake(max_frame_bytes=10)
    got = collect(intake)
    intake.feed(client_frame(b"a" * 10))
    intake.max_frame_bytes = 20
    intake.feed(client_frame(b"a" * 20))

    assert [len(payload) for payload, _ in got] == [10, 20]


def test_after_discard_only_control_frames_are_passed_on() -> None:
    """Also from inside the callback, in the middle of a read."""
    intake = Intake(max_frame_bytes=1000)
    got: list[bytes] = []

    def take(payload: bytes, _is_text: bool) -> None:
        got.append(payload)
        intake.discard()

    intake.enable(take, None)
    ping = client_frame(b"p", opcode=9)
    frames = client_frame(b"1") + client_frame(b"2") + client_frame(b"3", fin=False)

    assert intake.feed(frames + ping) == ping
    assert got == [b"1"]


def test_what_the_callback_raises_comes_out() -> None:
    """A bug in the session is not swallowed."""
    intake = Intake(max_frame_bytes=1000)

    def take(_payload: bytes, _is_text: bool) -> None:
        raise LookupError

    intake.enable(take, None)

    with pytest.raises(LookupError):
        intake.feed(client_frame(b"x"))


def feed_all(intake: Intake, data: bytes) -> bytes:
    """Feed, and go on while something is left; return all that was passed on."""
    passed = intake.feed(data)
    while intake.pending:
        passed += intake.feed(b"")
    return passed


def test_every_frame_that_costs_is_told_once() -> None:
    """Control frames and fragments as they are passed on; what ends a message is told as the message."""
    intake = Intake(max_frame_bytes=1000)
    told: list[int] = []
    intake.enable(lambda _payload, _is_text: None, None, told.append)
    intake.feed(client_frame(b"x", fin=False) + client_frame(opcode=9) + client_frame(opcode=0, fin=False))
    intake.feed(client_frame(b"y", opcode=0) + client_frame(b"behind it, the slow way"))
    intake.slow_message_delivered()
    intake.slow_message_delivered()
    intake.feed(client_frame(opcode=10) + client_frame(close_payload(1000), opcode=8))

    assert told == [2, 9, 0, 10, 8]


@pytest.mark.parametrize(
    ("before", "frame"),
    [
        (b"", client_frame(opcode=9)),
        (b"", client_frame(opcode=10)),
        (client_frame(b"x", fin=False), client_frame(opcode=0, fin=False)),
        (client_frame(b"x", fin=False) + client_frame(opcode=0), client_frame(b"whole")),
    ],
    ids=["pings", "pongs", "fragments", "messages on the slow way"],
)
def test_a_turn_passes_so_many_frames_on_and_no_more(before: bytes, frame: bytes) -> None:
    """A read full of tiny frames reaches wsproto in portions, all of it in the end."""
    intake = Intake(max_frame_bytes=1000)
    collect(intake)
    intake.feed(before)
    flood = frame * (2 * FRAMES_PER_TURN + 1)

    assert intake.feed(flood) == frame * FRAMES_PER_TURN
    assert intake.pending
    assert feed_all(intake, b"") == frame * (FRAMES_PER_TURN + 1)


def test_a_turn_drops_so_many_frames_and_no_more() -> None:
    """Looking at what is dropped has its price, too."""
    intake = Intake(max_frame_bytes=1000)
    collect(intake)
    intake.discard()
    ping = client_frame(opcode=9)

    assert intake.feed(client_frame() * 2 * FRAMES_PER_TURN + ping) == b""
    assert intake.pending
    assert feed_all(intake, b"") == ping


def test_what_follows_the_end_of_framing_is_passed_on_in_portions() -> None:
    """Behind a close frame, or a frame that is none, nobody knows how many frames the bytes are."""
    intake = Intake(max_frame_bytes=1000)
    collect(intake)
    close = client_frame(close_payload(1000), opcode=8)
    flood = client_frame(opcode=10) * FRAMES_PER_TURN * 8

    first = intake.feed(close + flood)

    assert len(first) <= len(close) + RAW_BYTES_PER_TURN
    assert intake.pending
    assert first + feed_all(intake, b"") == close + flood
    assert len(intake.feed(flood)) <= RAW_BYTES_PER_TURN


def test_a_message_in_too_many_fragments_is_too_large() -> None:
    """Empty fragments add no bytes, but each is kept until the message ends."""
    intake = Intake(max_frame_bytes=1000)
    told: list[int] = []
    got: list[bytes] = []
    intake.enable(lambda payload, _is_text: got.append(payload), told.append)
    fragment = client_frame(opcode=0, fin=False)
    passed = feed_all(intake, client_frame(b"x", fin=False) + fragment * (FRAGMENTS_MAX - 1))
    assert (len(passed), told) == (len(client_frame(b"x")) + len(fragment) * (FRAGMENTS_MAX - 1), [])

    assert feed_all(intake, fragment * 1000 + client_frame(b"y", opcode=0) + client_frame(b"z")) == b""
    assert (told, got) == ([1], [])


def test_each_message_may_have_as_many_fragments() -> None:
    """The count begins anew with every message; the last fragment is one, too."""
    intake = Intake(max_frame_bytes=1000)
    told: list[int] = []
    intake.enable(lambda _payload, _is_text: None, told.append)
    middle = client_frame(opcode=0, fin=False) * (FRAGMENTS_MAX - 2)
    message = client_frame(b"x", fin=False) + middle + client_frame(opcode=0)

    assert feed_all(intake, message * 3) == message * 3
    assert told == []


def test_fragments_end_with_whoever_counts_them() -> None:
    """The one who counts may throw the client's messages away, in the middle of a read."""
    intake = Intake(max_frame_bytes=1000)
    told: list[int] = []

    def count(opcode: int) -> None:
        told.append(opcode)
        if len(told) == 10:
            intake.discard()

    intake.enable(lambda _payload, _is_text: None, None, count)
    passed = feed_all(intake, client_frame(b"x", fin=False) + client_frame(opcode=0, fin=False) * 5000)

    assert passed == client_frame(b"x", fin=False) + client_frame(opcode=0, fin=False) * 9
    assert told == [2] + [0] * 9


@pytest.mark.parametrize("cut_at", [6, 7, 20, 33])
def test_what_looks_like_a_ping_inside_a_dropped_message_is_none(cut_at: int) -> None:
    """Wherever the message was cut; the ping behind it is answered, and wsproto hears of neither."""
    intake = Intake(max_frame_bytes=1000)
    pings: list[bytes] = []
    intake.enable(lambda _payload, _is_text: None, on_ping=pings.append)
    intake.discard()
    message = client_frame(client_frame(b"no", opcode=9) * 4, key=bytes(4))

    assert intake.feed(message[:cut_at]) == b""
    assert intake.feed(message[cut_at:] + client_frame(b"yes", opcode=9)) == b""
    assert pings == [b"yes"]
