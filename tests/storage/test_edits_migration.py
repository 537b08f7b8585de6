"""Edits from before they were found in the log are found, and go with their messages."""

from pathlib import Path

from storage import Database, PostgresStore, Tx, migrate
from tests.storage.before import migrate_before
from tests.storage.rows import changed, message, new_room

STEP = "0012_edits_are_found_in_the_log.sql"


async def test_edits_from_before_are_folded_and_erased_with_their_messages(
    empty_database: Database, tmp_path: Path
) -> None:
    """The last one counts; what was pinned, deleted or answered stays so."""
    await migrate_before(empty_database, STEP, tmp_path)
    store = PostgresStore(empty_database)
    room = (await store.create_room(new_room())).room_id
    await store.activate("lobby", tail_events=0, at_ms=0)
    await store.append(
        [
            *(message(room, seq) for seq in (1, 2, 3, 4)),
            changed(room, 5, "edit", '{"of":1,"version":2}', body="once"),
            changed(room, 6, "edit", '{"of":1,"version":3}', body="twice"),
            changed(room, 7, "edit", '{"of":2,"version":2}', body="gone"),
            changed(room, 8, "delete", '{"of":2}'),
            changed(room, 9, "pin", '{"of":3}'),
            message(room, 10, thread=4),
        ]
    )

    await migrate(empty_database)

    page = await store.fold_messages(room, [1, 2, 3, 4], user_id="u_ann")
    folded = [page.messages[seq] for seq in (1, 2, 3, 4)]
    assert [(each.body, each.version) for each in folded[:2]] == [("twice", 3), (None, 2)]
    assert (folded[1].delete_seq, folded[2].pin_seq, folded[3].thread_count) == (8, 9, 1)

    await store.append([changed(room, 11, "delete", '{"of":1}')])

    async def texts(tx: Tx) -> list[str]:
        return await tx.fetch_as(str, "SELECT body FROM log WHERE kind = 'edit' AND body IS NOT NULL")

    assert await empty_database.run(texts, timeout_s=5.0) == []
