"""What bad frames get (RFC 6455, protocol.md 1 and 7).

A frame that is no envelope costs an error, one that breaks the WebSocket itself costs the connection, and
neither costs anybody else anything.
"""

import json
from typing import Final

import pytest
import trio

from chat.codec import JSON, MSGPACK, Codec
from tests.chat.transport.support import client_frame
from tests.e2e.scene import TEA, open_scene
from tests.sim.harness import OP_BINARY, OP_CLOSE, OP_PING, OP_PONG, OP_TEXT, SimClient, both, virtual_time

KIB: Final = 1024
FRAME_MAX: Final = 64 * KIB


def _opcode(client: SimClient) -> int:
    return OP_TEXT if client.codec.is_text else OP_BINARY


def _padded_ping(codec: Codec, size: int, request_id: int) -> bytes:
    """A ping whose payload has exactly this many bytes, most of them in an unknown field."""
    envelope = {"t": "ping", "id": request_id, "pad": ""}
    # The length of a string takes more bytes in msgpack the longer it is: find the one that fits.
    for overhead in range(64):
        payload = codec.encode({**envelope, "pad": "x" * (size - 16 - overhead)})
        if len(payload) == size:
            return payload
    raise AssertionError("no such ping")


# -- payloads that are no envelope -----------------------------------------------------------------------

NO_MSGPACK: Final = {
    "nothing": b"",
    "a byte that msgpack never uses": b"\xc1",
    "JSON": b'{"t":"ping","id":1}',
    "a map that is cut off": b"\x82\xa1t\xa4ping\xa2id",
    "two maps": MSGPACK.encode({"t": "ping", "id": 1}) * 2,
    "an array": b"\x92\x01\x02",
    "a number": b"\x07",
    "nil": b"\xc0",
    "a text": b"\xa4ping",
    "keys that are numbers": b"\x82\xa1t\xa4ping\x01\x02",
    "keys that are arrays": b"\x81\x90\x01",
    "text that is no UTF-8": b"\x83\xa1t\xa4ping\xa2id\x01\xa1x\xa1\xff",
    "text with half a surrogate pair": b"\x83\xa1t\xa4ping\xa2id\x01\xa1x\xa3\xed\xa0\x80",
    "arrays 60,000 deep": b"\x91" * 60_000 + b"\xc0",
    "maps 20,000 deep": b"\x81\xa1x" * 20_000 + b"\xc0",
    "an array that claims 4 billion": b"\xdd\xff\xff\xff\xff",
    "a map that claims 4 billion": b"\xdf\xff\xff\xff\xff",
    "a text that claims 4 GiB": b"\x81\xa1t\xdb\xff\xff\xff\xff",
    "bytes that claim 4 GiB": b"\x81\xa1t\xc6\xff\xff\xff\xff",
    "an extension that claims 4 GiB": b"\x81\xa1t\xc9\xff\xff\xff\xff\x01",
    "an extension": b"\x83\xa1t\xa4ping\xa2id\x01\xa1x\xd4\x01\x01",
    "a time": b"\x83\xa1t\xa4ping\xa2id\x01\xa1x\xd6\xff\x00\x00\x00\x01",
    "a time of no length": b"\x83\xa1t\xa4ping\xa2id\x01\xa1x\xc7\x00\xff",
}
NO_JSON: Final = {
    "nothing": b"",
    "white space": b"  \n",
    "msgpack": MSGPACK.encode({"t": "ping", "id": 1}),
    "an object that is cut off": b'{"t":"ping","id":',
    "two objects": b'{"t":"ping","id":1}{"t":"ping","id":1}',
    "an array": b'[{"t":"ping","id":1}]',
    "a number": b"7",
    "null": b"null",
    "a text": b'"ping"',
    "a comment": b'{"t":"ping","id":1}//',
    "a comma too many": b'{"t":"ping","id":1,}',
    "a byte order mark": b'\xef\xbb\xbf{"t":"ping","id":1}',
    "text that is no UTF-8": b'{"t":"\xff","id":1}',
    "NaN": b'{"t":"ping","id":1,"x":NaN}',
    "a line end inside a text": b'{"t":"ping","id":1,"x":"\n"}',
    "arrays 60,000 deep": b"[" * 60_000,
    "objects 10,000 deep": b'{"t":' * 10_000,
    "a deep unknown field": b'{"t":"ping","id":1,"x":' + b"[" * 60_000,
}


@pytest.mark.parametrize("name", NO_MSGPACK)
@virtual_time
async def test_a_frame_that_is_no_msgpack_map_costs_its_sender_an_error(name: str) -> None:
    """The error has no id, for there was none to read; the connection goes on."""
    await _check_costs_an_error(MSGPACK, NO_MSGPACK[name])


@pytest.mark.parametrize("name", NO_JSON)
@virtual_time
async def test_a_frame_that_is_no_json_object_costs_its_sender_an_error(name: str) -> None:
    """The same, in the other encoding."""
    await _check_costs_an_error(JSON, NO_JSON[name])


