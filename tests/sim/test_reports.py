"""What people bring before moderators: filed, listed, claimed by one, closed, and both sides told."""

import pytest
import trio

from chat.codec import MSGPACK, Codec
from chat.config import Config
from chat.tokens import create_token
from storage import WAITING_OF_KIND_MAX, WAITING_OF_TEXT_MAX, Conflict, NewReport
from storage.memory import MemoryStore
from storage.testing import Fault
from tests.sim.harness import BEGIN_MS, Sim, SimClient, both, items, open_sim, room_id, virtual_time, walk


async def a_message(sim: Sim, codec: Codec = MSGPACK) -> tuple[SimClient, SimClient, SimClient]:
    """A room's owner, a member who reports, and an author whose message is at seq 1."""
    ann, bob, eve = await sim.join("tea", "ann", "bob", "eve", codec=codec)
    await eve.request("send", room="tea", cid="1", body="spam")
    return ann, bob, eve


async def staff(store: MemoryStore, name: str, role: str = "moderator") -> str:
    """What one of the server's people comes in with."""
    mark = name[:1].encode()
    issued = await create_token(
        store, name=name, role=role, now_ms=BEGIN_MS, random_bytes=lambda size: mark * size
    )
    return issued.token


async def second_moderator(owner: SimClient, client: SimClient) -> None:
    """Have a member moderate as well."""
    await owner.request("mod", room="tea", action="role", target=client.user_id, role="moderator")


@virtual_time
@both
async def test_a_report_goes_its_way(codec: Codec) -> None:
    """From who reports to who moderates, and back."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim, codec)

        filed = await bob.request("report", room="tea", seq=1, reason="it is spam")

        assert (filed["report"], filed["state"]) == (1, "open")
        assert (await ann.expect("reports", room="tea"))["open"] == 1
        (item,) = items(await ann.request("reports", room="tea"))
        assert item == {
            "report": 1,
            "room": "tea",
            "kind": "person",
            "state": "open",
            "seq": 1,
            "by": bob.user_id,
            "name": "bob",
            "author": eve.user_id,
            "author_name": "eve",
            "reason": "it is spam",
            "body": "spam",
            "at": item["at"],
            "changed": item["at"],
        }
        claimed = await ann.request("resolve", report=1, action="claim")
        assert claimed["state"] == "claimed"
        assert (await bob.expect("report", report=1))["state"] == "claimed"
        banned = await ann.request("mod", room="tea", action="ban", target=eve.user_id)
        await ann.request("resolve", report=1, action="resolve", note="banned", audit=banned["audit"])
        told = await bob.expect("report", report=1)
        assert told == {"t": "report", "report": 1, "room": "tea", "state": "resolved", "seq": 1}
        assert (await ann.expect("reports", room="tea", open=0))["t"] == "reports"
        assert items(await ann.request("reports", room="tea")) == []
        (closed,) = items(await ann.request("reports", room="tea", state="all"))
        assert (closed["note"], closed["audit"], closed["holder_name"]) == ("banned", banned["audit"], "ann")
        assert "body" not in closed
        assert not eve.heard("report")
        assert not eve.heard("reports")


@virtual_time
async def test_of_two_who_claim_at_once_one_wins() -> None:
    """The other hears who has it, and may do nothing with it until it is given back."""
    async with open_sim() as sim:
        ann, bob, _ = await a_message(sim)
        await second_moderator(ann, bob)
        await bob.request("report", room="tea", seq=1, reason="spam")
        asked = [(client, await client.send("resolve", report=1, action="claim")) for client in (ann, bob)]
        answers = [(client, await client.answer(number)) for client, number in asked]
        winner, loser = sorted(answers, key=lambda answer: answer[1]["t"] == "error")

        assert winner[1]["state"] == "claimed"
        assert (loser[1]["code"], loser[1]["state"]) == ("conflict", "claimed")
        assert loser[1]["holder"] == winner[0].user_id
        for action in ("claim", "dismiss", "resolve"):
            refused = await loser[0].refused("resolve", report=1, action=action)
            assert refused["code"] == "conflict"
        await winner[0].request("resolve", report=1, action="release")
        dismissed = await loser[0].request("resolve", report=1, action="dismiss")
        assert dismissed["state"] == "dismissed"


@virtual_time
async def test_an_owner_takes_a_report_from_a_moderator() -> None:
    """Who has gone does not keep it for ever; another moderator cannot."""
    async with open_sim() as sim:
        ann, bob, _ = await a_message(sim)
        (cyd,) = await sim.join("tea", "cyd")
        await second_moderator(ann, bob)
        await second_moderator(ann, cyd)
        await bob.request("report", room="tea", seq=1, reason="spam")
        await bob.request("resolve", report=1, action="claim")
        assert (await cyd.refused("resolve", report=1, action="release"))["code"] == "conflict"
        assert (await ann.request("resolve", report=1, action="release"))["state"] == "open"


ACTIONS = ("claim", "release", "resolve", "dismiss", "approve", "reject")


@virtual_time
async def test_nobody_decides_about_his_own_message() -> None:
    """Neither an owner nor one of the server's people, whatever is asked; nor do they see who brought it."""
    store = MemoryStore()
    token = await staff(store, "Ada", "admin")
    async with open_sim(store=store) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        ada = await sim.enter(token)
        await ada.request("join", room="tea")
        for author in (ann, ada):
            await author.request("send", room="tea", cid="1", body="rude")
        for seq in (1, 2):
            await bob.request("report", room="tea", seq=seq, reason="rude")
        for author, number in ((ann, 1), (ada, 2)):
            for action in ACTIONS:
                refused = await author.refused("resolve", report=number, action=action)
                assert (refused["code"], "your own" in str(refused["message"])) == ("forbidden", True)
        assert [item["report"] for item in items(await ann.request("reports", room="tea"))] == [2]
        for room in ("tea", None):
            listed = await ada.request("reports", room=room, state="all")
            assert [item["report"] for item in items(listed)] == [1]
        assert await copies(ada) == ["rude"]


