"""Rules of a node: compiled where it harms nobody, and read as they are stored."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
from structlog.testing import capture_logs

from chat.automod_rules import Rule, Words, encode_rules
from chat.errors import Refused
from chat.rule_book import PHRASES_AT_ONCE, RuleBook
from storage.model import RoomId, RulesRow

T = TypeVar("T")
ROOM = RoomId(1)


def words(*phrases: str) -> list[Rule]:
    """One list."""
    return [Words(id="w", action="refuse", words=phrases)]


def stored(text: str, version: int = 3) -> RulesRow:
    """Rules as they come from the store."""
    return RulesRow(version, 0, "u_owner", "Owner", text)


async def test_long_lists_are_compiled_elsewhere() -> None:
    """Short ones at once; a bad one is refused either way."""
    elsewhere: list[int] = []

    async def in_thread(work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
        await trio.lowlevel.checkpoint()
        elsewhere.append(limiter.available_tokens == 1)
        return work()

    book = RuleBook(in_thread)
    await book.compile(words(*["word"] * PHRASES_AT_ONCE), 1)
    assert elsewhere == []
    compiled = await book.compile(words(*["word"] * (PHRASES_AT_ONCE + 1)), 2)
    assert (len(elsewhere), compiled.version) == (1, 2)
    for phrases in (["!!"], ["!!"] * (PHRASES_AT_ONCE + 1)):
        with pytest.raises(Refused):
            await book.compile(words(*phrases), 3)


async def test_stored_rules_are_read() -> None:
    """A room that never had any has none; the version is the stored one."""
    book = RuleBook()
    assert await book.load(ROOM, None) is None
    compiled = await book.load(ROOM, stored(encode_rules(words("bad"))))
    assert compiled is not None
    assert (compiled.version, compiled.rules) == (3, tuple(words("bad")))


@pytest.mark.parametrize("text", ["{", '[{"kind":"later"}]', encode_rules(words("!!"))])
async def test_rules_that_cannot_be_read_do_not_close_the_room(text: str) -> None:
    """It is without them, and the log says so."""
    with capture_logs() as logs:
        assert await RuleBook().load(ROOM, stored(text)) is None
    assert [entry["event"] for entry in logs] == ["rules.unreadable"]


async def test_a_room_without_rules_has_nobody_to_ask() -> None:
    """An empty list is none; the server's own are asked as well."""
    book = RuleBook()
    assert book.for_room(None) is None
    assert book.for_room(await book.compile([], 1)) is None
    assert book.for_room(await book.compile(words("bad"), 1)) is not None
    book.take_everywhere(await book.compile(words("bad"), 2))
    assert book.for_room(None) is not None


async def test_the_newest_rules_of_every_room_are_kept() -> None:
    """Of two changes the later one counts, whichever is heard of first."""
    book = RuleBook()
    for version in (2, 3, 1):
        book.take_everywhere(await book.compile(words("bad"), version))
    assert book.everywhere is not None
    assert book.everywhere.version == 3
