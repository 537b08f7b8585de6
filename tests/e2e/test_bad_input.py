"""What bad requests get: every row is refused as protocol.md 7 says, and nobody else notices."""

from typing import Final, NamedTuple

import pytest
import trio

from chat.codec import MSGPACK, Codec
from tests.e2e.scene import ATTIC, DEN, TEA, check_error, open_scene
from tests.sim.harness import (
    both,
    virtual_time,
)


class Row(NamedTuple):
    """A request and its refusal."""

    request: dict[str, object]
    code: str
    field: str | None = None
    only: Codec | None = None


def _request(t: str, **fields: object) -> dict[str, object]:
    return {"t": t, "id": 7, **fields}


def _send(**fields: object) -> dict[str, object]:
    return {"t": "send", "id": 7, "room": TEA, "cid": "c", "body": "b", **fields}


BAD_ROOM_NAMES: Final = {
    "spaces": "tea room",
    "capitals": "Tea",
    "nothing": "",
    "65 characters": "x" * 65,
    "a line end": "tea\n",
    "a path": "../tea",
    "a hyphen first": "-tea",
    "umlauts": "grün",
    "NUL": "tea\0",
    "a number": 7,
    "a list": ["tea"],
    "null": None,
    "true": True,
}
OUTSIDERS: Final[dict[str, dict[str, object]]] = {
    "subscribe": {},
    "join": {},
    "send": {"cid": "c", "body": "b"},
    "history": {},
    "room": {},
    "members": {},
    "watch": {},
    "leave": {},
    "update": {"topic": "x"},
    "invite": {"user": "u_bob"},
    "mod": {"action": "kick", "target": "u_bob"},
    "read": {"seq": 0},
    "report": {"seq": 1, "reason": "rude"},
    "reports": {},
    "automod": {},
}
"""Requests of a room, with what else they need."""