async def _check_costs_an_error(codec: Codec, payload: bytes) -> None:
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.send_payload(payload)
        answer = await mal.expect("error")
        assert (answer["code"], answer["temporary"]) == ("bad_request", False)
        assert "id" not in answer
        await mal.request("send", room=TEA, cid="1", body="still here")
        assert len(mal.heard("error")) == 1


@both
@virtual_time
async def test_a_frame_of_the_other_kind_is_undecodable(codec: Codec) -> None:
    """Text on the binary subprotocol, and bytes on the text one, are errors; the connection goes on."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        wrong = OP_BINARY if codec.is_text else OP_TEXT
        for fin in (True, False):
            await mal.write(client_frame(b"{}", opcode=wrong, fin=fin))
            if not fin:
                await mal.write(client_frame(b"", opcode=0))
            answer = await mal.expect("error")
            assert answer["code"] == "bad_request"
            assert "id" not in answer
        await mal.request("ping")


@both
@virtual_time
async def test_half_a_surrogate_pair_never_reaches_a_room(codec: Codec) -> None:
    """What UTF-8 cannot express is refused, however it is escaped."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        if codec is JSON:
            payload = json.dumps({"t": "send", "id": 9, "room": TEA, "cid": "1", "body": "\ud800"}).encode()
        else:
            marked = codec.encode({"t": "send", "id": 9, "room": TEA, "cid": "1", "body": "@@@"})
            payload = marked.replace(b"@@@", b"\xed\xa0\x80")
        await mal.send_payload(payload)
        assert (await mal.expect("error"))["code"] == "bad_request"
        await mal.request("send", room=TEA, cid="1", body="whole")
        assert "\ud800" not in scene.neighbour.bodies(TEA)


# -- sizes -----------------------------------------------------------------------------------------------


@both
@virtual_time
async def test_a_frame_of_64_kib_is_taken_and_one_more_byte_is_not(codec: Codec) -> None:
    """At the limit it is answered; above it `too_large`, `bye`, and 4503."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.send_payload(_padded_ping(codec, FRAME_MAX, 50))
        assert (await mal.answer(50))["t"] == "ok"
        await mal.send_payload(_padded_ping(codec, FRAME_MAX + 1, 51))
        assert await mal.wait_closed() == 4503
        (refusal,) = mal.heard("error")
        assert (refusal["code"], refusal["temporary"]) == ("too_large", False)
        assert mal.heard("bye", code=4503)
        assert 51 not in mal.answers()


@both
@virtual_time
async def test_before_the_welcome_8_kib_are_the_limit(codec: Codec) -> None:
    """A stranger cannot make the server hold more than that; a welcomed client may."""
    async with open_scene(codec) as scene:
        modest = await scene.sim.open(codec)
        await modest.send_payload(_padded_ping(codec, 8 * KIB, 50))
        assert (await modest.answer(50))["t"] == "ok"
        await modest.hello("modest")
        await modest.send_payload(_padded_ping(codec, 8 * KIB + 1, 51))
        assert (await modest.answer(51))["t"] == "ok"
        greedy = await scene.sim.open(codec)
        await greedy.send_payload(_padded_ping(codec, 8 * KIB + 1, 52))
        assert await greedy.wait_closed() == 4503


@both
@virtual_time
async def test_a_size_that_is_only_claimed_is_refused_at_once(codec: Codec) -> None:
    """The header alone decides: nobody waits for 8 exabytes."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.write(bytes((0x80 | _opcode(mal), 0xFF)) + (2**63 - 1).to_bytes(8) + b"\x00" * 4)
        assert await mal.wait_closed() == 4503


@both
@virtual_time
async def test_fragments_count_together(codec: Codec) -> None:
    """65 fragments of 1 KiB are a message of 65 KiB, and too large."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.write(client_frame(b" " * KIB, opcode=_opcode(mal), fin=False))
        for _ in range(64):
            await mal.write(client_frame(b" " * KIB, opcode=0, fin=False))
        assert await mal.wait_closed() == 4503


# -- fragments -------------------------------------------------------------------------------------------


@both
@virtual_time
async def test_a_message_in_fragments_with_pings_between_is_one_message(codec: Codec) -> None:
    """Control frames may come between fragments, and are answered there."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        payload = codec.encode({"t": "send", "id": 60, "room": TEA, "cid": "1", "body": "in pieces"})
        pieces = [payload[at : at + 5] for at in range(0, len(payload), 5)]
        for index, piece in enumerate(pieces):
            opcode = 0 if index else _opcode(mal)
            await mal.write(client_frame(piece, opcode=opcode, fin=index == len(pieces) - 1))
            await mal.write(client_frame(b"now?", opcode=OP_PING))
        assert (await mal.answer(60))["t"] == "ok"
        await scene.neighbour.expect("event", body="in pieces")


