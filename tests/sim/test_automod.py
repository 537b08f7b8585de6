"""Rooms with rules of their own: what their people see, and what moderators find."""

from collections.abc import Mapping, Sequence

import pytest
import trio

from chat.codec import MSGPACK, Codec
from chat.config import Config
from chat.tokens import create_token
from storage import Store, Unavailable
from storage.memory import MemoryStore
from storage.model import RulesRow
from storage.review_model import ReportRow
from storage.testing import Fault
from tests.sim.harness import BEGIN_MS, Envelope, Sim, SimClient, both, items, open_sim, room_id, virtual_time

Rules = Sequence[Mapping[str, object]]

NO_LINKS: dict[str, object] = {
    "kind": "links",
    "id": "no-links",
    "action": "refuse",
    "reason": "no links here",
}


async def tea(sim: Sim, *rules: Mapping[str, object], codec: Codec = MSGPACK) -> tuple[SimClient, SimClient]:
    """A room with these rules, its owner, and a member."""
    ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
    await ann.request("automod", room="tea", rules=list(rules))
    return ann, bob


async def say(client: SimClient, cid: str, body: str) -> Envelope:
    """The answer to a message, whatever it is."""
    return await client.answer(await client.send("send", room="tea", cid=cid, body=body))


async def a_token(store: Store, name: str, role: str = "user") -> str:
    """What a user whose account is made now comes in with."""
    mark = name[:1].encode()
    issued = await create_token(
        store, name=name, role=role, now_ms=BEGIN_MS, random_bytes=lambda size: mark * size
    )
    return issued.token


async def reports(sim: Sim) -> Sequence[ReportRow]:
    """Everything that was brought before moderators."""
    await trio.sleep(1.0)
    return await sim.store.list_reports(room_id=None, waiting=False, after=0, limit=99)


# -- what rules do ---------------------------------------------------------------------------------------


@virtual_time
@both
async def test_a_word_is_refused_with_the_reason(codec: Codec) -> None:
    """However it is disguised; nobody sees the message, and others pass."""
    async with open_sim() as sim:
        rule = {"kind": "words", "id": "w", "action": "refuse", "words": ["badword"], "reason": "be kind"}
        ann, bob = await tea(sim, rule, codec=codec)
        for number, body in enumerate(["a badword", "B\u0430dW\u00f6rd!", "b a d w o r d", "baaadw0rd"]):
            refused = await say(bob, str(number), body)
            assert (refused["code"], refused["message"], refused["temporary"]) == (
                *("filtered", "be kind"),
                False,
            )
        assert (await say(bob, "ok", "good words"))["t"] == "ok"
        await ann.expect("event", kind="message")
        assert ann.bodies("tea") == ["good words"]


@virtual_time
async def test_moderators_are_exempt_unless_a_rule_is_for_everyone() -> None:
    """The owner posts links where others may not."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, NO_LINKS)
        assert (await say(bob, "1", "see evil.com"))["code"] == "filtered"
        assert (await say(ann, "1", "see evil.com"))["t"] == "ok"
        await ann.request("automod", room="tea", rules=[{**NO_LINKS, "everyone": True}])
        assert (await say(ann, "2", "see evil.com"))["code"] == "filtered"


@virtual_time
async def test_a_flood_is_muted() -> None:
    """By the server, for a time, in the log and in the audit; then one may speak again."""
    async with open_sim() as sim:
        rule = {"kind": "flood", "id": "f", "action": "mute", "ttl": 60, "messages": 3, "within": 10}
        ann, bob = await tea(sim, rule)
        answers = [await say(bob, str(number), f"text {number}") for number in range(5)]
        assert [answer.get("code", "ok") for answer in answers] == ["ok"] * 3 + ["filtered", "muted"]
        muted = await ann.expect("event", kind="sanction")
        assert (muted["by"], muted["user"], muted["action"]) == ("", bob.user_id, "mute")
        assert muted["reason"] == "too many messages"
        await trio.sleep(60.0)
        assert (await say(bob, "later", "calm"))["t"] == "ok"
        (row,) = await sim.store.read_audit(await room_id(sim.store, "tea"), after=0, limit=9)
        assert (row.action, row.actor, row.actor_name, row.target) == ("mute", "", "automod", bob.user_id)


@virtual_time
async def test_what_is_said_again_is_refused() -> None:
    """The same text in another dress, too; a message that is sent again for its ok is none."""
    async with open_sim() as sim:
        rule = {"kind": "repeats", "id": "r", "action": "refuse", "count": 2, "within": 30}
        ann, bob = await tea(sim, rule)
        first = await say(bob, "1", "Buy tea")
        again = await say(bob, "1", "Buy tea")
        assert (again["seq"], again["dup"]) == (first["seq"], True)
        assert (await say(bob, "2", "buy  TEA!"))["code"] == "filtered"
        await trio.sleep(31.0)
        assert (await say(bob, "3", "buy tea"))["t"] == "ok"
        assert (await say(ann, "1", "buy tea"))["t"] == "ok"


@virtual_time
@both
async def test_a_message_is_deleted_before_anybody_reads_it(codec: Codec) -> None:
    """It has its place and its ok; its text is nowhere, and its author sees why."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "delete"}, codec=codec)
        stored = await say(bob, "1", "see evil.com")
        message = await ann.expect("event", kind="message")
        deleted = await bob.expect("event", kind="delete")
        assert (message["seq"], message["body"], message["cid"]) == (stored["seq"], None, "1")
        assert (deleted["of"], deleted["by"], deleted["reason"]) == (stored["seq"], "", "no links here")
        log = (await sim.store.history(await room_id(sim.store, "tea"), limit=9)).items
        assert [(entry.kind, entry.body) for entry in log] == [("message", None), ("delete", None)]
        assert (await say(bob, "1", "see evil.com"))["dup"] is True


