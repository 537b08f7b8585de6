"""PURE: which texts are one emoji, and how each of them is spelt: what people may react with."""

from typing import Final

import emoji

_SELECTOR: Final = "\ufe0f"
"""Asks for the coloured form; keyboards leave it out as they like, and nobody sees the difference."""

_SPELLINGS: Final = {
    text.replace(_SELECTOR, ""): text
    for text, facts in emoji.EMOJI_DATA.items()
    if facts["status"] == emoji.STATUS["fully_qualified"]
}
"""By the text without selectors, the spelling that Unicode calls fully qualified (UTS 51, ED-18)."""


def canonical_emoji(text: str) -> str | None:
    """The one spelling of an emoji, or None for a text that is no single emoji.

    Sequences are one: skin tones, joined families, flags, keycaps. Letters, digits and parts of sequences are
    none by themselves.
    """
    return _SPELLINGS.get(text.replace(_SELECTOR, ""))
