"""What people may react with: one emoji, in one spelling."""

import pytest

from chat.reaction_emoji import canonical_emoji

ONES = {
    "four bytes": "👍",
    "skin tone": "👍🏽",
    "joined family": "👩‍👩‍👧‍👦",
    "flag of letters": "🇩🇪",
    "flag of tags": "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "keycap": "1️⃣",
    "the longest": "👩🏽‍❤️‍💋‍👨🏿",
}


@pytest.mark.parametrize("text", ONES.values(), ids=ONES)
def test_every_kind_of_emoji_is_one(text: str) -> None:
    """Whatever it is made of."""
    assert canonical_emoji(text) == text


@pytest.mark.parametrize(("typed", "kept"), [("❤", "❤️"), ("❤️", "❤️"), ("1⃣", "1️⃣"), ("©", "©️")])
def test_an_emoji_has_one_spelling(typed: str, kept: str) -> None:
    """With and without the selector that keyboards add as they like."""
    assert canonical_emoji(typed) == kept


NONE = {
    "empty": "",
    "letter": "a",
    "word": "smile",
    "digit": "1",
    "two": "👍👍",
    "skin tone alone": "🏽",
    "regional letter alone": "🇩",
    "joiner alone": "\u200d",
    "joiner at the end": "👩\u200d",
    "selector alone": "\ufe0f",
    "NUL": "\0",
    "with a space": "👍 ",
}


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_whatever_else_is_none(text: str) -> None:
    """Letters, parts of sequences, more than one."""
    assert canonical_emoji(text) is None
