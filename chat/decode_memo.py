"""Many clients in one process: the same bytes are decoded once.

A broadcast is one sequence of bytes for every connection (docs/protocol.md 1), so a tool that holds hundreds
of members of one room would decode every message hundreds of times.
"""

from collections.abc import Callable

from chat.client_state import Envelope


class DecodeMemo:
    """A decoder that remembers; envelopes are shared, so nobody may change one.

    Args:
        decode: of the encoding.
        size: payloads remembered at least; at most twice as many are.
    """

    __slots__ = ("_decode", "_new", "_old", "_size")

    def __init__(self, decode: Callable[[bytes], Envelope], *, size: int = 4096) -> None:
        if size < 1:
            raise ValueError("size must be at least 1")
        self._decode = decode
        self._size = size
        self._new: dict[bytes, Envelope] = {}
        self._old: dict[bytes, Envelope] = {}

    def __call__(self, payload: bytes) -> Envelope:
        """A payload's envelope; raises what the decoder raises."""
        envelope = self._new.get(payload)
        if envelope is None:
            envelope = self._old.get(payload)
            if envelope is None:
                envelope = self._decode(payload)
            if len(self._new) >= self._size:
                # Two generations: what was not seen for a whole one is forgotten, without any bookkeeping.
                self._old, self._new = self._new, {}
            self._new[payload] = envelope
        return envelope
