"""The handshake's answer, where the handshake is plain; everything else is left to trio-websocket."""

import random
from typing import Final

import h11
import pytest
import wsproto
import wsproto.events
from hypothesis import assume, event, given
from hypothesis import strategies as st

from chat.transport.upgrade import accept_upgrade, plain_request
from tests.chat.transport.support import headers_of

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
    answer = accept_upgrade(headers_of(sent), subprotocol=subprotocols[0] if offered else None)

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


LINES: Final = st.sampled_from(
    [
        b"Host: localhost",
        b"Host: elsewhere",
        b"Host:",
        b"Upgrade: websocket",
        b"Upgrade: WebSocket",
        b"Upgrade: websocket, h2c",
        b"Upgrade:\r\n websocket",
        b"Connection: Upgrade",
        b"Connection: keep-alive, upgrade",
        b"Connection: keep-alive",
        b"Connection: upgrade;q=1",
        b'Connection: "upgrade"',
        b"Connection: close,\r\n\tupgrade",
        b"Connection: ,upgrade,",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Version: 8",
        b"Sec-WebSocket-Version: 013",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"sec-websocket-key:\tdGhlIHNhbXBsZSBub25jZQ==  ",
        b"Sec-WebSocket-Key: dGhlIHNhbXBs\r\n ZSBub25jZQ==",
        b"Sec-WebSocket-Key : dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Sec_WebSocket_Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
)
GOOD: Final = [
    b"Host: localhost",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


@given(
    more=st.lists(LINES, max_size=4),
    without=st.sets(st.integers(0, 4), max_size=2),
    ends=st.sampled_from([b"\r\n", b"\n"]),
    order=st.randoms(use_true_random=False),
)
def test_what_is_answered_here_wsproto_would_have_answered_alike(
    more: list[bytes], without: set[int], ends: bytes, order: random.Random
) -> None:
    """Lines missing, doubled, folded, oddly spaced, in any order: never a yes where wsproto says no.

    But for several `Connection` lines: they are one list (RFC 9110, 5.3), and wsproto reads the last.
    """
    lines = [line for index, line in enumerate(GOOD) if index not in without] + more
    order.shuffle(lines)
    head = ends.join([b"GET /ws HTTP/1.1", *lines, b"", b""])
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(head)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError:
        return
    assert isinstance(request, h11.Request)
    headers: dict[bytes, bytes] = {}
    for name, value in request.headers:
        headers[name] = headers[name] + b", " + value if name in headers else value
    answer = accept_upgrade(headers, subprotocol=None)
    assume(sum(name == b"connection" for name, _ in request.headers) == 1)
    event("plain" if answer else "not plain")
    if answer is None:
        return
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(head)
    (asked,) = server.events()
    assert isinstance(asked, wsproto.events.Request)
    assert _proof(server.send(wsproto.events.AcceptConnection())) == _proof(answer)


def _proof(answer: bytes) -> bytes:
    return answer.lower().partition(b"sec-websocket-accept: ")[2].partition(b"\r\n")[0]