ROWS: Final[dict[str, Row]] = {
    # t and id
    "no t": Row({"id": 7}, "bad_request", "t"),
    "t is a number": Row({"t": 7, "id": 7}, "bad_request", "t"),
    "t is unknown": Row(_request("dance"), "unknown_type"),
    "t is in capitals": Row(_request("PING"), "unknown_type"),
    # names of rooms
    **{
        f"a room name with {what}": Row(_request("subscribe", room=name), "bad_request", "room")
        for what, name in BAD_ROOM_NAMES.items()
    },
    "no room": Row(_request("join"), "bad_request", "room"),
    # rooms that are not there, or not for everybody
    **{
        f"{t} of an unknown room": Row(_request(t, room="nowhere", **more), "room_not_found")
        for t, more in OUTSIDERS.items()
    },
    **{
        f"{t} of a private room": Row(_request(t, room=ATTIC, **more), "room_not_found")
        for t, more in OUTSIDERS.items()
    },
    "join with create of a private room": Row(_request("join", room=ATTIC, create=True), "room_not_found"),
    "unsubscribe from an unknown room": Row(_request("unsubscribe", room="nowhere"), "room_not_found"),
    "typing in an unknown room": Row(_request("typing", room="nowhere"), "not_member"),
    "typing in a private room": Row(_request("typing", room=ATTIC), "not_member"),
    "typing in a room not subscribed to": Row(_request("typing", room=DEN), "not_member"),
    "send without being a member": Row(_send(room=DEN), "not_member"),
    "read without being a member": Row(_request("read", room=DEN, seq=0), "not_member"),
    "read without a seq": Row(_request("read", room=TEA), "bad_request", "seq"),
    "read up to a text": Row(_request("read", room=TEA, seq="1"), "bad_request", "seq"),
    "read up to a seq below 0": Row(_request("read", room=TEA, seq=-1), "bad_request", "seq"),
    "read up to a seq beyond the log": Row(_request("read", room=TEA, seq=10**6), "not_found", "seq"),
    "leave without being a member": Row(_request("leave", room=DEN), "not_member"),
    # messages
    "an empty body": Row(_send(body=""), "bad_request", "body"),
    "a body of 8193 bytes": Row(_send(body="x" * 8193), "too_large", "body"),
    "a body of 8193 bytes in wide characters": Row(
        _send(body="\U0001f375" * 2048 + "x"), "too_large", "body"
    ),
    "a body of 60 KB": Row(_send(body="x" * 60_000), "too_large", "body"),
    "a body with NUL": Row(_send(body="te\0a"), "bad_request", "body"),
    "a body that is a number": Row(_send(body=7), "bad_request", "body"),
    "a body of raw bytes": Row(_send(body=b"tea"), "bad_request", "body", MSGPACK),
    "no body": Row(_request("send", room=TEA, cid="c"), "bad_request", "body"),
    "an empty cid": Row(_send(cid=""), "bad_request", "cid"),
    "a cid of 65 characters": Row(_send(cid="x" * 65), "bad_request", "cid"),
    "a cid that is a number": Row(_send(cid=1), "bad_request", "cid"),
    "a cid with NUL": Row(_send(cid="te\0a"), "bad_request", "cid"),
    "a cid with NUL, sent again": Row(_send(cid="te\0a", retry=True), "bad_request", "cid"),
    "reply_to is negative": Row(_send(reply_to=-1), "bad_request", "reply_to"),
    "reply_to is zero": Row(_send(reply_to=0), "bad_request", "reply_to"),
    "reply_to is not there yet": Row(_send(reply_to=999), "bad_request", "reply_to"),
    "reply_to is absurd": Row(_send(reply_to=2**53), "bad_request", "reply_to"),
    "reply_to is a fraction": Row(_send(reply_to=1.5), "bad_request", "reply_to"),
    "thread is not there yet": Row(_send(thread=999), "bad_request", "thread"),
    "retry is a word": Row(_send(retry="yes"), "bad_request", "retry"),
    # positions and pages
    "since is negative": Row(_request("subscribe", room=TEA, since=[1, -1]), "bad_request", "since"),
    "since is absurd": Row(_request("subscribe", room=TEA, since=[1, 2**53]), "bad_request", "since"),
    "since is no pair": Row(_request("subscribe", room=TEA, since=[1]), "bad_request", "since"),
    "since has three parts": Row(_request("subscribe", room=TEA, since=[1, 1, 1]), "bad_request", "since"),
    "since is a number": Row(_request("join", room=TEA, since=1), "bad_request", "since"),
    "a limit of zero": Row(_request("subscribe", room=TEA, limit=0), "bad_request", "limit"),
    "a limit of 1001": Row(_request("history", room=TEA, limit=1001), "bad_request", "limit"),
    "before is negative": Row(_request("history", room=TEA, before=-1), "bad_request", "before"),
    "after is absurd": Row(_request("history", room=TEA, after=2**63), "bad_request", "after"),
    "around is a word": Row(_request("history", room=TEA, around="1"), "bad_request", "around"),
    "both before and after": Row(_request("history", room=TEA, before=9, after=1), "bad_request", "before"),
    "a cursor of nobody's": Row(_request("rooms", cursor="%%%"), "bad_cursor", "cursor"),
    "a cursor beyond ASCII": Row(_request("rooms", cursor="täää"), "bad_cursor", "cursor"),
    "a cursor of bytes that are no text": Row(_request("rooms", cursor="_____w"), "bad_cursor", "cursor"),
    "a cursor with NUL inside": Row(_request("rooms", cursor="dGVhAA"), "bad_cursor", "cursor"),
    "a cursor of a list of members": Row(_request("rooms", cursor="dGVhL2dfYWE"), "bad_cursor", "cursor"),
    "a cursor of the list of rooms": Row(
        _request("members", room=TEA, cursor="dGVh"), "bad_cursor", "cursor"
    ),
    "a cursor of another room": Row(
        _request("members", room=DEN, cursor="dGVhL2dfYWE"), "bad_cursor", "cursor"
    ),
    "an empty cursor": Row(_request("rooms", cursor=""), "bad_request", "cursor"),
    "a cursor of 257 characters": Row(_request("rooms", cursor="x" * 257), "bad_request", "cursor"),
    # rooms to be made
    "create what is there": Row(_request("create", room=DEN), "conflict"),
    "create what is there, in private": Row(_request("create", room=ATTIC), "conflict"),
    "create a direct room with a name": Row(
        _request("create", room="two", kind="direct", user="u_bob"), "bad_request", "room"
    ),
    "create a direct room with nobody": Row(_request("create", kind="direct"), "bad_request", "user"),
    "create a room with somebody": Row(_request("create", room="two", user="u_bob"), "bad_request", "user"),
    "create a room without a name": Row(_request("create"), "bad_request", "room"),
    "create a room with a name of direct ones": Row(_request("create", room="dm.two"), "bad_request", "room"),
    # rules and reports
    "report of no message": Row(_request("report", room=TEA, seq=999, reason="x"), "not_found", "seq"),
    "report of a word": Row(_request("report", room=TEA, seq="one", reason="x"), "bad_request", "seq"),
    "report for no reason": Row(_request("report", room=TEA, seq=1, reason=""), "bad_request", "reason"),
    "report without a reason": Row(_request("report", room=TEA, seq=1), "bad_request", "reason"),
    "report with NUL": Row(_request("report", room=TEA, seq=1, reason="\0"), "bad_request", "reason"),
    "reports without the right": Row(_request("reports", room=TEA), "forbidden"),
    "reports of all rooms without the right": Row(_request("reports"), "forbidden"),
    "own reports of one room": Row(_request("reports", room=TEA, mine=True), "bad_request", "room"),
    "own reports that are no yes or no": Row(_request("reports", mine="yes"), "bad_request", "mine"),
    "reports in another state": Row(_request("reports", room=TEA, state="new"), "bad_request", "state"),
    "resolve what is not there": Row(_request("resolve", report=9, action="claim"), "not_found", "report"),
    "resolve report zero": Row(_request("resolve", report=0, action="claim"), "bad_request", "report"),
    "resolve with another action": Row(_request("resolve", report=1, action="eat"), "bad_request", "action"),
    "resolve with NUL": Row(_request("resolve", report=1, action="claim", note="\0"), "bad_request", "note"),
    "automod without the right": Row(_request("automod", room=TEA, rules=[]), "forbidden"),
    "automod of all rooms without the right": Row(_request("automod", rules=[]), "forbidden"),
    "automod with a word for rules": Row(_request("automod", room=TEA, rules="x"), "bad_request", "rules"),
    # governing
    "update nothing": Row(_request("update", room=TEA), "bad_request", "topic"),
    "update with a long topic": Row(_request("update", room=TEA, topic="x" * 257), "bad_request", "topic"),
    "update with NUL in the topic": Row(_request("update", room=TEA, topic="\0"), "bad_request", "topic"),
    "update to a negative slow": Row(_request("update", room=TEA, slow=-1), "bad_request", "slow"),
    "update without the right": Row(_request("update", room=TEA, topic="x"), "forbidden"),
    "invite without the right": Row(_request("invite", room=TEA, user="u_bob"), "forbidden"),
    "invite no user": Row(_request("invite", room=TEA, user="bob"), "bad_request", "user"),
    "mod without the right": Row(_request("mod", room=TEA, action="lock"), "forbidden"),
    "mod with another action": Row(_request("mod", room=TEA, action="hang"), "bad_request", "action"),
    "mod of no user": Row(_request("mod", room=TEA, action="kick", target="@bob"), "bad_request", "target"),
    "mod of nobody": Row(_request("mod", room=TEA, action="kick"), "bad_request", "target"),
    "mod for no time": Row(
        _request("mod", room=TEA, action="mute", target="u_bob", ttl=0), "bad_request", "ttl"
    ),
    "mod for longer than anybody lives": Row(
        _request("mod", room=TEA, action="mute", target="u_bob", ttl=1e12), "bad_request", "ttl"
    ),
    "mod for a text of time": Row(
        _request("mod", room=TEA, action="mute", target="u_bob", ttl="10x"), "bad_request", "ttl"
    ),
    "mod for no reason": Row(
        _request("mod", room=TEA, action="mute", target="u_bob", reason=""), "bad_request", "reason"
    ),
    "mod with NUL in the reason": Row(
        _request("mod", room=TEA, action="mute", target="u_bob", reason="\0"), "bad_request", "reason"
    ),
    "mod to no role": Row(
        _request("mod", room=TEA, action="role", target="u_bob", role="king"), "bad_request", "role"
    ),
    "create a secret room": Row(_request("create", room="two", kind="secret"), "bad_request", "kind"),
    "create with a long topic": Row(_request("create", room="two", topic="x" * 257), "bad_request", "topic"),
    "create with NUL in the topic": Row(_request("create", room="two", topic="\0"), "bad_request", "topic"),
    "create a room slower than time": Row(_request("create", room="two", slow=-1), "bad_request", "slow"),
    "create a room slower than a day": Row(_request("create", room="two", slow=1e9), "bad_request", "slow"),
    "create a room of no speed": Row(
        _request("create", room="two", slow=float("nan")), "bad_request", "slow", MSGPACK
    ),
    # presence
    "a status of one's own": Row(_request("presence", status="busy"), "bad_request", "status"),
    "a status text of 129": Row(_request("presence", status="away", text="x" * 129), "bad_request", "text"),
    "watch nothing": Row(_request("watch"), "bad_request", "room"),
    "watch both": Row(_request("watch", room=TEA, users=["u_aa"]), "bad_request", "room"),
    "watch no users": Row(_request("watch", users=[]), "bad_request", "users"),
    "watch 101 users": Row(_request("watch", users=["u_aa"] * 101), "bad_request", "users"),
    "watch what is no user": Row(_request("watch", users=["ann"]), "bad_request", "users"),
    "watch a room with a cursor of nobody's": Row(
        _request("watch", room=TEA, cursor="%%%"), "bad_cursor", "cursor"
    ),
    "unwatch nothing": Row(_request("unwatch"), "bad_request", "room"),
    # the phase
    "a second hello": Row(_request("hello", guest="mallory"), "bad_request", "t"),
}


