"""Reading what follows from the log: the present of messages, reactions, pins and shared state.

The triggers of migrations 0004 and 0012 write it, together with the log's rows; edits are found in the log by
an index of their own. Each of these reads is one statement,
so that what it gives and the seq as of which it holds are of one snapshot.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from storage.database import Tx
from storage.history import ENTRY_COLUMNS, read_history
from storage.model import (
    FoldedMessage,
    FoldedPage,
    HistoryPage,
    LogEntry,
    PinPage,
    ReactionCount,
    ReactionRow,
    RoomId,
    StatePage,
    StateRow,
)
from storage.page import NO_BOUND

_DURABLE: Final = "coalesce((SELECT seq FROM log WHERE room_id = $1 ORDER BY seq DESC LIMIT 1), 0)"
_LOG_COLUMNS: Final = ", ".join(f"l.{column}" for column in ENTRY_COLUMNS.split(", "))

# LATERAL with LIMIT 1 rather than plain joins: the planner can then only look rows up, whatever it believes
# of their number.
FOLD: Final = f"""
SELECT head.seq AS durable_seq, m.seq, m.kind, m.author,
    CASE WHEN f.delete_seq IS NULL THEN coalesce(e.body, m.body) END AS body, coalesce(e.version, 1),
    e.at_ms, e.data, f.delete_seq, f.pin_seq, coalesce(f.thread_count, 0), f.thread_last,
    r.emojis, r.counts, r.owns
FROM (SELECT {_DURABLE} AS seq) AS head
LEFT JOIN (
    SELECT l.seq, l.kind, l.author, l.body FROM unnest($2::int8[]) AS wanted (seq)
    CROSS JOIN LATERAL (
        SELECT seq, kind, author, body FROM log WHERE room_id = $1 AND seq = wanted.seq LIMIT 1
    ) AS l
) AS m ON true
LEFT JOIN LATERAL (
    SELECT * FROM message_facts WHERE room_id = $1 AND seq = m.seq LIMIT 1
) AS f ON true
LEFT JOIN LATERAL (
    SELECT body, at_ms, data, (data::json ->> 'version')::bigint AS version FROM log
    WHERE room_id = $1 AND kind = 'edit' AND edit_of(data) = m.seq ORDER BY seq DESC LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    SELECT array_agg(c.emoji ORDER BY c.first_seq) AS emojis,
        array_agg(c.count ORDER BY c.first_seq) AS counts,
        array_agg(own.seq ORDER BY c.first_seq) AS owns
    FROM reaction_counts c
    LEFT JOIN LATERAL (
        SELECT seq FROM reactions
        WHERE room_id = $1 AND of_seq = m.seq AND emoji = c.emoji AND user_id = $3 LIMIT 1
    ) AS own ON true
    WHERE c.room_id = $1 AND c.of_seq = m.seq
) AS r ON true
"""  # noqa: S608  constants only

LIST_REACTIONS: Final = """
SELECT emoji, user_id, user_name, seq FROM reactions
WHERE room_id = $1 AND of_seq = $2 AND (emoji, user_id) > ($3, $4) ORDER BY emoji, user_id LIMIT $5
"""
LIST_REACTIONS_WITH: Final = """
SELECT emoji, user_id, user_name, seq FROM reactions
WHERE room_id = $1 AND of_seq = $2 AND (emoji, user_id) > ($3, $4) AND emoji = $6
ORDER BY emoji, user_id LIMIT $5
"""

LIST_PINS: Final = f"""
SELECT {_LOG_COLUMNS}
FROM (
    SELECT seq, pin_seq FROM message_facts
    WHERE room_id = $1 AND pin_seq < $2 AND pin_seq IS NOT NULL ORDER BY pin_seq DESC LIMIT $3
) AS f
CROSS JOIN LATERAL (SELECT * FROM log WHERE room_id = $1 AND seq = f.seq LIMIT 1) AS l
ORDER BY f.pin_seq DESC
"""  # noqa: S608  constants only

READ_STATE: Final = f"""
SELECT head.seq, s.key, s.value, s.version, s.seq
FROM (SELECT {_DURABLE} AS seq) AS head
LEFT JOIN (
    SELECT key, value, version, seq FROM room_state
    WHERE room_id = $1 AND key > $2 ORDER BY key LIMIT $3
) AS s ON true
ORDER BY s.key
"""  # noqa: S608  constants only
READ_STATE_KEY: Final = f"""
SELECT head.seq, s.key, s.value, s.version, s.seq
FROM (SELECT {_DURABLE} AS seq) AS head
LEFT JOIN (
    SELECT key, value, version, seq FROM room_state WHERE room_id = $1 AND key = $2 LIMIT 1
) AS s ON true
"""  # noqa: S608  constants only


async def fold_messages(tx: Tx, room_id: RoomId, seqs: Sequence[int], user_id: str) -> FoldedPage:
    """The present of some events; see `Store.fold_messages`."""
    rows = await tx.fetch_as(_folded, FOLD, room_id, list(seqs), user_id)
    return FoldedPage(rows[0][0], {message.seq: message for _, message in rows if message is not None})


async def list_reactions(
    tx: Tx, room_id: RoomId, seq: int, emoji: str | None, after: tuple[str, str] | None, limit: int
) -> Sequence[ReactionRow]:
    """Who reacted, by emoji and user; an emoji and an id are never empty, so empty ones are before all."""
    args = (room_id, seq, *(after or ("", "")), limit)
    if emoji is None:
        return await tx.fetch_as(ReactionRow, LIST_REACTIONS, *args)
    return await tx.fetch_as(ReactionRow, LIST_REACTIONS_WITH, *args, emoji)


async def list_pins(tx: Tx, room_id: RoomId, user_id: str, before: int | None, limit: int) -> PinPage:
    """Pinned messages, the latest pin first; in the snapshot that the caller has opened."""
    entries = await tx.fetch_as(LogEntry, LIST_PINS, room_id, NO_BOUND if before is None else before, limit)
    folded = await fold_messages(tx, room_id, [entry.seq for entry in entries], user_id)
    return PinPage(folded.durable_seq, [(entry, folded.messages[entry.seq]) for entry in entries])


async def read_folded(
    tx: Tx,
    read: tuple[RoomId, int | None, int | None, int | None, int | None, int],
    user_id: str,
) -> HistoryPage:
    """A page with its messages' present, in the snapshot that the caller has opened; see `Store.history`."""
    page = await read_history(tx, *read)
    seqs = [entry.seq for entry in page.items if entry.kind == "message"]
    folded = await fold_messages(tx, read[0], seqs, user_id) if seqs else FoldedPage(0, {})
    return replace(page, folded=folded.messages)


