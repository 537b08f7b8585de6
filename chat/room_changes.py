"""PURE: who may change what in a room, and what the log then says: edits, deletions, reactions, pins, state.

Each of them is one more entry of the room's one log; what a message has become is folded from it. Nothing
here looks into storage: of a message that the room does not remember, `order_change` asks its caller to.
"""

from typing import Final, NamedTuple

import msgspec

from chat.automod import UNKNOWN, Standing
from chat.errors import ErrorCode, Refused
from chat.json_value import encode_value
from chat.message_facts import (
    KIND_DELETE,
    KIND_EDIT,
    KIND_PIN,
    KIND_REACT,
    KIND_STATE,
    MessageFacts,
)
from chat.protocol import EMOJIS_MAX, Change, Delete, Edit, Pin, React, SetState
from chat.room_state import Known, RoomState, speaker_of
from storage.model import FoldedPage, LogEntry, StateRow

KIND_OF: Final[dict[type[Change], str]] = {
    Edit: KIND_EDIT,
    Delete: KIND_DELETE,
    React: KIND_REACT,
    Pin: KIND_PIN,
    SetState: KIND_STATE,
}


class Done(NamedTuple):
    """Nothing to do: the event at `seq` did it, which the room may not remember any more."""

    seq: int


class LookUp(NamedTuple):
    """The message is older than what the room remembers: storage has to be asked."""

    seq: int


def order_change(
    state: RoomState,
    request: Change,
    *,
    by: str,
    name: str,
    now_ms: int,
    value: str | None = None,
    stored: FoldedPage | None = None,
    standing: Standing = UNKNOWN,
) -> LogEntry | Known | Done | LookUp:
    """Put a change into the log, or find what did it before.

    Args:
        state: the room.
        request: what is asked; its texts were looked at, its emoji is spelt the one way.
        by: who asks.
        name: the same person's display name.
        now_ms: the wall clock.
        value: of a `set`, JSON text; None removes the key.
        stored: what storage says of the message; None: it was not asked.
        standing: what the server knows of who asks, for the rules of automatic moderation.

    Raises:
        Refused: `not_member`, `room_not_found`, `banned`, `muted`, `locked`, `forbidden`, `not_found`,
            `conflict`, `cid_conflict`, `bad_request`, `filtered`, and `busy` when what storage said is out of
            date already; the log is as it was.
    """
    member = state.require_member(by, now_ms)
    if request.cid is not None:
        known = state.known(by, request.cid)
        if known is not None:
            if not repeats(request, known.kind, known.body, known.data):
                raise Refused(ErrorCode.CID_CONFLICT, f"this cid did something else, at seq {known.seq}")
            return Known(known)
    if not isinstance(request, Delete):
        # To take back what one said one needs no voice.
        state.require_voice(member, state.at_ms(now_ms))
    if isinstance(request, SetState):
        version = state.shared.next_version(request.key, value, request.if_version)
        data = f'{{"key":"{request.key}","value":{value or "null"},"version":{version}}}'
        entry = state.order_change(
            KIND_STATE, by=by, name=name, cid=request.cid, body=None, data=data, now_ms=now_ms
        )
        row = StateRow(request.key, value, version, entry.seq)
        state.shared.change(row, is_settled=state.is_settled)
        return entry
    facts = state.facts_of(request.seq, by, stored)
    decided = LookUp(request.seq) if facts is None else _decide(state, request, facts, by)
    if isinstance(decided, LookUp) and stored is not None:
        # While storage was asked more has happened than the room remembers.
        raise Refused(ErrorCode.BUSY, "the room is too far ahead", retry_after_s=0.25)
    if isinstance(decided, Done | LookUp):
        return decided
    if isinstance(request, Edit) and state.automod is not None:
        state.automod.admit_edit(request.body, speaker_of(member, standing), state.at_ms(now_ms))
    return state.order_change(
        KIND_OF[type(request)],
        by=by,
        name=name,
        cid=request.cid,
        body=request.body if isinstance(request, Edit) else None,
        data=_encode({"of": request.seq, **decided}).decode(),
        now_ms=now_ms,
    )


def _decide(
    state: RoomState, request: Edit | Delete | React | Pin, facts: MessageFacts, by: str
) -> dict[str, object] | Done | LookUp:
    """The event's fields besides `of`."""
    if isinstance(request, Delete):
        if by != facts.author and not _moderates(state, by):
            raise Refused(ErrorCode.FORBIDDEN, "only its author or a moderator deletes a message")
        if facts.delete_seq is not None:
            return Done(facts.delete_seq)
        return {} if request.reason is None else {"reason": request.reason}
    if isinstance(request, Edit) and by != facts.author:
        raise Refused(ErrorCode.FORBIDDEN, "only its author edits a message")
    if isinstance(request, Pin) and state.row.kind != "direct" and not _moderates(state, by):
        raise Refused(ErrorCode.FORBIDDEN, "only a moderator pins messages")
    if facts.delete_seq is not None:
        raise Refused(ErrorCode.NOT_FOUND, "the message was deleted", field="seq")
    if isinstance(request, Edit):
        if request.if_version is None or request.if_version == facts.version:
            return {"version": facts.version + 1, **state.roster.mentioned(request.body).fields()}
        if facts.body is None:
            # Who comes too late hears what is there.
            return LookUp(request.seq)
        raise Refused(
            ErrorCode.CONFLICT,
            f"the message has version {facts.version}",
            current={"value": facts.body, "version": facts.version},
        )
    if isinstance(request, React):
        return _react(request, facts, by)
    if not request.remove:
        return {} if facts.pin_seq is None else Done(facts.pin_seq)
    if facts.pin_seq is None:
        raise Refused(ErrorCode.NOT_FOUND, "the message is not pinned", field="seq")
    return {"remove": True}


def _react(request: React, facts: MessageFacts, by: str) -> dict[str, object] | Done:
    emoji = request.emoji
    own_seq = facts.reactions.get((emoji, by))
    if request.remove:
        if own_seq is None:
            raise Refused(ErrorCode.NOT_FOUND, "there is no such reaction of yours", field="emoji")
        return {"emoji": emoji, "remove": True}
    if own_seq is not None:
        return Done(own_seq)
    if emoji not in facts.emojis and len(facts.emojis) >= EMOJIS_MAX:
        raise Refused(
            ErrorCode.BAD_REQUEST, f"a message takes {EMOJIS_MAX} different emoji at most", field="emoji"
        )
    return {"emoji": emoji}


def _moderates(state: RoomState, user_id: str) -> bool:
    return state.roster.role_of(user_id) in {"owner", "moderator"}


class _Told(msgspec.Struct, frozen=True):
    """What the log keeps of any change."""

    of: int | None = None
    emoji: str | None = None
    remove: bool = False
    key: str | None = None
    value: object = None


_encode: Final = msgspec.json.Encoder().encode
_decode_told: Final = msgspec.json.Decoder(_Told).decode


def repeats(request: Change, kind: str, body: str | None, data: str | None) -> bool:
    """Whether a request asks for what an event of the log has done; a body that was erased equals any."""
    if kind != KIND_OF[type(request)] or data is None:
        return False
    told = _decode_told(data)
    if isinstance(request, SetState):
        return told.key == request.key and encode_value(told.value) == encode_value(request.value)
    if told.of != request.seq:
        return False
    if isinstance(request, Edit):
        return body in {None, request.body}
    if isinstance(request, React):
        return told.emoji == request.emoji and told.remove == request.remove
    return isinstance(request, Delete) or told.remove == request.remove
