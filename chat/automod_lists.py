"""PURE: lists of words and phrases, looked for in all readings of a text at once.

A phrase is found as whole words; a star at the end of a single word means that any letters may follow, one at
its beginning that any may come before ("spam*", "*coin", "*porn*"). What a text costs depends on its length,
not on the list's: each word is looked up, and each place in it where some starred word might begin.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from chat.automod_fold import phrase_words, squeeze

WORDS_MAX: Final = 16
"""Words of a phrase."""
INNER_MIN: Final = 3
"""Letters of a word between two stars: with fewer it would be found in every other text."""


class BadPhrase(ValueError):
    """A phrase that cannot be looked for.

    Attributes:
        place: of the phrase in its list.
    """

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


class PhraseList:
    """What is looked for.

    Args:
        phrases: as people write them.

    Raises:
        BadPhrase: one that holds no word, or a star where none may be.
    """

    __slots__ = ("_plain", "_squeezed")

    def __init__(self, phrases: Sequence[str]) -> None:
        self._plain = _Index()
        self._squeezed = _Index()
        for place, phrase in enumerate(phrases):
            parts = _parse(place, phrase)
            self._plain.add(*parts, phrase)
            head, text, tail = parts
            self._squeezed.add(head, tuple(map(squeeze, text)), tail, phrase)

    def find(self, readings: Iterable[tuple[list[str], bool]]) -> str | None:
        """The first phrase, as it is in the list, that is in one of the readings of a text."""
        # Readings of one text have most words in common.
        seen: tuple[set[str], set[str]] = (set(), set())
        for reading, squeezed in readings:
            found = (self._squeezed if squeezed else self._plain).find(reading, seen[squeezed])
            if found is not None:
                return found
        return None


def _parse(place: int, phrase: str) -> tuple[bool, tuple[str, ...], bool]:
    """Whether any letters may come before, the words, and whether any may follow."""
    bare = phrase.strip()
    head, tail = bare.startswith("*"), bare.endswith("*")
    bare = bare.strip("*")
    text = phrase_words(bare)
    if not text:
        raise BadPhrase(place, f"there is no word in {phrase!r}")
    if len(text) > WORDS_MAX:
        raise BadPhrase(place, f"a phrase has {WORDS_MAX} words at most")
    if "*" in bare or ((head or tail) and len(text) > 1):
        raise BadPhrase(place, f"a star stands before or behind a single word, not as in {phrase!r}")
    if head and tail and len(text[0]) < INNER_MIN:
        raise BadPhrase(place, f"it takes {INNER_MIN} letters between two stars, not {phrase!r}")
    return head, tuple(text), tail


class _Index:
    """Phrases by first word and length, starred words by length: no look-up walks a list."""

    __slots__ = ("_first", "_grams", "_heads", "_tails")

    def __init__(self) -> None:
        self._first: dict[str, dict[int, dict[tuple[str, ...], str]]] = {}
        # By length: what words begin with, and what they end with.
        self._heads: dict[int, dict[str, str]] = {}
        self._tails: dict[int, dict[str, str]] = {}
        # By first letters and length: what may be anywhere in a word.
        self._grams: dict[str, dict[int, dict[str, str]]] = {}

    def add(self, head: bool, text: tuple[str, ...], tail: bool, phrase: str) -> None:  # noqa: FBT001
        word = text[0]
        if not head and not tail:
            self._first.setdefault(word, {}).setdefault(len(text), {}).setdefault(text, phrase)
        elif not tail:
            self._tails.setdefault(len(word), {}).setdefault(word, phrase)
        elif not head:
            self._heads.setdefault(len(word), {}).setdefault(word, phrase)
        elif len(word) >= INNER_MIN:
            gram = self._grams.setdefault(word[:INNER_MIN], {})
            gram.setdefault(len(word), {}).setdefault(word, phrase)

    def find(self, reading: list[str], seen: set[str]) -> str | None:
        """The first phrase in a reading; starred words are looked for in words that were not seen before."""
        first = self._first
        for place, word in enumerate(reading):
            if word in first:
                for length, phrases in first[word].items():
                    text = tuple(reading[place : place + length])
                    if text in phrases:
                        return phrases[text]
        if self._heads or self._tails or self._grams:
            fresh = [word for word in dict.fromkeys(reading) if word not in seen]
            seen.update(fresh)
            return self._find_starred(fresh)
        return None

    def _find_starred(self, reading: Iterable[str]) -> str | None:
        grams = self._grams
        for word in reading:
            for length, heads in self._heads.items():
                if word[:length] in heads:
                    return heads[word[:length]]
            for length, tails in self._tails.items():
                if word[-length:] in tails:
                    return tails[word[-length:]]
            if grams:
                for place in range(len(word) - INNER_MIN + 1):
                    for length, inner in grams.get(word[place : place + INNER_MIN], _NOTHING).items():
                        if word[place : place + length] in inner:
                            return inner[word[place : place + length]]
        return None


_NOTHING: Final[dict[int, dict[str, str]]] = {}
