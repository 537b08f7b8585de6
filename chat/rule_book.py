"""Rules of automatic moderation on this node: compiled beside the rooms' turns; those of every room."""

from collections.abc import Sequence
from functools import partial

import structlog
import trio

from chat.automod import CompiledRules, RoomAutomod
from chat.automod_rules import Rule, Words, decode_rules
from chat.errors import Refused
from chat.passwords import InThread, in_worker_thread
from storage.model import RoomId, RulesRow

log = structlog.stdlib.get_logger("chat.rule_book")

PHRASES_AT_ONCE = 200
"""Of a list that is compiled where it is asked for: a millisecond or two; longer ones go to a thread."""


class RuleBook:
    """Compiles rules, and knows those of every room.

    Args:
        in_thread: where long lists are compiled.

    Attributes:
        everywhere: the rules of every room, asked before its own; None: there are none.
    """

    def __init__(self, in_thread: InThread = in_worker_thread) -> None:
        self.everywhere: CompiledRules | None = None
        self._in_thread = in_thread
        self._places = trio.CapacityLimiter(1)

    async def compile(self, rules: Sequence[Rule], version: int) -> CompiledRules:
        """Rules that can be asked.

        Raises:
            Refused: `bad_request` or `too_large`, with the rule and the field.
        """
        work = partial(CompiledRules, rules, version=version)
        if sum(len(rule.words) for rule in rules if isinstance(rule, Words)) <= PHRASES_AT_ONCE:
            return work()
        return await self._in_thread(work, self._places)

    async def load(self, room_id: RoomId, row: RulesRow | None) -> CompiledRules | None:
        """Rules as they are stored; those that this program does not understand are left out, and logged.

        A room without its rules is better than none.
        """
        if row is None:
            return None
        try:
            return await self.compile(decode_rules(row.rules), row.version)
        except (ValueError, Refused):
            log.exception("rules.unreadable", room_id=room_id, version=row.version)
            return None

    def take_everywhere(self, rules: CompiledRules) -> None:
        """Take up other rules of every room, unless there are newer ones."""
        if self.everywhere is None or rules.version > self.everywhere.version:
            self.everywhere = rules

    def for_room(self, own: CompiledRules | None) -> RoomAutomod | None:
        """What judges in a room that has these rules of its own; None: nothing does."""
        layers = [rules for rules in (self.everywhere, own) if rules is not None and rules.rules]
        return RoomAutomod(layers) if layers else None
