"""Frames against wsproto's own encoder and decoder."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode, ParseFailed

from chat.transport.frames import (
    PING_FRAME,
    Verdict,
    build_close,
    build_frame,
    build_pong,
    holds_close,
    is_close_frame,
    parse_header,
    parse_masked_control,
    parse_masked_frame,
    unmask,
)
from tests.chat.transport.support import client_frame

SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from((125, 126, 127, 699, 700, 701, 2047, 2048, 65535, 65536, 70000)),
)
LIMIT = 1 << 20


@given(size=SIZES, text=st.booleans())
def test_built_frames_are_wsprotos(size: int, text: bool) -> None:
    """A server frame is byte for byte what wsproto sends."""
    payload = b"a" * size

    assert build_frame(payload, text=text) == bytes(
        FrameProtocol(client=False, extensions=[]).send_data(payload.decode() if text else payload)
    )


@given(size=SIZES, text=st.booleans(), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_clients_frame_is_taken_out_of_its_surroundings(
    size: int,
    text: bool,
    before: bytes,
    after: bytes,
) -> None:
    """What wsproto's client masks is unmasked exactly, and the end is found."""
    payload = os.urandom(size) if not text else b"t" * size
    frame = bytes(FrameProtocol(client=True, extensions=[]).send_data(payload.decode() if text else payload))

    taken = parse_masked_frame(before + frame + after, len(before), LIMIT)

    assert taken == (payload, len(before) + len(frame), text)


@given(size=SIZES, key=st.binary(min_size=4, max_size=4))
def test_unmasking_is_a_repeated_xor(size: int, key: bytes) -> None:
    """Both ways of unmasking equal the definition of RFC 6455 5.3."""
    masked = os.urandom(size)

    assert unmask(b"??" + key + masked, 6, size) == bytes(
        byte ^ key[index % 4] for index, byte in enumerate(masked)
    )


@given(size=SIZES, text=st.booleans(), data=st.data())
def test_a_beginning_is_never_judged(size: int, text: bool, data: st.DataObject) -> None:
    """Any proper prefix of a frame needs more."""
    frame = client_frame(b"a" * size, opcode=1 if text else 2)
    length = data.draw(st.integers(0, min(len(frame) - 1, 20)))

    assert parse_masked_frame(frame[:length], 0, LIMIT) is Verdict.NEED_MORE


@pytest.mark.parametrize(
    "frame",
    [
        client_frame(b"x", opcode=9),
        client_frame(b"x", opcode=8),
        client_frame(b"x", fin=False),
        client_frame(b"x", opcode=0),
        client_frame(b"x", opcode=3),
        client_frame(b"x", reserved=4),
        client_frame(b"x", key=None),
        client_frame(b"x" * 200, key=None),
        client_frame(b"x" * 70000, key=None),
        client_frame(b"x", width=2),
        client_frame(b"x" * 200, width=8),
        client_frame(b"x" * 1001),
        client_frame(b"x" * 70000),
        client_frame(b"x" * 1001)[:4],
        client_frame(b"x" * 70000)[:10],
        client_frame(b"x", opcode=9)[:1],
    ],
    ids=lambda frame: frame[:4].hex(),
)
def test_everything_else_is_not_for_the_short_cut(frame: bytes) -> None:
    """Control, fragment, reserved, unmasked, not minimal, oversize: told from the header."""
    assert parse_masked_frame(frame, 0, 1000) is Verdict.NOT_MINE


@given(
    first=st.integers(0, 255),
    second=st.integers(0, 255),
    extended=st.one_of(st.binary(min_size=8, max_size=8), st.integers(0, 70000).map(lambda n: n.to_bytes(8))),
)
def test_a_header_is_refused_exactly_when_wsproto_refuses_it(
    first: int, second: int, extended: bytes
) -> None:
    """The line between passing on a frame and giving up on framing is wsproto's own."""
    data = bytes((first, second)) + extended + b"\0\0\0\0"
    decoder = FrameDecoder(client=False)
    decoder.receive_bytes(data)
    refused = False
    try:
        decoder.parse_header()
    except ParseFailed:
        refused = True

    ours = parse_header(data, 0)

    assert (ours is Verdict.NOT_MINE) == refused
    if isinstance(ours, tuple):
        assert decoder.header is not None
        assert ours[2] == decoder.header.payload_len
        assert Opcode(ours[0] & 0x0F) is decoder.header.opcode


