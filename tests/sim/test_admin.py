"""What the server's people ask, and what everybody else is told who asks it."""

from collections.abc import Mapping

import pytest
import trio

from chat.codec import Codec
from chat.config import Config
from chat.cursors import to_cursor
from chat.tokens import create_token
from storage import Unavailable
from storage.store import Store
from storage.testing import Fault
from tests.sim.harness import (
    BEGIN_MS,
    Envelope,
    Sim,
    SimClient,
    both,
    items,
    open_sim,
    virtual_time,
    walk,
)

FAST = Config(rate_limits=False)
ASKED: Mapping[str, dict[str, object]] = {
    "audit": {},
    "sanctions": {},
    "users": {},
    "user": {"user": "u_a"},
    "sessions": {"user": "u_a"},
    "disconnect": {"user": "u_a"},
    "enroll": {"name": "Eve"},
    "reset": {"user": "u_a"},
    "assign": {"user": "u_a", "role": "moderator"},
    "rooms": {"all": True},
    "busiest": {},
    "drain": {},
}


async def register(store: Store, name: str, role: str = "user") -> str:
    """Make a registered user; the token."""
    seed = name.encode().ljust(32, b".")
    issued = await create_token(
        store, name, role, now_ms=BEGIN_MS, random_bytes=lambda size: seed[:size], expires_at_ms=None
    )
    return issued.token


async def enter_as(sim: Sim, name: str, role: str = "user") -> SimClient:
    """Make a registered user, and come in as that one."""
    return await sim.enter(await register(sim.store, name, role))


def shown(answer: Envelope, *fields: str) -> list[tuple[object, ...]]:
    """These fields of a list's items."""
    return [tuple(item.get(field) for field in fields) for item in items(answer)]


@pytest.mark.parametrize("t", ASKED)
@virtual_time
async def test_everybody_else_is_forbidden_to_ask(t: str) -> None:
    """Users, guests and owners of rooms."""
    async with open_sim(FAST) as sim:
        (owner,) = await sim.join("tea", "ann")
        for client in (owner, await enter_as(sim, "Bob")):
            assert (await client.refused(t, **ASKED[t]))["code"] == "forbidden"


@pytest.mark.parametrize("t", ["enroll", "reset", "assign", "drain"])
@virtual_time
async def test_accounts_and_the_server_s_end_are_for_admins_alone(t: str) -> None:
    """A moderator makes none, resets none, and ends nothing."""
    async with open_sim(FAST) as sim:
        mod = await enter_as(sim, "Mo", "moderator")
        assert (await mod.refused(t, **ASKED[t]))["code"] == "forbidden"


@virtual_time
@both
async def test_a_room_s_audit_is_its_moderators_to_read(codec: Codec) -> None:
    """The latest first, page by page, or from a seq on downwards; members may not, outsiders know no room."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        await ann.request("mod", room="tea", action="mute", target=bob.user_id, reason="loud", ttl=60.0)
        await ann.request("update", room="tea", topic="green")
        await ann.request("mod", room="tea", action="lock")

        pages = await walk(ann, "audit", room="tea", limit=2)
        assert [[item["audit"] for item in page] for page in pages] == [["tea:3", "tea:2"], ["tea:1"]]
        ((mute,),) = pages[1:]
        assert (mute["action"], mute["by"], mute["name"]) == ("mute", ann.user_id, "ann")
        assert (mute["target"], mute["reason"]) == (bob.user_id, "loud")
        detail = mute["detail"]
        assert isinstance(detail, Mapping)
        assert detail["until"] == BEGIN_MS + 60_000
        below = await ann.request("audit", room="tea", seq=2)
        assert shown(below, "seq") == [(2,), (1,)]
        assert (await bob.refused("audit", room="tea"))["code"] == "forbidden"
        assert (await ann.refused("audit", room="nowhere"))["code"] == "room_not_found"


@virtual_time
async def test_the_server_s_people_read_the_audit_of_all_rooms() -> None:
    """Together by time, or one room's, also a private one's; a seq alone says of no room."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        await ann.request("create", room="den", kind="private")
        for room in ("tea", "den"):
            await ann.request("update", room=room, topic="new")
        mod = await enter_as(sim, "Mo", "moderator")
        pages = await walk(mod, "audit", limit=1)
        assert [[item["room"] for item in page] for page in pages] == [["den"], ["tea"]]
        assert shown(await mod.request("audit", room="den"), "audit", "action") == [("den:1", "update")]
        assert (await mod.refused("audit", seq=1))["field"] == "room"


