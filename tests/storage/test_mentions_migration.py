"""What was said before there were counts of mentions counts, too."""

from pathlib import Path

from storage import Database, PostgresStore, Tx, migrate
from tests.storage.before import migrate_before
from tests.storage.rows import change, changed, message, new_room

STEP = "0007_read_pointers_and_mentions.sql"


async def test_messages_from_before_mention_by_their_present_texts(
    empty_database: Database, tmp_path: Path
) -> None:
    """The last edit of a message counts, and a deleted one mentions nobody."""
    await migrate_before(empty_database, STEP, tmp_path)
    store = PostgresStore(empty_database)
    room = (await store.create_room(new_room())).room_id

    async def own(tx: Tx) -> None:
        # Not by an activation: that reads tables of later steps.
        await tx.execute("UPDATE rooms SET epoch = 1")

    await empty_database.run(own, timeout_s=5.0)
    named = '{"mentions":["u_bob"]}'
    await store.append(
        [
            *(change(room, user) for user in ("u_bob", "u_cat")),
            *(message(room, seq, data=named) for seq in (1, 2, 3, 4)),
            message(room, 5, data='{"here":true}', by="u_bob"),
            message(room, 6, data="nonsense"),
            message(room, 7, data=named, by="u_bob"),
            changed(room, 8, "edit", '{"of":2,"version":2}', body="b"),
            changed(room, 9, "edit", '{"of":3,"version":2,"mentions":["u_cat"]}', body="b"),
            changed(room, 10, "delete", '{"of":4}'),
        ]
    )

    await migrate(empty_database)

    pages = await store.memberships(["u_bob", "u_cat"], after=None, limit=9)
    assert {user: page.rooms[0].mentions for user, page in pages.items()} == {"u_bob": 1, "u_cat": 2}
