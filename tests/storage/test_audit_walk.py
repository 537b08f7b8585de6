"""Tampering with the audit is found, whoever has the database."""

from collections.abc import Sequence

import pytest

from storage import Database, LogEntry, PostgresStore, RoomId, Tx
from storage.audit_check import Finding
from storage.audit_walk import STRETCH, walk_audit
from tests.storage.contract_governance import act, invite, kick, promote, sanction
from tests.storage.rows import changed, message, owned_room


async def fill(store: PostgresStore) -> tuple[RoomId, RoomId]:
    """Two rooms in which everything was done that the audit has, and what it has not."""
    room, other = await owned_room(store), await owned_room(store, "other")
    batch: Sequence[LogEntry] = [
        message(room, 1),
        invite(room, 2),
        promote(room, 3),
        act(room, 4, "room", topic="tea"),
        changed(room, 5, "delete", '{"of":1,"reason":"spam"}', by="u_mod"),
        message(room, 6),
        changed(room, 7, "delete", '{"of":6}'),
        act(room, 8, "member", by="u_ann", user="u_ann", name="A", role=None, action="leave"),
        sanction(room, 9, "mute", until=5, reason="loud"),
        sanction(room, 10, "unmute"),
        changed(room, 11, "role", "null"),
        kick(room, 12),
        changed(room, 13, "purge", '{"seqs":[1,6],"user":"u_ann","reason":"spam"}', by="u_mod"),
        act(room, 14, "announce", body="tea is ready"),
        act(room, 15, "role", by="u_ann", user="u_ann", name="A", role="member"),
        act(room, 16, "purge", by="u_ann", user="u_ann", seqs=[6]),
        act(room, 17, "room", archived=True, retention=86_400),
        act(room, 18, "act", action="reset", user="u_mod", name="M", reason="lost"),
        act(room, 19, "act", action="drain"),
        act(room, 20, "act", action="report", user="u_ann", report=7, state="resolved", reason="warned"),
        act(room, 21, "act", by="u_ann", action="report", user="u_ann", report=8, state="dismissed"),
    ]
    await store.append(batch)
    await store.append([invite(other, 1), kick(other, 2)])
    return room, other


async def test_an_audit_that_nobody_touched_is_whole(database: Database) -> None:
    """Every kind of act, and events that are none; all rooms are counted."""
    await fill(PostgresStore(database))
    counts: list[int] = []

    walked = await walk_audit(database, counts.append)

    assert (walked.rooms, walked.rows, walked.findings) == (2, 18, [])
    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("sql", "seq"),
    [
        ("UPDATE audit SET reason = 'nothing' WHERE room_id = $1 AND seq = 9", 9),
        ("UPDATE audit SET actor = 'u_other' WHERE room_id = $1 AND seq = 4", 4),
        ("UPDATE audit SET hash = sha256(hash) WHERE room_id = $1 AND seq = 3", 3),
        ("DELETE FROM audit WHERE room_id = $1 AND seq = 2", 2),
        ("DELETE FROM audit WHERE room_id = $1 AND seq = 5", 5),
        ("DELETE FROM audit WHERE room_id = $1 AND seq = 21", 21),
        ("DELETE FROM audit WHERE room_id = $1", 2),
        ("UPDATE log SET data = replace(data, 'loud', 'quiet') WHERE room_id = $1 AND seq = 9", 9),
        ("UPDATE log SET author = 'u_other' WHERE room_id = $1 AND seq = 4", 4),
        ("UPDATE log SET kind = 'void', data = NULL WHERE room_id = $1 AND seq = 3", 3),
        ("DELETE FROM log WHERE room_id = $1 AND seq = 21", 21),
        ("UPDATE log SET data = replace(data, 'resolved', 'dismissed') WHERE room_id = $1 AND seq = 20", 20),
        (
            """
            INSERT INTO audit (room_id, seq, at_ms, actor, actor_name, action, hash)
            SELECT room_id, 22, at_ms, actor, actor_name, 'ban', hash
            FROM audit WHERE room_id = $1 AND seq = 12
            """,
            22,
        ),
    ],
)
async def test_what_was_tampered_with_is_found(database: Database, sql: str, seq: int) -> None:
    """The first row of the room that is not in order is named; the other room is as it was."""
    room, _ = await fill(PostgresStore(database))

    async def tamper(tx: Tx) -> None:
        await tx.execute(sql, room)

    await database.run(tamper, timeout_s=10)
    (finding,) = (await walk_audit(database, lambda _: None)).findings

    assert (finding.room, finding.seq) == ("lobby", seq)


async def test_a_chain_that_was_made_anew_is_found_by_the_log(database: Database) -> None:
    """Whoever knows how hashes are made has to change the log as well."""
    room, _ = await fill(PostgresStore(database))

    async def forge(tx: Tx) -> None:
        await tx.execute("DELETE FROM audit WHERE room_id = $1 AND seq >= 9", room)
        await tx.execute("CREATE TABLE shadow AS SELECT * FROM log WHERE room_id = $1 AND seq >= 9", room)
        await tx.execute("UPDATE shadow SET data = replace(data, 'loud', 'quiet')")
        await tx.execute("DELETE FROM log WHERE room_id = $1 AND seq >= 9", room)
        await tx.execute("INSERT INTO log SELECT * FROM shadow ORDER BY seq")  # the trigger makes the hashes
        await tx.execute("UPDATE log SET data = replace(data, 'quiet', 'loud') WHERE room_id = $1", room)

    await database.run(forge, timeout_s=10)

    expected = Finding("lobby", 9, "the log does not say so")
    assert (await walk_audit(database, lambda _: None)).findings == [expected]


@pytest.mark.slow
async def test_a_long_log_is_walked_by_stretches(database: Database) -> None:
    """The chain goes on from one to the next."""
    store = PostgresStore(database)
    room = await owned_room(store)
    await store.append([invite(room, 1), *(message(room, seq) for seq in range(2, STRETCH + 1))])
    await store.append([kick(room, STRETCH + 1)])

    walked = await walk_audit(database, lambda _: None)

    assert (walked.rows, walked.findings) == (2, [])
