"""The rules at work: which one decides, for whom, and what is remembered."""

from collections.abc import Sequence

import pytest

from chat.automod import (
    FOUND_MAX_CHARACTERS,
    PROGRAM_MAX,
    SPEAKERS_MAX,
    CompiledRules,
    Filtered,
    RoomAutomod,
    Speaker,
    try_text,
)
from chat.automod_rules import Caps, Flood, Links, Newcomers, Patterns, Repeats, Rule, Words
from chat.errors import ErrorCode, Refused

BOB = Speaker("u_bob", 0)
MOD = Speaker("u_mod", 0, exempt=True)
GUEST = Speaker("g_eve", 0)


def automod(*rules: Rule) -> RoomAutomod:
    """A room with these rules."""
    return RoomAutomod([CompiledRules(rules, version=1)])


def says(room: RoomAutomod, body: str, who: Speaker = BOB, at_ms: int = 0) -> str:
    """Which rule decides about a text; "": none."""
    try:
        room.admit(body, who, at_ms)
    except Filtered as filtered:
        return filtered.verdict.rule.id
    return "" if room.removed is None else f"-{room.removed.rule.id}"


def noted(room: RoomAutomod) -> list[tuple[str, str]]:
    """What was noted of the last text, and what was found."""
    return [(verdict.rule.id, verdict.found) for verdict in room.noted]


def test_the_first_rule_that_finds_something_decides() -> None:
    """Except those that only report: they are noted, and the next is asked."""
    room = automod(
        Words(id="seen", action="report", words=("tea",)),
        Words(id="dry", action="mute", ttl=5, words=("tea",), dry_run=True),
        Words(id="first", action="refuse", words=("bad",)),
        Words(id="second", action="delete", words=("bad", "worse")),
    )

    assert says(room, "bad tea") == "first"
    assert says(room, "worse tea") == "-second"
    assert noted(room) == [("seen", "tea"), ("dry", "tea")]
    assert says(room, "fine") == ""
    assert noted(room) == []


def test_those_with_a_say_are_exempt_from_rules_that_are_not_for_everyone() -> None:
    """Others meet both."""
    room = automod(
        Words(id="some", action="refuse", words=("bad",)),
        Words(id="all", action="refuse", words=("bad",), everyone=True),
    )

    assert says(room, "bad") == "some"
    assert says(room, "bad", MOD) == "all"


def test_a_rule_may_be_for_newcomers_and_for_guests() -> None:
    """By the age of the membership in the room's time, and by the kind of user."""
    room = automod(
        Newcomers(id="new", action="hold", joined_below=60.0),
        Newcomers(id="guest", action="hold", guests=True),
    )

    assert says(room, "hello", at_ms=59_999) == "new"
    assert says(room, "hello", at_ms=60_000) == ""
    assert says(room, "hello", GUEST, at_ms=60_000) == "guest"


def test_a_rule_may_be_for_new_accounts() -> None:
    """However long one is a member; a guest has no account, and counts as new for ever."""
    room = automod(
        Newcomers(id="new", action="hold", account_below=60.0),
        Links(id="links", action="refuse", account_below=90.0, joined_below=5.0),
    )
    early, late = Speaker("u_bob", 0, registered_at_ms=1000), Speaker("u_bob", 70_000, registered_at_ms=1000)

    assert says(room, "hello", early, at_ms=60_999) == "new"
    assert says(room, "hello", early, at_ms=61_000) == ""
    assert says(room, "hello", GUEST, at_ms=10**9) == "new"
    assert says(room, "evil.com", early, at_ms=71_000) == ""
    assert says(room, "evil.com", late, at_ms=71_000) == "links"
    assert says(room, "evil.com", late, at_ms=91_000) == ""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("HELLO EVERYBODY", True),
        ("Hello Everybody", False),
        ("HELLO", False),
        ("1234567890 !!!", False),
        ("ПРИВЕТ ВСЕМ", True),  # noqa: RUF001  Cyrillic
        ("HELLO EVERyBoDy", True),
        ("hello everybody", False),
    ],
)
def test_capitals_are_counted_among_letters(body: str, found: bool) -> None:
    """Of every script that has them, from a number of letters on."""
    assert (says(automod(Caps(id="c", action="refuse")), body) == "c") == found


