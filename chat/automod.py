"""PURE: automatic moderation: which of a room's rules finds something in a message, and what that means.

Rules are asked in their order; the first one that finds something decides, except those that only report:
these are noted, and the next is asked. Mutable inside (who said what lately) for speed; no I/O, no clock, no
chance. What a verdict leads to is the room's business (`chat.room_automod`).

An outside classifier, which takes its time, has its place behind `hold`: what is held waits for somebody to
let it in, and need not be a person.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, assert_never

from chat.automod_fold import Readings, fold, words
from chat.automod_links import find_links, is_allowed
from chat.automod_lists import BadPhrase, PhraseLists
from chat.automod_patterns import BadPattern, Pattern
from chat.automod_rules import (
    Caps,
    Flood,
    Links,
    Newcomers,
    Patterns,
    Repeats,
    Rule,
    Words,
    kind_of,
)
from chat.errors import ErrorCode, Refused

PROGRAM_MAX: Final = 5000
"""Instructions of all of a room's patterns together."""
SPEAKERS_MAX: Final = 1024
"""People whose latest messages are remembered; whoever was silent longest is forgotten first."""
REMEMBERED_MAX: Final = 64
"""Messages of each of them: 10 MB in all, when everybody shouts."""
FOUND_MAX_CHARACTERS: Final = 64
"""Of what a rule found, in a report."""

_SAID_OF: Final = {
    "words": "a word in it is not for this room",
    "links": "a link in it is not for this room",
    "caps": "too many capitals",
    "repeats": "it was said already",
    "flood": "too many messages",
    "new": "who is new here does not write yet",
    "pattern": "something in it is not for this room",
}


class Standing(NamedTuple):
    """What the server knows of somebody, in whichever room something is said.

    Attributes:
        exempt: whether only rules for everyone apply: the server's moderators.
        registered_at_ms: when the account was made; None: a guest has none.
    """

    exempt: bool = False
    registered_at_ms: int | None = None


UNKNOWN: Final = Standing()
"""Of whom the server knows nothing: as of a guest."""


class Speaker(NamedTuple):
    """Who says something.

    Attributes:
        joined_at_ms: when the membership began.
        exempt: whether only rules for everyone apply.
        registered_at_ms: when the account was made; None: there is none, which is as new as can be.
    """

    user_id: str
    joined_at_ms: int
    exempt: bool = False
    registered_at_ms: int | None = None


class Verdict(NamedTuple):
    """A rule that found something, and what."""

    rule: Rule
    found: str

    @property
    def decides(self) -> bool:
        """Whether no further rule is asked."""
        return self.rule.action != "report" and not self.rule.dry_run

    @property
    def reported(self) -> str:
        """What moderators are told, where it is only reported."""
        said = f"{kind_of(self.rule)}: {self.found}"
        return f"dry run, would {self.rule.action}; {said}" if self.rule.dry_run else said

    @property
    def said(self) -> str:
        """What the author is told."""
        return self.rule.reason or _SAID_OF[kind_of(self.rule)]


class Judgement(NamedTuple):
    """What the rules say of one text.

    Attributes:
        decided: by which rule something is to be done; None: the text may go.
        noted: rules that only report.
    """

    decided: Verdict | None
    noted: Sequence[Verdict]


class Filtered(Refused):
    """A text that a rule does not let through.

    Attributes:
        verdict: the rule, and what it found.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(ErrorCode.FILTERED, verdict.said)
        self.verdict = verdict


class _Text:
    """A text in the forms in which the rules look at it, each made once, when the first rule needs it."""

    __slots__ = ("_folded", "_readings", "_utf8", "at_ms", "body", "phrases", "speaker")

    def __init__(self, body: str, speaker: Speaker, at_ms: int) -> None:
        self.body = body
        self.speaker = speaker
        self.at_ms = at_ms
        self._folded: str | None = None
        self._readings: Readings | None = None
        self._utf8: bytes | None = None
        # What was found of lists, by the lists' identity.
        self.phrases: dict[int, Mapping[int, str]] = {}

    @property
    def folded(self) -> str:
        if self._folded is None:
            self._folded = fold(self.body)
        return self._folded

    @property
    def readings(self) -> Readings:
        if self._readings is None:
            self._readings = Readings(self.folded)
        return self._readings

    @property
    def utf8(self) -> bytes:
        if self._utf8 is None:
            self._utf8 = self.body.encode()
        return self._utf8


class _Said:
    """One user's latest messages: when, and what, as a number."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_MAX)

    def add(self, at_ms: int, text: int, *, horizon_ms: int) -> None:
        """Take in another; what is so long ago is forgotten."""
        items = self.items
        while items and items[0][0] <= at_ms - horizon_ms:
            items.popleft()
        items.append((at_ms, text))

    def count(self, since_ms: int, text: int | None = None) -> int:
        """Those after a time; with `text` those that say the same."""
        return sum(at_ms > since_ms and text in {None, said} for at_ms, said in self.items)


