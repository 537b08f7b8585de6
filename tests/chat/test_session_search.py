"""Searching, on a server in memory: what is answered, refused, and said of what the index lacks."""

import pytest
import trio

from chat.codec import Codec
from chat.config import Config
from chat.errors import Refused
from chat.search_cursor import read_search_cursor, search_cursor
from chat.session_search import AT_ONCE, WAITING_MAX
from storage import SearchKey, TooSlow, Unavailable
from storage.testing import Fault
from tests.sim.harness import SimClient, both, items, open_sim, virtual_time

OPEN = Config(rate_limits=False)
INDEXED_S = 1.0


async def say(client: SimClient, room: str, *bodies: str) -> None:
    """Say it, and wait until it is indexed."""
    for number, body in enumerate(bodies):
        await client.request("send", room=room, cid=f"{body}-{number}", body=body)
    await trio.sleep(INDEXED_S)


@both
@virtual_time
async def test_an_answer_shows_what_was_found_and_that_nothing_is_missing(codec: Codec) -> None:
    """Room, seq, time, author and the text in pieces; `fresh`, and of one room how far it was indexed."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "tea", "a cup of tea", "no milk")
        answer = await ann.request("search", query="cup", room="tea")
        (item,) = items(answer)
        assert isinstance(item.pop("at"), int)
        assert item == {
            "room": "tea",
            "seq": 1,
            "by": ann.user_id,
            "name": "ann",
            "fragment": ["a ", "cup", " of tea"],
        }
        assert (answer["fresh"], answer["indexed"]) == (True, 2)
        everywhere = await ann.request("search", query="cup")
        assert items(everywhere)[0]["seq"] == 1
        assert everywhere["fresh"] is True
        assert "behind" not in everywhere
        assert "next" not in everywhere


@virtual_time
async def test_what_is_not_indexed_yet_is_said_to_be_missing() -> None:
    """In one room and in all: an answer from an index that is behind says by how much."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann")
        await say(ann, "tea", "tea one")
        sim.faults["index_rooms"] = Fault(refusal=Unavailable("away"))
        await say(ann, "tea", "tea two", "tea three")
        for fields in ({"room": "tea"}, {}):
            answer = await ann.request("search", query="tea", **fields)
            assert [item["seq"] for item in items(answer)] == [1]
            assert (answer["fresh"], answer["behind"]) == (False, 2)
        sim.faults.clear()
        await trio.sleep(30)
        answer = await ann.request("search", query="tea")
        assert ([item["seq"] for item in items(answer)], answer["fresh"]) == ([3, 2, 1], True)


@virtual_time
async def test_pages_follow_each_other_by_a_cursor_of_this_search_alone() -> None:
    """Another query's, another room's, another list's and invented cursors are refused."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann")
        await say(ann, "tea", *(f"tea {number}" for number in range(5)))
        seen: list[object] = []
        cursor: dict[str, object] = {}
        while True:
            answer = await ann.request("search", query="tea", room="tea", limit=2, **cursor)
            seen += [item["seq"] for item in items(answer)]
            if "next" not in answer:
                break
            cursor = {"cursor": answer["next"]}
        assert seen == [5, 4, 3, 2, 1]
        rooms = await ann.request("create", room="den")
        assert rooms["t"] == "ok"
        lists = (await ann.request("rooms", limit=1))["next"]
        for fields in (
            {"query": "milk", "room": "tea", **cursor},
            {"query": "tea", "room": "den", **cursor},
            {"query": "tea", **cursor},
            {"query": "tea", "room": "tea", "cursor": lists},
            {"query": "tea", "room": "tea", "cursor": "%"},
        ):
            refused = await ann.refused("search", **fields)
            assert (refused["code"], refused["field"]) == ("bad_cursor", "cursor")


@virtual_time
async def test_only_what_one_may_read_is_searched() -> None:
    """A private room of others is no room, and its messages are in no answer."""
    async with open_sim(OPEN) as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await ann.request("create", room="den", kind="private")
        await ann.request("join", room="den")
        await say(ann, "den", "secret tea")
        assert items(await ann.request("search", query="tea", room="den"))
        assert items(await ann.request("search", query="tea"))
        assert items(await bob.request("search", query="tea")) == []
        for room in ("den", "nowhere"):
            assert (await bob.refused("search", query="tea", room=room))["code"] == "room_not_found"


@virtual_time
async def test_bad_queries_are_told_which_field_is_wrong() -> None:
    """Too long, empty, a NUL, or without a word to look for."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann")
        for query in ("x" * 257, "x" * 10_240, "", "te\0a", "-tea", "?!", 7, None):
            refused = await ann.refused("search", query=query, room="tea")
            assert (refused["code"], refused["field"], refused["temporary"]) == (
                "bad_request",
                "query",
                False,
            )
        assert items(await ann.request("search", query="x" * 256)) == []
        refused = await ann.refused("create", room="den", language="klingon")
        assert (refused["code"], refused["field"]) == ("bad_request", "language")
        assert (await ann.request("create", room="den", language="english"))["language"] == "english"
        assert (await ann.request("room", room="den"))["language"] == "english"


