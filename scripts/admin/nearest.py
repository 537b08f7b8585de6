"""PURE: what somebody may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

SUGGESTIONS: Final = 3
_CLOSE: Final = 0.6


def nearest(wanted: str, known: Iterable[str]) -> list[str]:
    """The names most like one that is not there, the most likely first; capitals make no difference."""
    by_key = {name.casefold(): name for name in known}
    found = get_close_matches(wanted.casefold(), list(by_key), n=SUGGESTIONS, cutoff=_CLOSE)
    return [by_key[key] for key in found]


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not there; empty where nothing is like it."""
    found = nearest(wanted, known)
    return f"; did you mean {' or '.join(found)}?" if found else ""