@both
@pytest.mark.parametrize("name", ROWS)
@virtual_time
async def test_a_bad_request_gets_its_error_and_nothing_else(name: str, codec: Codec) -> None:
    """The error says what is wrong; the sender goes on, and so does everybody else."""
    row = ROWS[name]
    codec = codec if row.only is None else row.only
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.send_payload(codec.encode(row.request))
        check_error(await mal.expect("error", id=7), row.code, field=row.field)
        await mal.request("send", room=TEA, cid="after", body="still here")
        assert max(mal.answers().values()) == 1


BAD_IDS: Final[dict[str, object]] = {
    "negative": -1,
    "2^32": 2**32,
    "absurd": 2**63,
    "a word": "seven",
    "a fraction": 1.5,
    "true": True,
    "null": None,
    "a list": [1],
}


@both
@pytest.mark.parametrize("name", BAD_IDS)
@virtual_time
async def test_an_id_that_cannot_be_echoed_gets_an_error_without_one(name: str, codec: Codec) -> None:
    """Who cannot be answered by id is answered without, and may go on."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        for t in ("ping", "dance"):
            await mal.send_payload(codec.encode({"t": t, "id": BAD_IDS[name]}))
            answer = await mal.expect("error", field="id")
            check_error(answer, "bad_request", field="id")
            assert "id" not in answer
        await mal.request("ping")


@both
@virtual_time
async def test_unknown_fields_are_ignored(codec: Codec) -> None:
    """A newer client's fields harm nothing, whatever is in them."""
    async with open_scene(codec) as scene:
        extra = {"x-new": {"deep": [1, {"er": None}]}, "": 0, "temporary": True}
        await scene.culprit.request("ping", **extra)
        await scene.culprit.request("send", room=TEA, cid="1", body="hello", **extra)
        event = await scene.neighbour.expect("event", body="hello")
        assert not set(extra) & set(event)


