"""Edits, deletions, reactions, pins, threads and shared state over the wire, in both encodings."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import pytest

from chat.codec import Codec
from chat.config import Config
from storage import Unavailable
from storage.testing import Fault
from tests.sim.harness import Sim, SimClient, both, items, open_sim, virtual_time, walk

FAST: Final = Config(rate_limits=False)
SHORT: Final = Config(rate_limits=False, room_tail_events=1)


async def say(client: SimClient, *bodies: str, **fields: object) -> list[object]:
    """Messages to "tea"; their seqs."""
    seqs: list[object] = []
    for body in bodies:
        cid = f"say-{len(client.received)}"
        seqs.append((await client.request("send", room="tea", cid=cid, body=body, **fields))["seq"])
    return seqs


async def present(client: SimClient, seq: object) -> dict[str, object]:
    """A message as it is now."""
    page = await client.request("history", room="tea", around=seq, limit=1, fold=True)
    (item,) = items(page)
    return item


# -- what everybody sees ---------------------------------------------------------------------------------


@both
@virtual_time
async def test_every_change_is_an_event_for_everybody_and_is_stored(codec: Codec) -> None:
    """Live, to whoever resumes, and in history they are the same."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        await say(ann, "one", "two")
        answers = [
            await ann.request("edit", room="tea", seq=1, body="uno @bob", cid="e"),
            await bob.request("react", room="tea", seq=1, emoji="❤"),
            await ann.request("pin", room="tea", seq=1),
            await ann.request("set", room="tea", key="topic.of-the_day", value={"a": [1, None, "ü"]}),
            await ann.request("delete", room="tea", seq=2, reason="a slip"),
            await bob.request("react", room="tea", seq=1, emoji="❤️", remove=True),
        ]
        assert [answer["seq"] for answer in answers] == [3, 4, 5, 6, 7, 8]
        assert [answer.get("version") for answer in answers] == [2, None, None, 1, None, None]
        assert answers[0]["cid"] == "e"
        live = [{**event, "t": "event"} for event in bob.heard("event") if cast("int", event["seq"]) > 2]
        shared = ("t", "room", "epoch", "seq", "at", "by", "kind")
        assert [{k: v for k, v in event.items() if k not in shared} for event in live] == [
            {"of": 1, "version": 2, "cid": "e", "body": "uno @bob", "mentions": [bob.user_id]},
            {"of": 1, "emoji": "❤️"},
            {"of": 1},
            {"key": "topic.of-the_day", "value": {"a": [1, None, "ü"]}, "version": 1},
            {"of": 2, "reason": "a slip"},
            {"of": 1, "emoji": "❤️", "remove": True},
        ]
        assert [event["by"] for event in live] == [
            ann.user_id,
            bob.user_id,
            ann.user_id,
            ann.user_id,
            ann.user_id,
            bob.user_id,
        ]
        cat = await sim.connect("cat", codec)
        fresh = cast("list[dict[str, object]]", (await cat.request("subscribe", room="tea"))["events"])
        assert fresh[2:] == live
        page = items(await cat.request("history", room="tea"))
        assert page == fresh
        assert page[1]["body"] is None


