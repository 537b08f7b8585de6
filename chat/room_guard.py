"""A room's rules at work, for the room actor: what it does when a rule has something to say."""

from collections.abc import Callable

from chat.automod import CompiledRules, Filtered
from chat.errors import Refused
from chat.protocol import Edit, ok
from chat.review_queue import ReviewQueue
from chat.room_automod import held_message, order_mute, order_removal, report_of
from chat.room_messages import ApplyRules, ChangeRoom, RoomMessage, SendMessage
from chat.room_state import RoomState
from chat.rule_book import RuleBook
from storage.model import LogEntry, RulesRow

Act = Callable[[LogEntry], None]
"""Stores and delivers an act of the server itself."""


class RoomGuard:
    """One activation's rules.

    Args:
        rule_book: compiles rules, and has those of every room.
        reviews: takes what moderators are to look at.
        now_ms: the wall clock.
    """

    __slots__ = ("_now_ms", "_reviews", "_rule_book", "_rules")

    def __init__(self, rule_book: RuleBook, reviews: ReviewQueue, now_ms: Callable[[], int]) -> None:
        self._rule_book = rule_book
        self._reviews = reviews
        self._now_ms = now_ms
        self._rules: CompiledRules | None = None

    async def start(self, state: RoomState, row: RulesRow | None) -> None:
        """Take up the rules that are stored."""
        self._rules = await self._rule_book.load(state.row.room_id, row)
        state.automod = self._rule_book.for_room(self._rules)

    def apply(self, state: RoomState, message: ApplyRules) -> None:
        """Take up other rules, unless the room has newer ones of its own."""
        rules = message.rules
        if rules is not None and (self._rules is None or rules.version > self._rules.version):
            self._rules = rules
        state.automod = self._rule_book.for_room(self._rules)
        if message.peer is not None:
            version = 0 if self._rules is None else self._rules.version
            message.peer.reply(ok(message.request_id, room=state.name, version=version, audit=message.audit))

    def refuse(self, state: RoomState, message: RoomMessage, filtered: Filtered, act: Act) -> Refused | None:
        """Do what a rule says about a text that it does not let through.

        Returns:
            What its sender is to be told; None where it is held: then whoever stores it answers.
        """
        now_ms = self._now_ms()
        if not isinstance(message, SendMessage | ChangeRoom):
            return filtered
        mute = order_mute(state, filtered.verdict, message.peer.user_id, now_ms=now_ms)
        if mute is not None:
            act(mute)
        if filtered.verdict.rule.action != "hold" or not isinstance(message, SendMessage):
            return filtered
        held = held_message(state, message, filtered, now_ms=now_ms)
        try:
            self._reviews.hold(held, message.peer, message.request_id)
        except Refused as refused:
            return refused
        return None

    def follow_up(
        self, state: RoomState, message: SendMessage | ChangeRoom, entry: LogEntry, act: Act
    ) -> None:
        """Do what rules say about a text that was just let in."""
        automod = state.automod
        if automod is None:
            return
        if isinstance(message, SendMessage):
            if message.reviewed:
                return
            seq = entry.seq
        elif isinstance(message.request, Edit):
            seq = message.request.seq
        else:
            return
        report = report_of(state, entry, seq)
        if report is not None:
            self._reviews.report(report)
        if automod.removed is not None:
            act(order_removal(state, entry, automod.removed, now_ms=self._now_ms()))
