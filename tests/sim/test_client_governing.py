"""The client library's moderation, on a server in memory."""

import pytest

from chat.client import Client
from chat.client_errors import RequestRefused
from chat.client_feed import Notice
from chat.client_options import Encoding
from storage.memory import MemoryStore
from tests.sim.harness import open_sim, virtual_time
from tests.sim.test_client_changes import FAST, Line, in_the_room
from tests.sim.test_governance import person

both = pytest.mark.parametrize("encoding", ["msgpack", "json"])


@both
@virtual_time
async def test_every_act_has_a_method(encoding: Encoding) -> None:
    """And says what it did."""
    async with open_sim(FAST) as sim, in_the_room(Line(sim), encoding) as ann:
        bob = await sim.connect("bob")
        await ann.create("den", kind="private")
        assert (await ann.invite("den", bob.user_id))["seq"] == 1
        assert "seq" not in await ann.invite("den", bob.user_id)
        assert (await ann.update("den", topic="ours", slow_s=1.5, retention_s=60))["seq"] == 2
        muted = await ann.moderate("mute", room="den", target=bob.user_id, ttl_s=60.0, reason="loud")
        assert (muted["affected"], muted["audit"]) == (1, "den:3")
        assert (await bob.refused("send", room="den", cid="1", body="x"))["code"] == "muted"
        tried = await ann.moderate("kick", room="den", target=bob.user_id, dry_run=True)
        assert (tried["affected"], "audit" in tried) == (1, False)
        with pytest.raises(RequestRefused, match="lower rank"):
            await ann.moderate("ban", room="den", target=ann_id(ann))
        room = (await ann.direct(bob.user_id))["room"]
        assert (await ann.direct(bob.user_id))["room"] == room


def ann_id(client: Client) -> str:
    """The client's own user."""
    user = client.welcome["user"]
    assert isinstance(user, dict)
    return str(user["id"])


@virtual_time
async def test_a_purge_goes_on_over_a_broken_connection() -> None:
    """Page by page; what was deleted is not deleted again."""
    async with open_sim(FAST) as sim:
        line = Line(sim)
        async with in_the_room(line, "msgpack") as ann:
            (bob,) = await sim.join("tea", "bob")
            for number in range(700):
                await bob.send("send", room="tea", cid=str(number), body="spam")
            await bob.request("send", room="tea", cid="last", body="spam")
            pages: list[int] = []
            async for affected in ann.purge("tea", target=bob.user_id, reason="spam"):
                pages.append(affected)
                line.cut()
            assert pages == [500, 201]
            assert [count async for count in ann.purge("tea", target=bob.user_id)] == [0]


@virtual_time
async def test_what_concerns_one_elsewhere_comes_as_a_notice() -> None:
    """An invitation to a room that is not followed, and an announcement to everybody."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(FAST, store=store) as sim, in_the_room(Line(sim), "json") as ann:
        admin = await sim.enter(root.token)
        await admin.request("create", room="den", kind="private")
        await admin.request("invite", room="den", user=ann_id(ann))
        await admin.request("mod", action="announce", body="hello all")
        heard: list[object] = []
        async for update in ann.events():
            if isinstance(update, Notice) and update.envelope["t"] == "notice":
                event = update.envelope["event"]
                assert isinstance(event, dict)
                heard.append((update.envelope["room"], event["kind"]))
                if len(heard) == 2:
                    break
        assert heard == [("den", "member"), ("sys.server", "announce")]