@both
@virtual_time
async def test_a_folded_page_has_the_present_of_its_messages(codec: Codec) -> None:
    """Text, version, time of the edit, reactions, thread, pin; the changes themselves are not in it."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        await say(ann, "one @ann", "two", "three")
        await say(bob, "re", "re", thread=1)
        await ann.request("edit", room="tea", seq=1, body="uno @bob")
        await bob.request("react", room="tea", seq=1, emoji="👍🏽")
        await ann.request("react", room="tea", seq=1, emoji="👍🏽")
        await ann.request("react", room="tea", seq=1, emoji="👩‍👩‍👧‍👦")
        await ann.request("pin", room="tea", seq=1)
        await ann.request("delete", room="tea", seq=2)
        page = await bob.request("history", room="tea", fold=True)
        assert page["durable"] == 11
        first, second, third, *answers = items(page)
        edited = first.pop("edited")
        assert isinstance(edited, int)
        assert first == {
            "t": "event", "room": "tea", "epoch": 1, "seq": 1, "at": first["at"], "by": ann.user_id,
            "kind": "message", "n": 1, "cid": first["cid"], "name": "ann", "body": "uno @bob", "version": 2,
            "mentions": [bob.user_id], "thread_count": 2, "thread_last": 5, "pinned": 10,
            "reactions": [
                {"emoji": "👍🏽", "count": 2, "mine": True},
                {"emoji": "👩‍👩‍👧‍👦", "count": 1},
            ],
        }  # fmt: skip
        assert (second["body"], second["deleted"], second["version"]) == (None, True, 1)
        assert (third["body"], third["version"]) == ("three", 1)
        assert "edited" not in third
        assert [answer["thread"] for answer in answers] == [1, 1]
        # Pages of a folded log go on where those of the log do.
        some = await bob.request("history", room="tea", fold=True, limit=2)
        assert (items(some), some["prev"]) == ([], 10)


@both
@virtual_time
async def test_a_thread_is_paged(codec: Codec) -> None:
    """Its messages only, with `prev` and `next` of their own."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "root")
        for number in range(3):
            await say(ann, f"re {number}", thread=1)
            await say(ann, "else")
        page = await ann.request("history", room="tea", thread=1, limit=2)
        assert [item["body"] for item in items(page)] == ["re 1", "re 2"]
        assert page["prev"] == 4
        rest = await ann.request("history", room="tea", thread=1, limit=2, before=4)
        assert [item["body"] for item in items(rest)] == ["re 0"]
        assert ("prev" in rest, rest["next"]) == (False, 2)


@both
@virtual_time
async def test_a_message_says_whom_it_mentions(codec: Codec) -> None:
    """By user id, as the members were called when it was ordered."""
    async with open_sim(FAST) as sim:
        ann, bob, _ = await sim.join("tea", "Ann", "Bob Lee", "Bob", codec=codec)
        await say(ann, "hi @bob lee and @HERE", "nobody@ann")
        first, second = ann.heard("event", kind="message")
        assert (first["mentions"], first["here"]) == ([bob.user_id], True)
        assert "mentions" not in second
        await bob.request("leave", room="tea")
        await say(ann, "@bob lee")
        assert ann.heard("event", kind="message")[2]["mentions"] != [bob.user_id]


@both
@virtual_time
async def test_who_reacted_is_told_on_request(codec: Codec) -> None:
    """Page by page, or for one emoji."""
    async with open_sim(FAST) as sim:
        clients = await sim.join("tea", "ann", "bob", "cat", codec=codec)
        await say(clients[0], "one")
        for client in clients:
            await client.request("react", room="tea", seq=1, emoji="🎉")
        await clients[1].request("react", room="tea", seq=1, emoji="👍")
        seen: list[dict[str, object]] = []
        page = await clients[0].request("reactions", room="tea", seq=1, limit=3)
        seen += items(page)
        cursor = page["next"]
        page = await clients[0].request("reactions", room="tea", seq=1, limit=3, cursor=cursor)
        assert "next" not in page
        seen += items(page)
        assert [(one["emoji"], one["user"]) for one in seen] == [
            *(("🎉", user) for user in sorted(client.user_id for client in clients)),
            ("👍", clients[1].user_id),
        ]
        assert {one["name"] for one in seen} == {"ann", "bob", "cat"}
        only = await clients[0].request("reactions", room="tea", seq=1, emoji="👍")
        assert [one["seq"] for one in items(only)] == [5]
        for fields in ({"seq": 2, "cursor": cursor}, {"seq": 1, "cursor": "dGVh"}):
            refused = await clients[0].refused("reactions", room="tea", **fields)
            assert refused["code"] == "bad_cursor"