@virtual_time
async def test_a_rule_that_reports_lets_through() -> None:
    """A dry run, too, whatever it would do: moderators see what it found, and are told."""
    async with open_sim() as sim:
        dry = {"kind": "words", "id": "w", "action": "mute", "ttl": 9, "words": ["tea"], "dry_run": True}
        ann, bob = await tea(sim, {**NO_LINKS, "action": "report"}, dry)
        stored = await say(bob, "1", "tea at evil.com")
        assert stored["t"] == "ok"
        assert (await ann.expect("reports", room="tea"))["open"] == 1
        (report,) = items(await ann.request("reports", room="tea"))
        assert report["reason"] == "links: evil.com; dry run, would mute; words: tea"
        assert (report["kind"], report["seq"], report["author"], report["rule"]) == (
            *("automod", stored["seq"]),
            *(bob.user_id, "no-links"),
        )
        assert report["body"] == "tea at evil.com"
        assert not bob.heard("reports")
        assert (await say(bob, "2", "more"))["t"] == "ok"


@virtual_time
async def test_what_a_rule_notes_of_an_edit_is_its_text() -> None:
    """Not the one before it; it stays when the message is deleted."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "report"})
        stored = await say(bob, "1", "harmless")
        await bob.request("edit", room="tea", seq=stored["seq"], body="now evil.com")
        await bob.request("delete", room="tea", seq=stored["seq"])
        (report,) = await reports(sim)
        assert (report.seq, report.body) == (stored["seq"], "now evil.com")
        await ann.request("resolve", report=report.report, action="dismiss")
        assert [each.body for each in await reports(sim)] == [None]


@virtual_time
async def test_what_a_rule_deletes_is_not_kept_by_another_that_reports_it() -> None:
    """Its text is stored nowhere, as nobody has read it."""
    async with open_sim() as sim:
        seen = {**NO_LINKS, "id": "seen", "action": "report"}
        ann, bob = await tea(sim, seen, {**NO_LINKS, "action": "delete"})
        await say(bob, "1", "see evil.com")
        (report,) = items(await ann.request("reports", room="tea"))
        assert (report["kind"], report["rule"]) == ("automod", "seen")
        assert "body" not in report


@virtual_time
async def test_an_edit_is_judged_as_well() -> None:
    """The message stays as it is; what would be held is refused."""
    async with open_sim() as sim:
        ann, bob = await tea(sim)
        stored = await say(bob, "1", "harmless")
        for action in ("refuse", "hold", "delete"):
            await ann.request("automod", room="tea", rules=[{**NO_LINKS, "action": action}])
            refused = await bob.refused("edit", room="tea", seq=stored["seq"], body="now evil.com")
            assert (refused["code"], refused["message"]) == ("filtered", "no links here")
        assert await reports(sim) == []
        await bob.request("edit", room="tea", seq=stored["seq"], body="still harmless")


@virtual_time
async def test_new_members_are_limited_for_a_while() -> None:
    """The age of the membership counts, by the room's time."""
    async with open_sim() as sim:
        _, bob = await tea(sim, {"kind": "new", "id": "n", "action": "refuse", "joined_below": 300})
        refused = await say(bob, "1", "hello")
        assert (refused["code"], refused["message"]) == ("filtered", "who is new here does not write yet")
        await trio.sleep(301.0)
        assert (await say(bob, "2", "hello"))["t"] == "ok"