class CompiledRules:
    """A rule list that can be asked.

    Making one takes a tenth of a second for the longest lists: that is nothing for a room's turn.

    Args:
        rules: that were parsed, or stored.
        version: of the list.

    Attributes:
        checks: each rule, and what finds something for it.
        horizon_ms: how long ago the messages of a user are that the rules want to know of; 0: of none.

    Raises:
        Refused: `bad_request`, with the rule and the field.
    """

    __slots__ = ("checks", "horizon_ms", "rules", "version")

    def __init__(self, rules: Sequence[Rule], *, version: int) -> None:
        self.rules = rules
        self.version = version
        word_rules = [place for place, rule in enumerate(rules) if isinstance(rule, Words)]
        try:
            lists = PhraseLists([rule.words for rule in rules if isinstance(rule, Words)])
        except BadPhrase as bad:
            raise _bad(f"rules[{word_rules[bad.number]}].words[{bad.place}]", str(bad)) from None
        self.checks: Sequence[tuple[Rule, _Check]] = [
            (rule, _WordsCheck(lists, word_rules.index(place)))
            if isinstance(rule, Words)
            else (rule, _check(place, rule))
            for place, rule in enumerate(rules)
        ]
        program_size = sum(
            pattern.program_size
            for _, check in self.checks
            if isinstance(check, _PatternCheck)
            for pattern in check.patterns
        )
        if program_size > PROGRAM_MAX:
            message = f"the patterns are too big: {program_size} steps, of {PROGRAM_MAX} at most together"
            raise Refused(ErrorCode.TOO_LARGE, message, field="rules")
        self.horizon_ms = max(
            (round(rule.within * 1000) for rule in rules if isinstance(rule, Repeats | Flood)), default=0
        )

    def judge(self, text: _Text, said: _Said | None, noted: list[Verdict]) -> Verdict | None:
        """Ask the rules, in their order, until one decides.

        Args:
            text: what is said, by whom and when.
            said: the user's latest messages, this one included; None: rules about them are not asked.
            noted: takes the verdicts of rules that only report.
        """
        speaker = text.speaker
        for rule, check in self.checks:
            if speaker.exempt and not rule.everyone:
                continue
            if rule.guests and not speaker.user_id.startswith("g_"):
                continue
            if rule.joined_below is not None:
                age_ms = text.at_ms - speaker.joined_at_ms
                if age_ms >= rule.joined_below * 1000:
                    continue
            if rule.account_below is not None and speaker.registered_at_ms is not None:
                age_ms = text.at_ms - speaker.registered_at_ms
                if age_ms >= rule.account_below * 1000:
                    continue
            found = check(text, said)
            if found is not None:
                verdict = Verdict(rule, found[:FOUND_MAX_CHARACTERS])
                if verdict.decides:
                    return verdict
                noted.append(verdict)
        return None


class RoomAutomod:
    """Rules at work in one room.

    Args:
        layers: rule lists, those that are asked first at the front.

    Attributes:
        noted: verdicts on the text that was let through last, which are only to be reported.
        removed: the rule by which it is to be without its text; None: it keeps it.
    """

    __slots__ = ("_horizon_ms", "_layers", "_said", "noted", "removed")

    def __init__(self, layers: Sequence[CompiledRules]) -> None:
        self._layers = layers
        self._horizon_ms = max((layer.horizon_ms for layer in layers), default=0)
        self._said: dict[str, _Said] = {}
        self.noted: Sequence[Verdict] = ()
        self.removed: Verdict | None = None

    def admit(self, body: str, speaker: Speaker, at_ms: int) -> None:
        """Let a new message through; `noted` and `removed` say how.

        Raises:
            Filtered: it does not become a message.
        """
        text = _Text(body, speaker, at_ms)
        decided, noted = self._judge(text, self._remember(text) if self._horizon_ms else None)
        if decided is not None and decided.rule.action != "delete":
            raise Filtered(decided)
        self.noted = noted
        self.removed = decided

    def admit_edit(self, body: str, speaker: Speaker, at_ms: int) -> None:
        """Let another text of a message through; it is no further message, so neither flood nor repeat.

        Raises:
            Filtered: the message stays as it is.
        """
        decided, noted = self._judge(_Text(body, speaker, at_ms), None)
        if decided is not None:
            raise Filtered(decided)
        self.noted = noted
        self.removed = None

    def _judge(self, text: _Text, said: _Said | None) -> Judgement:
        noted: list[Verdict] = []
        for layer in self._layers:
            decided = layer.judge(text, said, noted)
            if decided is not None:
                return Judgement(decided, noted)
        return Judgement(None, noted)

    def _remember(self, text: _Text) -> _Said:
        said_by = self._said
        user_id = text.speaker.user_id
        # In the order of their latest messages.
        said = said_by.pop(user_id, None) or _Said()
        said_by[user_id] = said
        if len(said_by) > SPEAKERS_MAX:
            del said_by[next(iter(said_by))]
        said.add(text.at_ms, _number(text), horizon_ms=self._horizon_ms)
        return said