@both
@virtual_time
async def test_pins_are_listed_as_they_are_now(codec: Codec) -> None:
    """The latest pin first, folded; a deleted message is not pinned any more."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "one", "two", "three")
        for seq in (2, 1, 3):
            await ann.request("pin", room="tea", seq=seq)
        await ann.request("edit", room="tea", seq=1, body="uno")
        await ann.request("delete", room="tea", seq=3)
        page = await ann.request("pins", room="tea", limit=1)
        assert [(one["body"], one["pinned"]) for one in items(page)] == [("uno", 5)]
        rest = await ann.request("pins", room="tea", limit=1, cursor=page["next"])
        assert [one["body"] for one in items(rest)] == ["two"]
        assert "next" not in rest
        for cursor in ("dGVh", "dGVhXng", "ZGVuXjU"):
            assert (await ann.refused("pins", room="tea", cursor=cursor))["code"] == "bad_cursor"


@both
@virtual_time
async def test_state_is_read_by_key_and_page_by_page(codec: Codec) -> None:
    """As it is stored; a removed key is not there."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        for key in "cab":
            await ann.request("set", room="tea", key=key, value=[key])
        await ann.request("set", room="tea", key="b", value=None, if_version=1)
        page = await ann.request("get", room="tea", limit=1)
        assert items(page) == [{"key": "a", "value": ["a"], "version": 1, "seq": 2}]
        assert page["durable"] == 4
        rest = await ann.request("get", room="tea", limit=1, cursor=page["next"])
        assert [one["key"] for one in items(rest)] == ["c"]
        assert "next" not in rest
        assert [one["key"] for one in items(await ann.request("get", room="tea", key="c"))] == ["c"]
        assert items(await ann.request("get", room="tea", key="b")) == []
        assert (await ann.refused("get", room="tea", cursor="dGVh"))["code"] == "bad_cursor"


@both
@virtual_time
async def test_long_values_fill_no_outbox(codec: Codec) -> None:
    """A page is as long as a quarter of the outbox, and goes on."""
    async with open_sim(Config(rate_limits=False, outbox_max_bytes=128 * 1024)) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        for number in range(10):
            await ann.request("set", room="tea", key=f"k{number}", value="x" * 16_000)
        pages = await walk(ann, "get", room="tea")
        assert all(len(page) <= 2 for page in pages)
        assert [one["key"] for page in pages for one in page] == [f"k{number}" for number in range(10)]


# -- refusals (docs/protocol.md 7) -----------------------------------------------------------------------

