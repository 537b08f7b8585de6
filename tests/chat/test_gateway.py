"""The gateway's boundary: what goes wrong with one connection stays there, and the books are right."""

import pytest
import trio

from chat.codec import JSON, MSGPACK
from chat.config import Config
from chat.session import Session
from tests.sim.harness import SimClient, open_sim, upgrade_request, virtual_time


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("parley.v1.json", "parley.v1.json"),
        ("parley.v1.msgpack", "parley.v1.msgpack"),
        ("parley.v1.msgpack, parley.v1.json", "parley.v1.msgpack"),
        ("parley.v1.json,parley.v1.msgpack", "parley.v1.json"),
        ("soap, parley.v1.msgpack", "parley.v1.msgpack"),
    ],
)
@virtual_time
async def test_the_clients_first_known_subprotocol_is_spoken(offered: str, chosen: str) -> None:
    """The client's order counts; what is not known is passed over."""
    async with open_sim() as sim:
        codec = JSON if chosen == JSON.subprotocol else MSGPACK
        client = SimClient(sim.dial(), codec)
        assert await client.upgrade(upgrade_request(sec_websocket_protocol=offered)) == 101
        sim.start_reading(client)
        await client.hello("ann")
        counts = sim.node.metrics.counts
        assert (counts.sessions_json, counts.sessions_msgpack) == ((1, 0) if codec is JSON else (0, 1))


@virtual_time
async def test_a_crash_in_one_connection_ends_that_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, the peer sees an end, and everybody else goes on."""
    async with open_sim(errors=["gateway.connection_crashed"]) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")

        async def broken(_session: Session) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Session, "wait_resumed", broken)

        def refuse_more(_session: Session, _payload: bytes, _is_text: bool) -> bool:
            return False

        monkeypatch.setattr(Session, "on_frame", refuse_more)
        payload = ann.codec.encode({"t": "ping", "id": 9})
        whole, rest = ann.frame_of(payload[:3]), ann.frame_of(payload[3:])
        await ann.write(bytes((whole[0] & 0x7F,)) + whole[1:] + bytes((rest[0] & 0xF0,)) + rest[1:])
        assert await ann.wait_closed() == 4001
        monkeypatch.undo()
        await trio.sleep(0.1)
        assert [entry["event"] for entry in sim.errors()] == ["gateway.connection_crashed"]
        await bob.request("send", room="tea", cid="1", body="still here")
        assert len(sim.node.sessions) == 1


@virtual_time
async def test_the_books_are_balanced_however_connections_end() -> None:
    """Opened and closed, by encoding and by close code; no session and no user is left behind."""
    async with open_sim(Config(guests="on")) as sim:
        counts = sim.node.metrics.counts
        polite = await sim.connect("polite", JSON)
        lost = await sim.connect("lost")
        bad = await sim.open(JSON)
        mute = await sim.open()
        assert (counts.connections_opened, counts.sessions_json, counts.sessions_msgpack) == (4, 2, 2)
        await polite.close()
        lost.vanish()
        await bad.refused("hello", token="wrong")
        await bad.wait_closed()
        await mute.wait_closed()
        await trio.sleep(1)
        assert (counts.connections_closed, counts.sessions_json, counts.sessions_msgpack) == (4, 0, 0)
        assert dict(sim.node.metrics.closed) == {4500: 1, 4507: 1}
        assert sim.node.sessions == []
        assert len(sim.node.ledger) == 0


@virtual_time
async def test_a_peer_that_never_answers_a_close_is_gone_all_the_same() -> None:
    """Two seconds for the closing handshake, whatever the peer does."""
    async with open_sim() as sim:
        rude = await sim.open()
        rude.answers_close = False
        await rude.refused("hello", token="wrong")
        assert await rude.wait_closed() == 4500
        await trio.sleep(4)
        assert sim.node.sessions == []


@virtual_time
async def test_http_answers_are_complete_and_the_connection_ends() -> None:
    """Status, type, length and body; a HEAD without the body; readiness says why not."""
    async with open_sim() as sim:

        async def ask(method: str, path: str) -> bytes:
            stream = sim.dial()
            await stream.send_all(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            answer = b""
            while data := await stream.receive_some():
                answer += data
            return answer

        health = await ask("GET", "/healthz?verbose")
        assert health.startswith(b"HTTP/1.1 200 OK\r\n")
        assert health.endswith(b"content-length: 3\r\nconnection: close\r\n\r\nok\n")
        head = await ask("HEAD", "/readyz")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        sim.node.readiness.overload("a test", "too many tests")
        answer = await ask("GET", "/readyz")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"too many tests" in answer
        assert sim.node.metrics.counts.http_requests == 3


@virtual_time
async def test_subprotocols_may_come_in_several_header_lines() -> None:
    """RFC 6455, 11.3.4: lines of the list are one list."""
    async with open_sim() as sim:
        client = SimClient(sim.dial(), MSGPACK)
        request = upgrade_request(sec_websocket_protocol="soap").replace(
            b"soap", b"soap\r\nsec-websocket-protocol: parley.v1.msgpack"
        )
        assert await client.upgrade(request) == 101
        sim.start_reading(client)
        await client.hello("ann")
