"""PURE: events of an export as the rows of another room's log."""

import json
from collections.abc import Mapping
from typing import Final

from storage.model import LogEntry, RoomId

_OF_EVERY: Final = frozenset({"t", "room", "epoch", "seq", "at", "by", "kind", "cid"})
_OF_A_MESSAGE: Final = frozenset({"n", "body", "name", "reply_to", "thread"})


class BadEvent(ValueError):
    """A line that is no event, or not the next one, with the reason."""


class Entries:
    """Makes rows of events, which come in order.

    An event that is no message does not say its author's name: it is the one of the author's last message.

    Args:
        room_id: of the room that they go into.
        epoch: the ownership under which they are written.

    Attributes:
        seq: of the last event.
        n: ordinal of the last message.
        at_ms: time of the last event.
    """

    def __init__(self, room_id: RoomId, epoch: int) -> None:
        self.seq = 0
        self.n = 0
        self.at_ms = 0
        self._room_id = room_id
        self._epoch = epoch
        self._names: dict[str, str] = {}

    def take(self, line: str) -> LogEntry:
        """The row of the next event.

        Raises:
            BadEvent: it is none, or it is not the next.
        """
        try:
            event: object = json.loads(line)
        except ValueError as error:
            raise BadEvent(f"no JSON: {error}") from error
        if not isinstance(event, dict):
            raise BadEvent("no event")
        return self._entry({str(name): value for name, value in event.items()})

    def _entry(self, event: Mapping[str, object]) -> LogEntry:
        seq, at_ms = _number(event, "seq"), _number(event, "at")
        kind, by = _text(event, "kind") or "", _text(event, "by") or ""
        if not kind:
            raise BadEvent("it has no kind")
        if seq != self.seq + 1:
            raise BadEvent(f"#{seq} stands where #{self.seq + 1} should")
        if at_ms < self.at_ms:
            raise BadEvent(f"#{seq} is older than the event before it")
        is_message = kind == "message"
        if is_message:
            self.n = _number(event, "n")
            self._names[by] = _text(event, "name") or by
        self.seq, self.at_ms = seq, at_ms
        left_out = _OF_EVERY | (_OF_A_MESSAGE if is_message else {"body"} if kind == "edit" else set())
        rest = {name: value for name, value in event.items() if name not in left_out}
        return LogEntry(
            room_id=self._room_id,
            seq=seq,
            epoch=self._epoch,
            at_ms=at_ms,
            kind=kind,
            by=by,
            name=self._names.get(by, by),
            n=self.n,
            cid=_text(event, "cid"),
            body=_text(event, "body") if is_message or kind == "edit" else None,
            reply_to=_number(event, "reply_to") if is_message and "reply_to" in event else None,
            thread=_number(event, "thread") if is_message and "thread" in event else None,
            data=json.dumps(rest, ensure_ascii=False) if rest else None,
        )


def _number(event: Mapping[str, object], name: str) -> int:
    value = event.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadEvent(f"its {name} is no number")
    return value


def _text(event: Mapping[str, object], name: str) -> str | None:
    value = event.get(name)
    if value is not None and not isinstance(value, str):
        raise BadEvent(f"its {name} is no text")
    return value