@virtual_time
async def test_new_accounts_are_limited_for_a_while() -> None:
    """Whatever the age of the membership; guests have none and stay limited, moderators are exempt."""
    store = MemoryStore()
    tokens = [await a_token(store, "Bob"), await a_token(store, "Mo", "moderator")]
    async with open_sim(store=store) as sim:
        rule = {"kind": "new", "id": "n", "action": "hold", "account_below": 300}
        ann, guest = await tea(sim, rule)
        bob, mo = [await sim.enter(token) for token in tokens]
        for client in (bob, mo):
            await client.request("join", room="tea")
        answers = [await say(client, "1", "hello") for client in (bob, guest, mo, ann)]
        assert [answer.get("code", "ok") for answer in answers] == ["filtered", "filtered", "ok", "ok"]
        await ann.request("resolve", report=1, action="approve")
        assert ann.bodies("tea")[-1] == "hello"
        await trio.sleep(301.0)
        assert (await say(bob, "2", "still here"))["t"] == "ok"
        assert (await say(guest, "2", "still here"))["code"] == "filtered"


@virtual_time
async def test_an_edit_by_a_new_account_is_judged_as_well() -> None:
    """As long as the account is new."""
    store = MemoryStore()
    token = await a_token(store, "Bob")
    async with open_sim(store=store) as sim:
        ann, _ = await tea(sim)
        bob = await sim.enter(token)
        await bob.request("join", room="tea")
        stored = await say(bob, "1", "harmless")
        await ann.request("automod", room="tea", rules=[{**NO_LINKS, "account_below": 300}])
        refused = await bob.refused("edit", room="tea", seq=stored["seq"], body="now evil.com")
        assert refused["code"] == "filtered"
        await trio.sleep(301.0)
        await bob.request("edit", room="tea", seq=stored["seq"], body="now evil.com")


@virtual_time
async def test_whoever_moderates_is_not_muted() -> None:
    """A rule for everyone refuses, and does no more."""
    async with open_sim() as sim:
        rule = {**NO_LINKS, "action": "mute", "ttl": 60, "everyone": True}
        ann, bob = await tea(sim, rule)
        assert (await say(ann, "1", "evil.com"))["code"] == "filtered"
        assert (await say(ann, "2", "hello"))["t"] == "ok"
        assert (await say(bob, "1", "evil.com"))["code"] == "filtered"
        assert (await say(bob, "2", "hello"))["code"] == "muted"


@virtual_time
async def test_a_strict_room_shows_what_rules_did_when_it_is_stored() -> None:
    """In the log's order, as anything else."""
    async with open_sim() as sim:
        ann, bob = await sim.connect("ann"), await sim.connect("bob")
        await ann.request("create", room="tea", strict=True)
        for client in (ann, bob):
            await client.request("join", room="tea")
        flood = {"kind": "flood", "id": "f", "action": "mute", "ttl": 5, "messages": 1, "within": 10}
        await ann.request("automod", room="tea", rules=[flood, {**NO_LINKS, "action": "delete"}])
        assert (await say(bob, "1", "see evil.com"))["t"] == "ok"
        assert (await say(bob, "2", "hello"))["code"] == "filtered"
        await trio.sleep(1.0)
        events = [(event["seq"], event["kind"]) for event in ann.heard("event")]
        assert events == [(1, "message"), (2, "delete"), (3, "sanction")]


# -- held messages ---------------------------------------------------------------------------------------


