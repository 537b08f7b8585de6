"""Users from before there were passwords keep their tokens, and get a name to be found by."""

from pathlib import Path

from storage import Account, Database, PostgresStore, TokenRow, Tx, UserRow, migrate
from tests.storage.before import migrate_before

STEP = "0003_accounts.sql"
BEFORE = """
INSERT INTO users (id, name, role, created_at_ms) VALUES
    ('u_2', 'ann', 'user', 20), ('u_1', 'Ann', 'admin', 10), ('u_3', 'ANN', 'user', 10),
    ('u_4', 'Bob', 'user', 5);
INSERT INTO tokens (hash, user_id, created_at_ms) SELECT sha256(id::bytea), id, 0 FROM users;
"""


async def fill(tx: Tx) -> list[bytes]:
    """Users as an earlier version made them; their tokens' hashes in order of their ids."""
    await tx.execute(BEFORE)
    return await tx.fetch_as(bytes, "SELECT sha256(id::bytea) FROM users ORDER BY id")


async def test_names_that_differ_in_capitals_only_stay_apart(
    empty_database: Database, tmp_path: Path
) -> None:
    """The oldest has the name from now on; the others are found exactly, and come in with their tokens."""
    await migrate_before(empty_database, STEP, tmp_path)
    hashes = await empty_database.run(fill)
    await migrate(empty_database)
    store = PostgresStore(empty_database)

    oldest = UserRow("u_1", "Ann", "admin", 10)
    assert await store.find_account("ann") == Account(oldest, None)
    assert await store.find_account("bob") == Account(UserRow("u_4", "Bob", "user", 5), None)
    assert await store.find_user("ann", "ann") == UserRow("u_2", "ann", "user", 20)
    assert await store.find_user("ANN", "ann") == UserRow("u_3", "ANN", "user", 10)
    assert await store.find_user("aNN", "ann") == oldest
    found = await store.find_tokens(hashes, at_ms=0)
    assert [found[token] for token in hashes] == [
        TokenRow(oldest, None),
        TokenRow(UserRow("u_2", "ann", "user", 20), None),
        TokenRow(UserRow("u_3", "ANN", "user", 10), None),
        TokenRow(UserRow("u_4", "Bob", "user", 5), None),
    ]
