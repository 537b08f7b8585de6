"""Rooms that are governed: what the people concerned see, at once and after a restart."""

from collections.abc import Mapping

import pytest
import trio

from chat.codec import Codec
from chat.config import Config
from chat.purge_desk import FOUND_MAX
from chat.tokens import IssuedToken, create_token
from storage.memory import MemoryStore
from storage.testing import Fault
from tests.sim.harness import (
    BEGIN_MS,
    Envelope,
    SimClient,
    both,
    items,
    open_sim,
    room_id,
    virtual_time,
)


async def private_room(owner: SimClient, name: str = "den") -> None:
    """Make a private room and receive it."""
    await owner.request("create", room=name, kind="private", topic="ours")
    await owner.request("subscribe", room=name)


async def person(store: MemoryStore, name: str, role: str | None = None) -> IssuedToken:
    """A registered user, and a token."""

    def random_bytes(size: int) -> bytes:
        return (name.encode() * size)[:size]

    return await create_token(store, name=name, role=role, now_ms=BEGIN_MS, random_bytes=random_bytes)


async def told(client: SimClient, room: object) -> Envelope:
    """The event about a client's user, in a room that it does not receive."""
    event = (await client.expect("notice", room=room))["event"]
    assert isinstance(event, Mapping)
    return event


def about(event: Envelope) -> tuple[object, ...]:
    """What an event says of whom."""
    return (event["kind"], event.get("user"), event.get("action"), event.get("role"))


# -- invitations -----------------------------------------------------------------------------------------


@virtual_time
@both
async def test_who_is_invited_hears_of_it_and_may_come(codec: Codec) -> None:
    """On every device, before knowing the room; the others hear of the new member."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann", codec), await sim.connect("bob", codec)
        await private_room(ann)
        assert (await bob.refused("subscribe", room="den"))["code"] == "room_not_found"
        answer = await ann.request("invite", room="den", user=bob.user_id)
        heard = await told(bob, "den")
        assert heard == await ann.expect("event", room="den")
        assert about(heard) == ("member", bob.user_id, "invite", "member")
        assert (heard["seq"], heard["name"], answer["seq"]) == (1, "bob", 1)
        snapshot = (await bob.request("subscribe", room="den"))["snapshot"]
        assert isinstance(snapshot, Mapping)
        assert (snapshot["members"], snapshot["role"]) == (2, "member")
        await bob.request("send", room="den", cid="1", body="hello")
        assert items(await bob.request("rooms", mine=True))[0]["room"] == "den"
        again = await ann.request("invite", room="den", user=bob.user_id)
        assert "seq" not in again


@virtual_time
async def test_registered_people_are_invited_while_they_are_away() -> None:
    """The accounts know their names; nobody knows those of guests who have gone."""
    store = MemoryStore()
    issued = await person(store, "Zoe")
    async with open_sim(store=store) as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await private_room(ann)
        await bob.close()
        await ann.request("invite", room="den", user=issued.user.user_id)
        refused = await ann.refused("invite", room="den", user=bob.user_id)
        assert (refused["code"], refused["field"]) == ("not_found", "user")
        zoe = await sim.enter(issued.token)
        assert items(await zoe.request("rooms", mine=True))[0]["room"] == "den"


@virtual_time
async def test_who_leaves_a_private_room_is_seen_to_leave() -> None:
    """The others see the event, and the leaver's other devices, too; then the room is gone for them."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await private_room(ann)
        await ann.request("invite", room="den", user=bob.user_id)
        await bob.request("subscribe", room="den")
        await bob.request("leave", room="den")
        for client in (ann, bob):
            left = await client.expect("event", room="den", action="leave")
            assert about(left) == ("member", bob.user_id, "leave", None)
        await ann.request("send", room="den", cid="1", body="alone")
        assert (await bob.refused("subscribe", room="den"))["code"] == "room_not_found"
        assert bob.bodies("den") == []
        assert (await ann.refused("leave", room="den"))["code"] == "forbidden"


