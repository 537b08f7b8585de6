"""Finding messages: one index for words, rooms and time; newest first, and only what the asker may read.

All statements of a search see one state of the database, so what is said of the index's position is true of
the hits beside it. No hit is read that is not shown but those of the last span (`storage/search_tags.py`).
"""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from storage.database import Tx
from storage.errors import TooSlow
from storage.fragments import START, STOP, pieces
from storage.model import RoomId
from storage.page import NO_BOUND
from storage.search_model import SearchAsk, SearchHit, SearchKey, SearchPage
from storage.search_tags import SMALL_ROOM_EVENTS, language_tag, next_window, room_tag, windows

STATEMENT_MS: Final = 1000
"""The longest that one statement of a search may take, and the latest that another one is begun."""

# The planner cannot know how rare a word of an argument is. Every statement here is meant to use an index.
SETTINGS: Final = f"""
SELECT set_config('statement_timeout', '{STATEMENT_MS}', true), set_config('enable_seqscan', 'off', true),
    set_config('jit', 'off', true)
"""

READABLE_ROOM: Final = """
SELECT r.id, r.language, coalesce(p.indexed_seq, 0), coalesce(p.at_ms, 0),
    coalesce((SELECT seq FROM log WHERE room_id = r.id ORDER BY seq DESC LIMIT 1), 0)
FROM rooms r LEFT JOIN search_positions p ON p.room_id = r.id
WHERE r.name = $1
    AND (
        $4
        OR EXISTS (SELECT FROM members m WHERE m.room_id = r.id AND m.user_id = $2)
        OR r.kind = 'public' AND NOT EXISTS (
            SELECT FROM sanctions s WHERE s.room_id = r.id AND s.user_id = $2 AND s.kind = 'ban'
                AND (s.until_ms IS NULL OR s.until_ms > $3)
        )
    )
"""

NEWEST: Final = "SELECT at_ms FROM search_positions ORDER BY at_ms DESC LIMIT 1"

# From one language to the next in the index, however many rooms there are.
LANGUAGES_IN_USE: Final = """
WITH RECURSIVE used AS (
    (SELECT language FROM rooms ORDER BY language LIMIT 1)
    UNION ALL
    SELECT (SELECT r.language FROM rooms r WHERE r.language > used.language ORDER BY r.language LIMIT 1)
    FROM used WHERE used.language IS NOT NULL
)
SELECT language FROM used WHERE language IS NOT NULL
"""

# What has no word that must be there ("T", or nothing) cannot be looked up.
PARSE: Final = """
SELECT language, parsed::text, querytree(parsed) NOT IN ('', 'T')
FROM (
    SELECT language, websearch_to_tsquery(language::regconfig, $2) AS parsed
    FROM unnest($1::text[]) AS language
) AS each
"""

ROOM_NUMBER: Final = "SELECT id FROM rooms WHERE name = $1"

# The right to read is looked up for each candidate, by primary keys: a join might become a scan of all rooms.
FIND: Final = """
SELECT m.room_id, m.seq, m.at_ms, m.text_seq
FROM search_messages m
WHERE m.tsv @@ $1::text::tsquery
    AND (m.at_ms, m.room_id, m.seq) < ($2, $3, $4) AND m.at_ms >= $5
    AND ($9 OR (
        SELECT EXISTS (SELECT FROM members WHERE members.room_id = r.id AND members.user_id = $6)
            OR r.kind = 'public' AND NOT EXISTS (
                SELECT FROM sanctions s WHERE s.room_id = r.id AND s.user_id = $6 AND s.kind = 'ban'
                    AND (s.until_ms IS NULL OR s.until_ms > $8)
            )
        FROM rooms r WHERE r.id = m.room_id
    ))
ORDER BY m.at_ms DESC, m.room_id DESC, m.seq DESC
LIMIT $7
"""

# The text as it is now: what was erased is not shown, however far the index is.
SHOW: Final = """
SELECT r.name, hit.seq, said.at_ms, said.author, said.author_name,
    ts_headline(
        r.language::regconfig,
        translate(text.body, $5 || $6, ''),
        websearch_to_tsquery(r.language::regconfig, $4),
        'StartSel="' || $5 || '", StopSel="' || $6 || '", MaxWords=24, MinWords=12, ShortWord=0'
    )
FROM unnest($1::int8[], $2::int8[], $3::int8[]) WITH ORDINALITY AS hit (room_id, seq, text_seq, i)
JOIN rooms r ON r.id = hit.room_id
JOIN log said ON said.room_id = hit.room_id AND said.seq = hit.seq
JOIN log text ON text.room_id = hit.room_id AND text.seq = hit.text_seq
ORDER BY hit.i
"""


class _Found(NamedTuple):
    room_id: RoomId
    seq: int
    at_ms: int
    text_seq: int


