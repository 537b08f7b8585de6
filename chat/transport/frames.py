"""PURE: WebSocket frames (RFC 6455 section 5) as the server writes and reads them.

Only what the short cut needs: whole unmasked frames out, whole masked unfragmented data frames in,
and the header of any other frame, so that its bytes can be passed to wsproto uncut.
"""

from enum import Enum
from typing import Final

FIN: Final = 0x80
OPCODE_BITS: Final = 0x0F
OP_CONTINUATION: Final = 0x0
OP_TEXT: Final = 0x1
OP_BINARY: Final = 0x2
OP_CLOSE: Final = 0x8
OP_PING: Final = 0x9
OP_PONG: Final = 0xA

PING_FRAME: Final = bytes((FIN | OP_PING, 0))
"""An empty ping, the same bytes for every connection; a pong (or anything else) answers it."""

_FINAL_TEXT: Final = FIN | OP_TEXT
_FINAL_BINARY: Final = FIN | OP_BINARY
_FINAL_CLOSE: Final = FIN | OP_CLOSE
_FINAL_PING: Final = FIN | OP_PING
_FINAL_PONG: Final = FIN | OP_PONG
_RESERVED_BITS: Final = 0x70
_MASK: Final = 0x80
_LENGTH_BITS: Final = 0x7F
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_MAX_7: Final = 125
_MAX_16: Final = 0xFFFF
_MAX_64: Final = (1 << 63) - 1
_HEADERS_KEPT: Final = 2048
"""Headers up to this payload size are made once: two tables of about 100 KB together."""


def _header(first: int, size: int) -> bytes:
    """The shortest header of an unmasked frame (RFC 6455 5.2)."""
    if size <= _MAX_7:
        return bytes((first, size))
    if size <= _MAX_16:
        return bytes((first, _LENGTH_16, size >> 8, size & 0xFF))
    return bytes((first, _LENGTH_64)) + size.to_bytes(8, "big")


_TEXT_HEADERS: Final = tuple(_header(_FINAL_TEXT, size) for size in range(_HEADERS_KEPT))
_BINARY_HEADERS: Final = tuple(_header(_FINAL_BINARY, size) for size in range(_HEADERS_KEPT))
_REASON_MAX_BYTES: Final = 123
_OPCODES: Final = frozenset((OP_CONTINUATION, OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG))

# Below this many bytes one wide integer XOR is fastest (0.5 us at 100 bytes against 1.0), above it
# four strided table look-ups are (71 us at 65,000 bytes against 180): measured on CPython 3.11.
_TABLES_FROM_BYTES: Final = 700
_XOR_TABLES: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))


class Verdict(Enum):
    """Why no frame was returned."""

    NEED_MORE = "need_more"
    """The bytes so far are a proper beginning; nothing was decided."""
    NOT_MINE = "not_mine"
    """Not a frame for the short cut: wsproto gets its bytes untouched."""


def build_frame(payload: bytes, *, text: bool) -> bytes:
    """Return one unmasked final TEXT or BINARY frame (RFC 6455 5.2), length in its shortest form.

    Args:
        payload: 0 to 2**63 - 1 bytes; for `text`, UTF-8 (the caller's promise, not checked).
        text: The opcode, TEXT or BINARY.
    """
    size = len(payload)
    if size < _HEADERS_KEPT:
        return (_TEXT_HEADERS if text else _BINARY_HEADERS)[size] + payload
    return _header(_FINAL_TEXT if text else _FINAL_BINARY, size) + payload


def build_pong(payload: bytes) -> bytes:
    """The answer to a ping: its payload, at most 125 bytes (RFC 6455 5.5.3)."""
    return bytes((FIN | OP_PONG, len(payload))) + payload


def build_close(code: int, reason: str = "") -> bytes:
    """A server's close frame (RFC 6455 5.5.1).

    Args:
        code: 1000-4999.
        reason: What does not fit into 123 bytes of UTF-8 is cut off, at a character's end.
    """
    said = reason.encode()[:_REASON_MAX_BYTES].decode(errors="ignore").encode()
    return bytes((_FINAL_CLOSE, 2 + len(said))) + code.to_bytes(2) + said


def is_close_frame(data: bytes) -> bool:
    """Tell whether `data`, a whole server frame, is a close frame: no frame may follow it."""
    return data[0] == _FINAL_CLOSE if data else False


def unmask(buffer: bytes, start: int, size: int) -> bytes:
    """Return the `size` payload bytes at `start`, unmasked by the 4 key bytes just before them."""
    key = buffer[start - 4 : start]
    if size < _TABLES_FROM_BYTES:
        wide = (key * ((size + 3) >> 2))[:size]
        masked = int.from_bytes(buffer[start : start + size], "little")
        return (masked ^ int.from_bytes(wide, "little")).to_bytes(size, "little")
    payload = bytearray(buffer[start : start + size])
    for lane, byte in enumerate(key):
        payload[lane::4] = payload[lane::4].translate(_XOR_TABLES[byte])
    return bytes(payload)