@given(size=SIZES, opcode=st.sampled_from((0, 1, 2, 8, 9, 10)), data=st.data())
def test_a_headers_beginning_needs_more_until_the_length_is_known(
    size: int, opcode: int, data: st.DataObject
) -> None:
    """A legal header in part is NEED_MORE, from the length on it is known."""
    frame = client_frame(b"a" * min(size, 125 if opcode >= 8 else size), opcode=opcode)
    whole = parse_header(frame, 0)
    assert isinstance(whole, tuple)
    length = data.draw(st.integers(0, whole[1]))

    assert parse_header(frame[:length], 0) == (whole if length >= whole[1] - 4 else Verdict.NEED_MORE)


def test_the_shared_ping_is_an_empty_ping() -> None:
    """The ping frame is wsproto's empty ping."""
    assert bytes(FrameProtocol(client=False, extensions=[]).ping()) == PING_FRAME


def test_a_close_frame_is_known_as_the_last_one() -> None:
    """Close frames are recognised, others and nothing are not."""
    close = bytes(FrameProtocol(client=False, extensions=[]).close(1000, "bye"))

    assert [is_close_frame(data) for data in (close, PING_FRAME, b"")] == [True, False, False]


@pytest.mark.parametrize(
    ("reason", "said"),
    [("", b""), ("grüße", "grüße".encode()), ("x" * 200, b"x" * 123), ("ü" * 70, ("ü" * 61).encode())],
)
def test_a_close_says_its_code_and_as_much_of_the_reason_as_fits(reason: str, said: bytes) -> None:
    """No character is cut in two (RFC 6455, 5.5)."""
    frame = build_close(4002, reason)

    assert frame == bytes((0x88, 2 + len(said))) + b"\x0f\xa2" + said
    assert is_close_frame(frame)


def test_a_pong_brings_the_pings_payload_back() -> None:
    """Unmasked, as a server's frames are."""
    assert build_pong(b"abc") == b"\x8a\x03abc"


@pytest.mark.parametrize("opcode", [9, 10])
@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_whole_ping_or_pong_is_taken_wherever_it_begins(opcode: int, size: int) -> None:
    """Its payload, and the offset behind it."""
    frame = client_frame(b"p" * size, opcode=opcode)

    assert parse_masked_control(b"ab" + frame + b"cd", 2) == (opcode, b"p" * size, 2 + len(frame))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89",
        client_frame(b"cut", opcode=9)[:-1],
        client_frame(b"", opcode=9, key=None),
        client_frame(b"x" * 125, opcode=9, key=None),
        client_frame(b"x" * 126, opcode=9),
        client_frame(b"x", opcode=9, fin=False),
        client_frame(b"x", opcode=9, reserved=1),
        client_frame(b"x", opcode=8),
        client_frame(b"x", opcode=2),
    ],
)
def test_what_is_no_whole_proper_ping_or_pong_is_not_taken(data: bytes) -> None:
    """Cut, unmasked, too long, in parts, with reserved bits, or another frame."""
    assert parse_masked_control(data, 0) is None


@pytest.mark.parametrize(
    ("data", "holds"),
    [
        (b"", False),
        (client_frame(b"x", opcode=9), False),
        (client_frame(b"x", opcode=9) + client_frame(b"\x03\xe8", opcode=8), True),
        (client_frame(b"x", opcode=9) + client_frame(b"\x03\xe8", opcode=8)[:3], True),
        (client_frame(b"x", opcode=9) + b"\x88", False),
        (client_frame(b"x", opcode=9, key=None), True),
    ],
)
def test_a_close_is_found_behind_other_frames_and_what_is_no_frame_ends_it_too(
    data: bytes, holds: bool
) -> None:
    """After either nothing more is to be waited for."""
    assert holds_close(data) is holds