class _Scope(NamedTuple):
    """Where is searched.

    Attributes:
        room_id: the one room; None: all that may be read.
        indexed_seq, head_seq: of the one room.
        newest_ms: the time of the newest indexed event there.
        languages: of the rooms there.
    """

    room_id: RoomId | None
    indexed_seq: int | None
    head_seq: int | None
    newest_ms: int
    languages: Sequence[str]


async def search(tx: Tx, ask: SearchAsk) -> SearchPage | None:
    """A page of hits, in the snapshot that the caller has opened; see `Store.search`.

    Raises:
        TooSlow: it takes longer than it may.
    """
    last_begin_s = time.monotonic() + STATEMENT_MS / 1000
    await tx.execute(SETTINGS)
    scope = await _scope(tx, ask)
    if scope is None:
        return None
    words = await _words(tx, ask, scope)
    if words is None:
        return _page(scope, [], None, searchable=False)
    found = await _find(tx, ask, scope, words, last_begin_s)
    shown = found[: ask.limit]
    if not shown:
        return _page(scope, [], None)
    columns = zip(*[(hit.room_id, hit.seq, hit.text_seq) for hit in shown], strict=True)
    rows = await tx.fetch_as(_hit, SHOW, *columns, ask.query, START, STOP)
    more = rows[-1][0] if len(found) > ask.limit else None
    return _page(scope, [hit for _, hit in rows if hit is not None], more)


async def _scope(tx: Tx, ask: SearchAsk) -> _Scope | None:
    if ask.room is not None:
        return await tx.fetchrow_as(_one_room, READABLE_ROOM, ask.room, ask.user_id, ask.now_ms, ask.oversees)
    newest_ms = await tx.fetchrow_as(int, NEWEST) or 0
    languages = await tx.fetch_as(str, LANGUAGES_IN_USE)
    return _Scope(None, None, None, newest_ms, languages)


async def _words(tx: Tx, ask: SearchAsk, scope: _Scope) -> str | None:
    """The words and the room as a tsquery; None when there is no word that must be there."""
    parsed = [
        (language, query)
        for language, query, searchable in await tx.fetch_as(_parsed, PARSE, scope.languages, ask.query)
        if searchable
    ]
    if not parsed:
        return None
    if scope.room_id is not None:
        return f"({parsed[0][1]}) & {room_tag(scope.room_id)}"
    if len(scope.languages) == 1:
        return f"({parsed[0][1]})"
    return "(" + " | ".join(f"({query}) & {language_tag(language)}" for language, query in parsed) + ")"


async def _find(tx: Tx, ask: SearchAsk, scope: _Scope, words: str, last_begin_s: float) -> list[_Found]:
    """One hit more than asked for, when there is one more."""
    wanted = ask.limit + 1
    newest_ms, upper = scope.newest_ms, (NO_BOUND, NO_BOUND, NO_BOUND)
    if ask.before is not None:
        room_id = scope.room_id or await tx.fetchrow_as(RoomId, ROOM_NUMBER, ask.before.room) or 0
        newest_ms = min(newest_ms, ask.before.at_ms)
        upper = (ask.before.at_ms, room_id, ask.before.seq)
    in_any = ask.oversees and scope.room_id is not None
    small = scope.indexed_seq is not None and scope.indexed_seq <= SMALL_ROOM_EVENTS
    found: list[_Found] = []
    looks = windows(newest_ms, small=small)
    place = 0
    while place < len(looks):
        if time.monotonic() > last_begin_s:
            raise TooSlow("the search takes too long")
        look = looks[place]
        query = words if look.tags is None else f"{words} & {look.tags}"
        hits = await tx.fetch_as(
            _Found, FIND, query, *upper, look.low_ms, ask.user_id, wanted - len(found), ask.now_ms, in_any
        )
        found += hits
        if len(found) >= wanted or look.tags is None:
            break
        upper = (look.low_ms, 0, 0)
        place = next_window(place, len(hits), len(looks) - 1)
    return found


def _page(
    scope: _Scope, items: Sequence[SearchHit], more: SearchKey | None, *, searchable: bool = True
) -> SearchPage:
    return SearchPage(
        items=items,
        next=more,
        searchable=searchable,
        indexed_seq=scope.indexed_seq,
        durable_seq=scope.head_seq,
    )


def _one_room(room_id: RoomId, language: str, indexed_seq: int, newest_ms: int, head_seq: int) -> _Scope:
    return _Scope(room_id, indexed_seq, head_seq, newest_ms, [language])


def _parsed(language: str, query: str, searchable: bool) -> tuple[str, str, bool]:  # noqa: FBT001  a column
    return language, query, searchable


def _hit(
    room: str, seq: int, at_ms: int, by: str, name: str, marked: str | None
) -> tuple[SearchKey, SearchHit | None]:
    hit = None if marked is None else SearchHit(room, seq, at_ms, by, name, tuple(pieces(marked)))
    return SearchKey(at_ms, room, seq), hit
