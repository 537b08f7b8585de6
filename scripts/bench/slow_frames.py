"""PURE: what the client in Python does with bytes and durations; client.c does the same."""

from collections.abc import Sequence
from math import ceil
from typing import Final

from scripts.bench.measured import Quantiles
from scripts.bench.script import NONE, Dialect, SeqKind

_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_MSGPACK_WIDTHS: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def patch(frame: bytearray, at: int, mask_at: int, plain: bytes) -> None:
    """Overwrite a part of a masked frame.

    Args:
        frame: changed in place.
        at: where; `NONE`: nowhere.
        mask_at: of the masking key, whose end is the payload's beginning; `NONE`: the frame is not masked.
        plain: the new bytes, unmasked.
    """
    if at == NONE:
        return
    for offset, byte in enumerate(plain, at):
        key = 0 if mask_at == NONE else frame[mask_at + ((offset - mask_at - 4) & 3)]
        frame[offset] = byte ^ key


def take_frame(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Opcode, payload and end of the server's frame at `at`; None while it is not whole."""
    if len(data) - at < 2:  # noqa: PLR2004  the fixed part of a header
        return None
    size = data[at + 1] & 0x7F
    start = at + 2
    if size == _LENGTH_16:
        start, size = at + 4, int.from_bytes(data[at + 2 : at + 4])
    elif size == _LENGTH_64:
        start, size = at + 10, int.from_bytes(data[at + 2 : at + 10])
    end = start + size
    return (data[at] & 0x0F, data[start:end], end) if end <= len(data) else None


def read_seq(dialect: Dialect, payload: bytes) -> int:
    """The seq behind its mark; 0 where there is none."""
    at = payload.find(dialect.seq_mark) + len(dialect.seq_mark)
    if at < len(dialect.seq_mark):
        return 0
    if dialect.seq_kind is SeqKind.MSGPACK:
        width = _MSGPACK_WIDTHS.get(payload[at], 0)
        return int.from_bytes(payload[at + 1 : at + 1 + width]) if width else payload[at]
    end = at
    while payload[end : end + 1].isdigit():
        end += 1
    return int(payload[at:end] or b"0")


def summarise(values: Sequence[int]) -> Quantiles:
    """The quantiles of durations in nanoseconds; zeros of nothing."""
    ordered = sorted(values) or [0]

    def at(q: float) -> int:
        return ordered[max(0, ceil(len(ordered) * q) - 1)]

    return Quantiles(
        count=len(values),
        p50_ns=at(0.5),
        p90_ns=at(0.9),
        p99_ns=at(0.99),
        p999_ns=at(0.999),
        max_ns=ordered[-1],
    )
