"""Accounts in memory: users, passwords, tokens, revocations and secrets (see `storage.memory`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from storage.errors import BadData, Conflict
from storage.model import (
    Account,
    IssuedUser,
    NewUser,
    Revocation,
    Stranger,
    TokenInfo,
    TokenRow,
    UserRow,
)


@dataclass(slots=True)
class _User:
    row: UserRow
    name_key: str
    password: str | None = None
    revoked_before_ms: int | None = None


@dataclass(slots=True)
class _Token:
    user_id: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None = None

    def is_valid(self, at_ms: int) -> bool:
        return self.revoked_at_ms is None and (self.expires_at_ms is None or self.expires_at_ms > at_ms)


class MemoryAccounts:
    """`storage.account_store.AccountStore` in memory."""

    def __init__(self) -> None:
        self._users: dict[str, _User] = {}  # by id
        self._by_name: dict[str, _User] = {}
        self._by_key: dict[str, _User] = {}
        self._tokens: dict[bytes, _Token] = {}
        self._tokens_of: dict[str, dict[bytes, _Token]] = {}  # by user, the same ones
        self._revocations: list[Revocation] = []
        self._secrets: dict[str, bytes] = {}

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """See `AccountStore.find_tokens`."""
        await trio.lowlevel.checkpoint()
        found: dict[bytes, TokenRow] = {}
        for token_hash in hashes:
            token = self._tokens.get(token_hash)
            if token is not None and token.is_valid(at_ms):
                found[token_hash] = TokenRow(self._users[token.user_id].row, token.expires_at_ms)
        return found

    async def create_user(self, user: NewUser, *, at_ms: int) -> UserRow:
        """See `AccountStore.create_user`."""
        await trio.lowlevel.checkpoint()
        found = self._find(user.name, user.name_key)
        if found is not None:
            return found.row
        if user.user_id in self._users:
            raise Conflict(f"the user id {user.user_id!r} is taken")
        row = UserRow(user.user_id, user.name, user.role, at_ms)
        self._add(_User(row, user.name_key, user.password))
        return row

    async def find_user(self, name: str, name_key: str) -> UserRow | None:
        """See `AccountStore.find_user`."""
        await trio.lowlevel.checkpoint()
        found = self._find(name, name_key)
        return None if found is None else found.row

    async def find_users(self, user_ids: Sequence[str]) -> Mapping[str, UserRow]:
        """See `AccountStore.find_users`."""
        await trio.lowlevel.checkpoint()
        return {user_id: self._users[user_id].row for user_id in user_ids if user_id in self._users}

    async def list_users(self, prefix: str, *, after: str | None, limit: int) -> Sequence[UserRow]:
        """See `AccountStore.list_users`."""
        await trio.lowlevel.checkpoint()
        passed = self._users[after].name_key if after in self._users else ""
        keys = sorted(key for key in self._by_key if key.startswith(prefix) and key > passed)
        return [self._by_key[key].row for key in keys[:limit]]

    async def list_staff(self, *, limit: int) -> Sequence[UserRow]:
        """See `AccountStore.list_staff`."""
        await trio.lowlevel.checkpoint()
        staff = [user.row for user in self._users.values() if user.row.role != "user"]
        return sorted(staff, key=lambda row: (row.role, row.user_id))[:limit]

    async def find_account(self, name_key: str) -> Account | None:
        """See `AccountStore.find_account`."""
        await trio.lowlevel.checkpoint()
        found = self._by_key.get(name_key)
        return None if found is None else Account(found.row, found.password)

    async def set_password(
        self, user_id: str, name_key: str, password: str, *, replaces: str | None = None
    ) -> bool:
        """See `AccountStore.set_password`."""
        await trio.lowlevel.checkpoint()
        user = self._users.get(user_id)
        if user is None or (replaces is not None and user.password != replaces):
            return False
        if self._by_key.get(name_key, user) is not user:
            raise Conflict("another user's name has this key")
        del self._by_key[user.name_key]
        self._by_key[name_key] = user
        user.name_key, user.password = name_key, password
        return True

    async def set_role(self, user_id: str, role: str) -> bool:
        """See `AccountStore.set_role`."""
        await trio.lowlevel.checkpoint()
        user = self._users.get(user_id)
        if user is None:
            return False
        admins = [each for each in self._users.values() if each.row.role == "admin"]
        if admins == [user] and role != "admin":
            raise Conflict("the only admin stays one")
        user.row = user.row._replace(role=role)
        return True

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
        await trio.lowlevel.checkpoint()
        if user_id not in self._users:
            raise BadData(f"there is no user {user_id!r}")
        if if_password is not None and self._users[user_id].password != if_password:
            raise Conflict("the password is another one")
        if token_hash in self._tokens:
            raise Conflict("the token's hash is known already")
        own = self._tokens_of.setdefault(user_id, {})
        for ended in [known for known, token in own.items() if not token.is_valid(at_ms)]:
            del own[ended], self._tokens[ended]
        own[token_hash] = self._tokens[token_hash] = _Token(user_id, at_ms, expires_at_ms)

    async def list_tokens(self, user_id: str, *, limit: int) -> Sequence[TokenInfo]:
        """See `AccountStore.list_tokens`."""
        await trio.lowlevel.checkpoint()
        tokens = [
            TokenInfo(token_hash, token.created_at_ms, token.expires_at_ms, token.revoked_at_ms)
            for token_hash, token in self._tokens_of.get(user_id, {}).items()
        ]
        return sorted(tokens, key=lambda token: (-token.created_at_ms, token.token_hash))[:limit]

    async def revoke_tokens(self, hash_prefix: bytes, *, at_ms: int) -> int:
        """See `AccountStore.revoke_tokens`."""
        await trio.lowlevel.checkpoint()
        return self._revoke([known for known in self._tokens if known.startswith(hash_prefix)], at_ms)

    async def revoke_user(self, user_id: str, *, at_ms: int) -> int:
        """See `AccountStore.revoke_user`."""
        await trio.lowlevel.checkpoint()
        revoked = self._revoke([*self._tokens_of.get(user_id, {})], at_ms)
        if user_id in self._users:
            self._users[user_id].revoked_before_ms = at_ms
        self._note(None, user_id)
        return revoked

    async def last_revocation(self) -> int:
        """See `AccountStore.last_revocation`."""
        await trio.lowlevel.checkpoint()
        return len(self._revocations)

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """See `AccountStore.revocations`."""
        await trio.lowlevel.checkpoint()
        return self._revocations[after : after + limit]

    async def admit_users(self, strangers: Sequence[Stranger], *, at_ms: int) -> Mapping[str, IssuedUser]:
        """See `AccountStore.admit_users`."""
        await trio.lowlevel.checkpoint()
        for stranger in strangers:
            for name, key in (
                (stranger.name, stranger.name_key),
                (stranger.spare_name, stranger.spare_key),
            ):
                if stranger.user_id not in self._users and self._find(name, key) is None:
                    self._add(_User(UserRow(stranger.user_id, name, stranger.role, at_ms), key))
        found = ((stranger.user_id, self._users.get(stranger.user_id)) for stranger in strangers)
        return {
            user_id: IssuedUser(user.row, user.revoked_before_ms)
            for user_id, user in found
            if user is not None
        }

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """See `AccountStore.secret`."""
        await trio.lowlevel.checkpoint()
        return self._secrets.setdefault(name, candidate)

    def _find(self, name: str, name_key: str) -> _User | None:
        """The user of exactly this name, else the one whose name has this key."""
        return self._by_name.get(name) or self._by_key.get(name_key)

    def _add(self, user: _User) -> None:
        self._users[user.row.user_id] = self._by_name[user.row.name] = self._by_key[user.name_key] = user

    def _revoke(self, hashes: Sequence[bytes], at_ms: int) -> int:
        """Revoke those of the tokens that are valid; how many."""
        valid = [token_hash for token_hash in hashes if self._tokens[token_hash].is_valid(at_ms)]
        for token_hash in valid:
            token = self._tokens[token_hash]
            token.revoked_at_ms = at_ms
            self._note(token_hash, token.user_id)
        return len(valid)

    def _note(self, token_hash: bytes | None, user_id: str) -> None:
        self._revocations.append(Revocation(len(self._revocations) + 1, token_hash, user_id))
