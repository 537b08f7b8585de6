"""A revoked token ends its sessions within a second, wherever it was revoked, and no others."""

from collections.abc import Sequence
from random import Random
from typing import Final

import pytest
import trio

from chat.config import Config
from chat.tokens import IssuedToken, create_token, token_hash
from storage import MemoryStore, Revocation, Store, Unavailable
from storage.testing import Fault
from tests.sim.harness import SimClient, open_sim, virtual_time
from tests.sim.http_request import post

OPEN: Final = Config(registration=True)


async def make_token(store: Store, name: str) -> IssuedToken:
    """A token as `parley token create` makes one."""
    return await create_token(store, name, now_ms=0, random_bytes=Random(name).randbytes)  # noqa: S311  a test repeats itself


def looks_of(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Every look for revocations from now on: after which number, and how many it found."""
    looks: list[tuple[int, int]] = []
    revocations = store.revocations

    async def noted(*, after: int, limit: int) -> Sequence[Revocation]:
        page = await revocations(after=after, limit=limit)
        looks.append((after, len(page)))
        return page

    monkeypatch.setattr(store, "revocations", noted)
    return looks


async def ended(client: SimClient) -> float:
    """The virtual time at which a connection has ended."""
    await client.wait_closed()
    return trio.current_time()


@virtual_time
async def test_a_logout_ends_the_tokens_sessions_and_no_others() -> None:
    """All of that token's, at once; another token's of the same user, other users' and guests' stay."""
    async with open_sim(OPEN) as sim:
        ann = {"name": "Ann", "password": "correct horse"}
        one, two = await post(sim, "/api/register", ann), await post(sim, "/api/login", ann)
        assert one.body
        assert two.body
        mine = [await sim.enter(one.body["token"]) for _ in range(2)]
        bob = await make_token(sim.store, "Bob")
        others = [
            await sim.enter(two.body["token"]),
            await sim.enter(bob.token),
            await sim.connect("guest"),
        ]
        begun_s = trio.current_time()
        await post(sim, "/api/logout", authorization=f"Bearer {one.body['token']}")
        for client in mine:
            assert await client.wait_closed() == 4500
            assert client.close_reason == "the token was revoked"
        assert trio.current_time() - begun_s < 0.1
        await trio.sleep(2)
        for client in others:
            await client.request("ping")


@virtual_time
async def test_what_is_revoked_elsewhere_is_heard_of_within_a_second() -> None:
    """The server is told nothing: it looks. New sessions with the token are refused, of course."""
    async with open_sim() as sim:
        ann, bob = await make_token(sim.store, "Ann"), await make_token(sim.store, "Bob")
        client, other = await sim.enter(ann.token), await sim.enter(bob.token)
        for offset_s in (0.0, 0.13, 0.37):
            await trio.sleep(10 + offset_s)
            again = await make_token(sim.store, f"Ann {offset_s}")
            session = await sim.enter(again.token)
            begun_s = trio.current_time()
            await sim.store.revoke_tokens(token_hash(again.token), at_ms=1)
            assert await session.wait_closed() == 4500
            assert trio.current_time() - begun_s <= 0.6
        await sim.store.revoke_user(ann.user.user_id, at_ms=1)
        assert await client.wait_closed() == 4500
        assert client.heard("bye")[-1]["code"] == 4500
        newcomer = await sim.open()
        assert (await newcomer.refused("hello", token=ann.token))["code"] == "unauthenticated"
        await other.request("ping")


@virtual_time
async def test_a_token_that_is_revoked_while_it_is_checked_opens_nothing() -> None:
    """It was found good, and the revocation was looked at, before the welcome: it is checked again."""
    async with open_sim() as sim:
        ann = await make_token(sim.store, "Ann")
        sim.faults["find_tokens"] = Fault(after_s=3.0)
        client = await sim.open()
        request = await client.send("hello", token=ann.token)
        await trio.sleep(1)
        await sim.store.revoke_tokens(token_hash(ann.token), at_ms=1)
        answer = await client.answer(request)
        assert (answer["t"], answer["code"]) == ("error", "unauthenticated")
        assert await client.wait_closed() == 4500


@virtual_time
async def test_somebody_elses_revocation_delays_a_hello_and_refuses_nobody() -> None:
    """The token is checked again, and is still good."""
    async with open_sim() as sim:
        ann, bob = await make_token(sim.store, "Ann"), await make_token(sim.store, "Bob")
        sim.faults["memberships"] = Fault(before_s=2.0)
        client = await sim.open()
        request = await client.send("hello", token=ann.token)
        await trio.sleep(1)
        await sim.store.revoke_tokens(token_hash(bob.token), at_ms=1)
        assert (await client.answer(request))["t"] == "welcome"


@virtual_time
async def test_what_was_revoked_while_the_database_was_away_is_heard_of_later() -> None:
    """Sessions stay meanwhile, the log says it once, and nothing is missed."""
    async with open_sim() as sim:
        ann, bob = await make_token(sim.store, "Ann"), await make_token(sim.store, "Bob")
        clients = [await sim.enter(ann.token), await sim.enter(bob.token)]
        sim.faults["revocations"] = Fault(refusal=Unavailable("away"))
        await sim.store.revoke_tokens(token_hash(ann.token), at_ms=1)
        await trio.sleep(20)
        await clients[0].request("ping")
        del sim.faults["revocations"]
        begun_s = trio.current_time()
        assert await ended(clients[0]) - begun_s <= 0.6
        await clients[1].request("ping")
        assert [entry["event"] for entry in sim.logged].count("revocations.late") == 1


@virtual_time
async def test_many_revocations_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look takes all of them, however many; what was revoked before the start is not looked at."""
    monkeypatch.setattr("chat.revocations.PAGE", 2)
    store = MemoryStore()
    for number in range(3):
        await store.revoke_user(f"u_{number}", at_ms=1)
    looks = looks_of(store, monkeypatch)
    async with open_sim(store=store) as sim:
        clients = [await sim.enter((await make_token(store, f"Ann {n}")).token) for n in range(5)]
        hashes = [session.token_hash for session in sim.node.sessions]
        looks.clear()
        for hashed in hashes:
            assert hashed is not None
            await store.revoke_tokens(hashed, at_ms=1)
        for client in clients:
            assert await client.wait_closed() == 4500
        await trio.sleep(0.6)
        assert [look for look in looks if look[1]] == [(3, 2), (5, 2), (7, 1)]


@virtual_time
async def test_nothing_else_is_asked_for_while_nothing_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks a second, each of one call."""
    store = MemoryStore()
    looks = looks_of(store, monkeypatch)
    async with open_sim(store=store):
        await trio.sleep(10)
        assert 19 <= len(looks) <= 20
