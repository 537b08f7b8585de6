"""PURE: who is meant by `@name` in a message: found among a room's members when the message is ordered."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from chat.names import NAME_MAX_CHARACTERS

MENTIONED_MAX: Final = 50
"""People whom one message mentions; further ones are not looked for."""
SIGNS_MAX: Final = 100
"""Signs in one message that are looked at: a text of nothing else would take a turn of some milliseconds."""
HERE: Final = "here"


class Mentioned(NamedTuple):
    """Whom a message mentions: user ids in the order of the text, and whether everybody who is here."""

    users: tuple[str, ...]
    here: bool

    def fields(self) -> dict[str, object]:
        """The event's fields; those that would be empty are left out."""
        fields: dict[str, object] = {}
        if self.users:
            fields["mentions"] = list(self.users)
        if self.here:
            fields["here"] = True
        return fields

    def data(self) -> str | None:
        """The same as the log keeps them."""
        fields = self.fields()
        return msgspec.json.encode(fields).decode() if fields else None


NOBODY: Final = Mentioned((), here=False)


class MemberNames:
    """The members of a room by name; several may have one name, and then all of them are meant.

    Args:
        members: (user id, display name) of each.
    """

    __slots__ = ("_longest_by_first", "_users")

    def __init__(self, members: Iterable[tuple[str, str]]) -> None:
        self._users: dict[str, dict[str, None]] = {}
        # How long a name that begins so may be, at most: most signs stand before what is no name at all, and
        # trying every length of that would cost a tenth of a message.
        self._longest_by_first: dict[str, int] = {HERE[0]: len(HERE)}
        for user_id, name in members:
            self.add(user_id, name)

    def add(self, user_id: str, name: str) -> None:
        """Take in a member."""
        folded = name.casefold()
        self._users.setdefault(folded, {})[user_id] = None
        first = folded[:1]
        self._longest_by_first[first] = max(self._longest_by_first.get(first, 0), len(folded))

    def remove(self, user_id: str, name: str) -> None:
        """Forget a member; no effect for one who is not there."""
        users = self._users.get(name.casefold(), {})
        users.pop(user_id, None)
        if not users:
            self._users.pop(name.casefold(), None)

    def find(self, body: str) -> Mentioned:
        """Whom a text mentions: after each `@` that begins a word, the longest name, in any capitals."""
        users: dict[str, None] = {}
        here = False
        at = -1
        for _ in range(SIGNS_MAX):
            at = body.find("@", at + 1)
            if at < 0 or len(users) >= MENTIONED_MAX:
                break
            if at and _in_word(body[at - 1]):
                continue
            named = self._longest(body, at + 1)
            if named is None:
                continue
            if named == HERE:
                here = True
            else:
                users.update(self._users[named])
        return Mentioned(tuple(users)[:MENTIONED_MAX], here)

    def _longest(self, body: str, start: int) -> str | None:
        # Folding goes letter by letter and never shortens: no name is longer in the text than folded.
        longest = self._longest_by_first.get(body[start : start + 1].casefold()[:1], 0)
        for end in range(min(len(body), start + min(longest, NAME_MAX_CHARACTERS)), start, -1):
            if end < len(body) and _in_word(body[end]) and _in_word(body[end - 1]):
                continue
            name = body[start:end].casefold()
            if name == HERE or name in self._users:
                return name
        return None


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
