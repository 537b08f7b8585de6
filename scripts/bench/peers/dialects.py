"""PURE: how the peers are spoken to: their dialects, and what a connection of each says.

Every message has the same body as Parley's (`message_body`), in the envelope that the product brings along
or, where it brings none, in the JSON that its users write.
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
    """Of a server whose events have no number; its sends have an id, in digits, where it has `ok_mark`."""
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
"""Engine.IO 4 and Socket.IO 5: heartbeats are text messages, an acknowledgement is `43`, an id, arguments."""

NATS: Final = dialect(
    error_mark=b"-ERR",
    delimiter=b"\r\n",
    ping=b"PING",
    pong=client_frame(b"PONG\r\n", text=False),
)
"""Lines in a stream that frames cut anywhere: a message is two lines, of which the second is its payload."""

XMPP: Final = dialect(error_mark=b"type='error'")
"""RFC 7395: each stanza in a frame of its own."""

_XMPP_HOST: Final = "localhost"
_MUC: Final = f"conference.{_XMPP_HOST}"


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
            Step(
                sent=handshake(host, port, None, path="/socket.io/?EIO=4&transport=websocket"), mark=UPGRADED
            ),
            Step(sent=client_frame(b"40", text=True), mark=b'40{"sid"'),
            Step(sent=client_frame(b"420" + join, text=True), mark=b"430["),
        ),
        send=_send(["message", {"body": message_body()}], b"42" + _ID),
    )


def nats_connection(host: str, port: int, *, index: int, room: int) -> Connection:
    """Somebody at a NATS server, whose subject is the room."""
    subject, body = room_name(room), message_body()
    options = {"verbose": False, "pedantic": False, "protocol": 1, "echo": True, "name": f"bench {index}"}
    hello = b"CONNECT %b\r\nSUB %b 1\r\nPING\r\n" % (_json(options), subject.encode("ascii"))
    return Connection(
        room=room,
        steps=(
            Step(sent=handshake(host, port, None), mark=UPGRADED),
            Step(sent=client_frame(hello, text=False), mark=b"PONG"),
        ),
        send=frame_to_send(f"PUB {subject} {len(body)}\r\n{body}\r\n".encode("ascii"), text=False),
    )


def xmpp_connection(host: str, port: int, *, index: int, room: int) -> Connection:
    """Somebody at an XMPP server: an anonymous session, and the multi-user chat (XEP-0045) of the room."""
    address = f"{room_name(room)}@{_MUC}"
    begin = f"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{_XMPP_HOST}' version='1.0'/>"
    authenticate = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>"
    bind = (
        "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
    )
    join = (
        f"<presence xmlns='jabber:client' to='{address}/bench {index}'>"
        "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
    )
    message = (
        f"<message xmlns='jabber:client' to='{address}' type='groupchat' id='m1'>"
        f"<body>{message_body()}</body></message>"
    )
    said = (
        (begin, b"</mechanisms>"),
        (authenticate, b"<success"),
        (begin, b"xmpp-bind"),
        (bind, b"<jid>"),
        (join, b"<subject"),
    )
    return Connection(
        room=room,
        steps=(
            Step(sent=handshake(host, port, "xmpp"), mark=UPGRADED),
            *(Step(sent=client_frame(text.encode("ascii"), text=True), mark=mark) for text, mark in said),
        ),
        send=frame_to_send(message.encode("ascii"), text=True),
    )


def _send(message: Mapping[str, str] | list[object], head: bytes) -> SendFrame:
    payload = head + _json(message)
    return frame_to_send(payload, text=True, id_at=payload.index(_ID) if head else None)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
