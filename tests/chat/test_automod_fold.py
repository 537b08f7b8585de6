"""Texts that look alike are one spelling, and words are found in every dress."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.automod_fold import CACHED_MAX, fold, phrase_words, spellings, squeeze, words

DISGUISES = st.text(
    alphabet="abBdDoOw14@$!|_-. "
    "\u0430\u0435\u043e\u0441\u03b1\u0301\u200b\u00ad\uff41\U0001d41a\U0001f170\u00df\u0130"
)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Bad", "bad"),
        ("\uff42\uff41\uff44", "bad"),
        ("b\u0430d", "bad"),
        ("b\u03b1d", "bad"),
        ("B\u00c4D", "bad"),
        ("ba\u0308d", "bad"),
        ("b\u200ba\u00add", "bad"),
        ("\U0001d41b\U0001d41a\U0001d41d", "bad"),
        ("\U0001f171\U0001f170\U0001f173", "bad"),
        ("\U0001f1e7\U0001f1e6\U0001f1e9", "bad"),
        ("\u24d1\u24d0\u24d3", "bad"),
        ("\u1d2e\u1d43\u1d48", "bad"),
        ("\u0299\u1d00\u1d05", "bad"),
        ("b\ufe0fa\u20ddd", "bad"),
        ("Stra\u00dfe", "strasse"),
        ("\u0130stanbul", "istanbul"),
        ("\u0141\u00f3d\u017a", "lodz"),
        ("\u0939\u093f\u0902\u0926\u0940", "\u0939\u093f\u0902\u0926\u0940"),
        ("\u4f60\u597d", "\u4f60\u597d"),
        ("", ""),
    ],
)
def test_look_alikes_are_one_spelling(text: str, folded: str) -> None:
    """Forms, capitals, accents, what does not show, letters of other scripts; those keep their own."""
    assert fold(text) == folded


@given(st.text() | DISGUISES)
def test_folding_again_changes_nothing(text: str) -> None:
    """Of any text there may be, lone surrogates included."""
    assert fold(fold(text)) == fold(text)


@given(st.lists(st.text() | DISGUISES, min_size=1))
def test_a_text_folds_as_its_parts_do(parts: list[str]) -> None:
    """No character depends on its neighbours."""
    assert fold("".join(parts)) == "".join(map(fold, parts))


def test_every_character_folds() -> None:
    """The whole of Unicode, whatever is remembered of it: what comes out is folded."""
    assert sys.maxunicode > CACHED_MAX
    for start in range(0, sys.maxunicode + 1, 997):
        character = chr(start)
        assert fold(fold(character)) == fold(character)


def test_what_is_remembered_of_characters_is_bounded() -> None:
    """Whoever uses them all makes the common ones be folded anew, and no more."""
    for code in range(0x4E00, 0x4E00 + CACHED_MAX + 2):
        assert fold(chr(code)) == fold(chr(code))
    assert fold("b\u0430d") == "bad"


def readings(text: str) -> list[str]:
    """How a text may be read."""
    return [" ".join(reading) for reading, _ in spellings(fold(text))]


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("you are b4d", "you are bad"),
        ("a$$", "ass"),
        ("sh1t", "shit"),
        ("he11o", "hello"),
        ("b a d", "bad"),
        ("b.a.d!", "bad"),
        ("b-4-d", "b 4 d"),
        ("so baaaaad", "so bad"),
        ("b4aaad", "bad"),
        ("in 1984", "in 1984"),
        ("bad!", "bad"),
    ],
)
def test_a_word_is_read_in_every_dress(text: str, reading: str) -> None:
    """Digits and signs for letters, letters apart, letters drawn out."""
    assert reading in readings(text)


def test_a_plain_text_has_one_reading() -> None:
    """Numbers and the ends of sentences disguise nothing; two letters alone are two words."""
    for text in ("Hello you!", "it was 1984, at 10:30.", "I a", "good book"):
        assert len(readings(text)) == 1


@given(st.text() | DISGUISES)
def test_no_text_has_more_than_twelve_readings(text: str) -> None:
    """So that nobody makes a room read one text a hundred times."""
    assert 1 <= len(readings(text)) <= 12


@given(DISGUISES)
def test_squeezing_again_changes_nothing(text: str) -> None:
    """Every letter stands once."""
    assert squeeze(squeeze(text)) == squeeze(text)
    assert words(fold(text)) == words(fold(fold(text)))


def test_a_phrase_means_its_letters() -> None:
    """One that is written with signs, too; otherwise it would be a shorter one."""
    assert phrase_words("a$$ hat") == ["ass", "hat"]
    assert phrase_words("b4d") == ["b4d"]
    assert phrase_words("Buy\u00a0Now!") == ["buy", "now"]