TARGETS: Final[Mapping[str, Mapping[str, object]]] = {
    "edit": {"body": "x"},
    "delete": {},
    "react": {"emoji": "👍"},
    "pin": {},
}
OUTSIDE: Final[Sequence[tuple[str, Mapping[str, object]]]] = [
    *((t, {"seq": 1, **fields}) for t, fields in TARGETS.items()),
    ("set", {"key": "k", "value": 1}),
]
READING: Final[Sequence[tuple[str, Mapping[str, object]]]] = [
    ("reactions", {"seq": 1}),
    ("pins", {}),
    ("get", {}),
    ("history", {"fold": True}),
]
BAD: Final[Mapping[str, tuple[str, Mapping[str, object], str, str | None]]] = {
    **{f"{t}: unknown seq": (t, {"seq": 99, **fields}, "not_found", "seq") for t, fields in TARGETS.items()},
    **{f"{t}: seq 0": (t, {"seq": 0, **fields}, "not_found", "seq") for t, fields in TARGETS.items()},
    **{
        f"{t}: seq of a change": (t, {"seq": 3, **fields}, "not_found", "seq")
        for t, fields in TARGETS.items()
    },
    **{
        f"{t}: deleted": (t, {"seq": 2, **fields}, "not_found", "seq")
        for t, fields in TARGETS.items()
        if t != "delete"
    },
    **{
        f"{t}: NUL in the cid": (t, {"seq": 1, "cid": "\0", **fields}, "bad_request", "cid")
        for t, fields in TARGETS.items()
    },
    "edit: NUL": ("edit", {"seq": 1, "body": "\0"}, "bad_request", "body"),
    "edit: too long": ("edit", {"seq": 1, "body": "ü" * 4097}, "too_large", "body"),
    "edit: empty": ("edit", {"seq": 1, "body": ""}, "bad_request", "body"),
    "edit: stale": ("edit", {"seq": 1, "body": "x", "if_version": 7}, "conflict", None),
    "delete: NUL": ("delete", {"seq": 1, "reason": "\0"}, "bad_request", "reason"),
    "delete: long reason": ("delete", {"seq": 1, "reason": "x" * 257}, "bad_request", "reason"),
    "react: letter": ("react", {"seq": 1, "emoji": "a"}, "bad_request", "emoji"),
    "react: two": ("react", {"seq": 1, "emoji": "👍👍"}, "bad_request", "emoji"),
    "react: half a flag": ("react", {"seq": 1, "emoji": "🇩"}, "bad_request", "emoji"),
    "react: the 21st": ("react", {"seq": 4, "emoji": "🍕"}, "bad_request", "emoji"),
    "react: none to remove": ("react", {"seq": 1, "emoji": "👍", "remove": True}, "not_found", "emoji"),
    "pin: none to remove": ("pin", {"seq": 1, "remove": True}, "not_found", "seq"),
    "set: key": ("set", {"key": "The Key", "value": 1}, "bad_request", "key"),
    "set: long key": ("set", {"key": "k" * 65, "value": 1}, "bad_request", "key"),
    "set: no value": ("set", {"key": "k"}, "bad_request", "value"),
    "set: 64 KiB less the frame": ("set", {"key": "k", "value": "x" * 65_000}, "too_large", "value"),
    "set: 16 KiB and one": ("set", {"key": "k", "value": "x" * 16_383}, "too_large", "value"),
    "set: NUL": ("set", {"key": "k", "value": ["\0"]}, "bad_request", "value"),
    "set: inexact": ("set", {"key": "k", "value": 2**53}, "bad_request", "value"),
    "set: not there": ("set", {"key": "k", "value": None}, "not_found", "key"),
    "set: stale": ("set", {"key": "there", "value": 1, "if_version": 0}, "conflict", None),
    "set: NUL in the cid": ("set", {"key": "k", "value": 1, "cid": "a\0"}, "bad_request", "cid"),
}  # fmt: skip
EMOJI: Final = "😀😁😂😃😄😅😆😇😈😉😊😋😌😍😎😏😐😑😒😓"


@both
@virtual_time
async def test_what_may_not_be_is_refused_and_changes_nothing(codec: Codec) -> None:
    """The code and the field of every bad request; the connection and the log live on."""
    async with open_sim(Config(rate_limits=False)) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "one", "two")
        await ann.request("delete", room="tea", seq=2)
        await say(ann, "popular")
        for emoji in EMOJI:
            await ann.request("react", room="tea", seq=4, emoji=emoji)
        await ann.request("set", room="tea", key="there", value={"a": 1})
        head = (await ann.request("room", room="tea"))["head"]
        for name, (t, fields, code, field) in BAD.items():
            refused = await ann.refused(t, room="tea", **fields)
            assert (refused["code"], refused.get("field"), refused["temporary"]) == (code, field, False), name
        stale = await ann.refused("edit", room="tea", seq=1, body="x", if_version=0)
        assert (stale["value"], stale["version"]) == ("one", 1)
        stale = await ann.refused("set", room="tea", key="there", value=2, if_version=2)
        assert (stale["value"], stale["version"]) == ({"a": 1}, 1)
        assert (await ann.request("room", room="tea"))["head"] == head