def test_patterns_look_at_the_text_as_it_is_or_as_it_is_read() -> None:
    """Each list of them as it says; the first that matches is told."""
    room = automod(
        Patterns(id="plain", action="report", patterns=("x9", "caf\u00e9s?")),
        Patterns(id="folded", action="report", patterns=("cafe",), folded=True),
    )
    says(room, "two Caf\u00c9S")
    assert noted(room) == [("plain", "Caf\u00c9S"), ("folded", "cafe")]
    says(room, "two cafes")
    assert noted(room) == [("folded", "cafe")]


def test_a_flood_is_more_than_so_many_within_a_time() -> None:
    """Tries count, those of others do not, and neither does what is longer ago."""
    room = automod(Flood(id="f", action="refuse", messages=2, within=10.0))

    assert [says(room, "a", at_ms=at_ms) for at_ms in (0, 1000, 2000, 3000)] == ["", "", "f", "f"]
    assert says(room, "a", GUEST, at_ms=3000) == ""
    assert says(room, "a", at_ms=13_001) == ""


def test_a_repeat_is_the_same_text_in_any_dress() -> None:
    """Other texts between do not matter; signs alone are texts, too."""
    room = automod(Repeats(id="r", action="refuse", count=3, within=10.0))

    texts = ["Buy tea!", "other", "buy  TEA", "BUY TE\u00c4", "!!", "??", "!!", "!!"]
    assert [says(room, text) for text in texts] == ["", "", "", "r", "", "", "", "r"]
    assert says(room, "buy tea", at_ms=10_001) == ""


def test_an_edit_is_no_further_message() -> None:
    """Neither flood nor repeat; its text is judged as any."""
    room = automod(
        Flood(id="f", action="refuse", messages=1, within=10.0),
        Words(id="w", action="delete", words=("bad",)),
        Words(id="n", action="report", words=("tea",)),
    )
    says(room, "hello")

    for _ in range(3):
        room.admit_edit("hello tea", BOB, 0)
    assert noted(room) == [("n", "tea")]
    with pytest.raises(Filtered) as caught:
        room.admit_edit("bad", BOB, 0)
    assert caught.value.verdict.rule.id == "w"


def test_the_servers_rules_are_asked_first() -> None:
    """Then the room's own; what either notes is noted."""
    room = RoomAutomod(
        [
            CompiledRules([Words(id="server", action="report", words=("tea",))], version=1),
            CompiledRules([Words(id="room", action="report", words=("tea",))], version=1),
        ]
    )
    says(room, "tea")
    assert noted(room) == [("server", "tea"), ("room", "tea")]


def test_those_who_were_silent_longest_are_forgotten() -> None:
    """What is remembered of people is bounded; whoever goes on talking is not forgotten."""
    room = automod(Flood(id="f", action="refuse", messages=1, within=10.0))
    says(room, "a", BOB)
    says(room, "a", GUEST)
    for number in range(SPEAKERS_MAX - 2):
        says(room, "a", Speaker(f"u_{number}", 0))
    assert says(room, "a", BOB) == "f"
    says(room, "a", Speaker("u_new", 0))
    assert says(room, "a", GUEST) == ""
    assert says(room, "a", BOB) == "f"


def test_a_text_is_tried_on_every_rule() -> None:
    """Whoever would say it; nothing is remembered, and what was found is told in short."""
    rules: Sequence[Rule] = (
        Flood(id="f", action="refuse", messages=1),
        Newcomers(id="n", action="refuse", joined_below=5.0),
        Newcomers(id="a", action="refuse", account_below=5.0),
        Words(id="w", action="refuse", words=("bad",), guests=True),
        Links(id="l", action="refuse", allow=("www.Example.com",)),
        Patterns(id="p", action="report", patterns=("x+",), folded=True),
    )
    compiled = CompiledRules(rules, version=1)

    for _ in range(3):
        found = try_text(compiled, "bad example.com evil.com " + "X" * 99, at_ms=0)
        assert [(verdict.rule.id, verdict.found) for verdict in found] == [
            ("w", "bad"),
            ("l", "evil.com"),
            ("p", "x"),
        ]
    (verdict,) = try_text(CompiledRules(rules[-1:], version=1), "X" * 99, at_ms=0)
    assert len(verdict.found) == FOUND_MAX_CHARACTERS


def test_patterns_are_bounded_together() -> None:
    """Each is small enough, all of them are not."""
    rules = [Patterns(id=f"p{number}", action="hold", patterns=(".{1,100}z",)) for number in range(9)]
    CompiledRules(rules[: PROGRAM_MAX // 1000], version=1)
    with pytest.raises(Refused) as caught:
        CompiledRules(rules, version=1)
    assert (caught.value.code, caught.value.field) == (ErrorCode.TOO_LARGE, "rules")
