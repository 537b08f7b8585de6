"""PURE: people's own regular expressions, by RE2 alone: the cost is linear in the text, whatever they say."""

from typing import Final, cast

import re2

MEMORY_MAX_BYTES: Final = 1024 * 1024
"""Of one pattern, with what it remembers of texts."""
PROGRAM_MAX: Final = 1000
"""Instructions of one pattern: "(a{50}){50}" is short to write and long to follow."""


class BadPattern(ValueError):
    """Not a regular expression that RE2 takes, or one that is too big; the message says what, and where."""


class Pattern:
    """One regular expression, in RE2's syntax; capitals make no difference.

    Attributes:
        program_size: instructions, which is what a text's character costs at most.

    Raises:
        BadPattern: RE2 does not take it.
    """

    __slots__ = ("_search", "program_size")

    def __init__(self, source: str) -> None:
        options = re2.Options()
        options.max_mem = MEMORY_MAX_BYTES
        options.case_sensitive = False
        options.log_errors = False
        options.never_capture = True
        try:
            # As bytes: a text is encoded once for all patterns.
            compiled = re2.compile(source.encode(), options)
        except UnicodeEncodeError:
            raise BadPattern("it is no text") from None
        except re2.error as error:
            raise BadPattern(_explain(source, error)) from None
        self.program_size = int(compiled.programsize)
        if self.program_size > PROGRAM_MAX:
            raise BadPattern(f"it is too big: {self.program_size} steps, of {PROGRAM_MAX} at most")
        self._search = compiled.search

    def find(self, text: bytes) -> str | None:
        """The first thing that it matches in a text in UTF-8; None when there is nothing."""
        found = self._search(text)
        if found is None:
            return None
        return cast("bytes", found.group(0)).decode("utf-8", "replace")


def _explain(source: str, error: Exception) -> str:
    """What RE2 says, with the place where it names one."""
    said = error.args[0] if error.args else ""
    said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    what, _, fragment = said.partition(": ")
    place = source.find(fragment) if fragment else -1
    return said if place < 0 else f"{what}: {fragment!r} at character {place + 1}"