# -- direct rooms ----------------------------------------------------------------------------------------


@virtual_time
@both
async def test_two_people_have_one_room_from_either_side(codec: Codec) -> None:
    """The other one hears of it; asked for again, by whomever, it is the same."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann", codec), await sim.connect("bob", codec)
        made = await ann.request("create", kind="direct", user=bob.user_id)
        room = made["room"]
        heard = await told(bob, room)
        assert about(heard) == ("member", bob.user_id, "invite", "member")
        again = await bob.request("create", kind="direct", user=ann.user_id)
        assert (again["room"], again["kind"], "seq" in again) == (room, "direct", False)
        for client in (ann, bob):
            await client.request("subscribe", room=room)
        await bob.request("send", room=room, cid="1", body="hello")
        await ann.expect("event", kind="message", body="hello")
        await ann.request("update", room=room, topic="us")
        assert (await bob.expect("event", kind="room"))["topic"] == "us"
        eve = await sim.connect("eve", codec)
        assert (await eve.refused("join", room=room))["code"] == "room_not_found"
        assert (await bob.refused("leave", room=room))["code"] == "forbidden"
        assert (await ann.refused("mod", room=room, action="kick", target=bob.user_id))["code"] == "forbidden"


@virtual_time
async def test_both_may_ask_for_their_room_at_once() -> None:
    """It is made once, and both are in it."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        asked = [
            (client, await client.send("create", kind="direct", user=other.user_id))
            for client, other in ((ann, bob), (bob, ann))
        ]
        answers = [await client.answer(request_id) for client, request_id in asked]
        assert [answer["t"] for answer in answers] == ["ok", "ok"]
        assert answers[0]["room"] == answers[1]["room"]
        room = await ann.request("room", room=answers[0]["room"])
        assert (room["members"], room["role"]) == (2, "member")


@virtual_time
async def test_names_of_direct_rooms_are_not_for_others() -> None:
    """Each refusal names the field."""
    async with open_sim() as sim:
        ann = await sim.connect("ann")
        table: list[tuple[dict[str, object], str]] = [
            ({"room": "dm.x"}, "room"),
            ({}, "room"),
            ({"room": "den", "user": "u_bob"}, "user"),
            ({"kind": "direct"}, "user"),
            ({"kind": "direct", "user": ann.user_id}, "user"),
            ({"kind": "direct", "room": "den", "user": "u_bob"}, "room"),
        ]
        for fields, field in table:
            refused = await ann.refused("create", **fields)
            assert (refused["code"], refused["field"]) == ("bad_request", field)
        assert (await ann.refused("create", kind="direct", user="u_bob"))["code"] == "not_found"
        assert (await ann.refused("join", room="dm.x", create=True))["code"] == "room_not_found"


# -- moderation ------------------------------------------------------------------------------------------


@virtual_time
@both
async def test_a_ban_ends_all_at_once_and_says_why(codec: Codec) -> None:
    """The event is the last that the banned user sees of the room, and the audit has it."""
    async with open_sim() as sim:
        ann, bob, cyd = await sim.join("tea", "ann", "bob", "cyd", codec=codec)
        answer = await ann.request(
            "mod", room="tea", action="ban", target=bob.user_id, ttl=60.0, reason="spam"
        )
        assert (answer["audit"], answer["affected"], answer["seq"]) == ("tea:1", 1, 1)
        for client in (ann, bob, cyd):
            event = await client.expect("event", kind="sanction")
            assert (event["action"], event["user"], event["reason"]) == ("ban", bob.user_id, "spam")
        await cyd.request("send", room="tea", cid="1", body="peace")
        for request, fields in (
            ("join", {}),
            ("subscribe", {}),
            ("send", {"cid": "1", "body": "x"}),
            ("history", {}),
            ("members", {}),
            ("watch", {}),
        ):
            refused = await bob.refused(request, room="tea", **fields)
            assert (refused["code"], "spam" in str(refused["message"])) == ("banned", True), request
        assert bob.bodies("tea") == []
        await trio.sleep(60.0)
        await bob.request("join", room="tea")
        tea = await room_id(sim.store, "tea")
        (row,) = await sim.store.read_audit(tea, after=0, limit=9)
        assert (row.action, row.actor, row.target, row.reason) == ("ban", ann.user_id, bob.user_id, "spam")


