"""Dialling: every kind of server that is none."""

import errno
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from chat.protocol import SUBPROTOCOL_MSGPACK
from scripts.load.dial import Dialer, DialFailed

BOUND_S = 10.0


async def _answer(answer: bytes, stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some(4096)
        await stream.send_all(answer)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncGenerator[str]:
    """The address of a server that answers so, whatever it is asked."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(_answer, answer), 0, host="127.0.0.1")
        )
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/ws"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"", "no_websocket", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no_websocket", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "http_200", "no chat server"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "http_404", "it is /ws"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "http_503", "overloaded"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "no_websocket",
            "no WebSocket",
        ),
        (b"x" * 40_000, "no_websocket", "in the handshake"),
    ],
)
async def test_what_is_no_parley_is_told(answer: bytes, code: str, words: str) -> None:
    """By a code for counting, and in words."""
    with trio.fail_after(BOUND_S):
        async with answering(answer) as url:
            with pytest.raises(DialFailed, match=words) as caught:
                await Dialer(url).dial(SUBPROTOCOL_MSGPACK)
    assert caught.value.code == code


async def test_nobody_at_the_address_is_told() -> None:
    """The port was free a moment ago."""
    async with answering(b"") as url:
        pass
    with pytest.raises(DialFailed, match="does a server run there") as caught:
        await Dialer(url).dial(SUBPROTOCOL_MSGPACK)
    assert caught.value.code == "connect_refused"


async def test_a_name_with_several_addresses_is_tried_at_each() -> None:
    """`localhost` may mean ::1 first, and the server may be on 127.0.0.1 alone."""
    async with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as url:
        with pytest.raises(DialFailed) as caught:
            await Dialer(url.replace("127.0.0.1", "localhost")).dial(SUBPROTOCOL_MSGPACK)
    assert caught.value.code == "http_404"


async def test_a_name_that_does_not_exist_is_told() -> None:
    """By its name."""
    with pytest.raises(DialFailed, match=r"nowhere\.invalid") as caught:
        await Dialer("ws://nowhere.invalid/ws").dial(SUBPROTOCOL_MSGPACK)
    assert caught.value.code == "no_such_host"


async def test_when_ports_run_out_another_source_address_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback each address has the ports of its own; elsewhere it is told what to do."""
    sources: list[str] = []

    async def connected(sock: socket.socket, address: tuple[str, int]) -> None:
        await trio.lowlevel.checkpoint()
        sources.append(sock.getsockname()[0])
        if address[0] != "127.0.0.1" or sources[-1] != "127.0.0.3":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        raise OSError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr("scripts.load.dial._connected", connected)
    dialer = Dialer("ws://127.0.0.1:9/ws")
    for _ in range(2):
        with pytest.raises(DialFailed, match="refuses"):
            await dialer.dial(SUBPROTOCOL_MSGPACK)
    assert sources == ["0.0.0.0", "127.0.0.2", "127.0.0.3", "127.0.0.3"]
    with pytest.raises(DialFailed, match="no more local ports") as caught:
        await Dialer("ws://192.0.2.1:9/ws").dial(SUBPROTOCOL_MSGPACK)
    assert caught.value.code == "no_ports"