@virtual_time
async def test_a_held_message_is_not_let_in_by_its_author() -> None:
    """Who moderates by now does not decide about what was held before."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        await ann.request("automod", room="tea", rules=[{"kind": "links", "id": "links", "action": "hold"}])
        await bob.refused("send", room="tea", cid="1", body="evil.com")
        await second_moderator(ann, bob)
        for action in ACTIONS:
            assert (await bob.refused("resolve", report=1, action=action))["code"] == "forbidden"
        assert items(await bob.request("reports", room="tea")) == []
        assert (await ann.request("resolve", report=1, action="approve"))["state"] == "approved"


@virtual_time
async def test_who_decides_about_moderators_ranks_higher() -> None:
    """As the roster says it now; and the server's people decide about owners."""
    store = MemoryStore()
    token = await staff(store, "Mo")
    async with open_sim(store=store) as sim:
        ann, bob, eve = await a_message(sim)
        mo = await sim.enter(token)
        await ann.request("send", room="tea", cid="1", body="rude")
        for seq in (1, 2):
            await bob.request("report", room="tea", seq=seq, reason="rude")
        await second_moderator(ann, bob)
        await second_moderator(ann, eve)
        for number in (1, 2):
            for action in ACTIONS:
                refused = await bob.refused("resolve", report=number, action=action)
                assert (refused["code"], "higher rank" in str(refused["message"])) == ("forbidden", True)
        assert (await ann.request("resolve", report=1, action="claim"))["state"] == "claimed"
        assert (await mo.request("resolve", report=2, action="dismiss"))["state"] == "dismissed"
        await ann.request("resolve", report=1, action="release")
        await ann.request("mod", room="tea", action="role", target=eve.user_id, role="member")
        assert (await bob.request("resolve", report=1, action="dismiss"))["state"] == "dismissed"


@virtual_time
async def test_a_report_is_given_back_by_who_may_not_decide_any_more() -> None:
    """Its author ranks as high by now; of a private room the author may be a member no more."""
    async with open_sim() as sim:
        ann = await sim.connect("ann")
        bob, eve = await sim.connect("bob"), await sim.connect("eve")
        await ann.request("create", room="tea", kind="private")
        for client in (bob, eve):
            await ann.request("invite", room="tea", user=client.user_id)
        await second_moderator(ann, bob)
        sent = await eve.request("send", room="tea", cid="1", body="spam")
        await bob.request("report", room="tea", seq=sent["seq"], reason="spam")
        await bob.request("resolve", report=1, action="claim")
        await second_moderator(ann, eve)
        assert (await bob.request("resolve", report=1, action="release"))["state"] == "open"
        assert (await bob.refused("resolve", report=1, action="claim"))["code"] == "forbidden"
        await ann.request("mod", room="tea", action="ban", target=eve.user_id)
        assert (await bob.request("resolve", report=1, action="resolve"))["state"] == "resolved"