@virtual_time
async def test_a_mute_holds_across_a_restart_and_ends_by_itself() -> None:
    """It is rebuilt from what the log left."""
    store = MemoryStore()
    async with open_sim(store=store) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        await ann.request("mod", room="tea", action="mute", target=bob.user_id, ttl=100.0)
        muted = await bob.refused("send", room="tea", cid="1", body="x")
        assert (muted["code"], muted["temporary"], 99 < float(str(muted["retry_after"])) <= 100) == (
            "muted",
            True,
            True,
        )
        welcome = bob.heard("welcome")[0]
    async with open_sim(store=store) as sim:
        bob = await sim.enter(welcome["token"])
        assert (await bob.refused("send", room="tea", cid="1", body="x"))["code"] == "muted"
        await trio.sleep(101.0)
        await bob.request("send", room="tea", cid="1", body="x")


@virtual_time
async def test_what_is_decided_first_counts_first() -> None:
    """A ban at one seq precedes the refusal of what was sent after it."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        before = await bob.send("send", room="tea", cid="1", body="before")
        ban = await ann.send("mod", room="tea", action="ban", target=bob.user_id)
        after = await bob.send("send", room="tea", cid="2", body="after")
        assert (await bob.answer(before))["seq"] == 1
        assert (await ann.answer(ban))["seq"] == 2
        assert (await bob.answer(after))["code"] == "banned"
        assert ann.bodies("tea") == ["before"]


@virtual_time
async def test_moderators_are_made_and_unmade_in_the_log() -> None:
    """Every subscriber sees the role, and it counts from that seq on."""
    async with open_sim() as sim:
        ann, bob, cyd = await sim.join("tea", "ann", "bob", "cyd")
        kick = {"room": "tea", "action": "kick", "target": cyd.user_id}
        assert (await bob.refused("mod", **kick))["code"] == "forbidden"
        await ann.request("mod", room="tea", action="role", target=bob.user_id, role="moderator")
        assert about(await cyd.expect("event", kind="role")) == ("role", bob.user_id, None, "moderator")
        await bob.request("mod", **kick)
        await cyd.expect("event", kind="member", action="kick")
        await cyd.request("join", room="tea")
        assert (await bob.refused("mod", room="tea", action="role", target=cyd.user_id, role="owner"))[
            "code"
        ] == "forbidden"
        members = items(await ann.request("members", room="tea"))
        assert {row["name"]: row["role"] for row in members} == {
            "ann": "owner",
            "bob": "moderator",
            "cyd": "member",
        }


@virtual_time
async def test_moderation_passes_a_full_mailbox() -> None:
    """What others ask is refused as busy; the word of who moderates is taken, and of nobody else."""
    async with open_sim(Config(room_mailbox=8, room_mailbox_reserve=2)) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        at = {session.user_id: session for session in sim.node.sessions}
        before = [
            (
                at[bob.user_id],
                bob.codec.encode({"t": "send", "id": 90 + n, "room": "tea", "cid": str(n), "body": "x"}),
            )
            for n in range(8)
        ]
        mute = {"t": "mod", "id": 99, "room": "tea", "action": "mute", "target": bob.user_id}
        # In one step of this task: no room gets its turn in between.
        for session, payload in before:
            session.on_frame(payload, False)  # noqa: FBT003  the transport's signature
        at[bob.user_id].on_frame(bob.codec.encode(mute), False)  # noqa: FBT003  same
        at[ann.user_id].on_frame(ann.codec.encode(mute), False)  # noqa: FBT003  same
        assert (await bob.answer(97))["code"] == "busy"
        assert (await bob.answer(99))["code"] == "busy"
        assert (await ann.answer(99))["t"] == "ok"
        assert (await bob.refused("send", room="tea", cid="9", body="x"))["code"] == "muted"


@virtual_time
async def test_moderation_is_taken_while_messages_cannot_be_stored() -> None:
    """It takes effect at once and is stored when the database is back; its ok waits for that."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        sim.faults["append"] = Fault(before_s=1.0)
        mute = await ann.send("mod", room="tea", action="mute", target=bob.user_id)
        await bob.expect("event", kind="sanction")
        assert (await bob.refused("send", room="tea", cid="1", body="x"))["code"] == "muted"
        assert (await ann.answer(mute))["t"] == "ok"


