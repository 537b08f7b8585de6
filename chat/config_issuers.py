"""The settings of one outside issuer: whose tokens are taken, and what of them is believed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

Algorithm = Literal["HS256", "RS256", "EdDSA"]
UserRole = Literal["user", "moderator", "admin"]
Claim = Annotated[str, Field(min_length=1, max_length=128)]

GUEST_ISSUER: Final = "parley:guest"
"""Signs guests' tokens: ourselves."""
SECRET_MIN_BYTES: Final = 32
"""As long as what HS256 makes of it (RFC 7518, 3.2)."""


def _one_or_many(value: object) -> object:
    """One algorithm needs no list."""
    return [value] if isinstance(value, str) else value


class Issuer(BaseModel):
    """An issuer of tokens (JWT, RFC 7519).

    Attributes:
        issuer: the tokens' `iss`, exactly.
        audience: what their `aud` must name: us, as the issuer knows us.
        algorithms: of their signatures; each has keys of its own, and a token is only checked by those.
        secret: for HS256.
        key_file: for RS256 and EdDSA: public keys in PEM, or a JWKS (RFC 7517); read at start.
        leeway_s: how far clocks may differ.
        id_claim: which claim tells one user from another, for ever.
        name_claim: which claim is the display name at first sight.
        role_claim: which claim, a text or a list of texts, decides the role; none: everybody is a `user`.
        roles: what its values mean; others mean `user`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    audience: Annotated[str, Field(min_length=1, max_length=512)]
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
    secret: SecretStr | None = None
    key_file: Path | None = None
    leeway_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    id_claim: Claim = "sub"
    name_claim: Claim = "name"
    role_claim: Claim | None = None
    roles: Mapping[str, UserRole] = {}

    def __str__(self) -> str:
        return f"{self.issuer} ({', '.join(self.algorithms)})"

    @model_validator(mode="after")
    def _cross_check(self) -> "Issuer":
        by_secret = "HS256" in self.algorithms
        by_key = bool({"RS256", "EdDSA"} & set(self.algorithms))
        if self.issuer == GUEST_ISSUER:
            raise ValueError(f"{GUEST_ISSUER} is this server itself")
        if by_secret != (self.secret is not None):
            raise ValueError("a secret belongs to HS256, and HS256 needs one")
        if by_key != (self.key_file is not None):
            raise ValueError("a key_file belongs to RS256 and EdDSA, and these need one")
        if self.secret is not None and len(self.secret.get_secret_value().encode()) < SECRET_MIN_BYTES:
            raise ValueError(f"the secret has {SECRET_MIN_BYTES} bytes at least")
        if (self.role_claim is None) != (not self.roles):
            raise ValueError("role_claim and roles go together")
        return self