@virtual_time
async def test_what_is_decided_is_in_the_servers_audit() -> None:
    """Who closed which report about whom, how and why; not who had it in between."""
    store = MemoryStore()
    token = await staff(store, "Ada", "admin")
    async with open_sim(store=store) as sim:
        ann, bob, eve = await a_message(sim)
        await ann.request("automod", room="tea", rules=[{"kind": "links", "id": "links", "action": "hold"}])
        await bob.request("report", room="tea", seq=1, reason="spam")
        for cid in ("2", "3"):
            await eve.refused("send", room="tea", cid=cid, body="evil.com")
        for action in ("claim", "release"):
            await ann.request("resolve", report=1, action=action)
        for number, action in ((1, "dismiss"), (2, "approve"), (3, "reject")):
            await ann.request("resolve", report=number, action=action, note="so it is")
        await ann.refused("resolve", report=3, action="reject")
        ada = await sim.enter(token)
        rows = items(await ada.request("audit", room="sys.server"))
        listed = [item for item in rows if item["action"] == "report"]
        assert [item["detail"] for item in reversed(listed)] == [
            {
                "action": "report",
                "user": eve.user_id,
                "name": "eve",
                "report": number,
                "state": state,
                "reason": "so it is",
            }
            for number, state in ((1, "dismissed"), (2, "approved"), (3, "rejected"))
        ]
        assert {(item["by"], item["name"], item["target"]) for item in listed} == {
            (ann.user_id, "ann", eve.user_id)
        }
        assert (await ann.refused("audit", room="sys.server"))["code"] in {"forbidden", "room_not_found"}


@virtual_time
async def test_what_the_audit_does_not_take_is_not_closed() -> None:
    """It stays with who wanted to close it, with its text; later it is closed."""
    async with open_sim() as sim:
        ann, bob, _ = await a_message(sim)
        await bob.request("report", room="tea", seq=1, reason="spam")
        sim.faults["append"] = Fault(before_s=20.0)
        assert (await ann.refused("resolve", report=1, action="resolve"))["temporary"] is True
        sim.faults.clear()
        (item,) = items(await ann.request("reports", room="tea"))
        assert (item["state"], item["holder"], item["body"]) == ("claimed", ann.user_id, "spam")
        assert (await ann.request("resolve", report=1, action="resolve"))["state"] == "resolved"


@virtual_time
async def test_one_report_of_a_user_and_message_waits() -> None:
    """The second is the first; another's is another."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        first = await bob.request("report", room="tea", seq=1, reason="spam")
        again = await bob.request("report", room="tea", seq=1, reason="really")
        other = await eve.request("report", room="tea", seq=1, reason="my fault")
        assert (again["report"], other["report"]) == (first["report"], 2)
        assert len(items(await ann.request("reports", room="tea"))) == 2


async def copies(moderator: SimClient) -> list[object]:
    """The texts that wait in the room."""
    return [item.get("body") for item in items(await moderator.request("reports", room="tea"))]


@virtual_time
async def test_each_report_shows_what_its_reporter_saw() -> None:
    """Edits are in it or not, as they were made before or after."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        await bob.request("report", room="tea", seq=1, reason="spam")
        await eve.request("edit", room="tea", seq=1, body="flowers")
        await ann.request("report", room="tea", seq=1, reason="flowers")
        await bob.request("report", room="tea", seq=1, reason="still spam")
        assert await copies(ann) == ["spam", "flowers"]


@pytest.mark.parametrize("by_whom", ["author", "moderator", "purge"])
@virtual_time
async def test_what_was_said_is_seen_until_the_report_is_closed(by_whom: str) -> None:
    """Whoever deletes the message; afterwards it cannot be reported, and the text is nowhere."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        await bob.request("report", room="tea", seq=1, reason="spam")
        if by_whom == "purge":
            await ann.request("mod", room="tea", action="purge", target=eve.user_id)
        else:
            await (eve if by_whom == "author" else ann).request("delete", room="tea", seq=1)
        assert await copies(ann) == ["spam"]
        assert (await eve.refused("report", room="tea", seq=1, reason="x"))["code"] == "not_found"
        await ann.request("resolve", report=1, action="resolve")
        (closed,) = items(await ann.request("reports", room="tea", state="all"))
        assert "body" not in closed


@virtual_time
async def test_what_is_no_message_is_not_reported() -> None:
    """Neither a seq that is not there nor another event, nor what was deleted."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        await eve.request("delete", room="tea", seq=1)
        for seq in (0, 1, 2, 99):
            refused = await bob.refused("report", room="tea", seq=seq, reason="spam")
            assert (refused["code"], refused["field"]) == ("not_found", "seq")
        await ann.request("create", room="den", kind="private")
        assert (await bob.refused("report", room="den", seq=1, reason="x"))["code"] == "room_not_found"
        assert (await bob.refused("report", room="tea", seq=1, reason="a\0"))["field"] == "reason"


