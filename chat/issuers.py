"""Tokens of outside issuers (JWT, RFC 7519 and 8725): whose they are, and what of them is believed.

Strict on purpose. The issuer that a token names decides which keys may check it, a key decides the algorithm,
and `exp`, `aud`, `iss` and the user's claim must be there. Times are judged by the clock that is given.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, cast

import jwt

from chat.config_issuers import Issuer, UserRole
from chat.errors import ChatError
from chat.issuer_keys import IssuerKey, load_keys

SUBJECT_MAX_CHARACTERS: Final = 255
_RANKS: Final[Sequence[UserRole]] = ("admin", "moderator")
_LATEST_S: Final = 2.0**40


class BadToken(ChatError):
    """A token that is not believed; the message says why, for a person, and quotes nothing of it."""


class Claims(NamedTuple):
    """What a token says that is believed.

    Attributes:
        issuer: whose token it is.
        subject: which of the issuer's users.
        name: the display name as the issuer has it; None: it has none.
        role: by `roles`; None: the issuer has no say in it.
        expires_at_ms: when it ends, the clocks' difference included.
        issued_at_ms: when it was made; None: it does not say.
    """

    issuer: str
    subject: str
    name: str | None
    role: UserRole | None
    expires_at_ms: int
    issued_at_ms: int | None


class Issuers:
    """The issuers of the settings, with their keys.

    Args:
        settings: of each.
        now_ms: milliseconds since 1970 UTC.

    Raises:
        BadIssuerKeys: see `load_keys`.
    """

    def __init__(self, settings: Sequence[Issuer], *, now_ms: Callable[[], int]) -> None:
        self._issuers = {issuer.issuer: (issuer, load_keys(issuer)) for issuer in settings}
        self._now_ms = now_ms
        self._jwt = jwt.PyJWT()

    def know(self, token: str) -> bool:
        """Whether a token says that it is one of theirs, be it true or not."""
        if not self._issuers or not token.isascii():
            return False
        try:
            claims = self._jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, RecursionError):
            return False
        named: object = claims.get("iss")
        return isinstance(named, str) and named in self._issuers

    def judge(self, token: str) -> Claims:
        """What a token says, if it is to be believed.

        Raises:
            BadToken: it is not.
        """
        try:
            header = jwt.get_unverified_header(token)
            unchecked = self._jwt.decode(token, options={"verify_signature": False})
            issuer, keys = self._issuers[unchecked["iss"]]
        except (jwt.PyJWTError, RecursionError, UnicodeError, KeyError, TypeError):
            raise BadToken("the token is not valid") from None
        for key in _candidates(header, keys):
            claims = self._check(token, issuer, key)
            if claims is not None:
                return self._believe(issuer, claims)
        raise BadToken("the token is not valid")

    def _check(self, token: str, issuer: Issuer, key: IssuerKey) -> Mapping[str, object] | None:
        try:
            return self._jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                options={
                    "require": ["exp", "aud", "iss", issuer.id_claim],
                    # The times are judged below, by the clock that this object was given.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.PyJWTError:
            return None

    def _believe(self, issuer: Issuer, claims: Mapping[str, object]) -> Claims:
        now_s = self._now_ms() / 1000
        expires_s = _seconds(claims, "exp")
        begins_s, issued_s = _seconds(claims, "nbf"), _seconds(claims, "iat")
        subject, name = claims.get(issuer.id_claim), claims.get(issuer.name_claim)
        if expires_s is None or now_s >= expires_s + issuer.leeway_s:
            raise BadToken("the token has expired")
        if any(at_s is not None and at_s > now_s + issuer.leeway_s for at_s in (begins_s, issued_s)):
            raise BadToken("the token is not valid yet")
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX_CHARACTERS:
            raise BadToken("the token names no user")
        return Claims(
            issuer=issuer.issuer,
            subject=subject,
            name=name if isinstance(name, str) else None,
            role=_role(issuer, claims),
            expires_at_ms=int((expires_s + issuer.leeway_s) * 1000),
            issued_at_ms=None if issued_s is None else int(issued_s * 1000),
        )


def _candidates(header: Mapping[str, object], keys: Sequence[IssuerKey]) -> Sequence[IssuerKey]:
    """The keys that may have signed: of the algorithm that is told, and of the name, where names are told."""
    usable = [key for key in keys if key.algorithm == header.get("alg")]
    if "crit" in header:
        return []
    kid = header.get("kid")
    if kid is None:
        return usable
    named = [key for key in usable if key.kid == kid]
    return named or [key for key in usable if key.kid is None]


def _seconds(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate; None: it is missing.

    Raises:
        BadToken: it is none.
    """
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadToken(f"the token's {name} is no time")
    if not 0 <= value < _LATEST_S:
        raise BadToken(f"the token's {name} is no time")
    return float(value)


def _role(issuer: Issuer, claims: Mapping[str, object]) -> UserRole | None:
    """The highest of the roles that the token's values mean."""
    if issuer.role_claim is None:
        return None
    told = claims.get(issuer.role_claim)
    values = cast("list[object]", told) if isinstance(told, list) else [told]
    meant = [issuer.roles[value] for value in values if isinstance(value, str) and value in issuer.roles]
    for role in _RANKS:
        if role in meant:
            return role
    return "user"
