"""Purges, reports and rules from the command line, against a server."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from chat.client_errors import RequestRefused
from scripts.admin.exits import EXIT_FAILED, EXIT_OK, EXIT_UNAUTHORISED, EXIT_USAGE
from storage.model import RulesRow
from tests.scripts.admin.scene import Scene, open_scene

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture
async def scene(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Scene]:
    """A server with people and a room."""
    async with open_scene(capsys, monkeypatch) as opened:
        yield opened


async def test_a_purge_deletes_page_by_page_and_says_how_many(scene: Scene) -> None:
    """Tried first, which changes nothing; then there is nothing left."""
    async with scene.client("Bob") as bob:
        for number in range(510):
            bob.post("tea", f"spam {number}")
        await bob.send("tea", "the last")
    purge = ("purge", "tea", "--user", "Bob", "--reason", "spam", "--yes", "--json")

    assert await scene.run(*purge, "--dry-run") == EXIT_OK
    total = scene.told["affected"]
    assert isinstance(total, int)
    assert total >= 511
    assert scene.told["audit"] == []
    assert await scene.run(*purge) == EXIT_OK
    assert scene.told["affected"] == total
    audits = scene.told["audit"]
    assert isinstance(audits, list)
    assert len(audits) == 2
    assert await scene.run(*purge) == EXIT_OK
    assert scene.told["affected"] == 0


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("purge", "tea", "--user", "Bob"), EXIT_USAGE),
        (("purge", "tea", "--seqs", "one", "--reason", "spam", "--yes"), EXIT_USAGE),
        (("purge", "tea", "--last", "10x", "--reason", "spam", "--yes"), EXIT_USAGE),
        (("purge", "tae", "--reason", "spam", "--yes", "--json"), EXIT_FAILED),
        (("automod", "set", "missing.json"), EXIT_USAGE),
        (("automod", "import", "missing.txt", "--rule", "slurs"), EXIT_USAGE),
        (("reports", "claim", "99", "--json"), EXIT_FAILED),
        (("reports", "list", "--mine", "--room", "tea"), EXIT_USAGE),
    ],
)
async def test_what_makes_no_sense_is_said(scene: Scene, argv: tuple[str, ...], code: int) -> None:
    """Each with its exit code."""
    assert await scene.run(*argv) == code
    assert (scene.err or scene.out).strip()


async def test_who_does_not_moderate_is_told_so(scene: Scene) -> None:
    """In a room of others."""
    purge = ("purge", "tea", "--reason", "x", "--yes", "--json")
    assert await scene.run(*purge, by="Bob") in {EXIT_FAILED, EXIT_UNAUTHORISED}
    assert scene.error == "forbidden"


async def test_a_report_is_claimed_and_closed(scene: Scene) -> None:
    """By number, as the list shows it."""
    async with scene.client("Bob") as bob:
        stored = await bob.send("tea", "rude words")
        await bob.request("report", room="tea", seq=stored.seq, reason="rude")
    assert await scene.run("reports", "list", "--json") == EXIT_OK
    (item,) = scene.items
    number = str(item["report"])
    assert (item["room"], item["reason"], item["state"]) == ("tea", "rude", "open")
    for action, state in (("claim", "claimed"), ("release", "open"), ("claim", "claimed")):
        assert await scene.run("reports", action, number, "--json") == EXIT_OK
        assert scene.told["state"] == state
    assert await scene.run("reports", "claim", number, "--json", by="Mo") == EXIT_FAILED
    assert scene.error == "conflict"
    assert await scene.run("reports", "resolve", number, "--note", "warned", "--json") == EXIT_OK
    assert str(scene.told["state"]) == "resolved"
    assert await scene.run("reports", "list", "--json") == EXIT_OK
    assert scene.items == []


async def test_people_see_what_has_become_of_their_own_reports(scene: Scene) -> None:
    """With what was said about it; moderators' own are none of others'."""
    async with scene.client("Bob") as bob:
        stored = await bob.send("tea", "rude words")
        await bob.request("report", room="tea", seq=stored.seq, reason="rude")
    mine = ("reports", "list", "--mine")
    assert await scene.run(*mine, "--json", by="Bob") == EXIT_OK
    (item,) = scene.items
    assert (item["room"], item["reason"], item["state"]) == ("tea", "rude", "open")
    assert await scene.run("reports", "resolve", str(item["report"]), "--note", "we warned her") == EXIT_OK
    assert await scene.run(*mine, by="Bob") == EXIT_OK
    assert "nothing waits" in scene.out
    assert await scene.run(*mine, "--all", by="Bob") == EXIT_OK
    assert "we warned her" in scene.out
    assert await scene.run(*mine, "--all", "--json") == EXIT_OK
    assert scene.items == []


async def test_a_list_of_words_joins_a_rule(scene: Scene, tmp_path: Path) -> None:
    """In as many parts as it takes; what the rules would do is tried with a text."""
    words = tmp_path / "words.txt"
    lines = ["# a remark", *(f"spamword{number}" for number in range(700)), "", "buy now # phrase"]
    words.write_text("\n".join(lines))
    add = (
        "automod",
        "import",
        str(words),
        "--rule",
        "spam",
        "--reason",
        "no spam",
        "--room",
        "tea",
        "--json",
    )

    assert await scene.run(*add, "--dry-run") == EXIT_OK
    assert (scene.told["words"], scene.told["version"]) == (701, None)
    assert await scene.run("automod", "show", "--room", "tea", "--json") == EXIT_OK
    assert scene.told["rules"] == []
    bad = tmp_path / "bad.txt"
    bad.write_text("x" * 129)
    assert await scene.run("automod", "import", str(bad), "--rule", "spam", "--dry-run") == EXIT_FAILED
    assert await scene.run(*add) == EXIT_OK
    assert scene.told["words"] == 701
    assert await scene.run("automod", "test", "BUY  now!", "--room", "tea", "--json") == EXIT_OK
    assert scene.told["decides"] == "spam"
    assert await scene.run("automod", "test", "hello", "--room", "tea", "--json") == EXIT_OK
    assert scene.told["decides"] is None


async def test_rules_are_set_from_a_file_and_shown(scene: Scene, tmp_path: Path) -> None:
    """As a whole; a bad one leaves them as they were, and says what is wrong."""
    file = tmp_path / "rules.json"
    rule = {"id": "links", "kind": "links", "action": "hold", "allow": ["example.com"]}
    file.write_text(json.dumps([rule]))

    assert await scene.run("automod", "set", str(file), "--json") == EXIT_OK
    assert scene.told["rules"] == 1
    file.write_text(json.dumps([{**rule, "action": "hang"}]))
    for trial in ("--dry-run", "--yes"):
        assert await scene.run("automod", "set", str(file), trial, "--json") == EXIT_FAILED
        assert scene.error == "bad_request"
    assert await scene.run("automod", "show", "--json") == EXIT_OK
    assert '"id": "links"' in scene.out
    assert '"action": "hold"' in scene.out


async def test_rules_are_replaced_when_that_was_meant(scene: Scene, tmp_path: Path) -> None:
    """Who is asked hears how many go and come; a trial sets nothing; the audit knows who did it, and why."""
    file = tmp_path / "rules.json"
    links = {"id": "links", "kind": "links", "action": "hold"}
    caps = {"id": "caps", "kind": "caps", "action": "refuse"}
    flood = {"id": "flood", "kind": "flood", "action": "refuse"}
    where = ("--room", "tea")
    file.write_text(json.dumps([links, caps]))
    assert await scene.run("automod", "set", str(file), *where, "--dry-run") == EXIT_OK
    assert scene.out == "would replace the 0 rules of tea by 2; new: links, caps\n"
    assert await scene.run("automod", "set", str(file), *where) == EXIT_OK
    file.write_text(json.dumps([flood, caps]))

    assert await scene.run("automod", "set", str(file), *where) == EXIT_USAGE
    assert "Replace the 2 rules of tea by 2; gone: links; new: flood? Say --yes" in scene.err
    assert await scene.run("automod", "set", str(file), *where, "--dry-run", "--json") == EXIT_OK
    trial = {"room": "tea", "version": 2, "rules": 2, "before": 2, "gone": ["links"], "new": ["flood"]}
    assert scene.told == {**trial, "audit": None, "dry_run": True}
    assert await scene.run("automod", "show", *where, "--json") == EXIT_OK
    assert scene.told["version"] == 1
    assert (
        await scene.run("automod", "set", str(file), *where, "--yes", "--reason", "calm", "--json") == EXIT_OK
    )
    assert (scene.told["version"], scene.told["before"]) == (2, 2)
    audit = scene.told["audit"]
    assert await scene.run("audit", "list", "--room", "sys.server", "--json") == EXIT_OK
    assert (scene.items[0]["audit"], scene.items[0]["action"], scene.items[0]["reason"]) == (
        *(audit, "automod"),
        "calm",
    )
    detail = {"action": "automod", "where": "tea", "version": 2, "rules": 2, "reason": "calm"}
    assert scene.items[0]["detail"] == detail
    assert await scene.run("undo", str(audit)) == EXIT_FAILED
    assert "cannot be undone" in scene.err


async def test_rules_of_a_later_version_can_be_replaced(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot be read, which is said before they are."""
    monkeypatch.setattr("scripts.admin.connection.TRIES", 1)
    row = await scene.store.find_room("tea")
    assert row is not None
    await scene.store.write_rules(row.room_id, RulesRow(1, 0, "u_x", "X", '[{"kind":"later"}]'))
    file = tmp_path / "rules.json"
    file.write_text("[]")
    assert await scene.run("automod", "set", str(file), "--room", "tea") == EXIT_USAGE
    assert "Replace the rules that cannot be read of tea by 0?" in scene.err
    assert await scene.run("automod", "set", str(file), "--room", "tea", "--yes", "--json") == EXIT_OK
    assert (scene.told["version"], scene.told["before"]) == (2, None)