@both
@virtual_time
async def test_outsiders_change_nothing(codec: Codec) -> None:
    """A public room may be read; a private one does not exist; others' messages are others'."""
    async with open_sim(FAST) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        await say(ann, "one")
        await ann.request("create", room="den", kind="private")
        eve = await sim.connect("eve", codec)
        for t, fields in OUTSIDE:
            assert (await eve.refused(t, room="tea", **fields))["code"] == "not_member", t
        for t, fields in READING:
            await eve.request(t, room="tea", **fields)
        for t, fields in [*OUTSIDE, *READING]:
            assert (await eve.refused(t, room="den", **fields))["code"] == "room_not_found", t
            assert (await eve.refused(t, room="nowhere", **fields))["code"] == "room_not_found", t
        for t in ("edit", "delete", "pin"):
            assert (await bob.refused(t, room="tea", seq=1, **TARGETS[t]))["code"] == "forbidden", t
        assert (await ann.request("room", room="tea"))["head"] == 1


@both
@virtual_time
async def test_changes_count_as_messages_do(codec: Codec) -> None:
    """Somebody who edits or reacts without end waits as one who talks without end."""
    async with open_sim(Config()) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "one")
        codes = [
            (await ann.answer(await ann.send("edit", room="tea", seq=1, body="x"))).get("code")
            for _ in range(20)
        ]
        assert codes[-1] == "rate_limited"
        assert (await ann.refused("set", room="tea", key="k", value=1))["retry_after"]


# -- again -----------------------------------------------------------------------------------------------

REPEATED: Final[Sequence[tuple[str, Mapping[str, object]]]] = [
    ("edit", {"seq": 1, "body": "uno"}),
    ("react", {"seq": 1, "emoji": "❤"}),
    ("pin", {"seq": 1}),
    ("set", {"key": "k", "value": 5, "if_version": 0}),
    ("set", {"key": "k", "value": None, "if_version": 1}),
    ("react", {"seq": 1, "emoji": "❤️", "remove": True}),
    ("delete", {"seq": 1}),
]


@both
@virtual_time
async def test_a_change_that_is_sent_again_is_done_once(codec: Codec) -> None:
    """The room remembers, or storage does: the first seq is answered, with `dup`."""
    async with open_sim(SHORT) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "one")
        firsts: list[object] = []
        for number, (t, fields) in enumerate(REPEATED):
            first = await ann.request(t, room="tea", cid=f"{number}", **fields)
            again = await ann.request(t, room="tea", cid=f"{number}", **fields)
            assert again["dup"] is True
            assert again["seq"] == first["seq"]
            firsts.append(first["seq"])
        await say(ann, *"abcdef")
        head = (await ann.request("room", room="tea"))["head"]
        for number, (t, fields) in enumerate(REPEATED):
            late = await ann.request(t, room="tea", cid=f"{number}", retry=True, **fields)
            assert (late["seq"], late["dup"]) == (firsts[number], True)
            other = REPEATED[number - 1]
            refused = await ann.refused(other[0], room="tea", cid=f"{number}", retry=True, **other[1])
            assert refused["code"] == "cid_conflict"
        assert (await ann.request("room", room="tea"))["head"] == head


@both
@virtual_time
async def test_a_change_whose_old_key_nobody_looked_up_becomes_void(codec: Codec) -> None:
    """Without `retry` the conflict shows at commit: everybody is told to drop the event."""
    async with open_sim(SHORT) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        await say(ann, "one")
        first = await ann.request("react", room="tea", seq=1, emoji="👍", cid="k")
        await ann.request("react", room="tea", seq=1, emoji="👍", remove=True)
        await say(ann, *"abcdef")
        again = await ann.request("react", room="tea", seq=1, emoji="👍", cid="k")
        assert (again["seq"], again["dup"]) == (first["seq"], True)
        void = await bob.expect("event", kind="void")
        assert void["of"] == 10
        assert "reactions" not in await present(ann, 1)
        # It is as if it had not been: there is nothing to take back.
        assert (await ann.refused("react", room="tea", seq=1, emoji="👍", remove=True))["code"] == "not_found"


