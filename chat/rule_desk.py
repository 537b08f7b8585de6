"""Setting, trying and reading the rules of automatic moderation, of a room or of every room."""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog
import trio

from actors import ActorError
from chat.automod import Verdict, try_text
from chat.automod_rules import (
    Rule,
    check_totals,
    decode_rules,
    encode_rules,
    kind_of,
    merge_rules,
    parse_rules,
)
from chat.cursors import from_cursor
from chat.errors import ErrorCode, Refused
from chat.message_desk import reply_fitting
from chat.protocol import Automod, Envelope, check_body, check_no_nul, ok
from chat.review_access import Inspect, ReviewServices, require_moderator, require_server_moderator
from chat.room_governance import Act
from chat.room_messages import ApplyRules
from chat.server_audit import note_act
from chat.session import Session
from chat.session_requests import actor_of
from storage import Conflict
from storage.model import RoomId, RulesRow
from storage.review_model import EVERYWHERE

log = structlog.stdlib.get_logger("chat.rule_desk")

ROOMS_TOLD_AT_ONCE: Final = 200
"""Of changed rules of every room; then the others on this thread have a turn."""


class RuleDesk:
    """Finishes `automod`, for every session.

    Args:
        services: what it needs.
        inspect: what a room says of itself to a user.
    """

    def __init__(self, services: ReviewServices, inspect: Inspect) -> None:
        self._services = services
        self._inspect = inspect

    async def finish(self, session: Session, request: Automod) -> None:
        """Set, try or read rules, and answer.

        Raises:
            Refused: to be answered.
        """
        check_no_nul(request.id, reason=request.reason)
        room_id = EVERYWHERE
        if request.room is None:
            require_server_moderator(session)
        else:
            moderated = await require_moderator(
                self._services, self._inspect, session, request.room, "automod"
            )
            room_id = moderated.row.room_id
        stored = await self._services.store.read_rules(room_id)
        if request.rules is not None:
            await self._set_rules(session, request, room_id, stored)
        elif request.test:
            await self._try_text(session, request, stored)
        else:
            await self._read_rules(session, request, stored)

    async def _set_rules(
        self, session: Session, request: Automod, room_id: RoomId, stored: RulesRow | None
    ) -> None:
        """Store the next version, then have it applied: what comes after the answer is judged by it.

        It is in the server's audit before it is stored. A trial ends before that.

        The room answers. Where it cannot be told now the rules are stored all the same, and it takes them up
        when it is activated next, or with the next that are set.
        """
        services = self._services
        version = 0 if stored is None else stored.version
        if request.if_version not in {None, version}:
            raise _outdated(version)
        rules = parse_rules(request.rules)
        if request.add and stored is not None:
            rules = merge_rules(_understood(stored), rules)
        check_totals(rules)
        compiled = await services.rule_book.compile(rules, version + 1)
        if request.dry_run:
            session.reply(ok(request.id, room=request.room, version=version + 1))
            return
        act = Act(
            request.id,
            "automod",
            room=request.room,
            version=version + 1,
            rules=len(rules),
            reason=request.reason,
        )
        audit = (await note_act(session, act))["audit"]
        actor = actor_of(session)
        row = RulesRow(version + 1, services.now_ms(), actor.user_id, actor.name, encode_rules(rules))
        try:
            await services.store.write_rules(room_id, row)
        except Conflict:
            raise _outdated(row.version) from None
        log.info("rules.changed", room=request.room, version=row.version, by=actor.user_id, rules=len(rules))
        if request.room is None:
            services.rule_book.take_everywhere(compiled)
            await self._apply_everywhere()
            session.reply(ok(request.id, room=None, version=row.version, audit=audit))
        else:
            message = ApplyRules(rules=compiled, peer=session, request_id=request.id, audit=audit)
            session.tell_room(request.room, message, control=True)

    async def _apply_everywhere(self) -> None:
        """Tell every active room of the rules of all of them; the others find them when they start."""
        unheard = 0
        for place, ref in enumerate(list(self._services.rooms.group)):
            try:
                ref.tell_nowait(ApplyRules(rules=None), control=True)
            except ActorError:
                unheard += 1
            if place % ROOMS_TOLD_AT_ONCE == ROOMS_TOLD_AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
        if unheard:
            log.warning("rules.rooms_not_told", rooms=unheard)

    async def _read_rules(self, session: Session, request: Automod, stored: RulesRow | None) -> None:
        place = 0
        scope = request.room or "*"
        if request.cursor is not None:
            where, _, at = from_cursor(request.cursor).partition("!")
            if where != scope or not (at.isascii() and at.isdecimal() and len(at) <= 4):  # noqa: PLR2004
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
            place = int(at)
        fields: dict[str, object] = {"room": request.room, "version": 0}
        rules: Sequence[Rule] = ()
        if stored is not None:
            rules = _understood(stored)
            fields |= {
                "version": stored.version,
                "by": stored.author,
                "name": stored.author_name,
                "at": stored.at_ms,
            }
        end = place + min(request.limit, self._services.page_max)
        items = [session.encode(msgspec.to_builtins(rule)) for rule in rules[place:end]]
        await reply_fitting(
            session,
            ok(request.id, **fields),
            items,
            is_last=end >= len(rules),
            cursor_after=lambda last: f"{scope}!{place + last + 1}",
        )

    async def _try_text(self, session: Session, request: Automod, stored: RulesRow | None) -> None:
        """Say what rules would make of a text; nothing else happens."""
        services = self._services
        if request.text is None:
            raise Refused(ErrorCode.BAD_REQUEST, "give the text that is to be tried", field="text")
        check_body(request.text, request_id=request.id, max_bytes=session.services.body_max_bytes)
        layers = [] if request.room is None else [services.rule_book.everywhere]
        if stored is not None:
            layers.append(await services.rule_book.compile(_understood(stored), stored.version))
        found = [
            verdict
            for layer in layers
            if layer is not None
            for verdict in try_text(layer, request.text, at_ms=services.now_ms())
        ]
        decides = next((verdict.rule.id for verdict in found if verdict.decides), None)
        session.reply(
            ok(
                request.id,
                room=request.room,
                version=0 if stored is None else stored.version,
                decides=decides,
                matches=[_match(verdict) for verdict in found],
            )
        )


def _match(verdict: Verdict) -> Envelope:
    rule = verdict.rule
    return {
        "rule": rule.id,
        "kind": kind_of(rule),
        "action": rule.action,
        "dry_run": rule.dry_run,
        "found": verdict.found,
        "reason": verdict.said,
    }


def _understood(stored: RulesRow) -> Sequence[Rule]:
    try:
        return decode_rules(stored.rules)
    except ValueError:
        text = "the rules are of a later version of this server: set them anew"
        raise Refused(ErrorCode.INTERNAL, text) from None


def _outdated(version: int) -> Refused:
    return Refused(ErrorCode.CONFLICT, f"the rules have version {version}", current={"version": version})
