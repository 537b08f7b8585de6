"""Users, their tokens, and the server's secrets."""

from collections.abc import Mapping, Sequence
from typing import Final

from storage.database import Tx
from storage.errors import BadData
from storage.model import TokenRow, UserRow

FIND_TOKENS: Final = """
SELECT t.hash, u.id, u.name, u.role, t.expires_at_ms
FROM tokens t JOIN users u ON u.id = t.user_id
WHERE t.hash = ANY ($1::bytea[]) AND t.revoked_at_ms IS NULL
    AND (t.expires_at_ms IS NULL OR t.expires_at_ms > $2)
"""
INSERT_USER: Final = """
INSERT INTO users (id, name, role, created_at_ms) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO NOTHING
"""
FIND_USER: Final = "SELECT id, name, role FROM users WHERE name = $1"
INSERT_TOKEN: Final = """
INSERT INTO tokens (hash, user_id, created_at_ms, expires_at_ms)
SELECT $1, id, $3, $4 FROM users WHERE id = $2
"""  # noqa: S105  a statement, not a secret
INSERT_SECRET: Final = """
INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
"""  # noqa: S105  same
FIND_SECRET: Final = "SELECT value FROM secrets WHERE name = $1"  # noqa: S105  same


async def find_tokens(tx: Tx, hashes: Sequence[bytes], at_ms: int) -> Mapping[bytes, TokenRow]:
    """The tokens that are known, neither revoked nor expired."""
    return dict(await tx.fetch_as(_token, FIND_TOKENS, list(hashes), at_ms))


async def create_user(tx: Tx, user: UserRow, at_ms: int) -> UserRow:
    """Create a registered user, or return the one who has this name already.

    Two statements: the second sees a user whom someone else created at the same moment.
    """
    await tx.execute(INSERT_USER, user.user_id, user.name, user.role, at_ms)
    found = await tx.fetchrow_as(UserRow, FIND_USER, user.name)
    return user if found is None else found


async def create_token(
    tx: Tx, user_id: str, token_hash: bytes, at_ms: int, expires_at_ms: int | None
) -> None:
    """Remember a token of a user by its hash.

    Raises:
        BadData: there is no such user.
    """
    if await tx.execute(INSERT_TOKEN, token_hash, user_id, at_ms, expires_at_ms) != "INSERT 0 1":
        raise BadData(f"there is no user {user_id!r}")


async def secret(tx: Tx, name: str, candidate: bytes) -> bytes:
    """The secret of this name; `candidate` becomes it when there is none yet.

    Two statements: the second sees a secret that someone else wrote at the same moment.
    """
    await tx.execute(INSERT_SECRET, name, candidate)
    return await tx.fetchval_as(bytes, FIND_SECRET, name)


def _token(
    token_hash: bytes, user_id: str, name: str, role: str, expires_at_ms: int | None
) -> tuple[bytes, TokenRow]:
    return token_hash, TokenRow(UserRow(user_id, name, role), expires_at_ms)
