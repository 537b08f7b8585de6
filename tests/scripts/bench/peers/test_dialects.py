"""What is said to the peers, taken apart the way that each of them does."""

import json
from xml.etree import ElementTree as ET

import pytest

from chat.transport.frames import parse_masked_frame
from scripts.bench.peers.catalogue import PEERS, Peer
from scripts.bench.peers.dialects import (
    NATS,
    SOCKET_IO,
    json_rooms_connection,
    nats_connection,
    socket_io_connection,
    xmpp_connection,
)
from scripts.bench.script import FIRST_ID, TIME_DIGITS, TIME_MARK, Connection, IdKind
from scripts.bench.slow_frames import patch

EVERY_PEER = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
TIME = b"1234567890123456789"


def _payload(frame: bytes) -> bytes:
    taken = parse_masked_frame(frame, 0, 65536)
    assert isinstance(taken, tuple)
    payload, end, _is_text = taken
    assert end == len(frame)
    return bytes(payload)


def _patched(connection: Connection, number: int) -> bytes:
    frame = bytearray(connection.send.frame)
    patch(frame, connection.send.time_at, connection.send.mask_at, TIME)
    patch(frame, connection.send.id_at, connection.send.mask_at, b"%d" % number)
    return _payload(bytes(frame))


@EVERY_PEER
def test_a_send_carries_the_body_that_parleys_do_with_the_time_in_it(peer: Peer) -> None:
    """The same 85 characters for everybody."""
    sent = _patched(peer.connect("127.0.0.1", 80, index=7, room=3), FIRST_ID + 5)
    at = sent.index(TIME_MARK)
    body = sent[at : at + 85]
    assert body == TIME_MARK + TIME + b"." * (85 - len(TIME_MARK) - TIME_DIGITS)


@EVERY_PEER
def test_the_room_that_is_counted_is_the_room_that_is_named(peer: Peer) -> None:
    """Two connections of a room say the same name of it, and no other one's."""
    connections = [peer.connect("127.0.0.1", 80, index=index, room=3) for index in (1, 2)]
    assert {connection.room for connection in connections} == {3}
    for connection in connections:
        said = b"".join(_payload(step.sent) for step in connection.steps[1:]) + _patched(connection, FIRST_ID)
        assert b"room-3" in said


@EVERY_PEER
def test_a_connection_begins_with_the_handshake(peer: Peer) -> None:
    """The client looks for its answer in the head of a response, not in a frame."""
    first = peer.connect("127.0.0.1", 80, index=7, room=3).steps[0]
    assert first.sent.startswith(b"GET /")
    assert first.sent.endswith(b"\r\n\r\n")
    assert first.mark == b"HTTP/1.1 101"


def test_socket_io_is_sent_an_event_that_asks_for_an_acknowledgement() -> None:
    """`42`, the id, then the event's name and its argument; the answer has the same id behind `43`."""
    sent = _patched(socket_io_connection("h", 80, index=7, room=3), FIRST_ID + 5)
    assert sent.startswith(b"42%d[" % (FIRST_ID + 5))
    name, argument = json.loads(sent[12:])
    assert (name, list(argument)) == ("message", ["body"])
    answer = b"43%d[]" % (FIRST_ID + 5)
    assert answer.startswith(SOCKET_IO.ok_mark)
    assert SOCKET_IO.id_kind is IdKind.DIGITS


def test_socket_io_heartbeats_are_answered_in_kind() -> None:
    """Engine.IO's ping is a text message, and so is the pong."""
    assert SOCKET_IO.ping == b"2"
    assert _payload(SOCKET_IO.pong) == b"3"


def test_a_server_on_a_bare_library_is_sent_json() -> None:
    """A join with room and name, then messages."""
    connection = json_rooms_connection("h", 80, index=7, room=3)
    assert json.loads(_payload(connection.steps[1].sent)) == {
        "type": "join",
        "room": "room-3",
        "name": "bench 7",
    }
    assert set(json.loads(_patched(connection, 0))) == {"type", "body"}


def test_nats_is_told_the_size_of_what_is_published() -> None:
    """A line with subject and size, then as many bytes and a line's end."""
    line, _, rest = _patched(nats_connection("h", 80, index=7, room=3), 0).partition(b"\r\n")
    command, subject, size = line.split()
    assert (command, subject) == (b"PUB", b"room-3")
    assert len(rest) == int(size) + len(NATS.delimiter)
    assert rest.endswith(NATS.delimiter)


def test_xmpp_is_sent_well_formed_stanzas() -> None:
    """One element a frame; the last step is the presence in the room, the send a message to it."""
    connection = xmpp_connection("h", 80, index=7, room=3)
    stanzas = [
        ET.fromstring(_payload(step.sent))  # noqa: S314  our own text
        for step in connection.steps[1:]
    ]
    assert [stanza.tag.rpartition("}")[2] for stanza in stanzas] == ["open", "auth", "open", "iq", "presence"]
    assert stanzas[-1].get("to") == "room-3@conference.localhost/bench 7"
    message = ET.fromstring(_patched(connection, 0))  # noqa: S314  our own text
    assert (message.get("to"), message.get("type")) == ("room-3@conference.localhost", "groupchat")
