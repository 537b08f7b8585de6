"""PURE: what the measuring client sends, as bytes: one script for a whole run.

Python knows the protocol, the client knows sockets and clocks. A script holds every connection's handshake
and requests with a mark to find in each answer, and one frame to send whose time, `cid` and `id` are digits
of fixed width, so that the client patches them in place. The format is little-endian: `u32` numbers, and
byte strings as a `u32` length and the bytes; `client.c` (`load`) reads the same fields in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAGIC: Final = b"PBENCH02"
NONE: Final = 0xFFFF_FFFF
"""No such place in a frame."""
TIME_MARK: Final = b"@ts:"
"""Stands in a body before the due time: nineteen digits, nanoseconds of CLOCK_MONOTONIC."""
TIME_DIGITS: Final = 19
CID_DIGITS: Final = 12
ID_DIGITS: Final = 10
FIRST_ID: Final = 1_000_000_000
"""Ids of sends count from here: four bytes in msgpack, ten digits in JSON, whatever is added."""
_NUMBER_BYTES: Final = 4


class IdKind(IntEnum):
    """How a send's id stands in frames, for the client to write and to read."""

    NONE = 0
    BINARY = 1
    DIGITS = 2


class SeqKind(IntEnum):
    """How an event's seq follows its mark."""

    NONE = 0
    MSGPACK = 1
    DIGITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a server's frames are told apart, and where its numbers are.

    Attributes:
        ok_mark: directly followed by the id of the send that is answered; empty: sends are not answered.
        error_mark: in every error.
        seq_mark: directly followed by an event's seq; empty: there is none.
        delimiter: empty: every data frame is one message. Otherwise frames are pieces of a stream, each of
            whose messages ends with this.
        ping: a whole message, always answered at once with `pong`; empty: the server sends none.
        pong: a whole client frame.
    """

    id_kind: IdKind
    seq_kind: SeqKind
    ok_mark: bytes
    error_mark: bytes
    seq_mark: bytes
    delimiter: bytes = b""
    ping: bytes = b""
    pong: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Bytes to send, and what the frame that ends the step holds."""

    sent: bytes
    mark: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFrame:
    """A whole masked frame, and where in it the digits and the masking key are (`NONE`: nowhere)."""

    frame: bytes
    time_at: int
    cid_at: int
    id_at: int
    mask_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection: the room that it is counted in, its steps (the handshake first), its sends."""

    room: int
    steps: Sequence[Step]
    send: SendFrame


def render_script(dialect: Dialect, connections: Sequence[Connection]) -> bytes:
    """The whole script. Rooms are numbered from 0 without a hole."""
    rooms = 1 + max(connection.room for connection in connections)
    parts = [
        MAGIC,
        _numbers(len(connections), rooms, dialect.id_kind, dialect.seq_kind),
        *map(_blob, (TIME_MARK, dialect.ok_mark, dialect.error_mark, dialect.seq_mark)),
        *map(_blob, (dialect.delimiter, dialect.ping, dialect.pong)),
    ]
    for connection in connections:
        parts.append(_numbers(connection.room, len(connection.steps)))
        for step in connection.steps:
            parts += (_blob(step.sent), _blob(step.mark))
        send = connection.send
        parts.append(_blob(send.frame))
        parts.append(_numbers(send.time_at, send.cid_at, send.id_at, send.mask_at))
    return b"".join(parts)


def read_script(data: bytes) -> tuple[Dialect, Sequence[Connection]]:
    """The opposite of `render_script`.

    Raises:
        ValueError: it is no script, or is cut short.
    """
    if not data.startswith(MAGIC):
        raise ValueError("not a script")
    reader = _Reader(data, len(MAGIC))
    count, _rooms, id_kind, seq_kind = (reader.number() for _ in range(4))
    _time_mark, ok_mark, error_mark, seq_mark = (reader.blob() for _ in range(4))
    delimiter, ping, pong = (reader.blob() for _ in range(3))
    dialect = Dialect(
        id_kind=IdKind(id_kind),
        seq_kind=SeqKind(seq_kind),
        ok_mark=ok_mark,
        error_mark=error_mark,
        seq_mark=seq_mark,
        delimiter=delimiter,
        ping=ping,
        pong=pong,
    )
    return dialect, [reader.connection() for _ in range(count)]


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def number(self) -> int:
        return int.from_bytes(self._take(_NUMBER_BYTES), "little")

    def blob(self) -> bytes:
        return self._take(self.number())

    def connection(self) -> Connection:
        room, steps = self.number(), self.number()
        return Connection(
            room=room,
            steps=[Step(sent=self.blob(), mark=self.blob()) for _ in range(steps)],
            send=SendFrame(
                frame=self.blob(),
                time_at=self.number(),
                cid_at=self.number(),
                id_at=self.number(),
                mask_at=self.number(),
            ),
        )

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise ValueError("the script is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken


def _numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(_NUMBER_BYTES, "little") for value in values)


def _blob(data: bytes) -> bytes:
    return _numbers(len(data)) + data
