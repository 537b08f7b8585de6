"""The part of the contract of storage that is about people: users, passwords, tokens, revocations, secrets.

`storage.store.Store` is made of it; see there what every method may raise.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.model import Account, IssuedUser, NewUser, Revocation, Stranger, TokenInfo, TokenRow, UserRow


class AccountStore(Protocol):
    """Users and how they come in."""

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """The tokens that are known, neither revoked nor expired, in one query."""
        ...

    async def create_user(self, user: NewUser, *, at_ms: int) -> UserRow:
        """Create a registered user, or return the one who has this name already: then the id differs.

        Raises:
            Conflict: the user id is taken by another name.
        """
        ...

    async def find_user(self, name: str, name_key: str) -> UserRow | None:
        """The user of exactly this name, else the one whose name has this key."""
        ...

    async def find_users(self, user_ids: Sequence[str]) -> Mapping[str, UserRow]:
        """The registered users of these ids, in one query."""
        ...

    async def list_users(self, prefix: str, *, after: str | None, limit: int) -> Sequence[UserRow]:
        """The registered users by their names' keys, those whose key begins with `prefix`.

        Args:
            prefix: what the key begins with; empty: all who have one.
            after: the id of the user to continue after.
            limit: at most so many.
        """
        ...

    async def list_staff(self, *, limit: int) -> Sequence[UserRow]:
        """Who has a role on the server above that of a user, by role and id: admins come first."""
        ...

    async def find_account(self, name_key: str) -> Account | None:
        """The user whose name has this key, with the password's hash."""
        ...

    async def set_password(
        self, user_id: str, name_key: str, password: str, *, replaces: str | None = None
    ) -> bool:
        """Keep another password's hash for a user, and the key of the user's name.

        Args:
            user_id: whose.
            name_key: of the user's name.
            password: the hash, encoded.
            replaces: the hash that must be there now; None: any, or none.

        Returns:
            Whether it was done: there is such a user, with that hash.

        Raises:
            Conflict: another user's name has this key.
        """
        ...

    async def set_role(self, user_id: str, role: str) -> bool:
        """Give a user another role on the server; False when there is no such user.

        Raises:
            Conflict: the user is the only admin, and would be none any more.
        """
        ...

    async def create_token(
        self,
        user_id: str,
        token_hash: bytes,
        *,
        at_ms: int,
        expires_at_ms: int | None,
        if_password: str | None = None,
    ) -> None:
        """Remember a token of a user by its hash; those of the user that are over may be forgotten.

        Args:
            user_id: whose.
            token_hash: of the token.
            at_ms: the present.
            expires_at_ms: when it ends; None: never.
            if_password: only if this is the user's password hash: who changes it, and then revokes the user's
                tokens, revokes this one as well. None: whatever it is.

        Raises:
            Conflict: the hash is known already, or the password is another one.
            BadData: there is no such user.
        """
        ...

    async def list_tokens(self, user_id: str, *, limit: int) -> Sequence[TokenInfo]:
        """A user's tokens, the newest first; of those that are over not all may be known any more."""
        ...

    async def revoke_tokens(self, hash_prefix: bytes, *, at_ms: int) -> int:
        """Revoke the valid tokens whose hash begins so, and say how many; each is a revocation."""
        ...

    async def revoke_user(self, user_id: str, *, at_ms: int) -> int:
        """Revoke all of a user's tokens, also those that an outside issuer made up to `at_ms`.

        Each of our own is a revocation, and those of outside issuers are one together, be there any or not.

        Returns:
            How many valid tokens of our own there were.
        """
        ...

    async def last_revocation(self) -> int:
        """The newest revocation's number; 0 when there is none."""
        ...

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """At most `limit` revocations above a number, in order; every one that is committed is there.

        Those of the last days: older ones may be forgotten.
        """
        ...

    async def admit_users(self, strangers: Sequence[Stranger], *, at_ms: int) -> Mapping[str, IssuedUser]:
        """The users of these ids, by id; those who are new are created, all in a few queries.

        Where a name is taken the spare one is used; whose spare one is taken, too, is missing in the answer.
        """
        ...

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The secret of this name; `candidate` becomes it when there is none yet."""
        ...
