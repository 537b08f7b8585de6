"""PURE: the frames of the servers that are measured: how to come in, to send, to tell answers apart."""

from collections.abc import Mapping
from typing import Final

from chat.codec import JSON, MSGPACK, Codec
from scripts.bench.script import (
    CID_DIGITS,
    FIRST_ID,
    NONE,
    TIME_DIGITS,
    TIME_MARK,
    Connection,
    Dialect,
    IdKind,
    SendFrame,
    SeqKind,
    Step,
)

BODY_BYTES: Final = 85
"""Of every message: what people write."""
UPGRADED: Final = b"HTTP/1.1 101"
"""In the answer to a handshake."""
CID: Final = "0" * CID_DIGITS
"""An idempotency key whose digits are patched."""
_HELLO_ID: Final = 1
_JOIN_ID: Final = 2
_MASK: Final = b"\x5a\xc3\x96\x3c"
"""Any key will do: the server's work does not depend on it, and no proxy is between us."""
_MAX_7: Final = 125

PARLEY: Final[Mapping[str, Dialect]] = {
    "msgpack": Dialect(
        id_kind=IdKind.BINARY,
        seq_kind=SeqKind.MSGPACK,
        ok_mark=b"\xa1t\xa2ok\xa2id\xce",
        error_mark=b"\xa1t\xa5error",
        seq_mark=b"\xa3seq",
    ),
    "json": Dialect(
        id_kind=IdKind.DIGITS,
        seq_kind=SeqKind.DIGITS,
        ok_mark=b'"t":"ok","id":',
        error_mark=b'"t":"error"',
        seq_mark=b'"seq":',
    ),
}
"""Parley's own, by encoding. The marks lean on the order in which the server writes its fields."""

PLAIN: Final = Dialect(id_kind=IdKind.NONE, seq_kind=SeqKind.NONE, ok_mark=b"", error_mark=b"", seq_mark=b"")
"""Of a server that gives every frame to everybody and answers nothing."""

_CODECS: Final[Mapping[str, Codec]] = {"msgpack": MSGPACK, "json": JSON}


def request_frame(encoding: str, envelope: Mapping[str, object]) -> bytes:
    """A request of Parley's as a whole frame."""
    codec = _CODECS[encoding]
    return client_frame(codec.encode(envelope), text=codec.is_text)


def client_frame(payload: bytes, *, text: bool) -> bytes:
    """One masked final frame (RFC 6455 5.2).

    Args:
        payload: up to 65,535 bytes.
        text: the opcode, TEXT or BINARY.
    """
    size = len(payload)
    first = 0x81 if text else 0x82
    length = bytes((0x80 | size,)) if size <= _MAX_7 else bytes((0x80 | 126,)) + size.to_bytes(2)
    return bytes((first,)) + length + _MASK + bytes(byte ^ _MASK[i & 3] for i, byte in enumerate(payload))


def handshake(host: str, port: int, subprotocol: str | None, *, path: str = "/ws") -> bytes:
    """The upgrade request."""
    offer = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n"
    ).encode("ascii")


def parley_handshake(host: str, port: int, encoding: str) -> bytes:
    """The upgrade request of Parley in one encoding."""
    return handshake(host, port, _CODECS[encoding].subprotocol)


def parley_connection(encoding: str, *, greeting: bytes, index: int, room: int, prefix: str) -> Connection:
    """A guest who joins one room and may send to it.

    Args:
        encoding: "msgpack" or "json".
        greeting: the handshake, the same bytes for everybody.
        index: the connection's number; part of the guest's name.
        room: the room's number; part of its name.
        prefix: of room names, new for every run against the same database.
    """
    name = f"{prefix}-{room}"
    hello = request_frame(encoding, {"t": "hello", "id": _HELLO_ID, "guest": f"bench {index}"})
    join = request_frame(encoding, {"t": "join", "id": _JOIN_ID, "room": name, "create": True, "limit": 1})
    return Connection(
        room=room,
        steps=(
            Step(sent=greeting, mark=UPGRADED),
            Step(sent=hello, mark=b"welcome"),
            Step(sent=join, mark=b"snapshot"),
        ),
        send=request_to_send(encoding, "send", room=name, cid=CID, body=message_body()),
    )


def plain_connection(*, greeting: bytes, payload_bytes: int, room: int = 0) -> Connection:
    """Somebody on a server that gives every frame to everybody in the room.

    Args:
        greeting: the handshake.
        room: the room's number, that the handshake names.
        payload_bytes: of the frames sent and received; what Parley's events have, to compare like with like.
    """
    payload = message_body(payload_bytes).encode("ascii")
    return Connection(
        room=room, steps=(Step(sent=greeting, mark=UPGRADED),), send=frame_to_send(payload, text=True)
    )


def message_body(size: int = BODY_BYTES) -> str:
    """A body of that many characters with room for the time in it."""
    return (TIME_MARK.decode() + "0" * TIME_DIGITS).ljust(size, ".")


def frame_to_send(
    payload: bytes, *, text: bool, id_at: int | None = None, cid_at: int | None = None
) -> SendFrame:
    """The frame of a message.

    Args:
        payload: with a body in it from `message_body`, or with none: then no time is patched in.
        text: the opcode, TEXT or BINARY.
        id_at: where in the payload the id is; None: nowhere.
        cid_at: the same for the idempotency key.
    """
    frame = client_frame(payload, text=text)
    start = len(frame) - len(payload)
    return SendFrame(
        frame=frame,
        time_at=NONE if TIME_MARK not in payload else start + payload.index(TIME_MARK) + len(TIME_MARK),
        cid_at=NONE if cid_at is None else start + cid_at,
        id_at=NONE if id_at is None else start + id_at,
        mask_at=start - len(_MASK),
    )


def request_to_send(encoding: str, t: str, **fields: object) -> SendFrame:
    """The frame of a request of Parley's.

    Args:
        encoding: "msgpack" or "json".
        t: of the request.
        fields: the others; a `cid` is `CID`, to be patched.
    """
    codec = _CODECS[encoding]
    payload = codec.encode({"t": t, "id": FIRST_ID, **fields})
    id_mark = b'"id":' if codec.is_text else b"\xa2id\xce"
    cid_mark = b'"cid":"' if codec.is_text else bytes((0xA3,)) + b"cid" + bytes((0xA0 | CID_DIGITS,))
    return frame_to_send(
        payload,
        text=codec.is_text,
        id_at=payload.index(id_mark) + len(id_mark),
        cid_at=None if "cid" not in fields else payload.index(cid_mark) + len(cid_mark),
    )
