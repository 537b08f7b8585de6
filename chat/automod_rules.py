"""PURE: the rules of a room's automatic moderation as people write them: what each says, and what may be.

docs/automod.md is their reference. A rule list is taken as a whole or not at all; what is wrong is told with
the rule and the field.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from chat.errors import ErrorCode, Refused
from chat.protocol import TTL_MAX_S, Reason

RULES_MAX: Final = 50
"""Rules of a room."""
RULES_MAX_BYTES: Final = 256 * 1024
"""Of all of them, as JSON text."""
PHRASES_MAX: Final = 10_000
"""Words and phrases of all rules."""
PATTERNS_MAX: Final = 100
"""Regular expressions of all rules."""
HOSTS_MAX: Final = 1000
"""Allowed hosts of all rules."""

Action = Literal["hold", "refuse", "delete", "mute", "report"]
Within = Annotated[float, Meta(gt=0, le=86_400)]
Host = Annotated[str, Meta(pattern=r"^[^\s/:@.]{1,63}(\.[^\s/:@.]{1,63}){0,9}\Z")]


class RuleBase(Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """What every rule has.

    Attributes:
        id: its name in the room.
        action: what is done about a message that it finds.
        reason: what the author is told; None: what kind of rule it was.
        ttl: of a mute, in seconds.
        dry_run: it only reports what it would have done.
        everyone: moderators and owners, too, who are exempt otherwise.
        joined_below: only for members who joined less than so many seconds ago.
        account_below: only for those whose account was made less than so many seconds ago, and for guests.
        guests: only for guests.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}\Z")]
    action: Action
    reason: Reason | None = None
    ttl: Annotated[float, Meta(gt=0, le=TTL_MAX_S)] | None = None
    dry_run: bool = False
    everyone: bool = False
    joined_below: Annotated[float, Meta(gt=0, le=TTL_MAX_S)] | None = None
    account_below: Annotated[float, Meta(gt=0, le=TTL_MAX_S)] | None = None
    guests: bool = False


class Words(RuleBase, frozen=True, tag="words"):
    """Words and phrases, however they are disguised."""

    words: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...],
        Meta(min_length=1, max_length=PHRASES_MAX),
    ]


class Links(RuleBase, frozen=True, tag="links"):
    """Links, or only invitations into other communities, to hosts that are not allowed."""

    allow: Annotated[tuple[Host, ...], Meta(max_length=HOSTS_MAX)] = ()
    invites: bool = False


class Caps(RuleBase, frozen=True, tag="caps"):
    """Texts that shout: the share of capitals among the letters, from so many letters on."""

    share: Annotated[float, Meta(gt=0, le=1)] = 0.7
    letters: Annotated[int, Meta(ge=2, le=1000)] = 10


class Repeats(RuleBase, frozen=True, tag="repeats"):
    """The same text by the same user for the `count`th time within so many seconds."""

    count: Annotated[int, Meta(ge=2, le=32)] = 3
    within: Within = 60.0


class Flood(RuleBase, frozen=True, tag="flood"):
    """More messages of one user than `messages` within so many seconds."""

    messages: Annotated[int, Meta(ge=1, le=60)] = 10
    within: Within = 10.0


class Newcomers(RuleBase, frozen=True, tag="new"):
    """Everything that new members, new users, or guests, say."""


class Patterns(RuleBase, frozen=True, tag="pattern"):
    """Regular expressions in RE2's syntax, on the text as it is written or as it is folded."""

    patterns: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=512)], ...], Meta(min_length=1, max_length=20)
    ]
    folded: bool = False


Rule = Words | Links | Caps | Repeats | Flood | Newcomers | Patterns


def kind_of(rule: Rule) -> str:
    """A rule's `kind`, as people write it."""
    return str(rule.__struct_config__.tag)