@virtual_time
async def test_a_strict_room_shows_moderation_when_it_is_stored() -> None:
    """To its subscribers, and to whom it is about, who receives no more by then."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await ann.request("create", room="safe", strict=True)
        for client in (ann, bob):
            await client.request("join", room="safe")
        await ann.request("mod", room="safe", action="kick", target=bob.user_id)
        assert await told(bob, "safe") == await ann.expect("event", kind="member", action="kick")


@virtual_time
async def test_a_locked_room_and_a_slow_one_are_told_to_all() -> None:
    """By events, and in the snapshot of who comes later."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        await ann.request("mod", room="tea", action="lock", reason="raid")
        await ann.request("mod", room="tea", action="slow", slow=5.0)
        assert (await bob.expect("event", kind="room", locked=True))["reason"] == "raid"
        assert (await bob.refused("send", room="tea", cid="1", body="x"))["code"] == "locked"
        snapshot = (await bob.request("subscribe", room="tea"))["snapshot"]
        assert isinstance(snapshot, Mapping)
        assert (snapshot["locked"], snapshot["slow"]) == (True, 5.0)


@virtual_time
async def test_a_try_changes_nothing() -> None:
    """It says how many it would concern."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        tried = await ann.request("mod", room="tea", action="ban", target=bob.user_id, dry_run=True)
        assert (tried["affected"], "audit" in tried) == (1, False)
        await bob.request("send", room="tea", cid="1", body="still here")


# -- purging ---------------------------------------------------------------------------------------------


@virtual_time
@both
async def test_a_purge_deletes_all_of_a_user_and_nothing_else(codec: Codec) -> None:
    """By one event a page, of which everybody hears; who comes later sees places without texts."""
    async with open_sim(Config(rate_limits=False)) as sim:
        ann, bob, cyd = await sim.join("tea", "ann", "bob", "cyd", codec=codec)
        for number in range(3):
            await bob.request("send", room="tea", cid=str(number), body=f"spam {number}")
            await cyd.request("send", room="tea", cid=str(number), body=f"talk {number}")
        tried = await ann.request("mod", room="tea", action="purge", target=bob.user_id, dry_run=True)
        assert (tried["affected"], "audit" in tried) == (3, False)
        done = await ann.request("mod", room="tea", action="purge", target=bob.user_id, reason="spam")
        assert (done["affected"], done["audit"], "next" in done) == (3, "tea:7", False)
        event = await cyd.expect("event", kind="purge")
        assert (event["seqs"], event["user"], event["reason"]) == ([1, 3, 5], bob.user_id, "spam")
        page = items(await cyd.request("history", room="tea", fold=True))
        assert [(item["seq"], item["body"], item.get("deleted")) for item in page] == [
            (1, None, True),
            (2, "talk 0", None),
            (3, None, True),
            (4, "talk 1", None),
            (5, None, True),
            (6, "talk 2", None),
        ]
        late = await cyd.request("subscribe", room="tea")
        events = late["events"]
        assert isinstance(events, list)
        assert [event.get("body") for event in events] == [
            None,
            "talk 0",
            None,
            "talk 1",
            None,
            "talk 2",
            None,
        ]
        again = await ann.request("mod", room="tea", action="purge", target=bob.user_id)
        assert (again["affected"], "audit" in again) == (0, False)


@virtual_time
async def test_a_purge_goes_on_page_by_page() -> None:
    """Each of five hundred; a cursor of another room is none."""
    async with open_sim(Config(rate_limits=False)) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        for number in range(620):
            await bob.send("send", room="tea", cid=str(number), body="spam")
        await bob.request("ping")
        await bob.request("send", room="tea", cid="last", body="spam")
        first = await ann.request("mod", room="tea", action="purge", target=bob.user_id)
        assert first["affected"] == 500
        second = await ann.request(
            "mod", room="tea", action="purge", target=bob.user_id, cursor=first["next"]
        )
        assert (second["affected"], "next" in second) == (121, False)
        await ann.request("create", room="other")
        for cursor in (first["next"], "x"):
            refused = await ann.refused("mod", room="other", action="purge", cursor=cursor)
            assert (refused["code"], refused["field"]) == ("bad_cursor", "cursor")


@virtual_time
async def test_messages_of_a_time_or_at_their_places_are_purged() -> None:
    """Whoever wrote them; seqs that are no messages are left out."""
    async with open_sim(Config(rate_limits=False)) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        times: list[object] = []
        for number in range(4):
            answer = await bob.request("send", room="tea", cid=str(number), body=f"{number}")
            times.append(answer["at"])
            await trio.sleep(1.0)
        await ann.request("mod", room="tea", action="purge", since_ms=times[1], until_ms=times[2])
        assert (await bob.expect("event", kind="purge"))["seqs"] == [2]
        await ann.request("mod", room="tea", action="purge", seqs=[5, 4, 1, 99])
        assert (await bob.expect("event", kind="purge"))["seqs"] == [1, 4]
        both_ways = await ann.refused("mod", room="tea", action="purge", seqs=[1], since_ms=0)
        assert (both_ways["code"], both_ways["field"]) == ("bad_request", "seqs")


@virtual_time
async def test_messages_with_some_words_are_purged() -> None:
    """As a search finds them, of one user if wanted; the answer says whether the search knew all."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        for client, cid, body in ((bob, "1", "buy gold"), (ann, "2", "no gold"), (bob, "3", "green tea")):
            await client.request("send", room="tea", cid=cid, body=body)
        await trio.sleep(5)
        only_bob = {"query": "gold", "target": bob.user_id}
        tried = await ann.request("mod", room="tea", action="purge", dry_run=True, **only_bob)
        assert (tried["affected"], tried["fresh"]) == (1, True)
        await ann.request("mod", room="tea", action="purge", **only_bob)
        assert (await bob.expect("event", kind="purge"))["seqs"] == [1]
        await ann.request("mod", room="tea", action="purge", query="gold")
        assert (await bob.expect("event", kind="purge"))["seqs"] == [2]
        await trio.sleep(5)
        assert (await ann.request("mod", room="tea", action="purge", query="gold"))["affected"] == 0


