"""Users, their passwords and tokens, what was revoked, and the server's secrets."""

from collections.abc import Mapping, Sequence
from typing import Final

from storage.database import Tx
from storage.errors import BadData, Conflict
from storage.model import Account, IssuedUser, NewUser, Revocation, Stranger, TokenInfo, TokenRow, UserRow

REVOCATIONS_KEPT_MS: Final = 7 * 86_400_000
"""How long a server may be without its database and still hear of what was revoked meanwhile."""
_HASH_BYTES: Final = 32
_LAST_CHARACTER: Final = "\U0010ffff"
_ORDER_REVOCATIONS: Final = "LOCK TABLE revocations IN SHARE ROW EXCLUSIVE MODE"

FIND_TOKENS: Final = """
SELECT t.hash, u.id, u.name, u.role, u.created_at_ms, t.expires_at_ms
FROM tokens t JOIN users u ON u.id = t.user_id
WHERE t.hash = ANY ($1::bytea[]) AND t.revoked_at_ms IS NULL
    AND (t.expires_at_ms IS NULL OR t.expires_at_ms > $2)
"""
INSERT_USER: Final = """
INSERT INTO users (id, name, name_key, role, password, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""
FIND_USER: Final = """
SELECT id, name, role, created_at_ms FROM users
WHERE name = $1 OR name_key = $2 ORDER BY (name = $1) DESC LIMIT 1
"""
FIND_USERS: Final = "SELECT id, name, role, created_at_ms FROM users WHERE id = ANY ($1::text[])"
LIST_USERS: Final = """
SELECT id, name, role, created_at_ms FROM users
WHERE name_key >= $1 AND name_key < $2
    AND name_key > coalesce((SELECT name_key FROM users WHERE id = $3), '')