def parse_rules(raw: object) -> tuple[Rule, ...]:
    """A rule list from what a client sent.

    Raises:
        Refused: `bad_request` or `too_large`, with the rule and the field.
    """
    if not isinstance(raw, list | tuple):
        raise _bad("rules", "the rules are a list")
    if len(raw) > RULES_MAX:
        raise _too_large(f"a room has {RULES_MAX} rules at most")
    rules: list[Rule] = []
    seen: set[str] = set()
    for place, each in enumerate(raw):
        try:
            rule: Rule = msgspec.convert(each, type=Rule)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `$")
            raise _bad(f"rules[{place}]{path.rstrip('`')}", text) from None
        if rule.id in seen:
            raise _bad(f"rules[{place}].id", f"there are two rules {rule.id!r}")
        seen.add(rule.id)
        _check_rule(place, rule)
        rules.append(rule)
    check_totals(rules)
    return tuple(rules)


def _check_rule(place: int, rule: Rule) -> None:
    if (rule.action == "mute") != (rule.ttl is not None):
        raise _bad(f"rules[{place}].ttl", "a mute has a ttl, and nothing else has")
    if isinstance(rule, Newcomers) and not (rule.joined_below or rule.account_below or rule.guests):
        raise _bad(f"rules[{place}].joined_below", "say who is new: joined_below, account_below or guests")
    if b"\\u0000" in msgspec.json.encode(rule):
        # What a rule says comes into events and reports.
        raise _bad(f"rules[{place}]", "a rule holds a NUL character")


def merge_rules(before: Sequence[Rule], added: Sequence[Rule]) -> tuple[Rule, ...]:
    """A list with more rules; one that is there takes in the words, patterns and hosts of its namesake.

    So a list that is longer than a frame is sent in parts.

    Raises:
        Refused: `bad_request`: the namesake is of another kind; `too_large`.
    """
    merged = {rule.id: rule for rule in before}
    for place, rule in enumerate(added):
        known = merged.get(rule.id)
        if known is None:
            merged[rule.id] = rule
        elif isinstance(known, Words) and isinstance(rule, Words):
            merged[rule.id] = msgspec.structs.replace(rule, words=(*known.words, *rule.words))
        elif isinstance(known, Patterns) and isinstance(rule, Patterns):
            merged[rule.id] = msgspec.structs.replace(rule, patterns=(*known.patterns, *rule.patterns))
        elif isinstance(known, Links) and isinstance(rule, Links):
            merged[rule.id] = msgspec.structs.replace(rule, allow=(*known.allow, *rule.allow))
        else:
            raise _bad(f"rules[{place}].kind", f"there is a rule {rule.id!r}, to which nothing can be added")
    rules = tuple(merged.values())
    check_totals(rules)
    return rules


def check_totals(rules: Sequence[Rule]) -> None:
    """Refuse a list that is too long, all rules together.

    Raises:
        Refused: `too_large`.
    """
    if len(rules) > RULES_MAX:
        raise _too_large(f"a room has {RULES_MAX} rules at most")
    totals = (
        (sum(len(rule.words) for rule in rules if isinstance(rule, Words)), PHRASES_MAX, "words"),
        (sum(len(rule.patterns) for rule in rules if isinstance(rule, Patterns)), PATTERNS_MAX, "patterns"),
        (sum(len(rule.allow) for rule in rules if isinstance(rule, Links)), HOSTS_MAX, "allowed hosts"),
    )
    for total, most, what in totals:
        if total > most:
            raise _too_large(f"the rules have {total} {what}, of {most} at most")
    size_bytes = len(msgspec.json.encode(rules))
    if size_bytes > RULES_MAX_BYTES:
        raise _too_large(f"the rules take {size_bytes} bytes, of {RULES_MAX_BYTES} at most")


def encode_rules(rules: Sequence[Rule]) -> str:
    """Rules as they are stored."""
    return msgspec.json.encode(rules).decode()


def decode_rules(stored: str) -> tuple[Rule, ...]:
    """Rules as they were stored.

    Raises:
        ValueError: they are of a later version of this program.
    """
    return msgspec.json.decode(stored, type=tuple[Rule, ...])


def _bad(field: str, message: str) -> Refused:
    return Refused(ErrorCode.BAD_REQUEST, message, field=field)


def _too_large(message: str) -> Refused:
    return Refused(ErrorCode.TOO_LARGE, message, field="rules")
