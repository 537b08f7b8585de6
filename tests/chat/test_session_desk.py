"""What sessions wait for, on a server in memory: pages, cursors, welcomes, and answers when storage fails."""

import pytest
import trio

from chat.config import Config
from chat.cursors import to_cursor
from chat.pressure_state import Change
from storage import Conflict, StorageError
from storage.testing import Fault
from tests.sim.harness import items, open_sim, virtual_time, walk

FAST = Config(rate_limits=False)


@virtual_time
async def test_lists_are_walked_page_by_page_without_a_gap() -> None:
    """Rooms by name and members by id, each once; the last page has no `next`."""
    async with open_sim(FAST) as sim:
        guests = await sim.join("tea", *(f"guest {number}" for number in range(7)))
        for number in range(4):
            await guests[0].request("create", room=f"room-{number}", topic="on a topic", slow=2.5)
        await guests[0].request("create", room="secret", kind="private")
        rooms = await walk(guests[1], "rooms", limit=2)
        assert [len(page) for page in rooms] == [2, 2, 1]
        listed = [room for page in rooms for room in page]
        assert [room["room"] for room in listed] == [*(f"room-{number}" for number in range(4)), "tea"]
        assert listed[0] == {
            "room": "room-0",
            "kind": "public",
            "topic": "on a topic",
            "slow": 2.5,
            "strict": False,
            "locked": False,
            "archived": False,
            "retention": 0,
            "language": "simple",
            "by": guests[0].user_id,
            "at": listed[0]["at"],
        }
        members = await walk(guests[1], "members", limit=3, room="tea")
        assert [len(page) for page in members] == [3, 3, 1]
        users = [member["user"] for page in members for member in page]
        assert users == sorted(guest.user_id for guest in guests)


@virtual_time
async def test_a_page_that_ends_with_the_list_has_no_next() -> None:
    """Exactly as many as asked for, and nothing behind them."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        assert await walk(ann, "members", limit=1, room="tea") == [
            [{"user": ann.user_id, "name": "ann", "role": "owner", "read": 0}]
        ]


@virtual_time
async def test_room_tells_its_settings_and_where_its_log_stands() -> None:
    """Settings, members, one's own role, epoch, head and what is stored of it."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        late = await sim.connect("late")
        await bob.request("send", room="tea", cid="1", body="hello")
        for client, role in ((ann, "owner"), (bob, "member"), (late, None)):
            answer = await client.request("room", room="tea")
            assert (answer["members"], answer["role"]) == (2, role)
            assert (answer["epoch"], answer["head"], answer["durable"]) == (1, 1, 1)
            assert answer["by"] == ann.user_id


@virtual_time
async def test_a_welcome_lists_the_first_hundred_rooms_and_says_that_there_are_more() -> None:
    """Each with position, role and what is unread; who comes back is the same person."""
    async with open_sim(FAST) as sim:
        ann = await sim.open()
        welcome = await ann.hello("ann")
        assert welcome["rooms"] == []
        assert "next" not in welcome
        for number in range(101):
            await ann.request("create", room=f"room-{number:03}")
        await ann.request("join", room="room-000")
        await ann.request("send", room="room-000", cid="1", body="hello")
        again = await sim.enter(welcome["token"])
        (back,) = again.heard("welcome")
        rooms = back["rooms"]
        assert isinstance(rooms, list)
        assert len(rooms) == 100
        assert rooms[0] == {
            "room": "room-000",
            "epoch": 1,
            "seq": 1,
            "role": "owner",
            "read": 0,
            "unread": 0,
            "mentions": 0,
        }
        rest = await again.request("rooms", mine=True, cursor=back["next"])
        assert [item["room"] for item in items(rest)] == ["room-100"]
        assert "next" not in rest
        refused = await again.refused("rooms", mine=True, cursor=to_cursor("room-050"))
        assert refused["code"] == "bad_cursor"
        assert back["user"] == welcome["user"]
        assert "token" not in back


@virtual_time
async def test_pages_of_history_are_shorter_under_pressure() -> None:
    """From level 3 on a quarter of the limit, with `prev` to go on."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        for number in range(40):
            await ann.request("send", room="tea", cid=f"{number}", body="x")
        sim.node.governor.apply(Change(0, "calm"))
        sim.press(3)
        page = await ann.request("history", room="tea", limit=100)
        assert len(items(page)) == 25
        assert page["prev"] == items(page)[0]["seq"] == 16


@pytest.mark.parametrize("t", ["history", "rooms", "members"])
@virtual_time
async def test_a_database_that_fails_in_a_new_way_is_internal_and_logged(t: str) -> None:
    """`internal`, temporary; the session lives on."""
    calls = {"history": "history", "rooms": "list_rooms", "members": "list_members"}
    async with open_sim(FAST, errors=["session.storage_failed"]) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults[calls[t]] = Fault(refusal=StorageError("what is that?"))
        fields: dict[str, object] = {} if t == "rooms" else {"room": "tea"}
        if t == "history":
            # What the room remembers would not be asked of storage.
            fields["fold"] = True
        answer = await ann.refused(t, **fields)
        assert (answer["code"], answer["temporary"]) == ("internal", True)
        assert [entry["event"] for entry in sim.errors()] == ["session.storage_failed"]
        await ann.request("ping")


@virtual_time
async def test_a_room_that_somebody_else_makes_in_between_is_joined() -> None:
    """Losing the race to create is as good as winning it."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults["find_room"] = Fault(after_s=1.0)
        bob = await sim.connect("bob")
        join = await bob.send("join", room="new", create=True)
        await trio.sleep(0.5)
        await ann.request("create", room="new")
        answer = await bob.answer(join)
        assert answer["t"] == "ok"
        assert len(items(await bob.request("members", room="new"))) == 2


@virtual_time
async def test_a_client_that_leaves_during_its_hello_leaves_nothing() -> None:
    """Whoever is gone before the welcome was never counted."""
    async with open_sim(FAST) as sim:
        sim.faults["memberships"] = Fault(before_s=2.0)
        hasty = await sim.open()
        await hasty.send("hello", guest="hasty")
        await trio.sleep(1.0)
        hasty.vanish()
        await trio.sleep(5.0)
        assert len(sim.node.ledger) == 0
        assert sim.node.sessions == []


@virtual_time
async def test_a_conflict_at_create_is_told_and_nothing_is_changed() -> None:
    """The room stays its first owner's."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        first = await ann.request("create", room="tea", topic="green")
        assert (await bob.refused("create", room="tea", topic="black"))["code"] == "conflict"
        sim.faults["create_room"] = Fault(refusal=Conflict("raced"))
        assert (await bob.refused("create", room="den"))["code"] == "conflict"
        room = await bob.request("room", room="tea")
        assert (room["topic"], room["by"]) == (first["topic"], ann.user_id)