@virtual_time
@both
async def test_a_held_message_is_approved_and_appears(codec: Codec) -> None:
    """As its author's, with its cid, at the place where it was let in; the author is told twice."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "hold"}, codec=codec)
        held = await say(bob, "1", "see good.com")
        assert (held["code"], held["report"], held["state"]) == ("filtered", 1, "open")
        assert (await say(ann, "2", "meanwhile"))["seq"] == 1
        (report,) = items(await ann.request("reports", room="tea"))
        assert (report["kind"], report["body"], report["cid"]) == ("held", "see good.com", "1")

        approved = await ann.request("resolve", report=1, action="approve")

        assert (approved["state"], approved["seq"]) == ("approved", 2)
        event = await bob.expect("event", kind="message", seq=2)
        assert (event["by"], event["body"], event["cid"]) == (bob.user_id, "see good.com", "1")
        told = await bob.expect("report", report=1)
        assert (told["state"], told["room"], told["seq"], told["cid"]) == ("approved", "tea", 2, "1")
        assert (await say(bob, "1", "see good.com"))["dup"] is True
        assert items(await ann.request("reports", room="tea")) == []


@virtual_time
async def test_a_held_message_is_dropped() -> None:
    """Its author is told, and sent again it stays dropped; its text is gone."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "hold"})
        await say(bob, "1", "see evil.com")
        await ann.request("resolve", report=1, action="reject", note="spam")
        assert (await bob.expect("report", report=1))["state"] == "rejected"
        again = await say(bob, "1", "see evil.com")
        assert (again["code"], again["report"], again["state"]) == ("filtered", 1, "rejected")
        assert ann.bodies("tea") == []
        (row,) = await reports(sim)
        assert (row.body, row.note) == (None, "spam")
        refused = await ann.refused("resolve", report=1, action="approve")
        assert (refused["code"], refused["state"], refused["holder"]) == (
            *("conflict", "rejected"),
            ann.user_id,
        )


@virtual_time
async def test_a_held_message_of_somebody_who_was_banned_stays_out() -> None:
    """The room's refusal is told to the moderator, who may drop it."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "hold"})
        await say(bob, "1", "see evil.com")
        await ann.request("mod", room="tea", action="ban", target=bob.user_id)
        assert (await ann.refused("resolve", report=1, action="approve"))["code"] == "banned"
        assert (await ann.request("resolve", report=1, action="reject"))["state"] == "rejected"


@pytest.mark.parametrize("claimed", [False, True])
@virtual_time
async def test_what_a_room_refuses_for_good_is_nobodys(claimed: bool) -> None:
    """Approving in an archived room leaves it to the others; what was claimed before stays so."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "hold"})
        await say(bob, "1", "see good.com")
        await ann.request("mod", room="tea", action="archive")
        if claimed:
            await ann.request("resolve", report=1, action="claim")
        assert (await ann.refused("resolve", report=1, action="approve"))["code"] == "locked"
        (item,) = items(await ann.request("reports", room="tea"))
        assert (item["state"], item.get("holder")) == (
            ("claimed", ann.user_id) if claimed else ("open", None)
        )
        await ann.request("mod", room="tea", action="unarchive")
        assert (await ann.request("resolve", report=1, action="approve"))["state"] == "approved"


@virtual_time
async def test_what_a_room_may_yet_take_stays_claimed() -> None:
    """Nobody rejects what may be in the log a moment later."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "hold"})
        await say(bob, "1", "see good.com")
        sim.faults["append"] = Fault(before_s=20.0)
        assert (await ann.refused("resolve", report=1, action="approve"))["temporary"] is True
        sim.faults.clear()
        (item,) = items(await ann.request("reports", room="tea"))
        assert (item["state"], item["holder"]) == ("claimed", ann.user_id)
        assert (await ann.request("resolve", report=1, action="approve"))["state"] == "approved"


@virtual_time
async def test_a_held_message_meets_neither_rules_nor_slow_mode_again() -> None:
    """It was looked at; its author may have said something else just now."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, {**NO_LINKS, "action": "hold"})
        await ann.request("update", room="tea", slow=600)
        await say(bob, "1", "see good.com")
        assert (await say(bob, "2", "hello"))["t"] == "ok"
        assert (await ann.request("resolve", report=1, action="approve"))["state"] == "approved"
        assert ann.bodies("tea") == ["hello", "see good.com"]


@virtual_time
async def test_a_message_is_held_once_the_database_is_back() -> None:
    """Its author is answered when it is stored, not before."""
    async with open_sim() as sim:
        _, bob = await tea(sim, {**NO_LINKS, "action": "hold"})
        sim.faults["file_reports"] = Fault(refusal=Unavailable("away"))
        request_id = await bob.send("send", room="tea", cid="1", body="see evil.com")
        await trio.sleep(5.0)
        assert not bob.heard("error")
        del sim.faults["file_reports"]
        assert (await bob.answer(request_id))["code"] == "filtered"


