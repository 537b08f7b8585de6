"""Search in the in-memory store: a part of what people type, in language `simple`. No task, no clock.

Words are runs of letters and digits, compared in lower case; "phrases", `or` and `-not` mean what they mean
to Postgres' `websearch_to_tsquery`. Stems, stop words, hosts, signed numbers and other tokens of its parser
are not imitated: tests of those run on Postgres.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from storage.errors import BadData
from storage.fragments import START, STOP, pieces, unmarked
from storage.memory_room import StoredRoom
from storage.model import LogEntry, RoomId
from storage.search_fold import Event, fold_events, step_of
from storage.search_model import IndexStep, RoomDue, SearchAsk, SearchHit, SearchKey, SearchPage

_WORD: Final = re.compile(r"[^\W_]+")
_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')


class Term(NamedTuple):
    """Words that must, or must not, follow each other in a text."""

    words: Sequence[str]
    wanted: bool


def words_of(text: str) -> Sequence[str]:
    """The words of a text, in order."""
    return [word.lower() for word in _WORD.findall(text)]


def parse(query: str) -> Sequence[Sequence[Term]]:
    """Alternatives, each of terms that must all hold; none when some alternative has no wanted word."""
    alternatives: list[list[Term]] = [[]]
    for minus, phrase, bare in _TERM.findall(query):
        if bare.lower() == "or" and not minus:
            alternatives.append([])
        elif words := words_of(phrase or bare):
            alternatives[-1].append(Term(words, not minus))
    filled = [terms for terms in alternatives if terms]
    return filled if all(any(term.wanted for term in terms) for terms in filled) else []


def matches(alternatives: Sequence[Sequence[Term]], text: str) -> bool:
    """Whether a text has what is looked for."""
    words = words_of(text)
    return any(all(_holds(term, words) for term in terms) for terms in alternatives)


def _holds(term: Term, words: Sequence[str]) -> bool:
    length = len(term.words)
    there = any(words[at : at + length] == term.words for at in range(len(words) - length + 1))
    return there is term.wanted


def mark(alternatives: Sequence[Sequence[Term]], text: str) -> str:
    """The text with every wanted word marked."""
    wanted = {word for terms in alternatives for term in terms if term.wanted for word in term.words}

    def marked(word: re.Match[str]) -> str:
        return f"{START}{word[0]}{STOP}" if word[0].lower() in wanted else word[0]

    return _WORD.sub(marked, unmarked(text))


def search(rooms: Mapping[RoomId, StoredRoom], ask: SearchAsk) -> SearchPage | None:
    """See `Store.search`."""
    readable = [room for room in rooms.values() if _may_read(room, ask)]
    one: StoredRoom | None = None
    if ask.room is not None:
        one = next((room for room in readable if room.row.name == ask.room), None)
        if one is None:
            return None
        readable = [one]
    alternatives = parse(ask.query)
    ids = {room.row.name: room_id for room_id, room in rooms.items()}
    hits = [hit for room in readable for hit in _hits(room, alternatives)]
    hits.sort(key=lambda hit: _place(ids, hit.key), reverse=True)
    if ask.before is not None:
        before = _place(ids, ask.before)
        hits = [hit for hit in hits if _place(ids, hit.key) < before]
    page = hits[: ask.limit]
    return SearchPage(
        items=page,
        next=page[-1].key if len(hits) > len(page) else None,
        searchable=bool(alternatives),
        indexed_seq=None if one is None else one.indexed.seq,
        durable_seq=None if one is None else len(one.log),
    )


def _may_read(room: StoredRoom, ask: SearchAsk) -> bool:
    if ask.user_id in room.members or (ask.oversees and ask.room == room.row.name):
        return True
    ban = room.sanctions.get((ask.user_id, "ban"))
    is_banned = ban is not None and (ban.until_ms is None or ban.until_ms > ask.now_ms)
    return room.row.kind == "public" and not is_banned


def _hits(room: StoredRoom, alternatives: Sequence[Sequence[Term]]) -> Iterable[SearchHit]:
    for seq, text_seq in room.indexed.texts.items():
        said, body = room.log[seq - 1], room.log[text_seq - 1].body
        if body is not None and matches(alternatives, body):
            fragment = tuple(pieces(mark(alternatives, body)))
            yield SearchHit(room.row.name, seq, said.at_ms, said.by, said.name, fragment)


def _place(ids: Mapping[str, RoomId], key: SearchKey) -> tuple[int, int, int]:
    """A hit's place in the order: by time, then room, then seq."""
    return key.at_ms, ids.get(key.room, 0), key.seq


def index_rooms(rooms: Mapping[RoomId, StoredRoom], room_ids: Sequence[RoomId], max_rows: int) -> IndexStep:
    """See `Store.index_rooms`."""
    known = sorted({room_id for room_id in room_ids if room_id in rooms})
    events: list[Event] = []
    for room_id in known:
        room = rooms[room_id]
        at = room.indexed.seq
        events += map(_event, room.log[at : at + max_rows - len(events)])
    changes = fold_events(events)
    for room_id, seq, text_seq in changes.texts:
        room = rooms[room_id]
        log = room.log
        if seq <= len(log) and log[seq - 1].kind == "message" and log[text_seq - 1].body is not None:
            room.indexed.texts[seq] = text_seq
    for room_id, seq in changes.gone:
        rooms[room_id].indexed.texts.pop(seq, None)
    for event in events:
        rooms[event.room_id].indexed.seq = event.seq
    return step_of(room_ids, known, events, max_rows, changes.unreadable)


def skip_event(rooms: Mapping[RoomId, StoredRoom], room_id: RoomId) -> int | None:
    """See `Store.skip_event`."""
    room = rooms.get(room_id)
    if room is None or room.indexed.seq >= len(room.log):
        return None
    room.indexed.seq += 1
    return room.indexed.seq


def rooms_due(rooms: Mapping[RoomId, StoredRoom], after: RoomId, limit: int) -> Sequence[RoomDue]:
    """See `Store.rooms_due`."""
    due = [
        RoomDue(room_id, room.row.name, room.epoch, len(room.log) - room.indexed.seq)
        for room_id, room in sorted(rooms.items())
        if room_id > after and room.settled_epoch != room.epoch
    ]
    return due[:limit]


def settle_rooms(rooms: Mapping[RoomId, StoredRoom], seen: Sequence[RoomDue]) -> None:
    """See `Store.settle_rooms`."""
    for due in seen:
        room = rooms[due.room_id]
        if room.epoch == due.epoch and len(room.log) == room.indexed.seq:
            room.settled_epoch = due.epoch


def check_query(query: str) -> None:
    """Refuse what Postgres cannot take as text."""
    if "\0" in query:
        raise BadData("invalid byte sequence: 0x00")


def _event(entry: LogEntry) -> Event:
    return Event(entry.room_id, entry.seq, entry.at_ms, entry.kind, entry.data)