@virtual_time
async def test_searches_have_a_rate_of_their_own() -> None:
    """Five at once, then one a second; lists are not touched by it."""
    async with open_sim() as sim:
        (ann,) = await sim.join("tea", "ann")
        for _ in range(5):
            await ann.request("search", query="tea")
        refused = await ann.refused("search", query="tea")
        assert (refused["code"], refused["temporary"]) == ("rate_limited", True)
        await ann.request("rooms")
        await trio.sleep(1.1)
        await ann.request("search", query="tea")


@virtual_time
async def test_under_pressure_nothing_is_searched() -> None:
    """From level 3 on; and it says when to ask again."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.press(2)
        await ann.request("search", query="tea")
        sim.press(3)
        refused = await ann.refused("search", query="tea")
        assert (refused["code"], refused["temporary"]) == ("overloaded", True)
        assert refused["retry_after"]


@virtual_time
async def test_few_searches_run_at_a_time_and_few_wait() -> None:
    """Those above are refused at once, and everybody else is answered in the end."""
    async with open_sim(OPEN) as sim:
        clients = [await sim.connect(f"guest {number}") for number in range(AT_ONCE + WAITING_MAX + 3)]
        sim.faults["search"] = Fault(before_s=0.2)
        codes: list[object] = []
        async with trio.open_nursery() as nursery:

            async def search(client: SimClient) -> None:
                request_id = await client.send("search", query="tea")
                answer = await client.answer(request_id)
                codes.append(answer.get("code", "ok"))

            for client in clients:
                nursery.start_soon(search, client)
        assert codes.count("overloaded") == 3
        assert codes.count("ok") == AT_ONCE + WAITING_MAX


@virtual_time
async def test_a_search_that_takes_too_long_ends_alone() -> None:
    """It is told what would be faster, and the next one has its turn."""
    async with open_sim(OPEN) as sim:
        (ann,) = await sim.join("tea", "ann")
        sim.faults["search"] = Fault(refusal=TooSlow("canceled"))
        for _ in range(AT_ONCE + 1):
            assert (await ann.refused("search", query="tea"))["code"] == "timeout"
        sim.faults["search"] = Fault(refusal=Unavailable("away"))
        assert (await ann.refused("search", query="tea"))["code"] == "unavailable"
        sim.faults.clear()
        await ann.request("search", query="tea")


def test_a_cursor_comes_back_as_it_was_and_nothing_else_does() -> None:
    """Its place in the order; numbers that no store has are no cursor."""
    key = SearchKey(1_700_000_000_000, "tea", 7)
    assert read_search_cursor(search_cursor("a b", None, key), "a b", None) == key
    assert read_search_cursor(search_cursor("a b", "tea", key), "a b", "tea") == key
    for bad in (
        search_cursor("a b", "tea", key._replace(room="den")),
        search_cursor("a b", "tea", key._replace(seq=2**63)),
        search_cursor("a b", "tea", key._replace(at_ms=-1)),
        search_cursor("a b", None, key),
    ):
        with pytest.raises(Refused):
            read_search_cursor(bad, "a b", "tea")