@pytest.mark.parametrize("cursor", ["mine:tea", "!1!2", "tea!1!1!1", "!x!1!1", "!-1!1!1", f"!{2**63}!1!1"])
@virtual_time
async def test_a_cursor_of_another_list_is_none_of_the_audit(cursor: str) -> None:
    """`bad_cursor`, of users as well."""
    async with open_sim(FAST) as sim:
        mod = await enter_as(sim, "Mo", "moderator")
        for t in ("audit", "users"):
            assert (await mod.refused(t, cursor=to_cursor(cursor)))["code"] == "bad_cursor"


@pytest.mark.parametrize(
    "cursor", ["user@u_a", "tea#u_a#ban", "#u_a", "#u_a#kick", "##ban", "#u_a#ban#", "!1!1!1"]
)
@virtual_time
async def test_a_cursor_of_another_list_is_none_of_sanctions(cursor: str) -> None:
    """`bad_cursor`."""
    async with open_sim(FAST) as sim:
        mod = await enter_as(sim, "Mo", "moderator")
        assert (await mod.refused("sanctions", cursor=to_cursor(cursor)))["code"] == "bad_cursor"


@virtual_time
@both
async def test_who_is_banned_or_muted_is_listed_to_moderators(codec: Codec) -> None:
    """By user and kind, page by page, with the end, the reason and the act; what has ended is not."""
    async with open_sim(FAST) as sim:
        ann, *others = await sim.join("tea", "ann", "bob", "cyd", "dan", codec=codec)
        bob, cyd, dan = sorted(others, key=lambda client: client.user_id)
        for action, target, fields in (
            ("mute", bob, {"ttl": 60.0, "reason": "loud"}),
            ("mute", dan, {"ttl": 5.0}),
            ("mute", cyd, {}),
            ("ban", bob, {"reason": "spam"}),
            ("ban", dan, {}),
            ("unban", dan, {}),
        ):
            await ann.request("mod", room="tea", action=action, target=target.user_id, **fields)
        await trio.sleep(10.0)
        mod = await enter_as(sim, "Mo", "moderator")
        for reader in (ann, mod):
            pages = await walk(reader, "sanctions", room="tea", limit=2)
            assert [[item["kind"] for item in page] for page in pages] == [["ban", "mute"], ["mute"]]
            ban, mute = pages[0]
            assert (ban["user"], ban["audit"], ban["reason"], "until" in ban) == (
                *(bob.user_id, "tea:4", "spam"),
                False,
            )
            until = mute["until"]
            assert isinstance(until, int)
            assert BEGIN_MS + 60_000 <= until < BEGIN_MS + 61_000
            assert pages[1][0]["user"] == cyd.user_id
        assert (await cyd.refused("sanctions", room="tea"))["code"] == "forbidden"
        assert (await mod.refused("sanctions", room="nowhere"))["code"] == "room_not_found"


