"""Accounts by name and password: registering, logging in, logging out.

Whether a name is unknown, has no password or another password is answered alike, and after the same work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from chat.errors import ErrorCode, Refused
from chat.measures import Counts
from chat.names import display_name, name_key
from chat.passwords import Passwords, new_password, normal_password
from chat.tokens import IssuedToken, is_token, issue_token, new_user, token_hash
from storage import Account, Conflict, Store, UserRow

_DAY_MS: Final = 86_400_000
_log = structlog.get_logger("chat.accounts")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountServices:
    """What accounts need.

    Attributes:
        now_ms: milliseconds since 1970 UTC.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        token_days: how long a token is good for that somebody logged in for.
        on_revoked: called when a token was revoked here.
    """

    store: Store
    passwords: Passwords
    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    token_days: int
    counts: Counts
    on_revoked: Callable[[], None]


class Accounts:
    """Registers people and lets them in. Every method may raise what the store raises."""

    def __init__(self, services: AccountServices) -> None:
        self._services = services

    async def register(self, name: str, password: str) -> IssuedToken:
        """Create a user, and a first token.

        Raises:
            Refused: `bad_request` for a name or a password that is not allowed; `conflict`: somebody has that
                name, be it with other capitals; `overloaded`.
        """
        services = self._services
        name = display_name(name, field="name")
        password = new_password(password)
        # Before the hash, which costs more.
        if await services.store.find_user(name, name_key(name)) is not None:
            raise _taken()
        encoded = await services.passwords.hash(password)
        wanted = new_user(name, random_bytes=services.random_bytes, password=encoded, field="name")
        user = await services.store.create_user(wanted, at_ms=services.now_ms())
        if user.user_id != wanted.user_id:
            raise _taken()
        services.counts.registrations += 1
        return await self._issue(user, encoded)

    async def login(self, name: str, password: str) -> IssuedToken:
        """A token for who knows the password.

        Raises:
            Refused: `bad_request` for what is no name, or a password that is too long; `unauthenticated`: it
                is not the password, or there is no such user; `overloaded`.
        """
        services = self._services
        key = name_key(display_name(name, field="name"))
        password = normal_password(password)
        account = await services.store.find_account(key)
        encoded = None if account is None else account.password
        verdict = await services.passwords.check(encoded, password)
        if account is None or encoded is None or not verdict.correct:
            raise self._wrong()
        if verdict.outdated:
            encoded = await self._rehash(account, key, encoded, password)
        try:
            issued = await self._issue(account.user, encoded)
        except Conflict:
            # It was changed while it was being checked.
            raise self._wrong() from None
        services.counts.logins += 1
        return issued

    async def logout(self, token: str) -> None:
        """Revoke a token.

        Raises:
            Refused: `unauthenticated`: it is none of ours, or not valid any more.
        """
        services = self._services
        if is_token(token) and await services.store.revoke_tokens(token_hash(token), at_ms=services.now_ms()):
            services.counts.logouts += 1
            services.on_revoked()
            return
        raise Refused(ErrorCode.UNAUTHENTICATED, "the token is not valid", field="token")

    async def _issue(self, user: UserRow, encoded: str) -> IssuedToken:
        services = self._services
        now_ms = services.now_ms()
        return await issue_token(
            services.store,
            user,
            now_ms=now_ms,
            random_bytes=services.random_bytes,
            expires_at_ms=now_ms + services.token_days * _DAY_MS,
            if_password=encoded,
        )

    async def _rehash(self, account: Account, key: str, encoded: str, password: str) -> str:
        """Hash a password with the present parameters; the hash that counts from now on."""
        services = self._services
        try:
            renewed = await services.passwords.hash(password)
        except Refused:
            _log.debug("accounts.rehash_put_off")  # to the next login: there is much to do now
            return encoded
        replaced = await services.store.set_password(account.user.user_id, key, renewed, replaces=encoded)
        return renewed if replaced else encoded

    def _wrong(self) -> Refused:
        self._services.counts.logins_refused += 1
        return Refused(ErrorCode.UNAUTHENTICATED, "the name or the password is wrong")


def _taken() -> Refused:
    return Refused(ErrorCode.CONFLICT, "somebody has that name", field="name")