@both
@virtual_time
async def test_whole_and_fragmented_messages_keep_their_order(codec: Codec) -> None:
    """Whichever way each takes through the server, they are ordered as they were sent."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        data = bytearray()
        for number in range(12):
            payload = codec.encode(
                {"t": "send", "id": 100 + number, "room": TEA, "cid": f"{number}", "body": f"{number}"}
            )
            if number % 3 == 1:
                data += client_frame(payload[:7], opcode=_opcode(mal), fin=False)
                data += client_frame(payload[7:], opcode=0)
            else:
                data += mal.frame_of(payload)
        await mal.write(bytes(data))
        for number in range(12):
            await mal.answer(100 + number)
        assert mal.bodies(TEA)[1:] == [f"{number}" for number in range(12)]


@both
@virtual_time
async def test_a_message_that_arrives_byte_by_byte_is_a_message(codec: Codec) -> None:
    """A slow line changes nothing."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        for byte in mal.frame({"t": "ping", "id": 70}):
            await mal.write(bytes((byte,)))
        assert (await mal.answer(70))["t"] == "ok"


# -- what breaks the WebSocket ---------------------------------------------------------------------------

PING: Final = {"t": "ping", "id": 1}


def _breaking(codec: Codec) -> dict[str, tuple[bytes, int]]:
    opcode = OP_TEXT if codec.is_text else OP_BINARY
    ping = codec.encode(PING)
    return {
        "no mask": (client_frame(ping, opcode=opcode, key=None), 1002),
        "a reserved bit": (client_frame(ping, opcode=opcode, reserved=4), 1002),
        "another reserved bit": (client_frame(ping, opcode=opcode, reserved=1), 1002),
        "an opcode that is not defined": (client_frame(ping, opcode=3), 1002),
        "a control opcode that is not defined": (client_frame(b"", opcode=11), 1002),
        "a continuation of nothing": (client_frame(ping, opcode=0), 1002),
        "a message inside of a message": (
            client_frame(ping, opcode=opcode, fin=False) + client_frame(ping, opcode=opcode),
            1002,
        ),
        "a ping in fragments": (client_frame(b"", opcode=OP_PING, fin=False), 1002),
        "a ping of 126 bytes": (client_frame(b"x" * 126, opcode=OP_PING), 1002),
        "a length in more bytes than needed": (client_frame(ping, opcode=opcode, width=8), 1002),
        "a close of one byte": (client_frame(b"\x03", opcode=OP_CLOSE), 1002),
        "a close with a code of nobody's": (client_frame((1005).to_bytes(2), opcode=OP_CLOSE), 1002),
        "a close with a reason that is no UTF-8": (client_frame(b"\x03\xe8\xff", opcode=OP_CLOSE), 1007),
        "fragments of text that is no UTF-8": (
            client_frame(b"\xff", opcode=OP_TEXT, fin=False) + client_frame(b"\xff", opcode=0),
            1007,
        ),
    }


@both
@pytest.mark.parametrize("name", _breaking(MSGPACK))
@virtual_time
async def test_what_breaks_the_websocket_ends_it_as_rfc_6455_says(name: str, codec: Codec) -> None:
    """The peer's framing cannot be trusted any more: 1002, or 1007 for text that is none."""
    data, code = _breaking(codec)[name]
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.write(data)
        assert await mal.wait_closed() == code
        await trio.sleep(0.1)
        assert len(scene.sim.node.sessions) == 2


@both
@virtual_time
async def test_control_frames_alone_are_answered_or_ignored(codec: Codec) -> None:
    """An unasked pong is nothing; a close is answered with the same code."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.write(client_frame(b"unasked", opcode=OP_PONG))
        await mal.request("ping")
        await mal.write(client_frame((1001).to_bytes(2) + b"going", opcode=OP_CLOSE))
        assert await mal.wait_closed() == 1001
        await trio.sleep(0.1)
        assert len(scene.sim.node.sessions) == 2


@both
@virtual_time
async def test_what_follows_a_close_frame_is_not_read(codec: Codec) -> None:
    """A message behind the goodbye is none."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        goodbye = client_frame((1000).to_bytes(2), opcode=OP_CLOSE)
        late = mal.frame({"t": "send", "id": 80, "room": TEA, "cid": "late", "body": "late"})
        await mal.write(goodbye + late)
        assert await mal.wait_closed() == 1000
        assert "late" not in scene.neighbour.bodies(TEA)


@both
@pytest.mark.parametrize("cut", [1, 3, 9, 20])
@virtual_time
async def test_a_connection_that_ends_inside_a_frame_leaves_nothing(codec: Codec, cut: int) -> None:
    """Half a message is no message."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        frame = mal.frame({"t": "send", "id": 90, "room": TEA, "cid": "half", "body": "half"})
        await mal.write(frame[:cut])
        mal.vanish()
        await scene.check_served()
        assert "half" not in scene.neighbour.bodies(TEA)
        await trio.sleep(0.1)
        assert len(scene.sim.node.sessions) == 2
