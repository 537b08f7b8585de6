"""No query reads a whole table: every plan, custom and generic, in a database of some size."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

import pytest

from storage import (
    Database,
    Tx,
    accounts,
    append,
    audit,
    history,
    messages,
    projections,
    retention,
    reviews,
    rooms,
    search,
    search_index,
)
from storage.page import NO_BOUND
from storage.search_tags import TAGS_SQL

ROOMS, MESSAGES, USERS = 400, 20_000, 3_000

FILL = f"""
INSERT INTO rooms (epoch, created_at_ms, slow_s, strict, kind, name, topic, created_by, search_due, language)
SELECT 1, 0, 0, false, 'public', 'room' || lpad(i::text, 6, '0'), '', 'u_1', i % 10 = 0,
    CASE WHEN i % 7 = 0 THEN 'english' ELSE 'simple' END
FROM generate_series(1, {ROOMS}) i;

INSERT INTO log (room_id, seq, epoch, at_ms, n, kind, author, author_name, cid, body)
SELECT i % 5 + 1, i / 5 + 1, 1, i, i / 5 + 1, 'message', 'u_' || i % 100, '', 'c' || i, repeat('x', 80)
FROM generate_series(0, {MESSAGES - 1}) i;

INSERT INTO log (room_id, seq, epoch, at_ms, n, kind, author, author_name)
SELECT i, 1, 1, 0, 0, 'room', '', '' FROM generate_series(6, {ROOMS}) i;

INSERT INTO room_epochs (room_id, epoch, head_seq, began_at_ms)
SELECT i % {ROOMS} + 1, i / {ROOMS}, i / {ROOMS}, 0 FROM generate_series(0, 9999) i;

INSERT INTO users (id, name, name_key, role, created_at_ms)
SELECT 'u_' || i, 'User' || i, 'user' || i, 'user', 0 FROM generate_series(1, {USERS}) i;

INSERT INTO members (room_id, joined_at_ms, read_seq, read_n, user_id, name, role, room_name)
SELECT r.id, 0, 0, 0, u.id, u.name, 'member', r.name
FROM users u JOIN rooms r ON (substr(u.id, 3)::int + r.id) % 100 = 0;

INSERT INTO tokens (hash, user_id, created_at_ms) SELECT sha256(id::bytea), id, 0 FROM users;

INSERT INTO parked (room_id, seq, entry, error) SELECT i % 300 + 1, i, '', '' FROM generate_series(1, 5000) i;

INSERT INTO search_positions (room_id, indexed_seq, at_ms) SELECT id, 1, id FROM rooms;

INSERT INTO search_messages (room_id, seq, at_ms, text_seq, tsv)
SELECT room_id, seq, at_ms, seq, to_tsvector('simple', 'word' || seq % 50 || ' w' || at_ms)
    || array_to_tsvector({TAGS_SQL.format(room_id="room_id", language="'simple'", at_ms="at_ms")})
FROM log WHERE kind = 'message';
INSERT INTO revocations (at_ms, user_id) SELECT i, 'u_' || i FROM generate_series(1, 5000) i;
INSERT INTO log (room_id, seq, epoch, at_ms, n, thread, kind, author, author_name, body)
SELECT i % 5 + 1, 100000 + i / 5, 1, i, i / 5 + 1, i / 50 + 1, 'message', 'u_1', '', 'x'
FROM generate_series(0, 9999) i;

INSERT INTO log (room_id, seq, epoch, at_ms, n, kind, author, author_name, body, data)
SELECT i % 5 + 1, 200000 + i / 5, 1, i, 0, k.kind, 'u_' || i % 100, '', 'x', format(
    '{{"of":%s,"version":2,"emoji":"e%s","key":"k%s","value":%s}}', i / 50 + 1, i % 9, i % 200, i
)
FROM generate_series(0, 9999) i, LATERAL (
    SELECT (ARRAY['edit', 'react', 'pin', 'state'])[i % 4 + 1] AS kind
) AS k;

INSERT INTO sanctions (room_id, seq, user_id, kind, name)
SELECT i % 300 + 1, 1, 'u_' || i / 300, 'mute', '' FROM generate_series(1, 5000) i;

INSERT INTO audit (room_id, seq, at_ms, actor, actor_name, action, hash)
SELECT i % 5 + 1, i, i, 'u_1', '', 'update', '' FROM generate_series(1, 9999) i;


INSERT INTO mentions (room_id, seq, user_id, author)
SELECT room_id, seq, CASE WHEN seq % 9 = 0 THEN '' ELSE 'u_' || seq % 100 END, author
FROM log WHERE kind = 'message' AND seq % 3 = 0;