async def read_state(tx: Tx, room_id: RoomId, key: str | None, after: str | None, limit: int) -> StatePage:
    """The shared state by key; the row of the empty key is none of them."""
    if key is not None:
        rows = await tx.fetch_as(_state, READ_STATE_KEY, room_id, key)
    else:
        rows = await tx.fetch_as(_state, READ_STATE, room_id, after or "", limit)
    return StatePage(rows[0][0], [row for _, row in rows if row is not None])


def _folded(  # noqa: PLR0913, PLR0917  one argument per column
    durable_seq: int,
    seq: int | None,
    kind: str,
    author: str,
    body: str | None,
    version: int,
    edited_at_ms: int | None,
    edit_data: str | None,
    delete_seq: int | None,
    pin_seq: int | None,
    thread_count: int,
    thread_last: int | None,
    emojis: Sequence[str] | None,
    counts: Sequence[int] | None,
    owns: Sequence[int | None] | None,
) -> tuple[int, FoldedMessage | None]:
    if seq is None:
        return durable_seq, None
    reactions = list(map(ReactionCount, emojis or (), counts or (), owns or ()))
    return durable_seq, FoldedMessage(
        seq,
        kind,
        author,
        body,
        version,
        edited_at_ms,
        edit_data,
        delete_seq,
        pin_seq,
        thread_count,
        thread_last,
        reactions,
    )


def _state(
    durable_seq: int, key: str | None, value: str | None, version: int, seq: int
) -> tuple[int, StateRow | None]:
    return durable_seq, None if key is None else StateRow(key, value, version, seq)