@virtual_time
async def test_who_is_banned_from_the_server_is_listed_to_its_people() -> None:
    """Without a room; a room's own moderators read that of their room alone."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        mod = await enter_as(sim, "Mo", "moderator")
        assert items(await mod.request("sanctions")) == []
        told = await mod.request("mod", action="ban", target=bob.user_id, reason="spam")
        item = {"user": bob.user_id, "name": "bob", "kind": "ban", "audit": told["audit"], "reason": "spam"}
        assert items(await mod.request("sanctions")) == [item]
        assert items(await mod.request("sanctions", room="sys.server")) == [item]
        assert items(await ann.request("sanctions", room="tea")) == []
        assert (await ann.refused("sanctions", room="sys.server"))["code"] == "room_not_found"


@virtual_time
async def test_users_are_found_by_the_beginning_of_their_names() -> None:
    """Capitals make no difference; pages follow each other."""
    async with open_sim(FAST) as sim:
        for name in ("Anna", "anne", "Bob"):
            await register(sim.store, name)
        mod = await enter_as(sim, "Mo", "moderator")
        pages = await walk(mod, "users", query="AN", limit=1)
        assert [[item["name"] for item in page] for page in pages] == [["Anna"], ["anne"]]
        assert shown(await mod.request("users"), "name", "role") == [
            ("Anna", "user"),
            ("anne", "user"),
            ("Bob", "user"),
            ("Mo", "moderator"),
        ]


@virtual_time
async def test_a_user_is_told_with_sessions_and_sanctions_and_to_admins_with_tokens() -> None:
    """Also a guest who is here; sanctions that have ended are not told."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        bob = await enter_as(sim, "Bob")
        await ann.request("mod", room="tea", action="mute", target=bob.user_id, ttl=0.001)
        await ann.request("mod", room="tea", action="ban", target=bob.user_id, reason="spam")
        mod, admin = await enter_as(sim, "Mo", "moderator"), await enter_as(sim, "Ada", "admin")

        told = await mod.request("user", user=bob.user_id)
        assert (told["name"], told["role"], told["sessions"], "tokens" in told) == ("Bob", "user", 1, False)
        assert told["sanctions"] == [{"room": "tea", "kind": "ban", "audit": "tea:2", "reason": "spam"}]
        tokens = (await admin.request("user", user=bob.user_id))["tokens"]
        assert isinstance(tokens, list)
        assert [len(token["token"]) for token in tokens] == [16]
        guest = await mod.request("user", user=ann.user_id)
        assert (guest["name"], guest["role"]) == ("ann", "guest")
        assert (await mod.refused("user", user="u_nobody"))["code"] == "not_found"


@virtual_time
async def test_sessions_are_listed_and_ended() -> None:
    """One or all; the client may come back, and a trial ends none."""
    async with open_sim(FAST) as sim:
        token = await register(sim.store, "Bob")
        phone, desk = await sim.enter(token), await sim.enter(token)
        mod = await enter_as(sim, "Mo", "moderator")
        listed = items(await mod.request("sessions", user=phone.user_id))
        assert [item["peer"] for item in listed] == ["127.0.0.1"] * 2
        answer = await mod.request("disconnect", user=phone.user_id, dry_run=True)
        assert answer["affected"] == 2
        first = listed[0]["session"]
        answer = await mod.request("disconnect", user=phone.user_id, session=first, reason="rest")
        assert answer["affected"] == 1
        assert (await phone.wait_closed(), phone.close_reason) == (4007, "rest")
        assert (await phone.expect("bye"))["retry_after"] == 1.0
        refused = await mod.refused("disconnect", user=phone.user_id, session=first)
        assert (refused["code"], refused["field"]) == ("not_found", "session")
        assert (await mod.request("disconnect", user=phone.user_id))["affected"] == 1
        assert await desk.wait_closed() == 4007


@virtual_time
async def test_nobody_is_ended_by_who_does_not_rank_above() -> None:
    """But people end their own sessions."""
    async with open_sim(FAST) as sim:
        mod, admin = await enter_as(sim, "Mo", "moderator"), await enter_as(sim, "Ada", "admin")
        refused = await mod.refused("disconnect", user=admin.user_id)
        assert (refused["code"], refused["field"]) == ("forbidden", "user")
        assert (await admin.request("disconnect", user=mod.user_id))["affected"] == 1
        assert await mod.wait_closed() == 4007