@virtual_time
async def test_a_purge_by_words_goes_on_page_by_page() -> None:
    """The cursor belongs to the words."""
    async with open_sim(Config(rate_limits=False)) as sim:
        (ann,) = await sim.join("tea", "ann")
        for number in range(FOUND_MAX + 1):
            await ann.request("send", room="tea", cid=f"{number}", body="gold")
        await trio.sleep(5)
        first = await ann.request("mod", room="tea", action="purge", query="gold")
        assert first["affected"] == FOUND_MAX
        refused = await ann.refused("mod", room="tea", action="purge", query="tea", cursor=first["next"])
        assert refused["code"] == "bad_cursor"
        last = await ann.request("mod", room="tea", action="purge", query="gold", cursor=first["next"])
        assert (last["affected"], "next" in last) == (1, False)


@virtual_time
async def test_the_server_s_people_purge_by_words_where_they_are_no_members() -> None:
    """As they search there."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        ann, admin = await sim.connect("ann"), await sim.enter(root.token)
        await private_room(ann)
        await ann.request("send", room="den", cid="1", body="gold")
        await trio.sleep(5)
        assert [hit["seq"] for hit in items(await admin.request("search", room="den", query="gold"))] == [1]
        assert items(await admin.request("search", query="gold")) == []
        assert (await admin.request("mod", room="den", action="purge", query="gold"))["affected"] == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"seqs": [1], "query": "gold"}, "seqs"),
        ({"query": "-gold"}, "query"),
        ({"query": "a\0b"}, "query"),
        ({"expired": True}, "expired"),
        ({"expired": True, "until_ms": 1}, "expired"),
        ({"expired": True, "query": "gold"}, "expired"),
    ],
)
@virtual_time
async def test_what_is_to_be_purged_is_said_in_one_way(fields: dict[str, object], field: str) -> None:
    """And what is expired only where a room forgets."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann")
        refused = await ann.refused("mod", room="tea", action="purge", **fields)
        assert (refused["code"], refused["field"]) == ("bad_request", field)