# -- changing rules --------------------------------------------------------------------------------------


@virtual_time
async def test_rules_survive_a_restart() -> None:
    """They are in force before the first message."""
    store = MemoryStore()
    async with open_sim(store=store) as sim:
        ann, _ = await tea(sim, NO_LINKS)
        assert (await ann.request("automod", room="tea"))["version"] == 1
    async with open_sim(store=store, seed=2) as sim:
        (cyd,) = await sim.join("tea", "cyd")
        assert (await say(cyd, "1", "evil.com"))["message"] == "no links here"


@virtual_time
async def test_rules_have_versions() -> None:
    """Who changes an old one hears what there is; an empty list ends them."""
    async with open_sim() as sim:
        ann, bob = await tea(sim, NO_LINKS)
        refused = await ann.refused("automod", room="tea", rules=[], if_version=0)
        assert (refused["code"], refused["version"]) == ("conflict", 1)
        changed = await ann.request("automod", room="tea", rules=[], if_version=1)
        assert changed["version"] == 2
        assert (await say(bob, "1", "evil.com"))["t"] == "ok"
        read = await ann.request("automod", room="tea")
        assert (read["version"], read["by"], items(read)) == (2, ann.user_id, [])


@virtual_time
async def test_a_long_list_is_sent_in_parts() -> None:
    """Words are added to the rule of that id; pages give it back."""
    async with open_sim() as sim:
        rule: dict[str, object] = {"kind": "words", "id": "w", "action": "refuse", "words": ["one"]}
        ann, bob = await tea(sim, NO_LINKS, rule)
        many = [f"word{number}" for number in range(3000)]
        await ann.request("automod", room="tea", rules=[{**rule, "words": many}], add=True)
        assert (await say(bob, "1", "say word2999"))["code"] == "filtered"
        assert (await say(bob, "2", "say one"))["code"] == "filtered"
        first = await ann.request("automod", room="tea", limit=1)
        assert [item["id"] for item in items(first)] == ["no-links"]
        second = await ann.request("automod", room="tea", cursor=first["next"])
        (listed,) = items(second)
        assert listed["words"] == ["one", *many]
        assert (await ann.refused("automod", room="tea", cursor="xx"))["code"] == "bad_cursor"


@virtual_time
async def test_a_text_is_tried() -> None:
    """Every rule that would find something is named, and nothing happens."""
    async with open_sim() as sim:
        caps = {"kind": "caps", "id": "c", "action": "report"}
        ann, bob = await tea(sim, caps, NO_LINKS)
        tried = await ann.request("automod", room="tea", test=True, text="LOOK AT THIS EVIL.COM")
        assert tried["decides"] == "no-links"
        matches = tried["matches"]
        assert isinstance(matches, list)
        assert [(match["rule"], match["action"], match["found"]) for match in matches] == [
            ("c", "report", "17 of 17 letters"),
            ("no-links", "refuse", "evil.com"),
        ]
        assert (await ann.request("automod", room="tea", test=True, text="fine"))["matches"] == []
        assert (await ann.refused("automod", room="tea", test=True))["field"] == "text"
        assert await reports(sim) == []
        assert (await bob.refused("automod", room="tea", test=True, text="x"))["code"] == "forbidden"


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ([{**NO_LINKS, "action": "mute"}], "rules[0].ttl"),
        ([{**NO_LINKS, "action": "burn"}], "rules[0].action"),
        ([NO_LINKS, NO_LINKS], "rules[1].id"),
        ([{**NO_LINKS, "kind": "nope"}], "rules[0].kind"),
        ([{**NO_LINKS, "x": 1}], "rules[0]"),
        ([{"kind": "words", "id": "w", "action": "hold", "words": ["fine", "!!"]}], "rules[0].words[1]"),
        ([{"kind": "words", "id": "w", "action": "hold", "words": ["a*b"]}], "rules[0].words[0]"),
        ([{"kind": "pattern", "id": "p", "action": "hold", "patterns": ["a", "(b"]}], "rules[0].patterns[1]"),
        ([{"kind": "pattern", "id": "p", "action": "hold", "patterns": ["(?=x)"]}], "rules[0].patterns[0]"),
        ([{"kind": "new", "id": "n", "action": "hold"}], "rules[0].joined_below"),
        ([{**NO_LINKS, "account_below": 0}], "rules[0].account_below"),
        ([NO_LINKS] * 51, "rules"),
    ],
)
@virtual_time
async def test_a_bad_rule_is_told_with_its_place(rules: Rules, field: str) -> None:
    """The list is taken as a whole or not at all."""
    async with open_sim() as sim:
        ann, bob = await tea(sim)
        refused = await ann.refused("automod", room="tea", rules=[*rules])
        assert refused["field"] == field
        assert (await ann.request("automod", room="tea"))["version"] == 1
        assert (await say(bob, "1", "evil.com"))["t"] == "ok"


