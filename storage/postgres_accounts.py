"""Accounts in Postgres: which call runs in which kind of transaction."""

from collections.abc import Mapping, Sequence

from storage import accounts
from storage.database import Database
from storage.model import Account, IssuedUser, NewUser, Revocation, Stranger, TokenInfo, TokenRow, UserRow


class PostgresAccounts:
    """`storage.account_store.AccountStore` on a database.

    Args:
        database: where to.
        write_timeout_s: bounds each write.
        read_timeout_s: bounds each read.
    """

    def __init__(self, database: Database, *, write_timeout_s: float, read_timeout_s: float) -> None:
        self._database = database
        self._write_s = write_timeout_s
        self._read_s = read_timeout_s

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """See `AccountStore.find_tokens`."""
        return await self._database.read(accounts.find_tokens, hashes, at_ms, timeout_s=self._read_s)

    async def create_user(self, user: NewUser, *, at_ms: int) -> UserRow:
        """See `AccountStore.create_user`."""
        return await self._database.read(accounts.create_user, user, at_ms, timeout_s=self._write_s)

    async def find_user(self, name: str, name_key: str) -> UserRow | None:
        """See `AccountStore.find_user`."""
        return await self._database.read(accounts.find_user, name, name_key, timeout_s=self._read_s)

    async def find_users(self, user_ids: Sequence[str]) -> Mapping[str, UserRow]:
        """See `AccountStore.find_users`."""
        return await self._database.read(accounts.find_users, user_ids, timeout_s=self._read_s)

    async def list_users(self, prefix: str, *, after: str | None, limit: int) -> Sequence[UserRow]:
        """See `AccountStore.list_users`."""
        return await self._database.read(accounts.list_users, prefix, after, limit, timeout_s=self._read_s)

    async def list_staff(self, *, limit: int) -> Sequence[UserRow]:
        """See `AccountStore.list_staff`."""
        return await self._database.read(accounts.list_staff, limit, timeout_s=self._read_s)

    async def find_account(self, name_key: str) -> Account | None:
        """See `AccountStore.find_account`."""
        return await self._database.read(accounts.find_account, name_key, timeout_s=self._read_s)

    async def set_password(
        self, user_id: str, name_key: str, password: str, *, replaces: str | None = None
    ) -> bool:
        """See `AccountStore.set_password`."""
        return await self._database.read(
            accounts.set_password, user_id, name_key, password, replaces, timeout_s=self._write_s
        )

    async def set_role(self, user_id: str, role: str) -> bool:
        """See `AccountStore.set_role`."""
        return await self._database.run(accounts.set_role, user_id, role, timeout_s=self._write_s)

    async def create_token(
        self,
        user_id: str,
        token_hash: bytes,
        *,
        at_ms: int,
        expires_at_ms: int | None,
        if_password: str | None = None,
    ) -> None:
        """See `AccountStore.create_token`."""
        await self._database.read(
            accounts.create_token,
            user_id,
            token_hash,
            at_ms,
            expires_at_ms,
            if_password,
            timeout_s=self._write_s,
        )

    async def list_tokens(self, user_id: str, *, limit: int) -> Sequence[TokenInfo]:
        """See `AccountStore.list_tokens`."""
        return await self._database.read(accounts.list_tokens, user_id, limit, timeout_s=self._read_s)

    async def revoke_tokens(self, hash_prefix: bytes, *, at_ms: int) -> int:
        """See `AccountStore.revoke_tokens`."""
        return await self._database.run(accounts.revoke_tokens, hash_prefix, at_ms, timeout_s=self._write_s)

    async def revoke_user(self, user_id: str, *, at_ms: int) -> int:
        """See `AccountStore.revoke_user`."""
        return await self._database.run(accounts.revoke_user, user_id, at_ms, timeout_s=self._write_s)

    async def last_revocation(self) -> int:
        """See `AccountStore.last_revocation`."""
        return await self._database.read(accounts.last_revocation, timeout_s=self._read_s)

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """See `AccountStore.revocations`."""
        return await self._database.read(accounts.revocations, after, limit, timeout_s=self._read_s)

    async def admit_users(self, strangers: Sequence[Stranger], *, at_ms: int) -> Mapping[str, IssuedUser]:
        """See `AccountStore.admit_users`."""
        return await self._database.read(accounts.admit_users, strangers, at_ms, timeout_s=self._write_s)

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """See `AccountStore.secret`."""
        return await self._database.read(accounts.secret, name, candidate, timeout_s=self._write_s)
