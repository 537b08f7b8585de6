"""Equal payloads are decoded once, and the memory for it is bounded."""

import pytest

from chat.client_state import Envelope
from chat.decode_memo import DecodeMemo


def test_equal_payloads_share_an_envelope() -> None:
    """The second reader of a broadcast pays nothing, and one that came between is still known."""
    decoded: list[bytes] = []

    def decode(payload: bytes) -> Envelope:
        decoded.append(payload)
        return {"t": payload.decode()}

    memo = DecodeMemo(decode, size=2)
    first = memo(b"a")
    assert [memo(payload) for payload in (b"b", b"c", b"a")][2] is first
    assert decoded == [b"a", b"b", b"c"]


def test_what_is_not_seen_again_is_forgotten() -> None:
    """After two generations a payload is decoded anew."""
    decoded: list[bytes] = []

    def decode(payload: bytes) -> Envelope:
        decoded.append(payload)
        return {}

    memo = DecodeMemo(decode, size=1)
    for payload in (b"a", b"b", b"c", b"a"):
        memo(payload)
    assert decoded == [b"a", b"b", b"c", b"a"]


def test_a_size_of_nothing_is_refused() -> None:
    """A memo that remembers nothing is a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        DecodeMemo(lambda _payload: {}, size=0)
