"""Rule lists: read, added to, bounded, stored."""

from collections.abc import Mapping

import pytest

from chat.automod_rules import (
    HOSTS_MAX,
    PATTERNS_MAX,
    PHRASES_MAX,
    RULES_MAX,
    Links,
    Patterns,
    Rule,
    Words,
    decode_rules,
    encode_rules,
    kind_of,
    merge_rules,
    parse_rules,
)
from chat.errors import ErrorCode, Refused

EVERY_KIND: list[Mapping[str, object]] = [
    {"kind": "words", "id": "w", "action": "refuse", "words": ["a"]},
    {"kind": "links", "id": "l", "action": "hold", "allow": ["example.com"], "invites": True},
    {"kind": "caps", "id": "c", "action": "report", "share": 0.5, "letters": 5},
    {"kind": "repeats", "id": "r", "action": "delete", "count": 2, "within": 5.0},
    {"kind": "flood", "id": "f", "action": "mute", "ttl": 60, "messages": 5, "within": 5.0},
    {"kind": "new", "id": "n", "action": "hold", "joined_below": 60.0, "guests": True},
    {"kind": "new", "id": "a", "action": "hold", "account_below": 86_400.0},
    {"kind": "pattern", "id": "p", "action": "refuse", "patterns": ["a"], "folded": True, "dry_run": True},
]


def words(*phrases: str, rule_id: str = "w") -> Words:
    """A list of words."""
    return Words(id=rule_id, action="refuse", words=phrases)


def refusal(*rules: Rule, added: tuple[Rule, ...] = ()) -> tuple[ErrorCode, str | None]:
    """Why a list is not taken."""
    with pytest.raises(Refused) as caught:
        merge_rules(rules, added)
    return caught.value.code, caught.value.field


def test_every_kind_of_rule_is_read_and_stored() -> None:
    """And comes back as it was."""
    rules = parse_rules(EVERY_KIND)

    assert [kind_of(rule) for rule in rules] == [rule["kind"] for rule in EVERY_KIND]
    assert decode_rules(encode_rules(rules)) == rules


def test_what_is_no_list_is_no_rules() -> None:
    """It is told, not guessed."""
    for raw in ({"id": "w"}, "words", [5], [None]):
        with pytest.raises(Refused):
            parse_rules(raw)


def test_no_rule_holds_what_cannot_be_stored() -> None:
    """Neither in its reason nor in what it looks for."""
    for rule in ({**EVERY_KIND[1], "reason": "a\0"}, {**EVERY_KIND[0], "words": ["b", "a\0"]}):
        with pytest.raises(Refused) as caught:
            parse_rules([EVERY_KIND[2], rule])
        assert caught.value.field == "rules[1]"


@pytest.mark.parametrize("field", ["joined_below", "account_below"])
@pytest.mark.parametrize("age_s", [0, -1, float("inf"), "60", True])
def test_an_age_is_a_number_of_seconds(field: str, age_s: object) -> None:
    """Above nothing, and with an end."""
    with pytest.raises(Refused) as caught:
        parse_rules([{**EVERY_KIND[0], field: age_s}])
    assert (caught.value.code, caught.value.field) == (ErrorCode.BAD_REQUEST, f"rules[0].{field}")


def test_who_is_new_has_to_be_said() -> None:
    """By the membership, by the account, or guests: one will do."""
    new: Mapping[str, object] = {"kind": "new", "id": "n", "action": "hold"}
    told: list[Mapping[str, object]] = [{"joined_below": 5}, {"account_below": 5}, {"guests": True}]
    untold: list[Mapping[str, object]] = [{}, {"guests": False}, {"account_below": None}]
    for condition in told:
        assert len(parse_rules([{**new, **condition}])) == 1
    for condition in untold:
        with pytest.raises(Refused) as caught:
            parse_rules([{**new, **condition}])
        assert caught.value.field == "rules[0].joined_below"


def test_a_list_is_added_to() -> None:
    """Words, patterns and hosts to those of the same id, with its new fields; others come behind."""
    before = (words("a"), Links(id="l", action="refuse", allow=("x.com",)))
    merged = merge_rules(
        before,
        [
            Links(id="l", action="hold", allow=("y.com",)),
            Patterns(id="p", action="refuse", patterns=("a",)),
            words("b"),
        ],
    )

    assert merged == (
        words("a", "b"),
        Links(id="l", action="hold", allow=("x.com", "y.com")),
        Patterns(id="p", action="refuse", patterns=("a",)),
    )
    patterns = Patterns(id="p", action="refuse", patterns=("b",))
    assert merge_rules(merged[2:], [patterns]) == (Patterns(id="p", action="refuse", patterns=("a", "b")),)
    assert refusal(words("a"), added=(Links(id="w", action="refuse"),)) == (
        ErrorCode.BAD_REQUEST,
        "rules[0].kind",
    )


def test_a_list_has_its_bounds() -> None:
    """All rules together."""
    too_large = (ErrorCode.TOO_LARGE, "rules")
    half = [str(number) for number in range(PHRASES_MAX // 2 + 1)]
    assert refusal(words(*half), words(*half, rule_id="v")) == too_large
    hosts = tuple(f"h{number}.com" for number in range(HOSTS_MAX))
    assert (
        refusal(
            Links(id="l", action="hold", allow=hosts), added=(Links(id="l", action="hold", allow=("x",)),)
        )
        == too_large
    )
    many = [Patterns(id=f"p{n}", action="hold", patterns=("a",) * 20) for n in range(PATTERNS_MAX // 20 + 1)]
    assert refusal(*many) == too_large
    assert refusal(*(words("a", rule_id=f"w{n}") for n in range(RULES_MAX + 1))) == too_large
    assert refusal(words(*["x" * 128] * 2100)) == too_large
