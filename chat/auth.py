"""Who somebody is: guests by a signed token that needs no database, registered users by an opaque one.

A guest's token is a JWT (RFC 7519, HS256) made with a secret that the database keeps, so every restart and
every node knows it again. Registered users' tokens are `chat.tokens`' business, those of
outside issuers `chat.issuers`'.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

import jwt
import msgspec
import trio

from chat.batch_loader import BatchLoader, Lookups
from chat.config_issuers import GUEST_ISSUER
from chat.errors import ErrorCode, Refused
from chat.issuers import BadToken, Issuers
from chat.names import display_name, guest_id
from chat.strangers import Strangers
from chat.tokens import TOKEN_PREFIX, is_token, token_hash
from storage import Store, StoreClosed, TokenRow, Unavailable, UserRow

GUEST_ROLE: Final = "guest"

GUEST_SECRET_NAME: Final = "guest-token"  # noqa: S105  the name under which the store keeps it

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "parley"
_CLAIMS: Final = ("sub", "name", "iat", "exp", "aud", "iss")
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 16
_DAY_S: Final = 86_400
_GUEST_ID: Final = re.compile(r"g_[a-z2-7]{1,64}")


_HEADER: Final = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=") + b"."


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a session speaks for.

    Attributes:
        user_id: `u_...`, or `g_...` for a guest.
        name: the display name, normalised.
        role: one of `chat.tokens.ROLES`, or `GUEST_ROLE`.
        is_guest: whether nobody vouches for the name.
        registered_at_ms: when the account was made; None: a guest has none.
    """

    user_id: str
    name: str
    role: str
    is_guest: bool
    registered_at_ms: int | None = None


class SignedIn(NamedTuple):
    """What a good `hello` comes to.

    Attributes:
        principal: who it is.
        token: a token to come back with as the same guest, where a new one was made; else None.
        expires_at_ms: when the session's right ends, in milliseconds since 1970 UTC; None: not by time.
        token_hash: of a registered user's token, by which it can be revoked; None: it is no such token.
    """

    principal: Principal
    token: str | None
    expires_at_ms: int | None
    token_hash: bytes | None = None