@virtual_time
async def test_who_ends_his_own_sessions_keeps_the_one_he_asks_by() -> None:
    """Unless he names it."""
    async with open_sim(FAST) as sim:
        token = await register(sim.store, "Ada", "admin")
        ada, phone = await sim.enter(token), await sim.enter(token)
        assert (await ada.request("disconnect", user=ada.user_id))["affected"] == 1
        assert await phone.wait_closed() == 4007
        (own,) = items(await ada.request("sessions", user=ada.user_id))
        await ada.send("disconnect", user=ada.user_id, session=own["session"])
        assert await ada.wait_closed() == 4007


@virtual_time
async def test_what_is_done_to_accounts_and_the_server_is_in_its_audit() -> None:
    """Under the id with which it was answered; a trial is not, nor is what found nobody."""
    async with open_sim(FAST) as sim:
        ada, mod = await enter_as(sim, "Ada", "admin"), await enter_as(sim, "Mo", "moderator")
        made = await ada.request("enroll", name="Eve", role="moderator")
        reset = await ada.request("reset", user=mod.user_id, reason="lost")
        zoe = await enter_as(sim, "Zoe")
        ended = await ada.request("disconnect", user=zoe.user_id, reason="rest")
        assert (await ada.request("disconnect", user=zoe.user_id))["affected"] == 0
        await ada.request("enroll", name="Bo", dry_run=True)
        await ada.request("reset", user=zoe.user_id, dry_run=True)
        await ada.request("drain", dry_run=True)
        drained = await ada.request("drain", reason="new version")
        rows = await ada.request("audit", room="sys.server")
        assert shown(rows, "audit", "action", "by", "target", "reason") == [
            (drained["audit"], "drain", ada.user_id, None, "new version"),
            (ended["audit"], "disconnect", ada.user_id, zoe.user_id, "rest"),
            (reset["audit"], "reset", ada.user_id, mod.user_id, "lost"),
            (made["audit"], "enroll", ada.user_id, made["user"], None),
        ]
        detail = {"action": "enroll", "user": made["user"], "name": "Eve", "role": "moderator"}
        assert items(rows)[3]["detail"] == detail


@pytest.mark.parametrize("t", ["enroll", "reset", "assign", "drain"])
@virtual_time
async def test_what_cannot_be_in_the_audit_is_not_done(t: str) -> None:
    """While the database takes nothing, no account is made or changed, and the server goes on."""
    async with open_sim(FAST) as sim:
        ada, mod = await enter_as(sim, "Ada", "admin"), await enter_as(sim, "Mo", "moderator")
        tokens = await sim.store.list_tokens(mod.user_id, limit=9)
        sim.faults["activate"] = Fault(refusal=Unavailable("away"))
        fields = {**ASKED[t], **({"user": mod.user_id} if t in {"reset", "assign"} else {})}
        fields |= {"role": "user"} if t == "assign" else {}
        assert (await ada.refused(t, **fields))["code"] == "unavailable"
        assert await sim.store.find_user("Eve", "eve") is None
        assert await sim.store.list_tokens(mod.user_id, limit=9) == tokens
        assert (await sim.store.find_users([mod.user_id]))[mod.user_id].role == "moderator"
        assert not sim.node.drain_asked.is_set()


@virtual_time
async def test_sessions_end_also_while_the_database_is_slow() -> None:
    """When it is ordered; the answer comes when it is stored."""
    async with open_sim(FAST) as sim:
        mod, bob = await enter_as(sim, "Mo", "moderator"), await enter_as(sim, "Bob")
        await mod.request("mod", action="announce", body="hello")
        sim.faults["append"] = Fault(before_s=5.0)
        asked = await mod.send("disconnect", user=bob.user_id)
        assert await bob.wait_closed() == 4007
        assert not mod.heard("ok", id=asked)
        assert (await mod.answer(asked))["affected"] == 1