INSERT INTO automod_rules (room_id, version, at_ms, author, author_name, rules)
SELECT i % 300 + 1, i / 300, 0, '', '', '' FROM generate_series(1, 9999) i;

INSERT INTO reports
    (room_id, seq, at_ms, changed_at_ms, kind, state, room, reporter, reporter_name, author, author_name,
    reason, cid)
SELECT i % 20 + 1, CASE WHEN i % 3 > 0 THEN i END, 0, 0, CASE WHEN i % 3 > 0 THEN 'person' ELSE 'held' END,
    CASE WHEN i % 10 = 0 THEN 'open' ELSE 'resolved' END, '', 'u_' || i % 100, '', 'u_1', '', '', 'c' || i
FROM generate_series(1, 20000) i;

INSERT INTO secrets (name, value) SELECT 'name' || i, '' FROM generate_series(1, 3000) i;

ANALYZE;
"""  # noqa: S608  constants only

EDITS_OF = """
SELECT seq FROM log WHERE room_id = $1 AND kind = 'edit' AND edit_of(data) = ANY ($2::int8[]) AND seq < $3
"""
"""As the triggers of migration 0012 do, for one message and for many."""
WAITING_OF_TEXT = """
SELECT FROM reports
WHERE room_id = $1 AND seq = $2 AND state IN ('open', 'claimed') AND body IS NOT DISTINCT FROM $3 LIMIT 20
"""
WAITING_OF_KIND = """
SELECT FROM reports WHERE room_id = $1 AND kind = $2 AND state IN ('open', 'claimed') LIMIT 1000
"""
"""As the trigger of migration 0013 does."""
DELETE_MENTIONS = "DELETE FROM mentions WHERE room_id = $1 AND seq = $2"
"""As the trigger of migration 0007 does."""
ONE, TWO = "{1}", "{1,2}"
BOUND = str(NO_BOUND)
SEARCHES: Mapping[str, tuple[str, Sequence[str]]] = {
    "search.find": (search.FIND, ["''word7'' & ''r 1''", BOUND, BOUND, BOUND, "0", "u_5", "51", "9", "f"]),
    "search.find_all": (search.FIND, ["''w77''", BOUND, BOUND, BOUND, "0", "u_5", "51", "9", "f"]),
    "search.show": (search.SHOW, [TWO, TWO, TWO, "word", "[", "]"]),
}
"""As a search asks them: after its settings."""
QUERIES: Mapping[str, tuple[str, Sequence[str]]] = {
    "history.before": (history.PAGE_BEFORE, ["1", "2000", "50"]),
    "history.latest": (history.PAGE_BEFORE, ["1", str(NO_BOUND), "50"]),
    "history.after": (history.PAGE_AFTER, ["1", "2000", "50"]),
    "history.around": (history.PAGE_AROUND, ["1", "2000", "25", "25"]),
    "history.find_cids": (history.FIND_CIDS, ["1", "u_5", "{c5,c105}"]),
    "history.thread_before": (history.THREAD_BEFORE, ["1", "102000", "50", "7"]),
    "history.thread_after": (history.THREAD_AFTER, ["1", "100", "50", "7"]),
    "history.thread_around": (history.THREAD_AROUND, ["1", "100100", "25", "25", "7"]),
    "projections.fold": (projections.FOLD, ["1", "{1,2,3}", "u_5"]),
    "projections.reactions": (projections.LIST_REACTIONS, ["1", "5", "e1", "u_5", "50"]),
    "projections.reactions_with": (projections.LIST_REACTIONS_WITH, ["1", "5", "e1", "u_5", "50", "e1"]),
    "projections.pins": (projections.LIST_PINS, ["1", "200100", "50"]),
    "projections.state": (projections.READ_STATE, ["1", "k1", "50"]),
    "projections.state_key": (projections.READ_STATE_KEY, ["1", "k1"]),
    "rooms.all_state": (rooms.ALL_STATE, ["1"]),
    "rooms.all_sanctions": (rooms.ALL_SANCTIONS, ["1"]),
    "audit.of_room": (audit.OF_ROOM, ["1", "5000", "50"]),
    "audit.of_all": (audit.OF_ALL, ["5000", "1", "5000", "50"]),
    "audit.chain": (audit.CHAIN, ["1", "5000", "50"]),
    "reviews.read_rules": (reviews.READ_RULES, ["5"]),
    "reviews.write_rules": (reviews.WRITE_RULES, ["5", "1", "0", "u_1", "", "[]"]),
    "reviews.forget_rules": (reviews.FORGET_RULES, ["5", "3"]),
    "reviews.find_filed": (
        reviews.FIND_FILED,
        [TWO, TWO, "{u_5,u_6}", "{u_1,u_1}", "{c5,c6}", "{person,person}", "{x,y}"],
    ),
    "reviews.waiting_of_text": (WAITING_OF_TEXT, ["5", "100", "x"]),
    "reviews.waiting_of_kind": (WAITING_OF_KIND, ["5", "person"]),
    "reviews.find": (reviews.FIND_REPORT, ["5"]),
    "reviews.all_of_room": (reviews.ALL_OF_ROOM, ["5", "100", "50", "u_5"]),
    "reviews.waiting_of_room": (reviews.WAITING_OF_ROOM, ["5", "100", "50", "u_5"]),
    "reviews.all_of_all": (reviews.ALL_OF_ALL, ["100", "50", "u_5"]),
    "reviews.waiting_of_all": (reviews.WAITING_OF_ALL, ["100", "50", "u_5"]),
    "reviews.all_of_reporter": (reviews.ALL_OF_REPORTER, ["u_5", "100", "50"]),
    "reviews.waiting_of_reporter": (reviews.WAITING_OF_REPORTER, ["u_5", "100", "50"]),
    "reviews.move": (reviews.MOVE, ["5", "claimed", "u_1", "", "0", "f", "x", "y", "9"]),
    "reviews.erase_copies": (reviews.ERASE_COPIES, ["5", "50"]),
    "reviews.count_waiting": (reviews.COUNT_WAITING, [TWO, "1000"]),
    "rooms.find": (rooms.FIND_ROOM, ["room000100"]),
    "rooms.list": (rooms.LIST_ROOMS, ["room000100", "50"]),
    "retention.rooms": (retention.ROOMS_RETAINED, ["100", "50"]),
    "retention.note": (retention.NOTE_RETAINED, ["5", "9"]),
    "rooms.list_all": (rooms.LIST_ALL_ROOMS, ["room000100", "50"]),
    "rooms.user_sanctions": (rooms.USER_SANCTIONS, ["u_5", "7", "ban", "50"]),
    "rooms.room_sanctions": (rooms.ROOM_SANCTIONS, ["5", "u_5", "ban", "0", "50"]),
    "rooms.raise_epoch": (rooms.RAISE_EPOCH, ["room000100"]),
    "rooms.tail": (rooms.TAIL, ["1", "100"]),
    "rooms.epochs": (rooms.EPOCHS, ["1"]),
    "rooms.write_epoch": (rooms.WRITE_EPOCH, ["1", "999", "9", "0", "{1,999}"]),
    "rooms.all_members": (rooms.ALL_MEMBERS, ["1"]),
    "rooms.list_members": (rooms.LIST_MEMBERS, ["1", "u_5", "50"]),
    "rooms.memberships": (rooms.MEMBERSHIPS, ["{u_5,u_6}", "room000005", "50"]),
    "rooms.move_pointers": (rooms.MOVE_POINTERS, [TWO, "{u_5,u_6}", TWO]),
    "projections.edits": (EDITS_OF, ["1", "{1,2,3}", "5000"]),
    "mentions.replace": (DELETE_MENTIONS, ["1", "5"]),
    "accounts.find_tokens": (accounts.FIND_TOKENS, ["{\\\\xab,\\\\xcd}", "0"]),
    "accounts.find_user": (accounts.FIND_USER, ["User5", "user5"]),
    "messages.first_since": (messages.FIRST_SINCE, ["1", "5000"]),
    "messages.head": (messages.HEAD, ["1"]),
    "messages.find": (messages.FIND, ["1", "100", "5000", "50"]),
    "messages.find_of": (messages.FIND_OF, ["1", "100", "5000", "50", "u_5"]),
    "messages.find_seqs": (messages.FIND_SEQS, ["1", "{1,2,3}", "u_5"]),
    "accounts.find_users": (accounts.FIND_USERS, ["{u_5,u_6}"]),
    "accounts.list_users": (accounts.LIST_USERS, ["user1", "user2", "u_5", "50"]),
    "accounts.list_staff": (accounts.LIST_STAFF, ["50"]),
    "accounts.find_account": (accounts.FIND_ACCOUNT, ["user5"]),
    "accounts.set_password": (accounts.SET_PASSWORD, ["u_5", "user5", "x", "y"]),
    "accounts.lock_admins": (accounts.LOCK_ADMINS, []),
    "accounts.set_role": (accounts.SET_ROLE, ["u_5", "moderator"]),
    "accounts.forget_tokens": (accounts.FORGET_TOKENS, ["u_5", "0"]),
    "accounts.list_tokens": (accounts.LIST_TOKENS, ["u_5", "9"]),
    "accounts.revoke_tokens": (accounts.REVOKE_TOKENS, ["\\xab", "\\xabff", "0"]),
    "accounts.revoke_user": (accounts.REVOKE_USER, ["u_5", "0"]),
    "accounts.forget_revocations": (accounts.FORGET_REVOCATIONS, ["5"]),
    "accounts.last_revocation": (accounts.LAST_REVOCATION, []),
    "accounts.revocations": (accounts.REVOCATIONS, ["4990", "100"]),
    "accounts.find_issued": (accounts.FIND_ISSUED, ["{u_5,u_6}"]),
    "accounts.insert_token": (accounts.INSERT_TOKEN, ["\\xab", "u_5", "0", "0", "x"]),
    "accounts.find_secret": (accounts.FIND_SECRET, ["name5"]),
    "search.readable_room": (search.READABLE_ROOM, ["room000100", "u_5", "9", "f"]),
    "search.newest": (search.NEWEST, []),
    "search.languages": (search.LANGUAGES_IN_USE, []),
    "search.room_number": (search.ROOM_NUMBER, ["room000100"]),
    "search.index.begin": (search_index.BEGIN_POSITIONS, [TWO]),
    "search.index.lock": (search_index.LOCK_POSITIONS, [TWO]),
    "search.index.read": (search_index.READ_EVENTS, [TWO, TWO, "1000"]),
    "search.index.write": (search_index.WRITE_TEXTS, [TWO, TWO, TWO]),
    "search.index.delete": (search_index.DELETE_TEXTS, [TWO, TWO]),
    "search.index.advance": (search_index.ADVANCE, [TWO, TWO, TWO]),
    "search.index.skip": (search_index.SKIP, ["1"]),
    "search.index.due": (search_index.ROOMS_DUE, ["1", "100"]),
    "search.index.settle": (search_index.SETTLE, [TWO, TWO]),
    "append.regular": (
        append.APPEND_REGULAR,
        [TWO, ONE, ONE, ONE, "{m,m}", "{a,b}", "{a,b}", ONE, "{k,l}", "{x,y}", ONE, ONE, "{z}"],
    ),
    "append.lock": (append.LOCK_ROOMS, [TWO]),
    "append.heads": (append.HEADS, [TWO]),
    "append.fates": (append.FATES, [TWO, TWO, "{u_5,u_6}", "{c5,c6}", "{x,y}", "{message,edit}"]),
    "append.delete_members": (append.DELETE_MEMBERS, [TWO, "{u_5,u_6}", "{NULL,0}"]),
    "append.upsert_members": (
        append.UPSERT_MEMBERS,
        [TWO, "{u_5,u_6}", "{a,b}", "{member,member}", TWO, TWO, TWO],
    ),
}


def _nodes(plan: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield plan
    for child in cast("Sequence[Mapping[str, object]]", plan.get("Plans", ())):
        yield from _nodes(child)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_every_query_uses_an_index(
    database: Database, mode: Literal["force_custom_plan", "force_generic_plan"]
) -> None:
    """No plan scans a table from end to end, whether or not it knows the arguments."""

    async def explain_all(tx: Tx) -> dict[str, list[str]]:
        await tx.execute(FILL)
        await tx.execute(f"SET LOCAL plan_cache_mode = {mode}")
        scans: dict[str, list[str]] = {}
        for number, (name, (sql, args)) in enumerate((*QUERIES.items(), *SEARCHES.items())):
            if name == next(iter(SEARCHES)):
                await tx.execute(search.SETTINGS)
            values = ", ".join(f"'{arg}'" for arg in args)
            await tx.execute(f"PREPARE q{number} AS {sql}")
            call = f"q{number} ({values})" if args else f"q{number}"
            text = await tx.fetchval_as(str, f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
            ((root,),) = [json.loads(text)]
            nodes = list(_nodes(root["Plan"]))
            assert any("Index" in str(node["Node Type"]) for node in nodes), f"{name}: {text}"
            scans[name] = [str(node["Relation Name"]) for node in nodes if node["Node Type"] == "Seq Scan"]
        return scans

    scans = await database.run(explain_all, timeout_s=60)

    assert scans == {name: [] for name in (*QUERIES, *SEARCHES)}
