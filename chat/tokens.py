"""Registered users' tokens: 32 random bytes that are shown once; the store keeps their SHA-256 alone.

A token is found by its hash: what an attacker can time is the comparison of hashes, which says nothing of the
token.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from chat.errors import ErrorCode, Refused
from chat.names import display_name, name_key, registered_id
from storage import NewUser, Store, UserRow

TOKEN_PREFIX: Final = "pt_"  # noqa: S105  a prefix, so that leaked tokens can be found by their looks
USER_ROLE: Final = "user"
ADMIN_ROLE: Final = "admin"
ROLES: Final = (USER_ROLE, "moderator", ADMIN_ROLE)
"""What a registered user may be, on the whole server, the lowest first; a room has roles of its own."""

_TOKEN_BYTES: Final = 32
_ID_BYTES: Final = 16
_TOKEN: Final = re.compile(r"pt_[A-Za-z0-9_-]{43}")


class IssuedToken(NamedTuple):
    """A new token, which is shown once and stored nowhere.

    Attributes:
        user: whom it speaks for.
        token: what to come with.
        expires_at_ms: when it ends, in milliseconds since 1970 UTC; None: never.
    """

    user: UserRow
    token: str
    expires_at_ms: int | None


def is_token(text: str) -> bool:
    """Whether this looks like a registered user's token."""
    return _TOKEN.fullmatch(text) is not None


def token_hash(token: str) -> bytes:
    """What is stored of a registered token. Its 256 random bits need no salt and no slow hash."""
    return sha256(token.encode()).digest()


def new_user(
    name: str,
    *,
    random_bytes: Callable[[int], bytes],
    role: str | None = None,
    password: str | None = None,
    field: str = "user",
) -> NewUser:
    """A user to be created, with a new id.

    Args:
        name: the display name; it is normalised.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        role: one of `ROLES`; None: `USER_ROLE`.
        password: the password's hash; None: no password.
        field: the request's field that the name came in, for the refusal.

    Raises:
        Refused: `bad_request` for a bad name or an unknown role.
    """
    name = display_name(name, field=field)
    if role is not None and role not in ROLES:
        raise Refused(ErrorCode.BAD_REQUEST, f"the role is one of {', '.join(ROLES)}", field="role")
    return NewUser(registered_id(random_bytes(_ID_BYTES)), name, name_key(name), role or USER_ROLE, password)


async def issue_token(
    store: Store,
    user: UserRow,
    *,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
    expires_at_ms: int | None,
    if_password: str | None = None,
) -> IssuedToken:
    """Make a token for a user who exists.

    Args:
        store: where the token's hash goes.
        user: whom it speaks for.
        now_ms: milliseconds since 1970 UTC.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        expires_at_ms: when it ends; None: never.
        if_password: see `Store.create_token`.

    Raises:
        StorageError: the store cannot take it now; `Conflict`: the password is another one by now.
    """
    token = TOKEN_PREFIX + urlsafe_b64encode(random_bytes(_TOKEN_BYTES)).decode("ascii").rstrip("=")
    await store.create_token(
        user.user_id,
        token_hash(token),
        at_ms=now_ms,
        expires_at_ms=expires_at_ms,
        if_password=if_password,
    )
    return IssuedToken(user, token, expires_at_ms)


async def create_token(
    store: Store,
    name: str,
    role: str | None = None,
    *,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
    expires_at_ms: int | None = None,
) -> IssuedToken:
    """Make a token for the registered user of this name, who is created if there is none.

    Args:
        store: where the token's hash goes.
        name: the user's display name; it is normalised.
        role: one of `ROLES`; None: `USER_ROLE` for a new user, whatever it is for one who exists.
        now_ms: milliseconds since 1970 UTC.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        expires_at_ms: when the token ends; None: never.

    Raises:
        Refused: `bad_request` for a bad name or an unknown role; `conflict` when the user exists with
            another role: then no token was made.
        StorageError: the store cannot take it now.
    """
    wanted = new_user(name, random_bytes=random_bytes, role=role)
    user = await store.create_user(wanted, at_ms=now_ms)
    if role is not None and user.role != role:
        raise Refused(ErrorCode.CONFLICT, f"{user.name} exists with the role {user.role}", field="role")
    return await issue_token(
        store, user, now_ms=now_ms, random_bytes=random_bytes, expires_at_ms=expires_at_ms
    )