def parse_masked_frame(buffer: bytes, offset: int, max_bytes: int) -> tuple[bytes, int, bool] | Verdict:
    """Take one complete data frame at `offset`, if it is one that the short cut may take.

    Args:
        buffer: Received bytes; `offset` is a frame boundary in them.
        offset: Where the frame begins, 0 to len(buffer).
        max_bytes: The largest payload taken.

    Returns:
        `(payload, end, is_text)`, `end` being the offset after the frame, for a final, masked TEXT
        or BINARY frame without reserved bits, of minimal length encoding and at most `max_bytes`.
        NEED_MORE when the bytes so far could become one. NOT_MINE for everything else, decided from
        the header alone: control, fragment, reserved bits, unknown opcode, unmasked, oversize,
        length not minimal. UTF-8 is not checked: that is the decoder's.
    """
    size = len(buffer)
    if size - offset < 2:  # noqa: PLR2004  the fixed part of a header
        if size > offset and buffer[offset] not in (_FINAL_TEXT, _FINAL_BINARY):
            return Verdict.NOT_MINE
        return Verdict.NEED_MORE
    first = buffer[offset]
    if first not in (_FINAL_TEXT, _FINAL_BINARY):
        return Verdict.NOT_MINE
    length = buffer[offset + 1] - _MASK
    start = offset + 6
    if length > _MAX_7:
        start = offset + (8 if length == _LENGTH_16 else 14)
        if size < start:
            return _judge_beginning(buffer, offset, max_bytes)
        length = int.from_bytes(buffer[offset + 2 : start - 4], "big")
        if length <= (_MAX_7 if start == offset + 8 else _MAX_16):
            return Verdict.NOT_MINE
    if length < 0 or length > max_bytes:
        return Verdict.NOT_MINE
    end = start + length
    if size < end:
        return Verdict.NEED_MORE
    return unmask(buffer, start, length), end, first == _FINAL_TEXT


def parse_masked_control(buffer: bytes, offset: int) -> tuple[int, bytes, int] | None:
    """Take one complete ping or pong at `offset`, if it is a proper one.

    Returns:
        `(opcode, payload, end)`; None for everything else, also for one that is not complete.
    """
    if len(buffer) - offset < 6 or buffer[offset] not in (_FINAL_PING, _FINAL_PONG):  # noqa: PLR2004  a header
        return None
    length = buffer[offset + 1] - _MASK
    end = offset + 6 + length
    if not 0 <= length <= _MAX_7 or end > len(buffer):
        return None
    return buffer[offset] & OPCODE_BITS, unmask(buffer, offset + 6, length), end


def holds_close(data: bytes) -> bool:
    """Tell whether a client's frames, all whole but maybe the last, hold a close or what is no frame."""
    offset = 0
    while offset < len(data):
        header = parse_header(data, offset)
        if header is Verdict.NEED_MORE:
            return False
        if not isinstance(header, tuple) or header[0] == _FINAL_CLOSE:
            return True
        _, start, length = header
        offset = start + length
    return False


def _judge_beginning(buffer: bytes, offset: int, max_bytes: int) -> Verdict:
    """Decide on a long frame whose key has not arrived: its length may already rule it out."""
    header = parse_header(buffer, offset)
    if header is Verdict.NEED_MORE:
        return Verdict.NEED_MORE
    if isinstance(header, tuple) and header[2] <= max_bytes:
        return Verdict.NEED_MORE
    return Verdict.NOT_MINE


def parse_header(buffer: bytes, offset: int) -> tuple[int, int, int] | Verdict:
    """Read the header at `offset` of any frame a client may legally send.

    Returns:
        `(first, start, length)`: the first byte, the offset of the payload (which may not have
        arrived, nor the key before it) and the payload's length. NEED_MORE while the length is not
        known. NOT_MINE when RFC 6455 forbids the frame (reserved bits, unknown opcode, unmasked,
        length not minimal or above 63 bits, control frame fragmented or over 125 bytes): the
        connection is going to fail, and framing after this point means nothing.
    """
    size = len(buffer) - offset
    if size <= 0:
        return Verdict.NEED_MORE
    first = buffer[offset]
    opcode = first & OPCODE_BITS
    if first & _RESERVED_BITS or opcode not in _OPCODES:
        return Verdict.NOT_MINE
    if opcode >= OP_CLOSE and not first & FIN:
        return Verdict.NOT_MINE
    if size == 1:
        return Verdict.NEED_MORE
    second = buffer[offset + 1]
    length = second & _LENGTH_BITS
    if not second & _MASK or (opcode >= OP_CLOSE and length > _MAX_7):
        return Verdict.NOT_MINE
    if length <= _MAX_7:
        return first, offset + 6, length
    width, least = (2, _MAX_7 + 1) if length == _LENGTH_16 else (8, _MAX_16 + 1)
    if size < 2 + width:
        return Verdict.NEED_MORE
    length = int.from_bytes(buffer[offset + 2 : offset + 2 + width], "big")
    if not least <= length <= _MAX_64:
        return Verdict.NOT_MINE
    return first, offset + 2 + width + 4, length
