"""Names that became the server's own: rooms that had them go on under others."""

from pathlib import Path

from storage import Database, PostgresStore, Tx, migrate
from tests.storage.before import migrate_before
from tests.storage.rows import new_room

STEP = "0005_governance.sql"


async def test_a_room_with_a_name_of_the_servers_gets_another(
    empty_database: Database, tmp_path: Path
) -> None:
    """Its members find it there, and the name is free for what it is for."""
    await migrate_before(empty_database, STEP, tmp_path)
    store = PostgresStore(empty_database)

    async def make(tx: Tx) -> None:
        for name in ("sys.server", "dm.x", "system"):
            await tx.execute(
                """
                WITH made AS (
                    INSERT INTO rooms (created_at_ms, slow_s, strict, kind, name, topic, created_by)
                    VALUES (0, 0, false, 'public', $1, '', 'u_eve') RETURNING id
                )
                INSERT INTO members (room_id, joined_at_ms, read_seq, read_n, user_id, name, role, room_name)
                SELECT id, 0, 0, 0, 'u_eve', 'Eve', 'owner', $1 FROM made
                """,
                name,
            )

    await empty_database.run(make, timeout_s=5.0)

    await migrate(empty_database)

    rooms = [row.name for row in await store.list_rooms(after=None, limit=9)]
    assert rooms == ["renamed-1.sys.server", "renamed-2.dm.x", "system"]
    pages = await store.memberships(["u_eve"], after=None, limit=9)
    assert [room.room for room in pages["u_eve"].rooms] == rooms
    await store.create_room(new_room("sys.server", "private"))