@both
@virtual_time
async def test_doing_what_is_done_answers_the_first_seq(codec: Codec) -> None:
    """Without a key, too: a reaction, a pin and a deletion are there or not."""
    async with open_sim(SHORT) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "one", "two")
        done: list[tuple[str, Mapping[str, object]]] = [
            ("react", {"seq": 1, "emoji": "👍"}),
            ("pin", {"seq": 1}),
            ("delete", {"seq": 2}),
        ]
        firsts = [(await ann.request(t, room="tea", **fields))["seq"] for t, fields in done]
        assert [(await ann.request(t, room="tea", **fields))["seq"] for t, fields in done] == firsts
        await say(ann, *"abcdef")
        late = [await ann.request(t, room="tea", **fields) for t, fields in done]
        assert [answer["seq"] for answer in late] == firsts
        assert all(answer["dup"] for answer in late)


@both
@virtual_time
async def test_a_reaction_sent_twice_before_it_is_stored_is_answered_when_it_is(codec: Codec) -> None:
    """`ok` means stored, also for the second one."""
    async with open_sim(FAST) as sim:
        (ann,) = await sim.join("tea", "ann", codec=codec)
        await say(ann, "one")
        sim.faults["append"] = Fault(before_s=3.0)
        ids = [await ann.send("react", room="tea", seq=1, emoji="👍") for _ in range(3)]
        await ann.expect("event", kind="react")
        assert not [request_id for request_id in ids if request_id in ann.answers()]
        answers = [await ann.answer(request_id) for request_id in ids]
        assert [answer["seq"] for answer in answers] == [2, 2, 2]
        assert [answer.get("dup", False) for answer in answers] == [False, True, True]


# -- old messages ----------------------------------------------------------------------------------------


@both
@virtual_time
async def test_an_old_message_changes_like_a_new_one(codec: Codec) -> None:
    """What the room does not remember is looked up, and what came since counts."""
    async with open_sim(SHORT) as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        await say(ann, "one", "two", *"abcdef")
        first = await ann.request("edit", room="tea", seq=1, body="uno", if_version=1)
        assert first["version"] == 2
        assert (await ann.refused("edit", room="tea", seq=1, body="x", if_version=1))["version"] == 2
        assert (await bob.refused("edit", room="tea", seq=1, body="x"))["code"] == "forbidden"
        assert (await ann.refused("edit", room="tea", seq=99, body="x"))["code"] == "not_found"
        await bob.request("react", room="tea", seq=1, emoji="👍")
        await ann.request("pin", room="tea", seq=1)
        await ann.request("delete", room="tea", seq=2)
        assert (await ann.refused("edit", room="tea", seq=2, body="x"))["code"] == "not_found"
        now = await present(bob, 1)
        assert (now["body"], now["version"], now["pinned"]) == ("uno", 2, 11)
        assert now["reactions"] == [{"emoji": "👍", "count": 1, "mine": True}]
        assert (await present(bob, 2))["deleted"] is True


@virtual_time
async def test_edits_of_an_old_message_at_once_have_one_winner_per_version() -> None:
    """Storage tells all of them version 1; the room knows who was first."""
    async with open_sim(SHORT) as sim:
        (ann,) = await sim.join("tea", "ann")
        await say(ann, "one", *"abcdef")
        sim.faults["append"] = Fault(before_s=0.5)
        ids = [
            await ann.send("edit", room="tea", seq=1, body=f"{number}", if_version=1) for number in range(8)
        ]
        answers = [await ann.answer(request_id) for request_id in ids]
        assert [answer.get("version") for answer in answers] == [2] * 8
        assert [answer.get("code") for answer in answers] == [None, *["conflict"] * 7]
        assert answers[7]["value"] == "0"