@virtual_time
async def test_who_does_not_moderate_purges_nothing() -> None:
    """Not even what is his own that way; outsiders of a private room learn nothing."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        await bob.request("send", room="tea", cid="1", body="mine")
        assert (await bob.refused("mod", room="tea", action="purge", target=bob.user_id))[
            "code"
        ] == "forbidden"
        await private_room(ann)
        assert (await bob.refused("mod", room="den", action="purge"))["code"] == "room_not_found"
        assert (await bob.refused("mod", room="nowhere", action="purge"))["code"] == "room_not_found"
        owner = await ann.request("mod", room="tea", action="role", target=bob.user_id, role="moderator")
        assert owner["affected"] == 1
        refused = await bob.refused("mod", room="tea", action="purge", target=ann.user_id)
        assert refused["code"] == "forbidden"


# -- the whole server ------------------------------------------------------------------------------------


@virtual_time
@both
async def test_a_ban_from_the_server_ends_every_session_and_lets_none_in(codec: Codec) -> None:
    """With its own close code and the reason; it holds across a restart, and ends by itself."""
    store = MemoryStore()
    root, bob = await person(store, "Root", "admin"), await person(store, "Bob")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token, codec)
        phone, desk = [await sim.enter(bob.token, codec) for _ in range(2)]
        done = await admin.request("mod", action="ban", target=bob.user.user_id, ttl=60.0, reason="threats")
        assert (done["audit"], done["affected"]) == ("sys.server:1", 1)
        for client in (phone, desk):
            assert await client.wait_closed() == 4504
            assert "threats" in client.close_reason
        again = await sim.open(codec)
        refused = await again.refused("hello", token=bob.token)
        assert (refused["code"], "threats" in str(refused["message"])) == ("banned", True)
        assert 50 < float(str(refused["retry_after"])) <= 60
        assert await again.wait_closed() == 4504
    async with open_sim(store=store) as sim:
        again = await sim.open(codec)
        assert (await again.refused("hello", token=bob.token))["code"] == "banned"
        await trio.sleep(60.0)
        await sim.enter(bob.token, codec)


@virtual_time
async def test_a_ban_from_the_server_is_lifted() -> None:
    """By those who may impose it; what is not there cannot be."""
    store = MemoryStore()
    root, bob = await person(store, "Root", "moderator"), await person(store, "Bob")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token)
        await admin.request("mod", action="ban", target=bob.user.user_id)
        await admin.request("mod", action="unban", target=bob.user.user_id)
        await sim.enter(bob.token)
        assert (await admin.refused("mod", action="unban", target=bob.user.user_id))["code"] == "not_found"


@virtual_time
async def test_who_is_muted_everywhere_speaks_nowhere() -> None:
    """Neither in old rooms nor in new ones of his own; reading goes on."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token)
        (bob,) = await sim.join("tea", "bob")
        await admin.request("mod", action="mute", target=bob.user_id, ttl=10.0, reason="loud")
        assert (await bob.expect("notice"))["room"] == "sys.server"
        await bob.request("create", room="mine")
        for room in ("tea", "mine"):
            refused = await bob.refused("send", room=room, cid="1", body="x")
            assert (refused["code"], "loud" in str(refused["message"])) == ("muted", True)
        assert (await bob.refused("set", room="mine", key="k", value=1))["code"] == "muted"
        await bob.request("history", room="tea")
        await trio.sleep(10.0)
        await bob.request("send", room="tea", cid="1", body="x")


