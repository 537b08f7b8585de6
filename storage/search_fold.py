"""PURE: what a run of a room's events does to the index of its messages."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeGuard, cast

from storage.model import RoomId
from storage.search_model import IndexStep

_MAX_SEQ: Final = 2**63 - 1


class Event(NamedTuple):
    """What the index needs to know of an event; its text stays where it is."""

    room_id: RoomId
    seq: int
    at_ms: int
    kind: str
    data: str | None


class Changes(NamedTuple):
    """What is to be written.

    Attributes:
        texts: messages to index, as (room, seq, seq of the event with the text).
        gone: messages to take out, as (room, seq).
        unreadable: events of a known kind that do not say which message they are about.
    """

    texts: Sequence[tuple[RoomId, int, int]]
    gone: Sequence[tuple[RoomId, int]]
    unreadable: Sequence[tuple[RoomId, int]]


def fold_events(events: Iterable[Event]) -> Changes:
    """Reduce events, in order of seq within each room, to one change a message: the last one wins."""
    last: dict[tuple[RoomId, int], int | None] = {}
    unreadable: list[tuple[RoomId, int]] = []
    for event in events:
        match event.kind:
            case "message":
                last[event.room_id, event.seq] = event.seq
            case "edit" | "delete" | "void":
                target = target_of(event)
                if target is None:
                    # A void without data stands for an event that was never stored; nothing refers to it.
                    if event.kind != "void" or event.data is not None:
                        unreadable.append((event.room_id, event.seq))
                else:
                    last[event.room_id, target] = event.seq if event.kind == "edit" else None
            case "purge":
                purged = purged_by(event)
                if purged is None:
                    unreadable.append((event.room_id, event.seq))
                for seq in purged or ():
                    last[event.room_id, seq] = None
            case _:
                pass
    return Changes(
        [(room_id, seq, text) for (room_id, seq), text in last.items() if text is not None],
        [key for key, text in last.items() if text is None],
        unreadable,
    )


def target_of(event: Event) -> int | None:
    """The seq that an event is about (`of` in its data); None when it does not say."""
    of = _fields_of(event).get("of")
    return of if _is_seq(of) else None


def purged_by(event: Event) -> Sequence[int] | None:
    """The seqs of the messages that a purge deletes; None when it does not say."""
    seqs = _fields_of(event).get("seqs")
    return [seq for seq in cast("list[object]", seqs) if _is_seq(seq)] if isinstance(seqs, list) else None


def _fields_of(event: Event) -> Mapping[str, object]:
    try:
        data: object = json.loads(event.data or "")
    except ValueError:
        return {}
    return cast("dict[str, object]", data) if isinstance(data, dict) else {}


def _is_seq(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_SEQ


def step_of(
    rooms: Sequence[RoomId],
    ordered: Sequence[RoomId],
    events: Sequence[Event],
    max_rows: int,
    unreadable: Sequence[tuple[RoomId, int]],
) -> IndexStep:
    """What a step did. Rooms are done that were read to their ends: in a full step those before the last.

    Args:
        rooms: what was asked for.
        ordered: those of them that exist, in the order in which they were read.
        events: what was read.
        max_rows: when there are so many, there may be more.
        unreadable: of `Changes`.
    """
    done = rooms
    if len(events) >= max_rows:
        unread = set(ordered[ordered.index(events[-1].room_id) :])
        done = [room_id for room_id in rooms if room_id not in unread]
    return IndexStep(rows=Counter(event.room_id for event in events), done=done, unreadable=unreadable)
