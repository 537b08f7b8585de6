"""Conformance in the spirit of the Autobahn test suite: with the short cut, nothing is different.

Every case runs four times: trio-websocket on trio's own stream (the reference), on our stream without the
short cut, with it, and coming in only when it is needed. Pongs and echoes may overtake each other on any of
them (two tasks send), so data and control frames are compared as two sequences.
"""

import random

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chat.transport.conformance_cases import CASES
from tests.chat.transport.support import (
    CARRIERS,
    Carrier,
    Echo,
    Path,
    client_frame,
    close_payload,
    converse,
    cut,
)

Frames = list[tuple[int, bytes]]


def data_and_control(frames: Frames) -> tuple[Frames, Frames]:
    """Part a server's frames into data and control."""
    return (
        [frame for frame in frames if frame[0] & 0x08 == 0],
        [frame for frame in frames if frame[0] & 0x08],
    )


@pytest.mark.parametrize("carrier", [Carrier.SOCKET_POLLED, Carrier.MEMORY], ids=lambda carrier: carrier.name)
@pytest.mark.parametrize("name", CASES)
async def test_the_short_cut_changes_no_outcome(name: str, carrier: Carrier) -> None:
    """Messages, echoes, pongs and closes are those of plain trio-websocket."""
    stock, stock_frames = await converse(carrier, Path.STOCK, CASES[name])
    slow, slow_frames = await converse(carrier, Path.SLOW, CASES[name])
    short, short_frames = await converse(carrier, Path.SHORT_CUT, CASES[name])
    late, late_frames = await converse(carrier, Path.LATE, CASES[name])

    assert stock.received == slow.received == short.received == late.received
    assert data_and_control(stock_frames) == data_and_control(slow_frames)
    assert data_and_control(stock_frames) == data_and_control(short_frames)
    assert data_and_control(stock_frames) == data_and_control(late_frames)
    assert slow.taken == 0


@CARRIERS
async def test_whole_frames_take_the_short_cut_and_fragmented_ones_do_not(carrier: Carrier) -> None:
    """The short cut is used: three whole messages are taken, the fragmented one between is not."""
    pieces = [
        client_frame(b"one"),
        client_frame(b"tw", fin=False) + client_frame(b"o", opcode=0),
        client_frame(b"three"),
        client_frame(b"four", opcode=1),
    ]

    echo, _ = await converse(carrier, Path.SHORT_CUT, pieces)

    assert echo.taken == 3
    assert echo.received == [(b"one", False), (b"two", False), (b"three", False), (b"four", True)]


@pytest.mark.parametrize("path", [Path.STOCK, Path.SLOW])
async def test_without_the_short_cut_unfragmented_text_is_checked_by_wsproto(path: Path) -> None:
    """Invalid UTF-8 fails the connection before the application sees it."""
    echo, _ = await converse(Carrier.MEMORY, path, [client_frame(b"\xff\xfe", opcode=1)])

    assert echo.received == []


async def test_with_the_short_cut_unfragmented_text_is_the_decoders_to_check() -> None:
    """Invalid UTF-8 is delivered as it came: the codec makes it an undecodable frame."""
    echo, _ = await converse(Carrier.MEMORY, Path.SHORT_CUT, [client_frame(b"\xff\xfe", opcode=1)])

    assert echo.received == [(b"\xff\xfe", True)]


class Sent(bytes):
    """Bytes with a short repr: Hypothesis prints what it found."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {self[:16].hex()}>"


KEYS = st.binary(min_size=4, max_size=4)
BODIES = st.one_of(
    st.binary(max_size=20),
    st.integers(100, 140).map(lambda size: b"x" * size),
    st.integers(65530, 65540).map(lambda size: b"y" * size),
)


@st.composite
def messages(draw: st.DrawFn) -> Sent:
    """One message: whole, or fragmented with control frames between its fragments."""
    text = draw(st.booleans())
    body = draw(st.text(max_size=30)).encode() if text else draw(BODIES)
    opcode = 1 if text else 2
    if not draw(st.booleans()):
        return Sent(client_frame(body, opcode=opcode, key=draw(KEYS)))
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    parts = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    out = bytearray()
    for index, part in enumerate(parts):
        final = index == len(parts) - 1
        out += client_frame(part, opcode=opcode if index == 0 else 0, fin=final, key=draw(KEYS))
        if not final and draw(st.booleans()):
            out += draw(controls())
    return Sent(out)


@st.composite
def controls(draw: st.DrawFn) -> bytes:
    """A ping or a pong."""
    return client_frame(draw(st.binary(max_size=125)), opcode=draw(st.sampled_from((9, 10))), key=draw(KEYS))


ENDINGS = st.sampled_from(
    [
        client_frame(close_payload(1000, b"done"), opcode=8),
        client_frame(close_payload(1000, b"done"), opcode=8) + client_frame(b"too late"),
        client_frame(b"x", reserved=1),
        client_frame(b"x", key=None),
        client_frame(b"x", opcode=5) + client_frame(b"after"),
        client_frame(b"x", width=8),
        client_frame(b"x", opcode=0),
    ]
)


@CARRIERS
def test_any_sequence_of_frames_cut_anywhere_keeps_order_and_content(carrier: Carrier) -> None:
    """Whatever is sent, however it is cut: the same messages in the same order on every path."""

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        parts=st.lists(st.one_of(messages(), controls()), max_size=12),
        chooser=st.randoms(use_true_random=False),
        most=st.sampled_from((1, 3, 40)),
    )
    def holds(parts: list[bytes], chooser: random.Random, most: int) -> None:
        pieces = cut(b"".join(parts), chooser, most=most)
        results = [run(carrier, path, pieces) for path in Path]
        received = [echo.received for echo, _ in results]
        assert received == [received[0]] * len(Path)
        frames = [data_and_control(output) for _, output in results]
        assert frames == [frames[0]] * len(Path)

    holds()


@CARRIERS
def test_any_ending_delivers_nothing_that_the_slow_way_would_not(carrier: Carrier) -> None:
    """After a close or a forbidden frame nothing is delivered; before it nothing is lost.

    The stock server may lose messages that share a write with the ending, never add one.
    """

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        parts=st.lists(messages(), max_size=6),
        ending=ENDINGS,
        chooser=st.randoms(use_true_random=False),
        most=st.sampled_from((1, 3, 40)),
    )
    def holds(parts: list[bytes], ending: bytes, chooser: random.Random, most: int) -> None:
        pieces = cut(b"".join(parts) + ending, chooser, most=most)
        before, _ = run(carrier, Path.STOCK, parts)
        stock, _ = run(carrier, Path.STOCK, pieces)
        for path in (Path.SHORT_CUT, Path.LATE):
            short, _ = run(carrier, path, pieces)
            assert short.received[: len(stock.received)] == stock.received
            assert before.received[: len(short.received)] == short.received

    holds()


def run(carrier: Carrier, path: Path, pieces: list[bytes]) -> tuple[Echo, Frames]:
    """Run one conversation in its own trio, as Hypothesis needs it."""
    return trio.run(converse, carrier, path, pieces)