ORDER BY name_key LIMIT $4
"""
LIST_STAFF: Final = """
SELECT id, name, role, created_at_ms FROM users WHERE role <> 'user' ORDER BY role, id LIMIT $1
"""
FIND_ACCOUNT: Final = "SELECT id, name, role, created_at_ms, password FROM users WHERE name_key = $1"
SET_PASSWORD: Final = """
UPDATE users SET password = $3, name_key = $2 WHERE id = $1 AND ($4::text IS NULL OR password = $4)
"""  # noqa: S105  a statement, not a secret
LOCK_ADMINS: Final = "SELECT id FROM users WHERE role = 'admin' ORDER BY id FOR UPDATE"
SET_ROLE: Final = "UPDATE users SET role = $2 WHERE id = $1"
INSERT_TOKEN: Final = """
INSERT INTO tokens (hash, user_id, created_at_ms, expires_at_ms)
SELECT $1, id, $3, $4 FROM users WHERE id = $2 AND ($5::text IS NULL OR password = $5) FOR SHARE
"""  # noqa: S105  same
FORGET_TOKENS: Final = """
DELETE FROM tokens WHERE user_id = $1 AND (expires_at_ms <= $2 OR revoked_at_ms <= $2)
"""
LIST_TOKENS: Final = """
SELECT hash, created_at_ms, expires_at_ms, revoked_at_ms FROM tokens WHERE user_id = $1
ORDER BY created_at_ms DESC, hash LIMIT $2
"""
REVOKE_TOKENS: Final = """
WITH revoked AS (
    UPDATE tokens SET revoked_at_ms = $3
    WHERE hash BETWEEN $1 AND $2 AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > $3)
    RETURNING hash, user_id
), told AS (
    INSERT INTO revocations (at_ms, token_hash, user_id) SELECT $3, hash, user_id FROM revoked
)
SELECT count(*) FROM revoked
"""
REVOKE_USER: Final = """
WITH revoked AS (
    UPDATE tokens SET revoked_at_ms = $2
    WHERE user_id = $1 AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > $2)
    RETURNING hash
), marked AS (
    UPDATE users SET revoked_before_ms = $2 WHERE id = $1
), told AS (
    INSERT INTO revocations (at_ms, token_hash, user_id)
    SELECT $2, hash, $1 FROM revoked UNION ALL SELECT $2, NULL, $1
)
SELECT count(*) FROM revoked
"""
FORGET_REVOCATIONS: Final = "DELETE FROM revocations WHERE at_ms < $1"
LAST_REVOCATION: Final = "SELECT id FROM revocations ORDER BY id DESC LIMIT 1"
REVOCATIONS: Final = """
SELECT id, token_hash, user_id FROM revocations WHERE id > $1 ORDER BY id LIMIT $2
"""
FIND_ISSUED: Final = """
SELECT id, name, role, created_at_ms, revoked_before_ms FROM users WHERE id = ANY ($1::text[])
"""
INSERT_ISSUED: Final = """
INSERT INTO users (id, name, name_key, role, created_at_ms)
SELECT *, $5 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT DO NOTHING
"""
INSERT_SECRET: Final = """
INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
"""  # noqa: S105  same
FIND_SECRET: Final = "SELECT value FROM secrets WHERE name = $1"  # noqa: S105  same


async def find_tokens(tx: Tx, hashes: Sequence[bytes], at_ms: int) -> Mapping[bytes, TokenRow]:
    """The tokens that are known, neither revoked nor expired."""
    return dict(await tx.fetch_as(_token, FIND_TOKENS, list(hashes), at_ms))


async def create_user(tx: Tx, user: NewUser, at_ms: int) -> UserRow:
    """Create a registered user, or return the one who has this name already.

    Several statements: the last sees a user whom someone else created at the same moment.

    Raises:
        Conflict: the user id is taken by another name.
    """
    found = await find_user(tx, user.name, user.name_key)
    if found is not None:
        return found
    done = await tx.execute(
        INSERT_USER, user.user_id, user.name, user.name_key, user.role, user.password, at_ms
    )
    if done == "INSERT 0 1":
        return UserRow(user.user_id, user.name, user.role, at_ms)
    found = await find_user(tx, user.name, user.name_key)
    if found is None:
        raise Conflict(f"the user id {user.user_id!r} is taken")
    return found


async def find_user(tx: Tx, name: str, name_key: str) -> UserRow | None:
    """The user of exactly this name, else the one whose name has this key."""
    return await tx.fetchrow_as(UserRow, FIND_USER, name, name_key)


async def find_users(tx: Tx, user_ids: Sequence[str]) -> Mapping[str, UserRow]:
    """The registered users of these ids."""
    return {user.user_id: user for user in await tx.fetch_as(UserRow, FIND_USERS, list(user_ids))}


async def list_users(tx: Tx, prefix: str, after: str | None, limit: int) -> Sequence[UserRow]:
    """The users whose name's key begins so, by key."""
    return await tx.fetch_as(UserRow, LIST_USERS, prefix, prefix + _LAST_CHARACTER, after, limit)


async def list_staff(tx: Tx, limit: int) -> Sequence[UserRow]:
    """Who is more than a user, by role and id."""
    return await tx.fetch_as(UserRow, LIST_STAFF, limit)


async def find_account(tx: Tx, name_key: str) -> Account | None:
    """The user whose name has this key, with the password's hash."""
    return await tx.fetchrow_as(_account, FIND_ACCOUNT, name_key)


async def set_password(tx: Tx, user_id: str, name_key: str, password: str, replaces: str | None) -> bool:
    """Keep another password's hash; False when it is not `replaces` that it would replace."""
    return await tx.execute(SET_PASSWORD, user_id, name_key, password, replaces) == "UPDATE 1"


async def set_role(tx: Tx, user_id: str, role: str) -> bool:
    """Give a user another role; False: there is no such user. In a transaction.

    The lock has two admins who would both be none any more follow each other.

    Raises:
        Conflict: the user is the only admin, and would be none any more.
    """
    if role != "admin" and await tx.fetch_as(str, LOCK_ADMINS) == [user_id]:
        raise Conflict("the only admin stays one")
    return await tx.execute(SET_ROLE, user_id, role) == "UPDATE 1"