@virtual_time
async def test_members_and_outsiders_have_no_say_in_rules() -> None:
    """Members may not even read them; an outsider does not learn of a private room."""
    async with open_sim() as sim:
        ann, bob = await tea(sim)
        assert (await bob.refused("automod", room="tea"))["code"] == "forbidden"
        assert (await bob.refused("automod", room="tea", rules=[]))["code"] == "forbidden"
        await ann.request("create", room="den", kind="private")
        assert (await bob.refused("automod", room="den", rules=[]))["code"] == "room_not_found"
        assert (await bob.refused("automod", rules=[]))["code"] == "forbidden"


@virtual_time
async def test_the_servers_moderators_have_rules_for_every_room() -> None:
    """They are asked before the room's own, in rooms that are open already and in those to come."""
    store = MemoryStore()
    issued = await create_token(
        store,
        name="Mo",
        role="moderator",
        now_ms=BEGIN_MS,
        random_bytes=lambda size: b"m" * size,
        expires_at_ms=None,
    )
    async with open_sim(store=store) as sim:
        ann, bob = await tea(sim, {"kind": "words", "id": "w", "action": "refuse", "words": ["evil"]})
        mo = await sim.enter(issued.token)
        assert (await mo.request("automod", rules=[NO_LINKS]))["version"] == 1
        assert (await say(bob, "1", "evil.com"))["message"] == "no links here"
        await bob.request("join", room="other", create=True)
        (eve,) = await sim.join("other", "eve")
        refused = await eve.refused("send", room="other", cid="1", body="evil.com")
        assert refused["message"] == "no links here"
        assert items(await mo.request("automod"))[0]["id"] == "no-links"
        await mo.request("join", room="tea")
        sent = await say(mo, "1", "evil.com")
        await mo.request("edit", room="tea", seq=sent["seq"], body="more evil.com")
        tried = await ann.request("automod", room="tea", test=True, text="evil.com")
        matches = tried["matches"]
        assert isinstance(matches, list)
        assert [match["rule"] for match in matches] == ["no-links", "w"]
    async with open_sim(store=store, seed=2) as sim:
        (bob,) = await sim.join("tea", "bob")
        assert (await say(bob, "9", "evil.com"))["message"] == "no links here"


@virtual_time
async def test_rules_that_cannot_be_stored_change_nothing() -> None:
    """When the answer was lost they may be in force at the next start, and are when they are set again."""
    async with open_sim() as sim:
        ann, bob = await tea(sim)
        sim.faults["write_rules"] = Fault(refusal=Unavailable("away"))
        assert (await ann.refused("automod", room="tea", rules=[NO_LINKS]))["code"] == "unavailable"
        assert (await say(bob, "1", "evil.com"))["t"] == "ok"
        sim.faults["write_rules"] = Fault(lost=Unavailable("away"))
        assert (await ann.refused("automod", room="tea", rules=[NO_LINKS]))["code"] == "unavailable"
        del sim.faults["write_rules"]
        assert (await ann.request("automod", room="tea", rules=[NO_LINKS]))["version"] == 3
        assert (await say(bob, "2", "evil.com"))["code"] == "filtered"


