"""PURE: how the peers are spoken to: their dialects, and what a connection of each says.

Every message has the same body as Parley's (`message_body`), in the envelope that the product brings along or,
where it brings none, in the JSON that its users write.
"""

import json
from collections.abc import Mapping
from typing import Final

from scripts.bench.dialects import (
    UPGRADED,
    client_frame,
    frame_to_send,
    handshake,
    message_body,
)
from scripts.bench.script import FIRST_ID, Connection, Dialect, IdKind, SendFrame, SeqKind, Step

_ID: Final = str(FIRST_ID).encode("ascii")


def dialect(
    *,
    ok_mark: bytes = b"",
    error_mark: bytes = b"",
    delimiter: bytes = b"",
    ping: bytes = b"",
    pong: bytes = b"",
) -> Dialect:
    """Of a server whose events have no number; sends have an id, in digits, where there is a mark of answers."""
    return Dialect(
        id_kind=IdKind.DIGITS if ok_mark else IdKind.NONE,
        seq_kind=SeqKind.NONE,
        ok_mark=ok_mark,
        error_mark=error_mark,
        seq_mark=b"",
        delimiter=delimiter,
        ping=ping,
        pong=pong,
    )


JSON_ROOMS: Final = dialect(error_mark=b'"error"')
"""Of servers on bare WebSocket libraries (ws, websockets): JSON in text frames, no answer to a message."""

SOCKET_IO: Final = dialect(
    ok_mark=b"43",
    error_mark=b"44{",
    ping=b"2",
    pong=client_frame(b"3", text=True),
)
"""Engine.IO 4 and Socket.IO 5: heartbeats are text messages, an acknowledgement is `43`, its id and arguments."""


def room_name(room: int) -> str:
    """What a room is called at every peer."""
    return f"room-{room}"


def json_rooms_connection(host: str, port: int, *, index: int, room: int) -> Connection:
    """Somebody at a server on a bare WebSocket library."""
    join = {"type": "join", "room": room_name(room), "name": f"bench {index}"}
    return Connection(
        room=room,
        steps=(
            Step(sent=handshake(host, port, None), mark=UPGRADED),
            Step(sent=client_frame(_json(join), text=True), mark=b'"joined"'),
        ),
        send=_send({"type": "message", "body": message_body()}, b""),
    )


def socket_io_connection(host: str, port: int, *, index: int, room: int) -> Connection:
    """Somebody at a Socket.IO server, in JavaScript or Python."""
    join = _json(["join", {"room": room_name(room), "name": f"bench {index}"}])
    return Connection(
        room=room,
        steps=(
            Step(sent=handshake(host, port, None, path="/socket.io/?EIO=4&transport=websocket"), mark=UPGRADED),
            Step(sent=client_frame(b"40", text=True), mark=b'40{"sid"'),
            Step(sent=client_frame(b"420" + join, text=True), mark=b"430["),
        ),
        send=_send(["message", {"body": message_body()}], b"42" + _ID),
    )


def _send(message: Mapping[str, str] | list[object], head: bytes) -> SendFrame:
    payload = head + _json(message)
    return frame_to_send(payload, text=True, id_at=payload.index(_ID) if head else None)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