async def create_token(
    tx: Tx,
    user_id: str,
    token_hash: bytes,
    at_ms: int,
    expires_at_ms: int | None,
    if_password: str | None,
) -> None:
    """Remember a token of a user by its hash, and forget those of the user that are over.

    The lock on the user's row has a change of the password wait, and see the token.

    Raises:
        BadData: there is no such user.
        Conflict: the password is not `if_password`.
    """
    done = await tx.execute(INSERT_TOKEN, token_hash, user_id, at_ms, expires_at_ms, if_password)
    if done != "INSERT 0 1":
        if if_password is None:
            raise BadData(f"there is no user {user_id!r}")
        raise Conflict("the password is another one, or there is no such user")
    await tx.execute(FORGET_TOKENS, user_id, at_ms)


async def list_tokens(tx: Tx, user_id: str, limit: int) -> Sequence[TokenInfo]:
    """A user's tokens, the newest first."""
    return await tx.fetch_as(TokenInfo, LIST_TOKENS, user_id, limit)


async def revoke_tokens(tx: Tx, hash_prefix: bytes, at_ms: int) -> int:
    """Revoke the valid tokens whose hash begins so, and say how many; in a transaction."""
    await _begin_revoking(tx, at_ms)
    last = hash_prefix.ljust(_HASH_BYTES, b"\xff")
    return await tx.fetchval_as(int, REVOKE_TOKENS, hash_prefix, last, at_ms)


async def revoke_user(tx: Tx, user_id: str, at_ms: int) -> int:
    """Revoke all tokens of a user, and say how many of ours; in a transaction."""
    await _begin_revoking(tx, at_ms)
    return await tx.fetchval_as(int, REVOKE_USER, user_id, at_ms)


async def _begin_revoking(tx: Tx, at_ms: int) -> None:
    await tx.execute(_ORDER_REVOCATIONS)
    await tx.execute(FORGET_REVOCATIONS, at_ms - REVOCATIONS_KEPT_MS)


async def last_revocation(tx: Tx) -> int:
    """The newest revocation's id; 0 when there is none."""
    row = await tx.fetchrow_as(int, LAST_REVOCATION)
    return row or 0


async def revocations(tx: Tx, after: int, limit: int) -> Sequence[Revocation]:
    """What was revoked since, in order."""
    return await tx.fetch_as(Revocation, REVOCATIONS, after, limit)


async def admit_users(tx: Tx, strangers: Sequence[Stranger], at_ms: int) -> Mapping[str, IssuedUser]:
    """The users of these ids; those who are new are created, with the spare name where theirs is taken."""
    found = await _issued(tx, [stranger.user_id for stranger in strangers])
    for spare in (False, True):
        new = [stranger for stranger in strangers if stranger.user_id not in found]
        if not new:
            break
        await tx.execute(
            INSERT_ISSUED,
            [stranger.user_id for stranger in new],
            [stranger.spare_name if spare else stranger.name for stranger in new],
            [stranger.spare_key if spare else stranger.name_key for stranger in new],
            [stranger.role for stranger in new],
            at_ms,
        )
        found |= await _issued(tx, [stranger.user_id for stranger in new])
    return found


async def _issued(tx: Tx, ids: Sequence[str]) -> dict[str, IssuedUser]:
    return dict(await tx.fetch_as(_issued_user, FIND_ISSUED, ids))


async def secret(tx: Tx, name: str, candidate: bytes) -> bytes:
    """The secret of this name; `candidate` becomes it when there is none yet.

    Two statements: the second sees a secret that someone else wrote at the same moment.
    """
    await tx.execute(INSERT_SECRET, name, candidate)
    return await tx.fetchval_as(bytes, FIND_SECRET, name)


def _token(
    token_hash: bytes, user_id: str, name: str, role: str, created_at_ms: int, expires_at_ms: int | None
) -> tuple[bytes, TokenRow]:
    return token_hash, TokenRow(UserRow(user_id, name, role, created_at_ms), expires_at_ms)


def _account(user_id: str, name: str, role: str, created_at_ms: int, password: str | None) -> Account:
    return Account(UserRow(user_id, name, role, created_at_ms), password)


def _issued_user(
    user_id: str, name: str, role: str, created_at_ms: int, revoked_before_ms: int | None
) -> tuple[str, IssuedUser]:
    return user_id, IssuedUser(UserRow(user_id, name, role, created_at_ms), revoked_before_ms)
