"""PURE: lists of words and phrases, looked for in all readings of a text at once.

A phrase is found as whole words; a star at the end of a single word means that any letters may follow, one at
its beginning that any may come before ("spam*", "*coin", "*porn*"). What a text costs depends on its length,
not on the list's: each word is looked up, and each place in it where some starred word might begin.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chat.automod_fold import Readings, phrase_words, squeeze

WORDS_MAX: Final = 16
"""Words of a phrase."""
INNER_MIN: Final = 3
"""Letters of a word between two stars: with fewer it would be found in every other text."""


class BadPhrase(ValueError):
    """A phrase that cannot be looked for.

    Attributes:
        number: of its list.
        place: of the phrase in it.
    """

    def __init__(self, number: int, place: int, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.place = place


class PhraseLists:
    """What is looked for: several lists, for the price of one.

    Args:
        lists: phrases as people write them.

    Raises:
        BadPhrase: one that holds no word, or a star where none may be.
    """

    __slots__ = ("_plain", "_squeezed")

    def __init__(self, lists: Sequence[Sequence[str]]) -> None:
        self._plain = _Index()
        self._squeezed = _Index()
        for number, phrases in enumerate(lists):
            for place, phrase in enumerate(phrases):
                try:
                    head, text, tail = _parse(phrase)
                except ValueError as error:
                    raise BadPhrase(number, place, str(error)) from None
                self._plain.add(head, text, tail, (number, phrase))
                self._squeezed.add(head, tuple(map(squeeze, text)), tail, (number, phrase))

    def find(self, readings: Readings) -> Mapping[int, str]:
        """By number of its list, the first phrase of each that is in one of the readings of a text."""
        found: dict[int, str] = {}
        self._plain.find(readings.plain, readings.plain_words, found)
        if readings.squeezed:
            self._squeezed.find(readings.squeezed, readings.squeezed_words, found)
        return found


def _parse(phrase: str) -> tuple[bool, tuple[str, ...], bool]:
    """Whether any letters may come before, the words, and whether any may follow."""
    bare = phrase.strip()
    head, tail = bare.startswith("*"), bare.endswith("*")
    bare = bare.strip("*")
    text = phrase_words(bare)
    if not text:
        raise ValueError(f"there is no word in {phrase!r}")
    if len(text) > WORDS_MAX:
        raise ValueError(f"a phrase has {WORDS_MAX} words at most")
    if "*" in bare or ((head or tail) and len(text) > 1):
        raise ValueError(f"a star stands before or behind a single word, not as in {phrase!r}")
    if head and tail and len(text[0]) < INNER_MIN:
        raise ValueError(f"it takes {INNER_MIN} letters between two stars, not {phrase!r}")
    return head, tuple(text), tail


_Entry = tuple[int, str]
"""The number of a list, and the phrase as it is there."""


class _Index:
    """Phrases by first word and length, starred words by length: no look-up walks a list."""

    __slots__ = ("_first", "_grams", "_heads", "_tails")

    def __init__(self) -> None:
        self._first: dict[str, dict[int, dict[tuple[str, ...], list[_Entry]]]] = {}
        # By length: what words begin with, and what they end with.
        self._heads: dict[int, dict[str, list[_Entry]]] = {}
        self._tails: dict[int, dict[str, list[_Entry]]] = {}
        # By first letters and length: what may be anywhere in a word.
        self._grams: dict[str, dict[int, dict[str, list[_Entry]]]] = {}

    def add(self, head: bool, text: tuple[str, ...], tail: bool, entry: _Entry) -> None:  # noqa: FBT001
        word = text[0]
        if not head and not tail:
            by_length = self._first.setdefault(word, {})
            by_length.setdefault(len(text), {}).setdefault(text, []).append(entry)
            return
        if not tail:
            by_text = self._tails.setdefault(len(word), {})
        elif not head:
            by_text = self._heads.setdefault(len(word), {})
        elif len(word) >= INNER_MIN:
            by_text = self._grams.setdefault(word[:INNER_MIN], {}).setdefault(len(word), {})
        else:
            # One that was drawn out, and is too short now.
            return
        by_text.setdefault(word, []).append(entry)

    def find(self, readings: Iterable[list[str]], vocabulary: dict[str, None], found: dict[int, str]) -> None:
        """Take note of the phrases in some readings.

        Args:
            readings: where words stand in a row.
            vocabulary: all of their words: mostly none of them begins any phrase.
            found: takes the first phrase of each list.
        """
        first = self._first
        if not first.keys().isdisjoint(vocabulary.keys()):
            for reading in readings:
                for place, word in enumerate(reading):
                    if word in first:
                        for length, phrases in first[word].items():
                            text = tuple(reading[place : place + length])
                            for number, phrase in phrases.get(text, ()):
                                found.setdefault(number, phrase)
        if self._heads or self._tails or self._grams:
            self._find_starred(vocabulary, found)

    def _find_starred(self, vocabulary: Iterable[str], found: dict[int, str]) -> None:
        grams = self._grams
        heads = tuple(self._heads.items())
        tails = tuple(self._tails.items())
        for word in vocabulary:
            for length, by_text in heads:
                if word[:length] in by_text:
                    _note(by_text[word[:length]], found)
            for length, by_text in tails:
                if word[-length:] in by_text:
                    _note(by_text[word[-length:]], found)
            if grams:
                for place in range(len(word) - INNER_MIN + 1):
                    gram = word[place : place + INNER_MIN]
                    if gram in grams:
                        for length, by_text in grams[gram].items():
                            _note(by_text.get(word[place : place + length], ()), found)


def _note(entries: Iterable[_Entry], found: dict[int, str]) -> None:
    for number, phrase in entries:
        found.setdefault(number, phrase)
