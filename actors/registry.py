"""Names of live actors; owned by a system or a group, never global."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from actors.errors import NameTaken


class Named(Protocol):
    """Something that can be registered."""

    @property
    def name(self) -> str:
        """Its name; does not change."""
        ...


N = TypeVar("N", bound=Named)


class Registry(Generic[N]):
    """Maps a name to the one live thing of that name; every operation is O(1).

    A name is dropped before anyone hears that its owner ended, so that who hears it and looks the
    name up never meets the ghost.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, N] = {}

    def __len__(self) -> int:
        """Count the names."""
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        """Say whether the name is taken."""
        return name in self._entries

    def __iter__(self) -> Iterator[N]:
        """Go over the entries, oldest first, as they are now; changes meanwhile are not seen."""
        return iter(tuple(self._entries.values()))

    def get(self, name: str) -> N | None:
        """Find the live thing of this name."""
        return self._entries.get(name)

    def register(self, entry: N) -> None:
        """Take `entry`'s name.

        Raises:
            NameTaken: something else has it; nothing changed.
        """
        if self._entries.setdefault(entry.name, entry) is not entry:
            raise NameTaken(entry.name)

    def drop(self, entry: N) -> None:
        """Free `entry`'s name; nothing happens when another one has it by now."""
        if self._entries.get(entry.name) is entry:
            del self._entries[entry.name]
