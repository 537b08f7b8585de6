"""The handshake's answer, where the handshake is plain; everything else is left to trio-websocket."""

from typing import Final

import pytest
import wsproto
import wsproto.events
from hypothesis import given
from hypothesis import strategies as st

from chat.transport.upgrade import accept_upgrade, plain_request

PLAIN: Final = {
    b"host": b"localhost",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"sec-websocket-version": b"13",
}


def test_the_answer_is_that_of_the_rfc() -> None:
    """The example of RFC 6455, 1.3."""
    answer = accept_upgrade(PLAIN, subprotocol="chat")

    assert answer is not None
    lines = answer.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines
    assert b"Sec-WebSocket-Protocol: chat" in lines
    assert lines[-2:] == [b"", b""]


def test_without_an_offer_no_subprotocol_is_named() -> None:
    """A client fails a connection whose answer names what it did not offer (RFC 6455, 4.1)."""
    answer = accept_upgrade(PLAIN, subprotocol=None)

    assert answer is not None
    assert b"sec-websocket-protocol" not in answer.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"upgrade", b"WebSocket"),
        (b"connection", b"keep-alive, Upgrade"),
        (b"connection", b"UPGRADE"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ],
)
def test_what_browsers_and_proxies_vary_is_plain(name: bytes, value: bytes) -> None:
    """Letters' case, further tokens, and extensions that are not taken up."""
    assert accept_upgrade({**PLAIN, name: value}, subprotocol=None) == accept_upgrade(PLAIN, subprotocol=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"host", b""),
        (b"upgrade", b"h2c"),
        (b"upgrade", b"websocket, h2c"),
        (b"connection", b"close"),
        (b"connection", b"upgraded"),
        (b"sec-websocket-version", b"8"),
        (b"sec-websocket-version", b"13, 8"),
        (b"sec-websocket-key", b""),
        (b"sec-websocket-key", b"short"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="),
    ],
)
def test_what_is_not_plain_is_not_answered(name: bytes, value: bytes) -> None:
    """Missing, wrong, or said twice."""
    assert accept_upgrade({**PLAIN, name: value}, subprotocol=None) is None
    assert accept_upgrade({key: kept for key, kept in PLAIN.items() if key != name}, subprotocol=None) is None


@given(offered=st.booleans())
def test_a_client_takes_the_answer(offered: bool) -> None:
    """The client of wsproto, whose key is new every time, finds the proof that it waits for."""
    subprotocols = ["parley.v1.json"] if offered else []
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    sent = client.send(wsproto.events.Request(host="localhost", target="/ws", subprotocols=subprotocols))
    headers = {
        name.lower(): value
        for name, _, value in (line.partition(b": ") for line in sent.split(b"\r\n")[1:] if line)
    }
    answer = accept_upgrade(headers, subprotocol=subprotocols[0] if offered else None)

    assert answer is not None
    client.receive_data(answer)
    (accepted,) = client.events()
    assert isinstance(accepted, wsproto.events.AcceptConnection)


@pytest.mark.parametrize("subprotocol", [None, "parley.v1.json"])
def test_the_plainest_request_is_one_for_a_server(subprotocol: str | None) -> None:
    """The server of wsproto takes it, with the subprotocol that will be chosen."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(plain_request(subprotocol))
    (request,) = server.events()

    assert isinstance(request, wsproto.events.Request)
    assert request.subprotocols == ([] if subprotocol is None else [subprotocol])
