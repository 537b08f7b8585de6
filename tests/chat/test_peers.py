"""An envelope for many connections is encoded once an encoding."""

import pytest

from chat.codec import JSON, MSGPACK, Codec
from chat.peers import Broadcast


@pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=["msgpack", "json"])
@pytest.mark.parametrize("size", [1, 200, 70_000])
def test_a_frame_carries_the_payload_in_its_encoding(codec: Codec, size: int) -> None:
    """A frame is final, unmasked, text for JSON and binary for msgpack, and ends with the payload."""
    envelope = {"t": "event", "body": "x" * size}
    message = Broadcast(envelope)
    frame = message.frame(codec.index)

    assert frame[0] == (0x81 if codec.is_text else 0x82)
    assert frame.endswith(message.payload(codec.index))
    assert codec.decode_envelope(message.payload(codec.index)) == envelope


@pytest.mark.parametrize("index", [0, 1])
def test_each_encoding_is_made_once(index: int) -> None:
    """Asked again, a broadcast gives the same bytes object."""
    message = Broadcast({"t": "event"})

    assert message.frame(index) is message.frame(index)
    assert message.payload(index) is message.payload(index)
