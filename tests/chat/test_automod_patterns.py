"""People's own patterns: by RE2, small, and a bad one says where."""

import pytest

from chat.automod_patterns import BadPattern, Pattern


def test_a_pattern_finds_what_it_says() -> None:
    """In any capitals; the first thing is told."""
    pattern = Pattern(r"fr(ee|33)\s+coins?")
    assert pattern.find(b"get FREE  coins, free coin") == "FREE  coins"
    assert pattern.find("stra\u00dfe \u00fcber".encode()) is None
    assert Pattern("\u00fcb.r").find("stra\u00dfe \u00dcber".encode()) == "\u00dcber"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ab(c", "missing ): 'ab(c' at character 1"),
        ("caf\u00e9 [b", "missing ]: '[b' at character 6"),
        ("a**", "bad repetition operator: '**' at character 2"),
        ("x(?=y)", "invalid perl operator: '(?=' at character 2"),
        (r"(a)\1", r"invalid escape sequence: '\\1' at character 4"),
        ("a{2000}", "invalid repetition size: '{2000}' at character 2"),
        ("(.{1,30}){1,20}z", "it is too big: "),
        ("\ud800", "it is no text"),
    ],
)
def test_a_bad_pattern_says_what_and_where(source: str, said: str) -> None:
    """Also one of another dialect, or one that would cost too much."""
    with pytest.raises(BadPattern) as caught:
        Pattern(source)

    assert str(caught.value).startswith(said)


def test_a_text_made_to_be_slow_is_not() -> None:
    """What takes other engines for ever is linear here: this test would not end."""
    assert Pattern("(x+x+)+y").find(b"x" * 8192) is None
    assert Pattern("(a|a)*b").find(b"a" * 8192) is None
