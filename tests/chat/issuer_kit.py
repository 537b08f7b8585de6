"""An outside issuer to test with: its keys, its tokens, and the settings by which it is believed."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from chat.config_issuers import Issuer

ISSUER: Final = "https://id.test"
AUDIENCE: Final = "parley"
SECRET: Final = "0123456789abcdef0123456789abcdef"
NOW_S: Final = 1_750_000_000
"""The simulation's beginning."""

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | ec.EllipticCurvePrivateKey


@cache
def private_key(kind: str) -> Private:
    """One key of each kind for the whole test run; a `2` at the end makes another."""
    match kind.rstrip("2"):
        case "rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "short":
            return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  it is to be refused
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case _:
            return ec.generate_private_key(ec.SECP256R1())


def pem(kind: str) -> bytes:
    """The public half, as a file has it."""
    return private_key(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(kind: str) -> bytes:
    """The private half, as no file of ours should have it."""
    return private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(kind: str, *, private: bool = False, **fields: object) -> dict[str, Any]:
    """A key as an entry of a JWKS; None leaves a field out."""
    key: Any = private_key(kind) if private else private_key(kind).public_key()
    match kind.rstrip("2"):
        case "rsa" | "short":
            entry = RSAAlgorithm.to_jwk(key, as_dict=True)
        case "ed25519" | "ed448":
            entry = OKPAlgorithm.to_jwk(key, as_dict=True)
        case _:
            entry = ECAlgorithm.to_jwk(key, as_dict=True)
    entry.pop("key_ops", None)
    return {**entry, **fields}


def write_keys(directory: Path, *content: bytes | dict[str, Any], name: str = "keys") -> Path:
    """A file with keys: PEM blocks as they are, or entries as one JWKS."""
    file = directory / name
    entries = [entry for entry in content if isinstance(entry, dict)]
    blocks = b"".join(block for block in content if isinstance(block, bytes))
    file.write_bytes(json.dumps({"keys": entries}).encode() if entries else blocks)
    return file


def claims(**changes: object) -> dict[str, object]:
    """What a good token says, with changes; None takes one out."""
    told: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "7f3a",
        "name": "Ann",
        "iat": NOW_S,
        "exp": NOW_S + 3600,
    }
    return {name: value for name, value in (told | changes).items() if value is not None}


def token(
    key: Any = SECRET,  # noqa: ANN401  a key of any kind, or none
    algorithm: str = "HS256",
    *,
    headers: dict[str, Any] | None = None,
    **changes: object,
) -> str:
    """A token of the issuer's."""
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def issuer(**changes: Any) -> Issuer:  # noqa: ANN401  as pydantic takes them
    """The issuer's settings, by default with a secret; None takes one out."""
    settings: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ("HS256",),
        "secret": SECRET,
    }
    return Issuer(**{name: value for name, value in (settings | changes).items() if value is not None})
