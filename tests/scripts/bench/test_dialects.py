"""The frames of the bench, against the server's own codec and protocol."""

import pytest

from chat.codec import JSON, MSGPACK, Codec
from chat.errors import ErrorCode, Refused
from chat.protocol import Join, Send, error, event, ok
from chat.transport.frames import parse_masked_frame
from scripts.bench.dialects import PARLEY, client_frame, parley_connection, plain_connection
from scripts.bench.script import CID_DIGITS, FIRST_ID, TIME_DIGITS, TIME_MARK, Connection
from scripts.bench.slow_frames import patch, read_seq

CODECS = {"msgpack": MSGPACK, "json": JSON}
ENCODINGS = pytest.mark.parametrize("encoding", CODECS)


def _decode(codec: Codec, frame: bytes) -> object:
    taken = parse_masked_frame(frame, 0, 65536)
    assert isinstance(taken, tuple)
    payload, end, is_text = taken
    assert end == len(frame)
    return codec.decode(payload, is_text=is_text)


def _connection(encoding: str) -> Connection:
    return parley_connection(encoding, greeting=b"GET", index=7, room=3, prefix="bench-1")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300, 65535])
def test_a_client_frame_is_one_that_the_server_takes(size: int) -> None:
    """Masked, final and of minimal length, for every way to write the length."""
    payload = b"x" * size
    assert parse_masked_frame(client_frame(payload, text=True), 0, 65536) == (
        payload,
        6 + size + _extra(size),
        True,
    )


def _extra(size: int) -> int:
    return 0 if size <= 125 else 2


@ENCODINGS
def test_a_connection_joins_its_room(encoding: str) -> None:
    """The last step before the first send is the join of the room that it is counted in."""
    join = _decode(CODECS[encoding], _connection(encoding).steps[-1].sent)
    assert isinstance(join, Join)
    assert (join.room, join.create) == ("bench-1-3", True)


@ENCODINGS
def test_a_patched_send_is_a_request_with_what_was_patched_in(encoding: str) -> None:
    """Time, cid and id land where the server reads them, and nothing else changes."""
    plan = _connection(encoding).send
    frame = bytearray(plan.frame)
    number = FIRST_ID + 42
    time = b"%0*d" % (TIME_DIGITS, 1234567890123456789)
    patch(frame, plan.time_at, plan.mask_at, time)
    patch(frame, plan.cid_at, plan.mask_at, b"%0*d" % (CID_DIGITS, 99))
    written = number.to_bytes(4) if encoding == "msgpack" else b"%d" % number
    patch(frame, plan.id_at, plan.mask_at, written)
    send = _decode(CODECS[encoding], bytes(frame))
    assert isinstance(send, Send)
    assert (send.id, send.cid, send.room) == (number, "000000000099", "bench-1-3")
    assert len(send.body) == 85
    assert send.body.startswith(TIME_MARK.decode() + time.decode())


@ENCODINGS
@pytest.mark.parametrize("seq", [1, 127, 128, 255, 256, 65535, 65536, 2**32, 2**53 - 1])
def test_a_seq_is_found_in_an_event(encoding: str, seq: int) -> None:
    """However many bytes it takes."""
    body = TIME_MARK.decode() + "0" * TIME_DIGITS
    payload = CODECS[encoding].encode(
        event(
            room="bench-1-3",
            epoch=1,
            seq=seq,
            at_ms=1,
            by="g_a",
            kind="message",
            name="bench 7",
            n=seq,
            cid="0" * 12,
            body=body,
            reply_to=None,
            thread=None,
            data=None,
        )
    )
    assert read_seq(PARLEY[encoding], payload) == seq
    assert PARLEY[encoding].ok_mark not in payload
    assert PARLEY[encoding].error_mark not in payload


@ENCODINGS
def test_the_id_of_an_answer_stands_behind_the_mark_of_answers(encoding: str) -> None:
    """An ok is matched with its send by it."""
    dialect = PARLEY[encoding]
    payload = CODECS[encoding].encode(ok(FIRST_ID + 5, seq=1, epoch=1, at=1, cid="c"))
    behind = payload.partition(dialect.ok_mark)[2]
    found = int.from_bytes(behind[:4]) if encoding == "msgpack" else int(behind[:10])
    assert found == FIRST_ID + 5


@ENCODINGS
def test_an_error_bears_its_mark(encoding: str) -> None:
    """A refusal is never taken for something else."""
    refused = Refused(ErrorCode.BUSY, "full", request_id=FIRST_ID)
    payload = CODECS[encoding].encode(error(refused))
    assert PARLEY[encoding].error_mark in payload
    assert PARLEY[encoding].ok_mark not in payload


def test_a_plain_frame_has_the_size_asked_for_and_room_for_the_time() -> None:
    """The yardstick moves as many bytes as what it is held against."""
    send = plain_connection(greeting=b"GET", payload_bytes=245).send
    frame = bytearray(send.frame)
    patch(frame, send.time_at, send.mask_at, b"1" * TIME_DIGITS)
    taken = parse_masked_frame(bytes(frame), 0, 65536)
    assert isinstance(taken, tuple)
    assert len(taken[0]) == 245
    assert taken[0].startswith(TIME_MARK + b"1" * TIME_DIGITS + b".")