class Authenticator:
    """Answers who a `hello` is. Build it with `open_authenticator`; `run` must be running.

    Args:
        store: where registered tokens are looked up.
        guest_secret: signs guest tokens; at least 32 bytes.
        guests: whether guests are let in at all, with a name or with a guest token.
        now_ms: milliseconds since 1970 UTC.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        issuers: outside issuers whose tokens are taken; None: there are none.
        guest_days: how long a guest's token is good for.
        timeout_s: the longest wait for the database.
        max_batch: tokens in one query.
        max_waiting: hellos that may wait for the database at once.
    """

    def __init__(
        self,
        store: Store,
        *,
        guest_secret: bytes,
        guests: bool,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        issuers: Issuers | None = None,
        guest_days: int = 180,
        timeout_s: float = 5.0,
        max_batch: int = 500,
        max_waiting: int = 5_000,
    ) -> None:
        if len(guest_secret) < _SECRET_BYTES:
            raise ValueError(f"a guest secret has {_SECRET_BYTES} bytes at least")
        self._store = store
        self._guest_secret = guest_secret
        self._guests = guests
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._guest_s = guest_days * _DAY_S
        self._timeout_s = timeout_s
        self._tokens = BatchLoader[bytes, TokenRow](self._load, max_batch=max_batch, max_waiting=max_waiting)
        self._jwt = jwt.PyJWT()
        self._issuers = issuers
        self.strangers = Strangers(
            store,
            now_ms=now_ms,
            random_bytes=random_bytes,
            timeout_s=timeout_s,
            max_batch=max_batch,
            max_waiting=max_waiting,
        )

    @property
    def lookups(self) -> Lookups:
        """Of registered tokens; see `BatchLoader.lookups`."""
        return self._tokens.lookups

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Look up registered tokens, many at once, until cancelled. `strangers` run by themselves."""
        await self._tokens.run(task_status=task_status)

    async def sign_in(
        self,
        *,
        token: str | None,
        guest: str | None,
        request_id: int | None = None,
    ) -> SignedIn:
        """Whom a `hello` with this token speaks for; `admit_newcomer` is for those with a guest's name alone.

        Args:
            token: a registered user's or a guest's.
            guest: what the `hello` says besides, which should be nothing.
            request_id: of the `hello`, for the refusal.

        Raises:
            Refused: `bad_request` without a token, or with a name; `unauthenticated` for a token that is
                not known, not valid any more, or a guest's where guests are not let in; `unavailable` when
                the database cannot say it now.
        """
        if token is None or guest is not None:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                "hello needs either a token or a guest's name",
                field="token",
                request_id=request_id,
            )
        if token.startswith(TOKEN_PREFIX):
            return await self._find_registered(token, request_id)
        if self._issuers is not None and self._issuers.know(token):
            return await self._admit_stranger(self._issuers, token, request_id)
        return self._readmit_guest(token, request_id)

    def admit_newcomer(self, guest: str, *, request_id: int | None = None) -> SignedIn:
        """Let in a guest who is new here, which takes no look at the database.

        Raises:
            Refused: `bad_request` for a bad name; `unauthenticated` where guests are not let in.
        """
        self._let_guests_in(request_id)
        name = display_name(guest, field="guest", request_id=request_id)
        return self._admit_guest(guest_id(self._random_bytes(_ID_BYTES)), name)

    def _let_guests_in(self, request_id: int | None) -> None:
        if not self._guests:
            raise Refused(
                ErrorCode.UNAUTHENTICATED,
                "guests are not let in here: bring a token",
                field="guest",
                request_id=request_id,
            )

    def _admit_guest(self, user_id: str, name: str) -> SignedIn:
        now_s = self._now_ms() // 1000
        claims = {
            "sub": user_id,
            "name": name,
            "iat": now_s,
            "exp": now_s + self._guest_s,
            "aud": _AUDIENCE,
            "iss": GUEST_ISSUER,
        }
        token = _sign(claims, self._guest_secret)
        principal = Principal(user_id=user_id, name=name, role=GUEST_ROLE, is_guest=True)
        return SignedIn(principal, token, (now_s + self._guest_s) * 1000)

    def _readmit_guest(self, token: str, request_id: int | None) -> SignedIn:
        bad_token = Refused(
            ErrorCode.UNAUTHENTICATED, "the token is not valid", field="token", request_id=request_id
        )
        if not token.isascii():
            raise bad_token
        try:
            claims: dict[str, object] = self._jwt.decode(
                token,
                self._guest_secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=GUEST_ISSUER,
                # The times are judged below, by the clock that this object was given.
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise bad_token from None
        match claims:
            case {"sub": str(user_id), "name": str(name), "exp": int(expires_s)} if _GUEST_ID.fullmatch(
                user_id
            ):
                pass
            case _:
                raise bad_token
        self._let_guests_in(request_id)
        left_s = expires_s - self._now_ms() / 1000
        if left_s <= 0:
            raise Refused(
                ErrorCode.UNAUTHENTICATED, "the token has expired", field="token", request_id=request_id
            )
        if left_s < self._guest_s / 2:
            # Who keeps coming back stays the same person for good.
            return self._admit_guest(user_id, name)
        principal = Principal(user_id=user_id, name=name, role=GUEST_ROLE, is_guest=True)
        return SignedIn(principal, None, expires_s * 1000)

    async def _find_registered(self, token: str, request_id: int | None) -> SignedIn:
        row = None
        hashed = b""
        if is_token(token):
            hashed = token_hash(token)
            try:
                row = await self._tokens.get(hashed, timeout_s=self._timeout_s)
            except (Unavailable, StoreClosed) as error:
                raise _cannot_check(request_id) from error
        if row is None or (row.expires_at_ms is not None and row.expires_at_ms <= self._now_ms()):
            raise Refused(
                ErrorCode.UNAUTHENTICATED, "the token is not valid", field="token", request_id=request_id
            )
        user = row.user
        principal = _registered(user, user.role)
        return SignedIn(principal, None, row.expires_at_ms, hashed)

    async def _admit_stranger(self, issuers: Issuers, token: str, request_id: int | None) -> SignedIn:
        try:
            claims = issuers.judge(token)
            issued = await self.strangers.find(claims)
        except BadToken as error:
            raise Refused(
                ErrorCode.UNAUTHENTICATED, str(error), field="token", request_id=request_id
            ) from None
        except (Unavailable, StoreClosed) as error:
            raise _cannot_check(request_id) from error
        before_ms = issued.revoked_before_ms
        if before_ms is not None and (claims.issued_at_ms is None or claims.issued_at_ms <= before_ms):
            raise Refused(
                ErrorCode.UNAUTHENTICATED, "the token was revoked", field="token", request_id=request_id
            )
        principal = _registered(issued.user, claims.role or issued.user.role)
        return SignedIn(principal, None, claims.expires_at_ms)

    async def _load(self, hashes: Sequence[bytes]) -> Mapping[bytes, TokenRow]:
        return await self._store.find_tokens(hashes, at_ms=self._now_ms())


async def open_authenticator(
    store: Store,
    *,
    guests: bool,
    now_ms: Callable[[], int],
    random_bytes: Callable[[int], bytes],
    issuers: Issuers | None = None,
    guest_days: int = 180,
    timeout_s: float = 5.0,
    max_batch: int = 500,
    max_waiting: int = 5_000,
) -> Authenticator:
    """An authenticator with the secret that the store keeps; the first one ever to ask makes it.

    Args: as of `Authenticator`.

    Raises:
        StorageError: the store cannot give the secret.
    """
    secret = await store.secret(GUEST_SECRET_NAME, random_bytes(_SECRET_BYTES))
    return Authenticator(
        store,
        guest_secret=secret,
        guests=guests,
        now_ms=now_ms,
        random_bytes=random_bytes,
        issuers=issuers,
        guest_days=guest_days,
        timeout_s=timeout_s,
        max_batch=max_batch,
        max_waiting=max_waiting,
    )


def _registered(user: UserRow, role: str) -> Principal:
    return Principal(
        user_id=user.user_id,
        name=user.name,
        role=role,
        is_guest=False,
        registered_at_ms=user.created_at_ms,
    )


def _cannot_check(request_id: int | None) -> Refused:
    return Refused(
        ErrorCode.UNAVAILABLE, "tokens cannot be checked now", retry_after_s=1.0, request_id=request_id
    )


def _sign(claims: Mapping[str, object], secret: bytes) -> str:
    """A JWT as PyJWT would make it, in a sixth of the time: 10,000 guests may come at once.

    Only the making: what comes back is judged by PyJWT.
    """
    signed = _HEADER + urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
    signature = urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode("ascii")