@virtual_time
async def test_the_server_s_people_read_every_room() -> None:
    """Settings, members, history and what happens; they are no members, and may not write."""
    async with open_sim(FAST) as sim:
        ann = await sim.connect("ann")
        await ann.request("create", room="den", kind="private")
        await ann.request("subscribe", room="den")
        await ann.request("send", room="den", cid="1", body="among us")
        mod, bob = await enter_as(sim, "Mo", "moderator"), await enter_as(sim, "Bob")
        every = shown(await mod.request("rooms", all=True), "room", "kind")
        assert every == [("den", "private"), ("sys.server", "private")]
        assert items(await mod.request("rooms")) == []
        assert (await mod.request("room", room="den"))["role"] is None
        assert shown(await mod.request("members", room="den"), "name") == [("ann",)]
        assert shown(await mod.request("history", room="den"), "body") == [("among us",)]
        await mod.request("subscribe", room="den")
        await ann.request("send", room="den", cid="2", body="more")
        await mod.expect("event", body="more")
        assert (await mod.refused("send", room="den", cid="1", body="hello"))["code"] == "room_not_found"
        assert (await bob.refused("subscribe", room="den"))["code"] == "room_not_found"
        assert (await bob.refused("history", room="den"))["code"] == "room_not_found"


@virtual_time
async def test_the_rooms_for_which_most_waits_or_most_receive_come_first() -> None:
    """With what they did since they became active."""
    async with open_sim(FAST) as sim:
        ann, _ = await sim.join("tea", "ann", "bob")
        await ann.request("join", room="den", create=True)
        await ann.request("send", room="den", cid="1", body="hello")
        mod = await enter_as(sim, "Mo", "moderator")
        listed = await mod.request("busiest")
        assert shown(listed, "room", "subscribers", "waiting") == [("tea", 2, 0), ("den", 1, 0)]
        assert all(isinstance(item["messages"], int) and item["messages"] > 0 for item in items(listed))
        assert shown(await mod.request("busiest", limit=1), "room") == [("tea",)]


@virtual_time
async def test_an_admin_s_word_drains_the_server() -> None:
    """As a signal does; a trial says only whom it would concern."""
    async with open_sim(FAST) as sim:
        admin = await enter_as(sim, "Ada", "admin")
        assert (await admin.request("drain", dry_run=True))["affected"] == 1
        assert not sim.node.drain_asked.is_set()
        await admin.request("drain")
        assert sim.node.drain_asked.is_set()


@virtual_time
async def test_an_account_is_made_with_a_password_that_is_told_once() -> None:
    """A trial makes none; a name is taken once, and only names are names."""
    async with open_sim(FAST) as sim:
        admin = await enter_as(sim, "Ada", "admin")
        await admin.request("enroll", name="Eve", role="moderator", dry_run=True)
        assert await sim.store.find_user("Eve", "eve") is None
        made = await admin.request("enroll", name="Eve", role="moderator")
        account = await sim.store.find_account("eve")
        assert account is not None
        assert (account.user.role, account.user.user_id) == ("moderator", made["user"])
        assert (await sim.node.passwords.check(account.password, str(made["password"]))).correct
        assert (await admin.refused("enroll", name="EVE"))["code"] == "conflict"
        assert (await admin.refused("enroll", name="\u202e"))["field"] == "name"


@virtual_time
async def test_a_reset_ends_all_that_the_user_had() -> None:
    """Tokens, their sessions and the password; a trial says how many tokens."""
    async with open_sim(FAST) as sim:
        admin, bob = await enter_as(sim, "Ada", "admin"), await enter_as(sim, "Bob")
        assert (await admin.request("reset", user=bob.user_id, dry_run=True))["affected"] == 1
        answer = await admin.request("reset", user=bob.user_id)
        assert answer["affected"] == 1
        assert await bob.wait_closed() == 4500
        account = await sim.store.find_account("bob")
        assert account is not None
        assert (await sim.node.passwords.check(account.password, str(answer["password"]))).correct
        other = await enter_as(sim, "Eda", "admin")
        assert (await admin.refused("reset", user=other.user_id))["code"] == "forbidden"
        assert (await admin.refused("reset", user="u_nobody"))["code"] == "not_found"