@both
@virtual_time
async def test_a_position_that_was_never_given_out_is_a_reset(codec: Codec) -> None:
    """An absurd but well-formed position gets the latest events and an explicit `reset`."""
    async with open_scene(codec) as scene:
        for since in ([2**53 - 1, 2**53 - 1], [0, 5], [1, 10**9]):
            answer = await scene.culprit.request("subscribe", room=TEA, since=since)
            assert answer["mode"] == "reset"


@both
@virtual_time
async def test_history_beyond_both_ends_is_empty_and_says_so(codec: Codec) -> None:
    """A seq far outside of the log is no error: there is just nothing there."""
    async with open_scene(codec) as scene:
        for where in ({"after": 2**53 - 1}, {"before": 0}, {"before": 1}):
            answer = await scene.culprit.request("history", room=TEA, **where)
            assert answer["items"] == []
            assert "next" not in answer


@both
@pytest.mark.parametrize("retry", [False, True])
@virtual_time
async def test_the_same_cid_with_another_body_is_a_conflict(codec: Codec, retry: bool) -> None:
    """The first message stands; the second is refused, whether the room or only the database remembers."""
    async with open_scene(codec) as scene:
        mal = scene.culprit
        await mal.request("send", room=TEA, cid="1", body="one thing")
        answer = await mal.refused("send", room=TEA, cid="1", body="another", retry=retry)
        check_error(answer, "cid_conflict")
        again = await mal.request("send", room=TEA, cid="1", body="one thing", retry=retry)
        assert again["dup"] is True
        assert scene.neighbour.bodies(TEA).count("one thing") == 1


@both
@virtual_time
async def test_an_owner_cannot_leave_the_room_without_one(codec: Codec) -> None:
    """`leave` of an owner is forbidden."""
    async with open_scene(codec) as scene:
        await scene.culprit.request("create", room="mine")
        check_error(await scene.culprit.refused("leave", room="mine"), "forbidden")


@virtual_time
async def test_a_private_room_and_no_room_are_told_in_the_same_words() -> None:
    """An outsider cannot tell a private room from one that is not there."""
    async with open_scene() as scene:
        for t, fields in OUTSIDERS.items():
            private = await scene.culprit.refused(t, room=ATTIC, **fields)
            missing = await scene.culprit.refused(t, room="nowhere", **fields)
            assert {**private, "id": 0} == {**missing, "id": 0}
            # Each miss counts as a list.
            await trio.sleep(1.0)
        listed = await scene.culprit.request("rooms")
        assert isinstance(listed["items"], list)
        assert [room["room"] for room in listed["items"]] == [DEN, TEA]
