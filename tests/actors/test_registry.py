"""Names: one live owner each, and nobody drops another one's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from actors import NameTaken
from actors.registry import Registry


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Something with a name."""

    name: str


def test_a_name_has_one_owner_at_a_time() -> None:
    """A second one is refused and the first one stays."""
    registry = Registry[Thing]()
    first = Thing("a")
    registry.register(first)
    with pytest.raises(NameTaken):
        registry.register(Thing("a"))
    assert registry.get("a") is first
    assert ("a" in registry, "b" in registry, len(registry)) == (True, False, 1)


def test_an_old_owner_cannot_drop_the_new_one() -> None:
    """Dropping twice is harmless."""
    registry = Registry[Thing]()
    old, new = Thing("a"), Thing("a")
    registry.register(old)
    registry.drop(old)
    registry.register(new)
    registry.drop(old)
    assert registry.get("a") is new


def test_going_over_the_entries_allows_changes_meanwhile() -> None:
    """It shows what there was, oldest first."""
    registry = Registry[Thing]()
    things = [Thing(name) for name in "abc"]
    for thing in things:
        registry.register(thing)
    seen: list[Thing] = []
    for thing in registry:
        seen.append(thing)
        registry.drop(thing)
    assert seen == things
    assert len(registry) == 0
