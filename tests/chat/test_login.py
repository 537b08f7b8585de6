"""Logging in from a program: what is sent, and every answer to it."""

from typing import Final

import pytest
import trio
import trio.testing

from chat.client_errors import ConnectFailed, RequestRefused, ServerMisbehaved
from chat.client_options import Dial
from chat.config import Config
from chat.login import LoginToken, log_in
from tests.sim.harness import BEGIN_MS, open_sim, virtual_time
from tests.sim.http_request import post

URL: Final = "ws://localhost:8000/ws"
GOOD: Final = "correct horse"


def dial_answer(answer: bytes) -> Dial:
    """Connections to somebody who always answers the same, and hangs up."""

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(answer)
        await theirs.send_eof()
        return ours

    return dial


@virtual_time
async def test_a_password_gets_a_token() -> None:
    """Over the same address as the chat's, which is good for the server's days."""
    async with open_sim(Config(registration=True)) as sim:
        await post(sim, "/api/register", {"name": "Ann", "password": GOOD})
        issued = await log_in(URL, "ann", GOOD, dial=sim.dial_soon)
        assert issued.token.startswith("pt_")
        assert issued.expires_at_ms // 86_400_000 == BEGIN_MS // 86_400_000 + 30
        await sim.enter(issued.token)


@virtual_time
async def test_a_refusal_says_whether_to_come_again() -> None:
    """A wrong password is final, too many tries are not; a name that is none names its field."""
    async with open_sim() as sim:
        with pytest.raises(RequestRefused) as refused:
            await log_in(URL, "Ann", "wrong", dial=sim.dial_soon)
        assert (refused.value.code, refused.value.temporary) == ("unauthenticated", False)
        with pytest.raises(RequestRefused) as refused:
            await log_in(URL, "", "wrong", dial=sim.dial_soon)
        assert (refused.value.code, refused.value.field) == ("bad_request", "name")
        for _ in range(4):
            with pytest.raises(RequestRefused):
                await log_in(URL, "Ann", "wrong", dial=sim.dial_soon)
        with pytest.raises(RequestRefused) as refused:
            await log_in(URL, "Ann", "wrong", dial=sim.dial_soon)
        assert (refused.value.code, refused.value.temporary) == ("rate_limited", True)
        assert refused.value.retry_after_s is not None
        assert 25 < refused.value.retry_after_s <= 30


def answer(status: int, body: bytes) -> bytes:
    """An HTTP answer."""
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


@virtual_time
async def test_a_token_is_read_of_any_good_answer() -> None:
    """With a length or to the connection's end."""
    body = b'{"token": "pt_x", "expires_at": 7, "more": []}'
    for text in (answer(200, body), b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body):
        assert await log_in(URL, "Ann", GOOD, dial=dial_answer(text)) == LoginToken("pt_x", 7)


@pytest.mark.parametrize(
    "text",
    [
        answer(200, b""),
        answer(200, b"[" * 9000),
        answer(200, b'{"token": 7, "expires_at": 7}'),
        answer(404, b"<html>"),
        answer(302, b'{"token": "pt_x", "expires_at": 7}'),
        answer(200, b" " * 70_000),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{",
    ],
)
@virtual_time
async def test_what_is_no_answer_of_ours_is_said_so(text: bytes) -> None:
    """Another server, a proxy's page, half an answer."""
    with pytest.raises(ServerMisbehaved):
        await log_in(URL, "Ann", GOOD, dial=dial_answer(text))


@virtual_time
async def test_nobody_there_and_no_answer_are_told() -> None:
    """Neither is waited for above ten seconds."""

    async def refuse() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError("nobody")

    async def hang() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return trio.testing.memory_stream_pair()[0]

    for dial in (refuse, hang):
        with pytest.raises(ConnectFailed, match="localhost:8000"):
            await log_in(URL, "Ann", GOOD, dial=dial)
    assert trio.current_time() <= 10.1