@virtual_time
async def test_a_database_that_is_away_delays_only_what_needs_it() -> None:
    """An old message cannot be changed now; a new one can, and messages go their way."""
    async with open_sim(SHORT) as sim:
        (ann,) = await sim.join("tea", "ann")
        await say(ann, "one", *"abcdef")
        sim.faults["fold_messages"] = Fault(refusal=Unavailable("away"))
        refused = await ann.refused("edit", room="tea", seq=1, body="x")
        assert (refused["code"], refused["temporary"]) == ("unavailable", True)
        await ann.request("edit", room="tea", seq=7, body="x")
        sim.faults["fold_messages"] = Fault(before_s=2.0)
        late = await ann.send("edit", room="tea", seq=1, body="x")
        await say(ann, "quick")
        assert late not in ann.answers()
        assert (await ann.answer(late))["version"] == 2


@virtual_time
async def test_a_full_line_of_look_ups_is_busy() -> None:
    """So many old messages at once wait; the rest is told to come back. Each is answered once."""
    async with open_sim(Config(rate_limits=False, room_tail_events=1, session_mailbox=8)) as sim:
        (ann,) = await sim.join("tea", "ann")
        await say(ann, "one", *"abcdef")
        sim.faults["fold_messages"] = Fault(before_s=1.0)
        ids = [await ann.send("edit", room="tea", seq=1, body=f"{number}") for number in range(30)]
        answers = [await ann.answer(request_id) for request_id in ids]
        codes = [answer.get("code") for answer in answers]
        assert "busy" in codes
        assert {*codes} == {None, "busy"}
        assert [ann.answers()[request_id] for request_id in ids] == [1] * 30


# -- nobody loses anything -------------------------------------------------------------------------------


async def _everything(client: SimClient) -> tuple[object, ...]:
    page = await client.request("history", room="tea", fold=True, limit=100)
    pins = await client.request("pins", room="tea", limit=100)
    state = await client.request("get", room="tea", limit=100)
    return items(page), items(pins), items(state)


@pytest.mark.parametrize("strict", [False, True])
@virtual_time
async def test_a_room_that_comes_back_knows_all_of_it(strict: bool) -> None:
    """After the room has left memory versions, reactions, pins, keys and values are what they were."""
    async with open_sim(FAST) as sim:
        ann = await sim.connect("ann")
        await ann.request("create", room="tea", strict=strict)
        await ann.request("subscribe", room="tea")
        await say(ann, "one", "two")
        await ann.request("edit", room="tea", seq=1, body="uno")
        await ann.request("react", room="tea", seq=1, emoji="👍")
        await ann.request("pin", room="tea", seq=1)
        await ann.request("set", room="tea", key="k", value=1)
        await ann.request("set", room="tea", key="l", value=1)
        await ann.request("set", room="tea", key="l", value=None)
        before = await _everything(ann)
        await _take_over(sim)
        ann = await _again(sim, ann)
        assert await _everything(ann) == before
        assert (await ann.refused("set", room="tea", key="k", value=2, if_version=2))["version"] == 1
        assert (await ann.request("set", room="tea", key="l", value=2))["version"] == 3
        assert (await ann.request("edit", room="tea", seq=1, body="x"))["version"] == 3
        assert (await ann.request("react", room="tea", seq=1, emoji="👍"))["dup"] is True


async def _take_over(sim: Sim) -> None:
    """Have another owner take the room, so that this one ends when it writes."""
    await sim.store.activate("tea", tail_events=1, at_ms=0)


async def _again(sim: Sim, client: SimClient) -> SimClient:
    """Find out that the room has moved, and come back as the same person."""
    token = client.heard("welcome")[0]["token"]
    await client.send("send", room="tea", cid="lost", body="lost")
    assert await client.wait_closed() == 4006
    return await sim.enter(token)