@virtual_time
async def test_reports_are_limited_by_rate() -> None:
    """Of a user, wherever they go."""
    async with open_sim(Config(report_per_s=0.1, report_burst=2)) as sim:
        _, bob, _ = await a_message(sim)
        for _ in range(2):
            await bob.request("report", room="tea", seq=1, reason="spam")
        refused = await bob.refused("report", room="tea", seq=1, reason="spam")
        assert (refused["code"], refused["retry_after"]) == ("rate_limited", 10.0)
        await trio.sleep(10.0)
        await bob.request("report", room="tea", seq=1, reason="spam")


@virtual_time
async def test_a_new_guest_for_every_report_files_no_more_of_them() -> None:
    """Guests from one address share its rate; those of another, and of loopback, have their own."""
    async with open_sim(Config(guests="on", report_per_s=0.1, report_burst=2)) as sim:
        await a_message(sim)

        async def guest(peer: str) -> SimClient:
            client = await sim.open(peer=peer)
            await client.hello("guest")
            return client

        for _ in range(2):
            await (await guest("203.0.113.9")).request("report", room="tea", seq=1, reason="spam")
        refused = await (await guest("203.0.113.9")).refused("report", room="tea", seq=1, reason="spam")
        assert (refused["code"], refused["retry_after"]) == ("rate_limited", 10.0)
        for peer in ("203.0.113.10", "127.0.0.1", "127.0.0.1"):
            other = await guest(peer)
            for _ in range(2):
                await other.request("report", room="tea", seq=1, reason="spam")


async def crowd(sim: Sim, *seqs: int, body: str | None = "spam") -> None:
    """Have others report messages, each by somebody else."""
    room = await room_id(sim.store, "tea")
    await sim.store.file_reports(
        [
            NewReport(
                *(room, "tea", "person", seq, f"u_{number}", "x", "u_y", "y", "spam", None, BEGIN_MS),
                body=body,
            )
            for number, seq in enumerate(seqs)
        ]
    )


@virtual_time
async def test_one_report_more_of_a_message_says_nothing_new() -> None:
    """Who brings it hears that it is known, and not as whose; in another text it is new."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        await crowd(sim, *[1] * WAITING_OF_TEXT_MAX)
        answer = await bob.request("report", room="tea", seq=1, reason="spam")
        assert answer == {"t": "ok", "id": answer["id"], "state": "known"}
        assert not ann.heard("reports")
        assert items(await bob.request("reports", mine=True)) == []
        await eve.request("edit", room="tea", seq=1, body="worse")
        assert (await bob.request("report", room="tea", seq=1, reason="worse"))["state"] == "open"


@virtual_time
async def test_moderators_have_a_bounded_number_of_reports() -> None:
    """Above it people are told to come again, until something was looked at."""
    async with open_sim() as sim:
        ann, bob, _ = await a_message(sim)
        await crowd(sim, *range(2, WAITING_OF_KIND_MAX + 2))
        refused = await bob.refused("report", room="tea", seq=1, reason="spam")
        assert (refused["code"], refused["retry_after"]) == ("busy", 60.0)
        assert "too much to look at" in str(refused["message"])
        await ann.request("resolve", report=1, action="dismiss")
        assert (await bob.request("report", room="tea", seq=1, reason="spam"))["state"] == "open"


@virtual_time
async def test_only_moderators_look_at_reports() -> None:
    """Others do not learn which there are, not even their own's number."""
    async with open_sim() as sim:
        _, bob, _ = await a_message(sim)
        await bob.request("report", room="tea", seq=1, reason="spam")
        assert (await bob.refused("reports", room="tea"))["code"] == "forbidden"
        assert (await bob.refused("reports"))["code"] == "forbidden"
        for number in (1, 7):
            refused = await bob.refused("resolve", report=number, action="claim")
            assert (refused["code"], refused["field"]) == ("not_found", "report")