def try_text(compiled: CompiledRules, body: str, *, at_ms: int) -> Sequence[Verdict]:
    """Every rule that a text alone would meet, in order, whoever says it; nothing is remembered."""
    text = _Text(body, Speaker("", at_ms), at_ms)
    return [
        Verdict(rule, found[:FOUND_MAX_CHARACTERS])
        for rule, check in compiled.checks
        if not isinstance(rule, Newcomers) and (found := check(text, None)) is not None
    ]


def _number(text: _Text) -> int:
    """What equal texts have in common, and others by chance hardly ever."""
    return hash(tuple(words(text.folded)) or text.folded.strip())


# -- checks ----------------------------------------------------------------------------------------------

_Check = Callable[[_Text, _Said | None], str | None]
"""What a rule finds in a text; None: nothing."""


def _check(place: int, rule: Links | Caps | Repeats | Flood | Newcomers | Patterns) -> _Check:
    match rule:
        case Links():
            return _links_check(rule)
        case Caps():
            return _caps_check(rule)
        case Repeats():
            return _repeats_check(rule)
        case Flood():
            return _flood_check(rule)
        case Newcomers():
            return _newcomers_check
        case Patterns():
            return _PatternCheck(place, rule)
        case _:
            assert_never(rule)


class _WordsCheck:
    """Looks for one of several lists; a text is searched for all of them at once, when the first is asked."""

    def __init__(self, lists: PhraseLists, number: int) -> None:
        self._lists = lists
        self._number = number

    def __call__(self, text: _Text, said: _Said | None) -> str | None:
        del said
        found = text.phrases.get(id(self._lists))
        if found is None:
            found = text.phrases[id(self._lists)] = self._lists.find(text.readings)
        return found.get(self._number)


def _links_check(rule: Links) -> _Check:
    allowed = frozenset(fold_host(host) for host in rule.allow)

    def check(text: _Text, said: _Said | None) -> str | None:
        del said
        for link in find_links(text.body):
            if (link.is_invite or not rule.invites) and not is_allowed(link.host, allowed):
                return link.host
        return None

    return check


def fold_host(host: str) -> str:
    """An allowed host as links are compared with it."""
    return host.lower().removeprefix("www.")


def _caps_check(rule: Caps) -> _Check:
    def check(text: _Text, said: _Said | None) -> str | None:
        del said
        body = text.body
        if body == body.lower():
            return None
        capitals = sum(map(str.isupper, body))
        cased = capitals + sum(map(str.islower, body))
        if cased < rule.letters or capitals < rule.share * cased:
            return None
        return f"{capitals} of {cased} letters"

    return check


def _repeats_check(rule: Repeats) -> _Check:
    def check(text: _Text, said: _Said | None) -> str | None:
        if said is None:
            return None
        times = said.count(text.at_ms - round(rule.within * 1000), said.items[-1][1])
        return f"{times} times" if times >= rule.count else None

    return check


def _flood_check(rule: Flood) -> _Check:
    def check(text: _Text, said: _Said | None) -> str | None:
        if said is None:
            return None
        times = said.count(text.at_ms - round(rule.within * 1000))
        return f"{times} messages" if times > rule.messages else None

    return check


def _newcomers_check(text: _Text, said: _Said | None) -> str | None:
    """Who is new was decided by the conditions that any rule may have."""
    del text, said
    return "new here"


class _PatternCheck:
    """Looks for patterns."""

    def __init__(self, place: int, rule: Patterns) -> None:
        self.patterns: list[Pattern] = []
        self._folded = rule.folded
        for number, source in enumerate(rule.patterns):
            try:
                self.patterns.append(Pattern(source))
            except BadPattern as bad:
                raise _bad(f"rules[{place}].patterns[{number}]", str(bad)) from None

    def __call__(self, text: _Text, said: _Said | None) -> str | None:
        del said
        utf8 = text.folded.encode() if self._folded else text.utf8
        for pattern in self.patterns:
            found = pattern.find(utf8)
            if found is not None:
                return found
        return None


def _bad(field: str, message: str) -> Refused:
    return Refused(ErrorCode.BAD_REQUEST, message, field=field)
