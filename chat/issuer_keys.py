"""The keys of outside issuers, read from disk: each is bound to one algorithm, by what kind of key it is.

That binding is why no token can choose how it is checked: a public key is never taken for a secret, nor a key
of one kind for another.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from chat.config_issuers import Algorithm, Issuer
from chat.errors import ChatError

FILE_MAX_BYTES: Final = 1024 * 1024
KEYS_MAX: Final = 16
"""Of one issuer: a token may have to be tried with each."""
RSA_MIN_BITS: Final = 2048

_PEM: Final = re.compile(rb"-----BEGIN ((?:RSA )?PUBLIC KEY)-----.+?-----END \1-----", re.DOTALL)
_PRIVATE: Final = b"PRIVATE KEY-----"


class BadIssuerKeys(ChatError):
    """An issuer's keys cannot be used; the message says which file, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKey:
    """One key.

    Attributes:
        kid: what tokens call it; None: it has no name.
        algorithm: the only one that it checks.
    """

    kid: str | None
    algorithm: Algorithm
    key: bytes | RSAPublicKey | Ed25519PublicKey = field(repr=False)


def load_keys(issuer: Issuer) -> Sequence[IssuerKey]:
    """An issuer's keys: one at least for each of its algorithms.

    Raises:
        BadIssuerKeys: the file cannot be read, holds something else, or lacks a key.
    """
    keys: list[IssuerKey] = []
    if issuer.secret is not None:
        secret = issuer.secret.get_secret_value().encode()
        keys.append(IssuerKey(kid=None, algorithm="HS256", key=secret))
    if issuer.key_file is not None:
        try:
            found = list(_read(issuer.key_file))
        except ValueError as error:
            raise BadIssuerKeys(f"{issuer.key_file}: {error}") from error
        keys += [key for key in found if key.algorithm in issuer.algorithms]
    for algorithm in issuer.algorithms:
        if not any(key.algorithm == algorithm for key in keys):
            raise BadIssuerKeys(f"{issuer.key_file}: there is no key for {algorithm} in it")
    if len(keys) > KEYS_MAX:
        raise BadIssuerKeys(f"{issuer.key_file}: there are more than {KEYS_MAX} keys in it")
    return keys


def _read(file: Path) -> Iterator[IssuerKey]:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    if len(content) > FILE_MAX_BYTES:
        raise ValueError(f"it is larger than {FILE_MAX_BYTES} bytes")
    if _PRIVATE in content:
        raise ValueError("it holds a private key: nobody but the issuer should have that")
    if content.lstrip().startswith(b"{"):
        return _jwks(content)
    return _pem(content)


def _pem(content: bytes) -> Iterator[IssuerKey]:
    blocks = [match[0] for match in _PEM.finditer(content)]
    if not blocks:
        raise ValueError("it is neither public keys in PEM nor a JWKS")
    for block in blocks:
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("a key in it is broken, or of an unknown kind") from error
        bound = _bind(key, None)
        if bound is None:
            raise ValueError("a key in it is neither RSA nor Ed25519")
        yield bound


def _jwks(content: bytes) -> Iterator[IssuerKey]:
    """The keys of a set that are for signatures of a known kind; such sets may hold others besides."""
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    listed = cast("Mapping[str, object]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no JWKS: there is no list of keys in it")  # noqa: TRY004  it is no caller's
    for entry in cast("list[object]", listed):
        key = _from_jwk(cast("dict[str, object]", entry)) if isinstance(entry, dict) else None
        if key is not None:
            yield key


def _from_jwk(entry: dict[str, object]) -> IssuerKey | None:
    """A key of a set; None: it is for something else."""
    if "d" in entry or "k" in entry:
        raise ValueError("it holds a private key: nobody but the issuer should have that")
    if entry.get("use", "sig") != "sig":
        return None
    try:
        match entry.get("kty"), entry.get("crv"), entry.get("alg"):
            case "RSA", _, None | "RS256":
                key: object = RSAAlgorithm.from_jwk(entry)
            case "OKP", "Ed25519", None | "EdDSA" | "Ed25519":
                key = OKPAlgorithm.from_jwk(entry)
            case _:
                return None
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise ValueError("a key in it is broken") from error
    kid = entry.get("kid")
    return _bind(key, kid if isinstance(kid, str) else None)


def _bind(key: object, kid: str | None) -> IssuerKey | None:
    """A key with the one algorithm of its kind; None: its kind has none here."""
    match key:
        case RSAPublicKey():
            if key.key_size < RSA_MIN_BITS:
                raise ValueError(f"an RSA key in it has less than {RSA_MIN_BITS} bits")
            return IssuerKey(kid=kid, algorithm="RS256", key=key)
        case Ed25519PublicKey():
            return IssuerKey(kid=kid, algorithm="EdDSA", key=key)
        case _:
            return None