@pytest.mark.parametrize(("action", "state"), [("approve", "approved"), ("reject", "rejected")])
async def test_a_held_message_is_let_in_or_kept_out(
    scene: Scene, tmp_path: Path, action: str, state: str
) -> None:
    """It appears where it was let in, or nowhere."""
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([{"id": "hold", "kind": "words", "action": "hold", "words": ["perhaps"]}]))
    assert await scene.run("automod", "set", str(file), "--room", "tea") == EXIT_OK
    async with scene.client("Bob") as bob:
        with pytest.raises(RequestRefused, match="waits for a moderator"):
            await bob.send("tea", "perhaps this")
    assert await scene.run("reports", "list", "--room", "tea", "--json") == EXIT_OK
    (item,) = scene.items
    assert await scene.run("reports", action, str(item["report"]), "--json") == EXIT_OK
    assert scene.told["state"] == state
    async with scene.client("Bob") as bob:
        page = await bob.history("tea")
        assert ("perhaps this" in str(page["items"])) is (action == "approve")


async def test_a_report_is_dismissed(scene: Scene) -> None:
    """Where nothing has to be done."""
    async with scene.client("Bob") as bob:
        stored = await bob.send("tea", "fine words")
        await bob.request("report", room="tea", seq=stored.seq, reason="rude")
    assert await scene.run("reports", "list", "--json") == EXIT_OK
    (item,) = scene.items
    assert await scene.run("reports", "dismiss", str(item["report"]), "--json") == EXIT_OK
    assert scene.told["state"] == "dismissed"
