"""Lists of words: what is found, against a search that looks at every phrase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.automod_fold import Readings, fold, phrase_words, spellings, squeeze
from chat.automod_lists import BadPhrase, PhraseLists

WORD = st.text(alphabet="abc", min_size=1, max_size=5)
STARRED = st.one_of(
    WORD.map("{}*".format),
    WORD.map("*{}".format),
    st.text(alphabet="abc", min_size=3, max_size=4).map("*{}*".format),
)
PHRASE = st.lists(WORD, min_size=1, max_size=3).map(" ".join) | STARRED
TEXT = st.lists(st.text(alphabet="aabbc4", min_size=1, max_size=6), max_size=8).map(" ".join)


def find(phrases: list[str], text: str) -> str | None:
    """What a list finds in a text."""
    return PhraseLists([phrases]).find(Readings(fold(text))).get(0)


def is_in(phrase: str, reading: list[str], *, squeezed: bool) -> bool:
    """The naive way."""
    parts = [squeeze(word) if squeezed else word for word in phrase_words(phrase.strip("*"))]
    head, tail = phrase.startswith("*"), phrase.endswith("*")
    if head and tail:
        return len(parts[0]) >= 3 and any(parts[0] in word for word in reading)
    if head:
        return any(word.endswith(parts[0]) for word in reading)
    if tail:
        return any(word.startswith(parts[0]) for word in reading)
    return any(reading[place : place + len(parts)] == parts for place in range(len(reading)))


@given(st.lists(PHRASE, max_size=6), TEXT)
def test_a_list_finds_what_a_naive_search_finds(phrases: list[str], text: str) -> None:
    """Something where it finds something, and nothing else."""
    there = {
        phrase
        for phrase in phrases
        for reading, squeezed in spellings(fold(text))
        if is_in(phrase, reading, squeezed=squeezed)
    }

    found = find(phrases, text)

    assert (found in there) if there else (found is None)


@pytest.mark.parametrize(
    ("phrase", "text", "is_there"),
    [
        ("ass", "a class act", False),
        ("ass", "what an ASS!", True),
        ("buy now", "Buy, now!", True),
        ("buy now", "now buy", False),
        ("spam*", "spammers", True),
        ("*coin", "shitcoin", True),
        ("*coin", "coins", False),
        ("*porn*", "funnypornsite", True),
        ("free money", "fr33 m0ney", True),
        ("hello", "heeeello", True),
        ("book", "boooook", True),
        ("god", "good", False),
        ("\u0441\u043f\u0430\u043c", "\u0421\u041f\u0410\u041c!", True),
    ],
)
def test_phrases_are_whole_words(phrase: str, text: str, is_there: bool) -> None:
    """Unless a star says otherwise; what is found is told as it is in the list."""
    assert find([phrase], text) == (phrase if is_there else None)


@pytest.mark.parametrize("phrase", ["!!", "a*b", "*ab*", "two words*", "* ", "*", " ".join("w" * 17)])
def test_a_phrase_that_cannot_be_looked_for_is_told_with_its_place(phrase: str) -> None:
    """No word, a star in the middle, too little between two stars, too many words."""
    with pytest.raises(BadPhrase) as caught:
        PhraseLists([["fine"], ["fine", phrase]])

    assert (caught.value.number, caught.value.place) == (1, 1)


def test_the_cost_of_a_text_is_not_the_lists() -> None:
    """Neither of phrases that begin alike, nor of words between stars that do."""
    phrases = [f"buy thing{number}" for number in range(3000)] + [f"*abc{number}*" for number in range(3000)]
    found = PhraseLists([phrases])

    assert found.find(Readings(fold("buy abc " * 500 + "buy thing2999"))) == {0: "buy thing2999"}
    assert found.find(Readings(fold("buy abc " * 500))) == {}


def test_several_lists_are_looked_for_at_once() -> None:
    """Each has its own first phrase; the same phrase may be in all."""
    lists = PhraseLists([["tea", "cup of tea"], ["coffee"], ["*tea*", "tea"], ["te*"]])

    assert lists.find(Readings(fold("a cup of tea"))) == {0: "cup of tea", 2: "tea", 3: "te*"}
