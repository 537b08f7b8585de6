"""Accounts over HTTP: registering, logging in, logging out, and every way to be refused (protocol.md 9)."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
import trio

from chat.config import Config
from storage import Corrupt, Unavailable
from storage.testing import Fault
from tests.sim.harness import BEGIN_MS, open_sim, read_answer, virtual_time
from tests.sim.http_request import parse, post

OPEN: Final = Config(registration=True, guests="off", allowed_origins=("https://app.test",))
GOOD: Final = "correct horse"
ANN: Final = {"name": "Ann", "password": GOOD}
DAYS_MS: Final = 30 * 86_400_000


@virtual_time
async def test_a_token_from_the_door_opens_it() -> None:
    """Register, come in; log in, come in as the same; log out, and that token alone is over."""
    async with open_sim(OPEN) as sim:
        made = await post(sim, "/api/register", ANN)
        again = await post(sim, "/api/login", {"name": "ann", "password": GOOD, "more": 1})
        assert (made.status, again.status) == (201, 200)
        assert made.body
        assert again.body
        assert set(made.body) == set(again.body) == {"token", "expires_at"}
        expires_at = made.body["expires_at"]
        assert isinstance(expires_at, int)
        assert 0 <= expires_at - BEGIN_MS - DAYS_MS < 10_000
        (first,) = (await sim.enter(made.body["token"])).heard("welcome")
        (second,) = (await sim.enter(again.body["token"])).heard("welcome")
        assert first["user"] == second["user"]
        assert isinstance(first["user"], Mapping)
        assert first["user"]["name"] == "Ann"

        left = await post(sim, "/api/logout", authorization=f"Bearer {made.body['token']}")
        assert (left.status, left.body) == (204, None)
        client = await sim.open()
        refused = await client.refused("hello", token=made.body["token"])
        assert refused["code"] == "unauthenticated"
        assert await client.wait_closed() == 4500
        await sim.enter(again.body["token"])
        counts = sim.node.metrics.counts
        assert (counts.registrations, counts.logins, counts.logouts) == (1, 1, 1)


REFUSALS: Final[Mapping[str, tuple[int, str, Mapping[str, Any]]]] = {
    "a wrong password": (401, "unauthenticated", {"body": {"name": "Ann", "password": "wrong"}}),
    "an unknown name": (401, "unauthenticated", {"body": {"name": "Bob", "password": "wrong"}}),
    "no name at all": (400, "bad_request", {"body": {"name": " ", "password": GOOD}}),
    "no password": (400, "bad_request", {"body": {"name": "Ann"}}),
    "a password that is a number": (400, "bad_request", {"body": {"name": "Ann", "password": 7}}),
    "a password too long": (400, "bad_request", {"body": {"name": "Ann", "password": "x" * 1025}}),
    "no object": (400, "bad_request", {"body": ["Ann", GOOD]}),
    "no JSON": (400, "bad_request", {"body": b"name=Ann&password=x"}),
    "no UTF-8": (400, "bad_request", {"body": b'{"name": "\xff", "password": "x"}'}),
    "half a character": (400, "bad_request", {"body": b'{"name": "\\ud800", "password": "x"}'}),
    "JSON within JSON within JSON": (400, "bad_request", {"body": b"[" * 4000}),
    "nothing": (415, "bad_request", {}),
    "an empty body": (400, "bad_request", {"body": b""}),
    "a form": (415, "bad_request", {"body": ANN, "content_type": "application/x-www-form-urlencoded"}),
    "no type": (415, "bad_request", {"body": ANN, "content_type": None}),
    "another charset": (
        415,
        "bad_request",
        {"body": ANN, "content_type": "application/json; charset=utf-16"},
    ),
    "a large body": (413, "too_large", {"body": b" " * 4097}),
    "a body of unknown length": (
        411,
        "bad_request",
        {"body": b"0\r\n\r\n", "content_length": None, "transfer_encoding": "chunked"},
    ),
    "a GET": (405, "bad_request", {"method": "GET"}),
    "a PUT": (405, "bad_request", {"method": "PUT", "body": ANN}),
    "another site": (403, "forbidden", {"body": ANN, "origin": "https://evil.test"}),
    "another site that asks first": (403, "forbidden", {"method": "OPTIONS", "origin": "https://evil.test"}),
    "no site": (403, "forbidden", {"body": ANN, "origin": "null"}),
    "a logout without a token": (401, "unauthenticated", {"path": "/api/logout"}),
    "a logout by password": (401, "unauthenticated", {"path": "/api/logout", "authorization": "Basic QTpC"}),
    "a logout of nobody": (
        401,
        "unauthenticated",
        {"path": "/api/logout", "authorization": "Bearer pt_" + "A" * 43},
    ),
    "a name that is taken": (409, "conflict", {"path": "/api/register", "body": ANN | {"name": "aNN"}}),
    "a short password": (
        400,
        "bad_request",
        {"path": "/api/register", "body": {"name": "Bob", "password": "123456789"}},
    ),
    "another address": (404, "not_found", {"path": "/api/nothing", "body": ANN}),
    "a deeper address": (404, "not_found", {"path": "/api/login/now", "body": ANN}),
}


@pytest.mark.parametrize("name", REFUSALS)
@virtual_time
async def test_a_request_that_is_refused_says_why(name: str) -> None:
    """Status and code, in JSON that no cache keeps, and no token and no cookie in it."""
    status, code, request = REFUSALS[name]
    async with open_sim(OPEN) as sim:
        await post(sim, "/api/register", ANN)
        answer = await post(sim, **{"path": "/api/login", **request})
        assert (answer.status, answer.body and answer.body["error"]) == (status, code)
        assert answer.body
        assert answer.body["message"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"
        assert not {"set-cookie", "access-control-allow-origin"} & set(answer.headers)
        assert ("www-authenticate" in answer.headers) is (status == 401)
        assert answer.headers.get("allow") == ("POST, OPTIONS" if status == 405 else None)
        assert "token" not in answer.body


@virtual_time
async def test_a_wrong_password_and_an_unknown_name_are_one_answer() -> None:
    """Byte for byte, after as many checks."""
    async with open_sim(OPEN) as sim:
        await post(sim, "/api/register", ANN)
        answers: list[object] = []
        for name in ("Ann", "Nobody"):
            before = sim.node.passwords.checks
            answers.append(await post(sim, "/api/login", {"name": name, "password": "wrong"}))
            assert sim.node.passwords.checks == before + 1
        assert answers[0] == answers[1]


@virtual_time
async def test_registration_is_off_unless_it_is_switched_on() -> None:
    """By default there is no such address; logging in works for who was made otherwise."""
    async with open_sim() as sim:
        assert (await post(sim, "/api/register", ANN)).status == 404
        assert (await post(sim, "/api/login", ANN)).status == 401


@pytest.mark.parametrize("origin", ["https://app.test", "http://localhost:8000"])
@virtual_time
async def test_web_pages_that_may_ask_can_read_the_answer(origin: str) -> None:
    """Those of the list and of the same host, after asking whether they may; without cookies."""
    async with open_sim(OPEN) as sim:
        asked = await post(sim, "/api/register", method="OPTIONS", origin=origin)
        assert asked.status == 204
        assert asked.headers["access-control-allow-methods"] == "POST"
        assert "content-type" in asked.headers["access-control-allow-headers"]
        answer = await post(sim, "/api/register", ANN, origin=origin)
        assert answer.status == 201
        for headers in (asked.headers, answer.headers):
            assert headers["access-control-allow-origin"] == origin
            assert headers["vary"] == "origin"
            assert "access-control-allow-credentials" not in headers


@virtual_time
async def test_a_page_under_another_name_is_not_served() -> None:
    """The names that a server on loopback answers to hold for accounts, too."""
    async with open_sim(OPEN) as sim:
        stream = sim.dial()
        await stream.send_all(b"POST /api/login HTTP/1.1\r\nhost: evil.test\r\ncontent-length: 0\r\n\r\n")
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 421 ")


@virtual_time
async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """Ten seconds for all of it, however it dribbles in; who leaves in between costs nothing."""
    async with open_sim(OPEN) as sim:
        stream = sim.dial()
        head = b"POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n"
        await stream.send_all(head + b"content-type: application/json\r\n\r\n")
        for _ in range(9):
            await trio.sleep(1)
            await stream.send_all(b" ")
        answer = parse(await read_answer(stream))
        assert (answer.status, answer.body and answer.body["error"]) == (408, "timeout")
        assert 9 <= trio.current_time() <= 11
        gone = sim.dial()
        await gone.send_all(head + b"\r\n")
        await trio.aclose_forcefully(gone)
        await trio.sleep(1)


@virtual_time
async def test_a_database_that_is_away_or_broken_is_said_so() -> None:
    """503 with the time to come back, 500 for what should not be; the password is not to blame."""
    async with open_sim(OPEN, errors=["accounts.storage_failed"]) as sim:
        for fault, status, code in (
            (Fault(refusal=Unavailable("away")), 503, "unavailable"),
            (Fault(before_s=60), 503, "timeout"),
            (Fault(refusal=Corrupt("broken")), 500, "internal"),
        ):
            sim.faults["find_account"] = fault
            answer = await post(sim, "/api/login", ANN)
            assert (answer.status, answer.body and answer.body["error"]) == (status, code)
            assert answer.headers["retry-after"] in {"1", "2"}


@virtual_time
async def test_a_name_is_tried_a_few_times_and_then_now_and_then() -> None:
    """From wherever, by whatever capitals, known or not, and with the right password, too; others go on."""
    async with open_sim(OPEN) as sim:
        await post(sim, "/api/register", ANN)
        await post(sim, "/api/register", {"name": "Bob", "password": GOOD}, peer="192.0.2.1")
        for name, other in (("Ann", "aNN"), ("Nobody", "NOBODY")):
            tries = [
                await post(sim, "/api/login", {"name": name, "password": "wrong"}, peer=f"192.0.2.{place}")
                for place in range(6)
            ]
            assert [answer.status for answer in tries] == [401] * 5 + [429]
            answer = await post(sim, "/api/login", {"name": other, "password": GOOD})
            assert (answer.status, answer.body and answer.body["error"]) == (429, "rate_limited")
            assert 25 <= int(answer.headers["retry-after"]) <= 30
        assert (await post(sim, "/api/login", {"name": "Bob", "password": GOOD})).status == 200
        await trio.sleep(30)
        assert (await post(sim, "/api/login", ANN)).status == 200
        assert (await post(sim, "/api/login", ANN)).status == 429
        assert sim.node.metrics.counts.logins_limited == 5
        assert sim.node.passwords.checks == 12


@virtual_time
async def test_an_address_tries_a_few_names_and_then_now_and_then() -> None:
    """Of IPv6 a network counts; other addresses go on, and so does this machine itself."""
    async with open_sim(OPEN) as sim:

        async def statuses(peers: list[str]) -> list[int]:
            return [
                (await post(sim, "/api/login", {"name": f"{peer} {n}", "password": "x"}, peer=peer)).status
                for n, peer in enumerate(peers)
            ]

        assert await statuses(["192.0.2.7"] * 22) == [401] * 20 + [429] * 2
        assert await statuses(["192.0.2.8"]) == [401]
        networks = [f"2001:db8::{number:x}" for number in range(21)]
        assert await statuses(networks) == [401] * 20 + [429]
        assert await statuses(["127.0.0.1"] * 30) == [401] * 30
        refused = await post(sim, "/api/register", ANN, peer="192.0.2.7")
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 3


@virtual_time
async def test_limits_can_be_switched_off_for_tests() -> None:
    """Without limits a name may be tried as often as one likes."""
    async with open_sim(OPEN.model_copy(update={"rate_limits": False})) as sim:
        tries = [await post(sim, "/api/login", ANN, peer="192.0.2.7") for _ in range(25)]
        assert {answer.status for answer in tries} == {401}


@virtual_time
async def test_more_logins_than_can_be_checked_are_put_off() -> None:
    """The line is short; who does not fit in is told to come again in a second."""
    async with open_sim(OPEN.model_copy(update={"password_waiting": 2, "rate_limits": False})) as sim:
        statuses: list[int] = []

        async def attempt() -> None:
            answer = await post(sim, "/api/login", ANN)
            statuses.append(answer.status)
            if answer.status == 503:
                assert answer.headers["retry-after"] == "1"

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(attempt)
        assert sorted(statuses) == [401, 401, 401, 503, 503, 503]


@virtual_time
async def test_a_server_that_stops_lets_nobody_in() -> None:
    """While it drains it gives no tokens."""
    async with open_sim(OPEN) as sim:
        sim.node.readiness.drain()
        answer = await post(sim, "/api/login", ANN)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