@virtual_time
@both
async def test_an_announcement_reaches_everybody(codec: Codec) -> None:
    """In whatever rooms they are; in one room, its subscribers."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token, codec)
        ann, bob = await sim.connect("ann", codec), await sim.connect("bob")
        await admin.request("mod", action="announce", body="down at noon")
        for client in (admin, ann, bob):
            event = await told(client, "sys.server")
            assert (event["kind"], event["body"], event["by"]) == ("announce", "down at noon", admin.user_id)
        await ann.request("join", room="tea", create=True)
        await ann.request("mod", room="tea", action="announce", body="tea is ready")
        assert (await ann.expect("event", kind="announce"))["body"] == "tea is ready"
        assert items(await ann.request("rooms", mine=True))[0]["unread"] == 0


@virtual_time
async def test_nobody_below_governs_the_server() -> None:
    """And nobody may do to it what is done to rooms."""
    store = MemoryStore()
    root, mod = await person(store, "Root", "admin"), await person(store, "Mod", "moderator")
    async with open_sim(store=store) as sim:
        admin, moderator = await sim.enter(root.token), await sim.enter(mod.token)
        (bob,) = await sim.join("tea", "bob")
        table: list[tuple[SimClient, dict[str, object], str]] = [
            (bob, {"action": "ban", "target": moderator.user_id}, "room_not_found"),
            (bob, {"action": "announce", "body": "x"}, "room_not_found"),
            (moderator, {"action": "ban", "target": admin.user_id}, "forbidden"),
            (moderator, {"action": "mute", "target": moderator.user_id}, "forbidden"),
            (admin, {"action": "lock"}, "bad_request"),
            (admin, {"action": "kick", "target": bob.user_id}, "bad_request"),
            (admin, {"action": "purge", "target": bob.user_id}, "bad_request"),
            (admin, {"action": "announce"}, "bad_request"),
            (admin, {"action": "ban", "target": "u_nobody"}, "not_found"),
        ]
        for client, fields, code in table:
            assert (await client.refused("mod", **fields))["code"] == code, fields
        others: list[tuple[str, dict[str, object], str]] = [
            ("invite", {"user": bob.user_id}, "bad_request"),
            ("update", {"topic": "x"}, "bad_request"),
            ("join", {}, "room_not_found"),
        ]
        for request, fields, code in others:
            assert (await admin.refused(request, room="sys.server", **fields))["code"] == code
        assert (await bob.refused("create", room="sys.other"))["field"] == "room"


# -- ways around it --------------------------------------------------------------------------------------


@virtual_time
async def test_a_ban_reaches_who_only_receives_the_room() -> None:
    """No member, but a subscriber and a watcher: both end with it."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann")
        bob = await sim.connect("bob")
        await bob.request("subscribe", room="tea")
        await bob.request("watch", room="tea")
        await ann.request("mod", room="tea", action="ban", target=bob.user_id)
        assert (await bob.expect("event", kind="sanction"))["action"] == "ban"
        await ann.request("send", room="tea", cid="1", body="secret")
        await sim.join("tea", "cyd")
        await trio.sleep(10.0)
        assert bob.bodies("tea") == []
        assert bob.heard("presence", room="tea") == []
        assert (await bob.refused("typing", room="tea"))["code"] == "not_member"


