"""Issuers' keys on disk: what is read of them, and that each checks one algorithm only."""

from pathlib import Path
from typing import Any

import pytest

from chat.issuer_keys import BadIssuerKeys, load_keys
from tests.chat.issuer_kit import issuer, jwk, pem, private_pem, write_keys


def kinds(file: Path, *algorithms: str) -> list[tuple[str | None, str]]:
    """Name and algorithm of each key that is loaded."""
    settings = issuer(algorithms=algorithms, secret=None, key_file=file)
    return [(key.kid, key.algorithm) for key in load_keys(settings)]


def test_a_secret_is_for_hs256_alone() -> None:
    """It is one key without a name."""
    (key,) = load_keys(issuer())
    assert (key.kid, key.algorithm) == (None, "HS256")
    assert "0123" not in repr(key)


def test_pem_keys_are_bound_by_their_kind(tmp_path: Path) -> None:
    """Several in one file, as while one takes the other's place; what is not asked for is left out."""
    file = write_keys(tmp_path, b"text before\n", pem("rsa"), pem("ed25519"), pem("rsa2"))

    assert kinds(file, "RS256", "EdDSA") == [(None, "RS256"), (None, "EdDSA"), (None, "RS256")]
    assert kinds(file, "EdDSA") == [(None, "EdDSA")]


def test_a_set_may_hold_other_keys_besides(tmp_path: Path) -> None:
    """Those for encryption, of other kinds and for other algorithms are passed over."""
    file = write_keys(
        tmp_path,
        jwk("rsa", kid="a", use="sig", alg="RS256"),
        jwk("rsa2", kid="b", use="enc"),
        jwk("rsa2", kid="c", alg="PS256"),
        jwk("ec", kid="d"),
        jwk("ed448", kid="e"),
        jwk("ed25519", kid="f", alg="EdDSA"),
        jwk("ed25519", kid=7),
    )

    assert kinds(file, "RS256", "EdDSA") == [("a", "RS256"), ("f", "EdDSA"), (None, "EdDSA")]


BAD: list[tuple[str, tuple[bytes | dict[str, Any], ...], str]] = [
    ("RS256", (b"",), "neither public keys in PEM nor a JWKS"),
    ("RS256", (b"\xff\x00",), "neither public keys in PEM nor a JWKS"),
    ("RS256", (b"x" * 1_048_577,), "larger than 1048576 bytes"),
    ("RS256", (b"{nonsense",), "not JSON"),
    ("RS256", (b'{"keys": 7}',), "no JWKS"),
    ("RS256", (b'{"keys": []}',), "no key for RS256"),
    ("RS256", (b'{"keys": [7, null, {}]}',), "no key for RS256"),
    ("RS256", ({"kty": "RSA", "n": "!", "e": "AQAB"},), "broken"),
    ("RS256", ({"kty": "RSA"},), "broken"),
    ("EdDSA", ({"kty": "OKP", "crv": "Ed25519", "x": "AA"},), "broken"),
    ("RS256", (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",), "broken"),
    ("RS256", ({"kty": "oct", "k": "AAAA"},), "private key"),
]


@pytest.mark.parametrize(("algorithm", "content", "problem"), BAD)
def test_a_file_that_holds_something_else_is_told(
    tmp_path: Path, algorithm: str, content: tuple[bytes | dict[str, Any], ...], problem: str
) -> None:
    """With the file's name, and what is wrong with it."""
    file = write_keys(tmp_path, *content)
    with pytest.raises(BadIssuerKeys, match=problem) as bad:
        kinds(file, algorithm)
    assert str(bad.value).startswith(str(file))


@pytest.mark.parametrize(
    ("algorithm", "kind", "problem"),
    [
        ("RS256", "ed25519", "no key for RS256"),
        ("EdDSA", "rsa", "no key for EdDSA"),
        ("RS256", "short", "less than 2048 bits"),
        ("RS256", "ec", "neither RSA nor Ed25519"),
        ("EdDSA", "ed448", "neither RSA nor Ed25519"),
    ],
)
def test_a_key_of_another_kind_is_told(tmp_path: Path, algorithm: str, kind: str, problem: str) -> None:
    """No key is taken for what it is not."""
    with pytest.raises(BadIssuerKeys, match=problem):
        kinds(write_keys(tmp_path, pem(kind)), algorithm)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_private_keys_are_refused(tmp_path: Path, kind: str) -> None:
    """Who has the issuer's private key could make its tokens: it has no business here."""
    for content in (private_pem(kind), jwk(kind, private=True)):
        with pytest.raises(BadIssuerKeys, match="private key"):
            kinds(write_keys(tmp_path, content), "RS256" if kind == "rsa" else "EdDSA")


def test_a_file_that_is_missing_and_too_many_keys_are_told(tmp_path: Path) -> None:
    """Each token may have to be tried with each of them."""
    with pytest.raises(BadIssuerKeys, match="it cannot be read: No such file"):
        kinds(tmp_path / "none", "RS256")
    with pytest.raises(BadIssuerKeys, match="cannot be read"):
        kinds(tmp_path, "RS256")
    with pytest.raises(BadIssuerKeys, match="more than 16 keys"):
        kinds(write_keys(tmp_path, *[jwk("ed25519", kid=f"{n}") for n in range(17)]), "EdDSA")