@virtual_time
@both
async def test_a_role_is_given_and_counts_at_once(codec: Codec) -> None:
    """The sessions end, and whoever comes back has it; it is in the audit, and a trial changes nothing."""
    async with open_sim(FAST) as sim:
        ada = await sim.enter(await register(sim.store, "Ada", "admin"), codec=codec)
        token = await register(sim.store, "Bob")
        bob = await sim.enter(token)
        told = await ada.request("assign", user=bob.user_id, role="moderator", dry_run=True)
        assert (told["was"], told["role"], told["affected"], "audit" in told) == (
            "user",
            "moderator",
            1,
            False,
        )
        told = await ada.request("assign", user=bob.user_id, role="moderator", reason="helps")
        assert (told["was"], told["role"], told["affected"]) == ("user", "moderator", 1)
        assert (await bob.wait_closed(), bob.close_reason) == (4007, "your role is moderator now")
        assert (await bob.expect("bye"))["retry_after"] == 1.0
        bob = await sim.enter(token)
        await bob.request("users")

        (row,) = items(await ada.request("audit", room="sys.server"))
        assert (row["audit"], row["action"], row["target"]) == (told["audit"], "assign", bob.user_id)
        detail = {
            "action": "assign",
            "user": bob.user_id,
            "name": "Bob",
            "role": "moderator",
            "reason": "helps",
        }
        assert row["detail"] == detail
        again = await ada.request("assign", user=bob.user_id, role="moderator")
        assert (again["affected"], "audit" in again) == (0, False)
        await ada.request("assign", user=bob.user_id, role="user")
        bob = await sim.enter(token)
        assert (await bob.refused("users"))["code"] == "forbidden"


@virtual_time
async def test_admins_make_admins_and_cannot_unmake_them() -> None:
    """They step down themselves, but for the last; who has no account has no role."""
    async with open_sim(FAST) as sim:
        ada, mod = await enter_as(sim, "Ada", "admin"), await enter_as(sim, "Mo", "moderator")
        (guest,) = await sim.join("tea", "ann")
        for dry_run in (True, False):
            last = await ada.refused("assign", user=ada.user_id, role="user", dry_run=dry_run)
            assert (last["code"], last["field"]) == ("forbidden", "user")
        assert (await ada.refused("assign", user=guest.user_id, role="moderator"))["code"] == "not_found"
        assert (await ada.refused("assign", user=mod.user_id, role="king"))["code"] == "bad_request"
        await ada.request("assign", user=mod.user_id, role="admin")
        assert (await ada.refused("assign", user=mod.user_id, role="user"))["code"] == "forbidden"
        told = await ada.request("assign", user=ada.user_id, role="user")
        assert (told["was"], told["affected"]) == ("admin", 1)
        assert await ada.wait_closed() == 4007
        assert [row.user_id for row in await sim.store.list_staff(limit=9)] == [mod.user_id]


@virtual_time
async def test_who_comes_in_while_a_role_changes_has_the_new_one() -> None:
    """Who was found with the old one just before is looked for again."""
    async with open_sim(FAST) as sim:
        ada = await enter_as(sim, "Ada", "admin")
        token = await register(sim.store, "Mo", "moderator")
        mod = await sim.enter(token)
        await ada.request("mod", action="announce", body="hello")
        sim.faults["memberships"] = Fault(before_s=2.0)
        late = await sim.open()
        await late.send("hello", token=token)
        await trio.sleep(1.0)
        await ada.request("assign", user=mod.user_id, role="user")
        await late.expect("welcome")
        assert (await late.refused("users"))["code"] == "forbidden"


@virtual_time
async def test_of_two_admins_who_step_down_at_once_one_stays() -> None:
    """The store decides where the desk could not yet see it."""
    async with open_sim(FAST) as sim:
        ada, eda = await enter_as(sim, "Ada", "admin"), await enter_as(sim, "Eda", "admin")
        sim.faults["set_role"] = Fault(before_s=1.0)
        asked = [(each, await each.send("assign", user=each.user_id, role="user")) for each in (ada, eda)]
        answers = [await each.answer(number) for each, number in asked]
        assert sorted(str(answer.get("code", "ok")) for answer in answers) == ["forbidden", "ok"]
        assert len(await sim.store.list_staff(limit=9)) == 1