@virtual_time
async def test_a_ban_holds_in_a_direct_room() -> None:
    """Neither of the two brings the banned one back by asking for their room."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token)
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        room = (await ann.request("create", kind="direct", user=bob.user_id))["room"]
        await admin.request("mod", room=room, action="ban", target=ann.user_id)
        assert (await ann.refused("create", kind="direct", user=bob.user_id))["code"] == "banned"
        refused = await bob.refused("create", kind="direct", user=ann.user_id)
        assert (refused["code"], refused["field"]) == ("banned", "user")
        assert (await ann.refused("subscribe", room=room))["code"] == "banned"


@virtual_time
async def test_what_is_so_already_is_answered_when_it_is_stored() -> None:
    """Asked twice while the database is slow, both answers come with the commit."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await private_room(ann)
        sim.faults["append"] = Fault(before_s=5.0)
        first = await ann.send("invite", room="den", user=bob.user_id)
        second = await ann.send("invite", room="den", user=bob.user_id)
        await told(bob, "den")
        await trio.sleep(1.0)
        assert ann.answers()[first] == ann.answers()[second] == 0
        assert (await ann.answer(first))["seq"] == 1
        assert "seq" not in await ann.answer(second)


@virtual_time
async def test_who_is_muted_says_nothing_in_other_ways() -> None:
    """Neither by a topic, nor by an announcement, nor by typing."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token)
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        room = (await ann.request("create", kind="direct", user=bob.user_id))["room"]
        await admin.request("mod", room=room, action="mute", target=ann.user_id)
        assert (await ann.refused("update", room=room, topic="still here"))["code"] == "muted"
        await ann.request("join", room="tea", create=True)
        await admin.request("mod", action="mute", target=ann.user_id)
        table: list[tuple[str, dict[str, object]]] = [
            ("update", {"room": "tea", "topic": "still here"}),
            ("mod", {"room": "tea", "action": "announce", "body": "still here"}),
            ("create", {"room": "new", "topic": "still here"}),
            ("typing", {"room": "tea"}),
        ]
        for request, fields in table:
            assert (await ann.refused(request, **fields))["code"] == "muted", request


@virtual_time
async def test_a_stored_message_that_is_sent_again_is_known_though_its_author_is_muted() -> None:
    """By the room or everywhere: it is there."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        admin = await sim.enter(root.token)
        (bob,) = await sim.join("tea", "bob")
        await bob.request("send", room="tea", cid="1", body="said")
        await admin.request("mod", action="mute", target=bob.user_id)
        again = await bob.request("send", room="tea", cid="1", body="said", retry=True)
        assert (again["seq"], again["dup"]) == (1, True)
        assert (await bob.refused("send", room="tea", cid="2", body="x", retry=True))["code"] == "muted"


@virtual_time
async def test_strangers_are_not_molested_by_sanctions() -> None:
    """Nobody hears of a ban from a room that he has nothing to do with; and who imposes them has a rate."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await private_room(ann)
        fields = {"room": "den", "target": bob.user_id, "reason": "x" * 256}
        codes = []
        for number in range(30):
            action = "unmute" if number % 2 else "mute"
            codes.append((await ann.answer(await ann.send("mod", action=action, **fields))).get("code"))
        await trio.sleep(1.0)
        assert bob.heard("notice") == []
        assert codes.count("rate_limited") >= 8


@virtual_time
async def test_an_announcement_is_no_longer_than_a_message() -> None:
    """And nobody hears one before having said hello."""
    store = MemoryStore()
    root = await person(store, "Root", "admin")
    async with open_sim(store=store) as sim:
        admin, silent = await sim.enter(root.token), await sim.open()
        refused = await admin.refused("mod", action="announce", body="x" * 8193)
        assert (refused["code"], refused["field"]) == ("too_large", "body")
        await admin.request("mod", action="announce", body="x" * 8192)
        await told(admin, "sys.server")
        assert silent.received == []