@virtual_time
@both
async def test_people_follow_their_own_reports(codec: Codec) -> None:
    """In every room, with what moderators say of them; not who they are, nor what they did."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim, codec)
        await bob.request("report", room="tea", seq=1, reason="spam")
        await eve.request("report", room="tea", seq=1, reason="my fault")
        (item,) = items(await bob.request("reports", mine=True))
        assert item == {
            "report": 1,
            "room": "tea",
            "kind": "person",
            "state": "open",
            "seq": 1,
            "author": eve.user_id,
            "author_name": "eve",
            "reason": "spam",
            "at": item["at"],
            "changed": item["at"],
        }
        await ann.request("resolve", report=1, action="resolve", note="warned", audit="tea:9")
        assert items(await bob.request("reports", mine=True)) == []
        (closed,) = items(await bob.request("reports", mine=True, state="all"))
        assert closed == {**item, "state": "resolved", "note": "warned", "changed": closed["changed"]}
        assert items(await ann.request("reports", mine=True, state="all")) == []


@virtual_time
async def test_what_a_rule_brought_is_nobodys_own_report() -> None:
    """Neither its author's nor the server's."""
    async with open_sim() as sim:
        ann, bob, _ = await a_message(sim)
        rules = [{"kind": "links", "id": action, "action": action} for action in ("report", "hold")]
        await ann.request("automod", room="tea", rules=rules)
        await bob.refused("send", room="tea", cid="1", body="evil.com")
        assert len(items(await ann.request("reports", room="tea"))) == 1
        for client in (ann, bob):
            assert items(await client.request("reports", mine=True, state="all")) == []


async def four_reports(reporter: SimClient, author: SimClient) -> None:
    """One of each message: the one that there is, and three more."""
    for number in range(2, 5):
        await author.request("send", room="tea", cid=str(number), body="spam")
    for seq in range(1, 5):
        await reporter.request("report", room="tea", seq=seq, reason="spam")


@virtual_time
async def test_own_reports_have_pages() -> None:
    """The oldest first; a cursor is of this list and this user alone, and no room narrows it."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        await four_reports(bob, eve)
        pages = await walk(bob, "reports", mine=True, limit=3)
        assert [[item["seq"] for item in page] for page in pages] == [[1, 2, 3], [4]]
        own = (await bob.request("reports", mine=True, limit=1))["next"]
        of_room = (await ann.request("reports", room="tea", limit=1))["next"]
        assert (await ann.refused("reports", room="tea", cursor=own))["code"] == "bad_cursor"
        assert (await eve.refused("reports", mine=True, cursor=own))["code"] == "bad_cursor"
        assert (await bob.refused("reports", mine=True, cursor=of_room))["code"] == "bad_cursor"
        assert (await bob.refused("reports", mine=True, room="tea"))["field"] == "room"


@virtual_time
async def test_reports_have_pages() -> None:
    """The oldest first; of the room that was asked for."""
    async with open_sim() as sim:
        ann, bob, eve = await a_message(sim)
        await four_reports(bob, eve)
        pages = await walk(ann, "reports", room="tea", limit=3)
        assert [[item["seq"] for item in page] for page in pages] == [[1, 2, 3], [4]]
        await ann.request("create", room="other")
        cursor = (await ann.request("reports", room="tea", limit=1))["next"]
        assert (await ann.refused("reports", room="other", cursor=cursor))["code"] == "bad_cursor"


@virtual_time
async def test_the_servers_moderators_look_into_every_room() -> None:
    """Also where they are no members; and over all rooms together."""
    store = MemoryStore()
    token = await staff(store, "Mo")
    async with open_sim(store=store) as sim:
        ann, bob, _ = await a_message(sim)
        await ann.request("create", room="den", kind="private")
        await ann.request("invite", room="den", user=bob.user_id)
        await ann.request("send", room="den", cid="1", body="rude")
        await bob.request("report", room="tea", seq=1, reason="spam")
        await bob.request("report", room="den", seq=2, reason="rude")
        mo = await sim.enter(token)
        assert [item["room"] for item in items(await mo.request("reports"))] == ["tea", "den"]
        assert [item["room"] for item in items(await mo.request("reports", room="den"))] == ["den"]
        assert (await mo.request("resolve", report=2, action="resolve"))["state"] == "resolved"
        assert (await mo.refused("resolve", report=1, action="approve"))["field"] == "action"
        assert (await mo.refused("reports", room="nowhere"))["code"] == "room_not_found"


@virtual_time
async def test_a_report_waits_for_the_message_to_be_stored() -> None:
    """Who is quicker than the database is told to come again; so is who meets a closing report."""
    async with open_sim() as sim:
        _, bob, eve = await a_message(sim)
        sim.faults["append"] = Fault(before_s=2.0)
        await eve.send("send", room="tea", cid="2", body="slow")
        await bob.expect("event", seq=2)
        assert (await bob.refused("report", room="tea", seq=2, reason="spam"))["code"] == "busy"
        await trio.sleep(3.0)
        sim.faults["file_reports"] = Fault(refusal=Conflict("closed"))
        assert (await bob.refused("report", room="tea", seq=2, reason="spam"))["code"] == "busy"
        sim.faults.clear()
        assert (await bob.request("report", room="tea", seq=2, reason="spam"))["state"] == "open"