@virtual_time
@both
async def test_a_change_of_rules_is_in_the_server_s_audit(codec: Codec) -> None:
    """With the room, the version and how many there are, and no word of them; before it is done."""
    async with open_sim() as sim:
        mo = await sim.enter(await a_token(sim.store, "Mo", "moderator"), codec=codec)
        await mo.request("subscribe", room="sys.server")
        (ann,) = await sim.join("tea", "ann", codec=codec)
        told = await ann.request("automod", room="tea", rules=[NO_LINKS], reason="spam")
        everywhere = await mo.request("automod", rules=[NO_LINKS])
        rows = items(await mo.request("audit", room="sys.server"))
        assert [(row["audit"], row["action"], row["by"], row["detail"]) for row in rows] == [
            (everywhere["audit"], "automod", mo.user_id, {"action": "automod", "version": 1, "rules": 1}),
            (
                told["audit"],
                "automod",
                ann.user_id,
                {"action": "automod", "where": "tea", "version": 1, "rules": 1, "reason": "spam"},
            ),
        ]
        event = await mo.expect("event", kind="act")
        assert (event["room"], event["where"]) == ("sys.server", "tea")

        sim.faults["append"] = Fault(refusal=Unavailable("away"))
        assert (await ann.refused("automod", room="tea", rules=[]))["code"] in {"unavailable", "timeout"}
        del sim.faults["append"]
        assert (await ann.request("automod", room="tea"))["version"] == 1


@virtual_time
async def test_rules_are_set_as_a_trial() -> None:
    """Whatever would be refused is; nothing is stored, noted or applied."""
    async with open_sim() as sim:
        ann, bob = await tea(sim)
        answer = await ann.request("automod", room="tea", rules=[NO_LINKS], dry_run=True)
        assert (answer["room"], answer["version"], "audit" in answer) == ("tea", 2, False)
        outdated = await ann.refused("automod", room="tea", rules=[], if_version=9, dry_run=True)
        assert (outdated["code"], outdated["version"]) == ("conflict", 1)
        bad = [{"kind": "pattern", "id": "p", "action": "refuse", "patterns": ["("]}]
        refused = await ann.refused("automod", room="tea", rules=bad, dry_run=True)
        assert refused["field"] == "rules[0].patterns[0]"
        assert (await bob.refused("automod", room="tea", rules=[], dry_run=True))["code"] == "forbidden"
        assert (await ann.request("automod", room="tea"))["version"] == 1
        assert (await say(bob, "1", "evil.com"))["t"] == "ok"
        acts = await sim.store.read_audit(await room_id(sim.store, "sys.server"), after=0, limit=9)
        assert [row.action for row in acts] == ["automod"]


@virtual_time
async def test_a_room_that_was_asleep_wakes_with_its_rules() -> None:
    """Those that were set last."""
    async with open_sim(Config(room_idle_s=5.0)) as sim:
        ann, bob = await tea(sim)
        await ann.request("automod", room="tea", rules=[NO_LINKS])
        for client in (ann, bob):
            await client.request("unsubscribe", room="tea")
        await trio.sleep(60.0)
        assert sim.node.rooms.group.get("tea") is None
        assert (await say(bob, "1", "evil.com"))["code"] == "filtered"


@virtual_time
async def test_of_two_who_change_rules_at_once_one_wins() -> None:
    """The other hears which version there is."""
    async with open_sim() as sim:
        ann, bob = await tea(sim)
        await ann.request("mod", room="tea", action="role", target=bob.user_id, role="moderator")
        asked = [
            (client, await client.send("automod", room="tea", rules=[NO_LINKS], if_version=1))
            for client in (ann, bob)
        ]
        answers = [await client.answer(number) for client, number in asked]
        won, lost = sorted(answers, key=lambda answer: answer["t"] == "error")
        assert (won["version"], lost["code"]) == (2, "conflict")


@virtual_time
async def test_rules_of_a_later_version_are_set_anew() -> None:
    """The room is without them, reading says so, and a new list takes their place."""
    store = MemoryStore()
    async with open_sim(store=store) as sim:
        await tea(sim)
        later = RulesRow(2, BEGIN_MS, "u_x", "X", '[{"kind":"later"}]')
        await store.write_rules(await room_id(store, "tea"), later)
    async with open_sim(store=store, errors=["rules.unreadable"]) as sim:
        ann, bob = await sim.join("tea", "ann", "bob")
        assert (await say(bob, "1", "evil.com"))["t"] == "ok"
        assert (await ann.refused("automod", room="tea"))["code"] == "internal"
        assert (await ann.request("automod", room="tea", rules=[NO_LINKS]))["version"] == 3
        assert (await say(bob, "2", "evil.com"))["code"] == "filtered"
