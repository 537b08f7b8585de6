"""People who come with an outside issuer's token: who they are, how long, and how they are shown out."""

from pathlib import Path
from typing import Final

import pytest
import trio

from chat.config import Config
from chat.strangers import stranger_id
from storage import Unavailable
from storage.testing import Fault
from tests.chat.issuer_kit import ISSUER, NOW_S, SECRET, issuer, pem, private_key, token, write_keys
from tests.sim.harness import CODECS, open_sim, virtual_time

HOUSE: Final = Config(issuers=(issuer(),), guests="off")


@virtual_time
async def test_a_token_of_the_issuers_is_a_user_for_ever() -> None:
    """The same user with every token, in both encodings; they talk under their name, and are no guests."""
    async with open_sim(HOUSE) as sim:
        for codec in CODECS:
            client = await sim.enter(token(name="Ann"), codec)
            (welcome,) = client.heard("welcome")
            assert welcome["user"] == {"id": stranger_id(ISSUER, "7f3a"), "name": "Ann"}
            assert "token" not in welcome
        bob = await sim.enter(token(sub="other", name="ann"))
        await bob.request("join", room="tea", create=True)
        await bob.request("send", room="tea", cid="1", body="hello")
        event = await bob.expect("event", room="tea")
        assert event["by"] == bob.user_id != stranger_id(ISSUER, "7f3a")
        assert str(event["name"]).startswith("ann #")


@virtual_time
async def test_a_user_of_an_issuers_is_new_from_the_first_visit_on() -> None:
    """Not for longer with a newer token; what the issuer knew before does not count here."""
    async with open_sim(HOUSE) as sim:
        owner = await sim.enter(token(sub="owner", name="Owner"))
        await owner.request("join", room="tea", create=True)
        rule = {"kind": "new", "id": "n", "action": "refuse", "account_below": 300}
        await owner.request("automod", room="tea", rules=[rule])
        ann = await sim.enter(token(name="Ann"))
        await ann.request("join", room="tea")
        assert (await ann.refused("send", room="tea", cid="1", body="hello"))["code"] == "filtered"
        await trio.sleep(301)
        again = await sim.enter(token(name="Ann", exp=NOW_S + 900))
        await again.request("send", room="tea", cid="2", body="hello")


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
@virtual_time
async def test_public_keys_from_a_file_let_people_in(tmp_path: Path, algorithm: str) -> None:
    """With the issuer's secret half elsewhere."""
    kind = "rsa" if algorithm == "RS256" else "ed25519"
    settings = issuer(algorithms=[algorithm], secret=None, key_file=write_keys(tmp_path, pem(kind)))
    async with open_sim(Config(issuers=(settings,))) as sim:
        await sim.enter(token(private_key(kind), algorithm))
        guest = await sim.connect("ann")
        refused = await sim.open()
        assert (await refused.refused("hello", token=token()))["code"] == "unauthenticated"
        await guest.request("ping")


@pytest.mark.parametrize(
    "text",
    [
        token(SECRET[::-1]),
        token(exp=NOW_S - 30),
        token(aud="other"),
        token(iss="https://other.test"),
        token(sub=None),
    ],
)
@virtual_time
async def test_a_token_that_is_not_believed_is_refused_for_good(text: str) -> None:
    """`unauthenticated` with the field, then 4500; nobody is created."""
    async with open_sim(HOUSE) as sim:
        client = await sim.open()
        answer = await client.refused("hello", token=text)
        assert (answer["code"], answer["field"]) == ("unauthenticated", "token")
        assert await client.wait_closed() == 4500
        assert await sim.store.find_account("ann") is None


@virtual_time
async def test_a_session_ends_with_its_token_and_the_leeway() -> None:
    """4004: the client comes back with a newer token."""
    async with open_sim(HOUSE) as sim:
        client = await sim.enter(token(exp=NOW_S + 10))
        assert await client.wait_closed() == 4004
        assert 40 <= trio.current_time() <= 42


@virtual_time
async def test_whose_tokens_are_revoked_comes_back_with_a_newer_one_only() -> None:
    """4004 for those who are there, 4500 for older tokens, also when they were remembered."""
    async with open_sim(HOUSE) as sim:
        client, other = await sim.enter(token()), await sim.enter(token(sub="other", name="Bob"))
        await trio.sleep(10)
        await sim.store.revoke_user(client.user_id, at_ms=(NOW_S + 5) * 1000)
        assert await client.wait_closed() == 4004
        for old in (token(), token(iat=NOW_S + 5), token(iat=None)):
            refused = await sim.open()
            assert (await refused.refused("hello", token=old))["message"] == "the token was revoked"
            assert await refused.wait_closed() == 4500
        await sim.enter(token(iat=NOW_S + 6))
        await other.request("ping")


@virtual_time
async def test_while_the_database_is_away_only_those_are_let_in_who_are_known() -> None:
    """The others are told to come again."""
    async with open_sim(HOUSE) as sim:
        await sim.enter(token())
        sim.faults["admit_users"] = Fault(refusal=Unavailable("away"))
        await sim.enter(token())
        client = await sim.open()
        answer = await client.refused("hello", token=token(sub="other"))
        assert (answer["code"], answer["temporary"]) == ("unavailable", True)
