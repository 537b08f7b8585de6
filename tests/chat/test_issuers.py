"""Tokens of outside issuers: what is believed of a good one, and every way not to be one."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from jwt.algorithms import HMACAlgorithm
from pydantic import ValidationError

from chat.config_issuers import Issuer
from chat.issuers import BadToken, Claims, Issuers
from tests.chat.issuer_kit import (
    ISSUER,
    NOW_S,
    SECRET,
    claims,
    issuer,
    jwk,
    pem,
    private_key,
    token,
    write_keys,
)


def believers(*settings: Issuer) -> Issuers:
    """Those who believe these issuers, at `NOW_S`."""
    return Issuers(settings or [issuer()], now_ms=lambda: NOW_S * 1000)


def test_a_good_token_says_who_it_is() -> None:
    """Its user, name and end, with the clocks' difference; the role is the issuer's only where it may say."""
    assert believers().judge(token(more="x")) == Claims(
        ISSUER, "7f3a", "Ann", None, (NOW_S + 3630) * 1000, NOW_S * 1000
    )
    assert believers(issuer(leeway_s=0)).judge(token(iat=None, name=None, exp=NOW_S + 0.5)) == Claims(
        ISSUER, "7f3a", None, None, NOW_S * 1000 + 500, None
    )


def test_other_claims_may_tell_who_it_is() -> None:
    """Which ones is a setting."""
    believed = believers(issuer(id_claim="uid", name_claim="preferred_username"))
    judged = believed.judge(token(uid="u-1", preferred_username="annie", aud=["other", "parley"]))
    assert (judged.subject, judged.name) == ("u-1", "annie")
    with pytest.raises(BadToken):
        believed.judge(token())


@pytest.mark.parametrize(
    ("told", "role"),
    [
        ("staff", "moderator"),
        (["staff", "root", "unheard-of"], "admin"),
        ([7, None, "staff"], "moderator"),
        ("admin", "user"),
        (7, "user"),
        ({"root": True}, "user"),
        (None, "user"),
    ],
)
def test_the_highest_role_that_is_meant_counts(told: object, role: str) -> None:
    """What the settings do not name means nothing, were it called admin."""
    settings = issuer(role_claim="groups", roles={"staff": "moderator", "root": "admin"})
    assert believers(settings).judge(token(groups=told)).role == role


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
@pytest.mark.parametrize("as_set", [False, True], ids=["pem", "jwks"])
def test_public_keys_check_their_own_algorithm(tmp_path: Path, algorithm: str, as_set: bool) -> None:
    """With a name or without; another key of the same kind does not help."""
    kind = "rsa" if algorithm == "RS256" else "ed25519"
    file = write_keys(tmp_path, jwk(kind, kid="k1") if as_set else pem(kind))
    believed = believers(issuer(algorithms=[algorithm], secret=None, key_file=file))

    for headers in ({"kid": "k1"}, {}):
        assert believed.judge(token(private_key(kind), algorithm, headers=headers)).subject == "7f3a"
        with pytest.raises(BadToken):
            believed.judge(token(private_key(f"{kind}2"), algorithm, headers=headers))


def test_a_named_key_is_the_one_that_checks(tmp_path: Path) -> None:
    """A token that names another key, or none of the set's, is not tried with all of them."""
    file = write_keys(tmp_path, jwk("rsa", kid="a"), jwk("rsa2", kid="b"))
    believed = believers(issuer(algorithms=["RS256"], secret=None, key_file=file))

    assert believed.judge(token(private_key("rsa2"), "RS256", headers={"kid": "b"}))
    assert believed.judge(token(private_key("rsa2"), "RS256"))
    for kid in ("a", "c", ""):
        with pytest.raises(BadToken):
            believed.judge(token(private_key("rsa2"), "RS256", headers={"kid": kid}))


def raw(header: object, payload: object) -> str:
    """A token of any parts, without a signature."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b""))


def signed(
    header: object, payload: object, key: bytes, digest: Callable[..., Any] = HMACAlgorithm.SHA256
) -> str:
    """A token of any parts, signed with any key, which PyJWT would not do."""
    unsigned = raw(header, payload).rstrip(".")
    signature = HMACAlgorithm(digest).sign(unsigned.encode(), key)
    return f"{unsigned}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def confusions(tmp_path: Path) -> dict[str, tuple[Issuer, str]]:
    """Tokens that would choose how they are checked, each with the issuer that must not fall for it."""
    by_rsa = issuer(algorithms=["RS256"], secret=None, key_file=write_keys(tmp_path, pem("rsa")))
    both = issuer(algorithms=["HS256", "RS256"], key_file=by_rsa.key_file)
    by_ed = issuer(
        algorithms=["EdDSA"], secret=None, key_file=write_keys(tmp_path, pem("ed25519"), name="ed")
    )

    def hs256_with(key: bytes) -> str:
        """Signed with a public key as if it were a secret."""
        return signed({"alg": "HS256", "typ": "JWT"}, claims(), key)

    return {
        "none": (both, raw({"alg": "none"}, claims())),
        "None": (both, raw({"alg": "None"}, claims())),
        "no algorithm": (both, raw({"typ": "JWT"}, claims())),
        "a list of algorithms": (both, raw({"alg": ["none", "HS256"]}, claims())),
        "a public key as a secret": (by_rsa, hs256_with(pem("rsa"))),
        "a public key as a secret beside a secret": (both, hs256_with(pem("rsa"))),
        "a public key's bytes as a secret": (by_ed, hs256_with(pem("ed25519"))),
        "a secret where there is none": (by_rsa, token()),
        "HS512 for HS256": (issuer(), token(SECRET * 2, "HS512")),
        "HS512 with the secret": (
            issuer(),
            signed({"alg": "HS512", "typ": "JWT"}, claims(), SECRET.encode(), HMACAlgorithm.SHA512),
        ),
        "PS256 with the key for RS256": (by_rsa, token(private_key("rsa"), "PS256")),
        "RS512 with the key for RS256": (by_rsa, token(private_key("rsa"), "RS512")),
        "RS256 where EdDSA is meant": (by_ed, token(private_key("rsa"), "RS256")),
        "EdDSA where RS256 is meant": (by_rsa, token(private_key("ed25519"), "EdDSA")),
        "a key that the token brings": (
            by_rsa,
            token(private_key("rsa2"), "RS256", headers={"jwk": jwk("rsa2")}),
        ),
        "an address of keys that the token brings": (
            by_rsa,
            token(private_key("rsa2"), "RS256", headers={"jku": "http://127.0.0.1:9/", "x5u": "http://x"}),
        ),
        "an extension that must be understood": (issuer(), token(headers={"crit": ["exp"], "exp": 1})),
        "a payload that is not encoded": (issuer(), token(headers={"crit": ["b64"], "b64": False})),
        "a name of a key that is no text": (issuer(), raw({"alg": "HS256", "kid": {"a": 1}}, claims())),
    }


CONFUSIONS: Final = (
    "none",
    "None",
    "no algorithm",
    "a list of algorithms",
    "a public key as a secret",
    "a public key as a secret beside a secret",
    "a public key's bytes as a secret",
    "a secret where there is none",
    "HS512 for HS256",
    "HS512 with the secret",
    "PS256 with the key for RS256",
    "RS512 with the key for RS256",
    "RS256 where EdDSA is meant",
    "EdDSA where RS256 is meant",
    "a key that the token brings",
    "an address of keys that the token brings",
    "an extension that must be understood",
    "a payload that is not encoded",
    "a name of a key that is no text",
)


@pytest.mark.parametrize("name", CONFUSIONS)
def test_a_token_cannot_choose_how_it_is_checked(tmp_path: Path, name: str) -> None:
    """The algorithm is the key's, the key is the issuer's, and neither is the token's to say."""
    cases = confusions(tmp_path)
    assert set(cases) == set(CONFUSIONS)
    settings, forged = cases[name]
    with pytest.raises(BadToken, match="the token is not valid"):
        believers(settings).judge(forged)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"exp": None}, "not valid"),
        ({"exp": NOW_S - 30}, "expired"),
        ({"exp": NOW_S - 10**6}, "expired"),
        ({"exp": "tomorrow"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"exp": 10**40}, "exp is no time"),
        ({"exp": [NOW_S + 9]}, "exp is no time"),
        ({"nbf": NOW_S + 31}, "not valid yet"),
        ({"nbf": "later"}, "nbf is no time"),
        ({"iat": NOW_S + 31}, "not valid yet"),
        ({"iat": -5}, "iat is no time"),
        ({"aud": None}, "not valid"),
        ({"aud": "other"}, "not valid"),
        ({"aud": ["other", 7]}, "not valid"),
        ({"aud": "parley2"}, "not valid"),
        ({"iss": None}, "not valid"),
        ({"iss": "https://other.test"}, "not valid"),
        ({"iss": [ISSUER]}, "not valid"),
        ({"sub": None}, "not valid"),
        ({"sub": ""}, "names no user"),
        ({"sub": 7}, "not valid"),
        ({"sub": "x" * 256}, "names no user"),
    ],
)
def test_a_token_that_lacks_something_or_is_not_of_now_is_not_believed(
    changes: dict[str, Any], problem: str
) -> None:
    """Though it is signed as it should be."""
    with pytest.raises(BadToken, match=problem):
        believers().judge(signed({"alg": "HS256"}, claims(**changes), SECRET.encode()))


@pytest.mark.parametrize("changes", [{"exp": NOW_S - 29}, {"nbf": NOW_S + 29}, {"iat": NOW_S + 29}])
def test_clocks_may_differ_a_little(changes: dict[str, Any]) -> None:
    """Within the leeway that the settings give, to either side."""
    assert believers().judge(token(**changes)).subject == "7f3a"
    with pytest.raises(BadToken):
        believers(issuer(leeway_s=10)).judge(token(**changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b.c",
        "....",
        "\ud800",
        "\u00e9.\u00e9.\u00e9",
        token()[:-2],
        token(SECRET[::-1]),
        raw(b"[" * 1500, claims()),
        raw({"alg": "HS256"}, b"[" * 1500),
        raw({"alg": "HS256"}, b"7"),
        raw({"alg": "HS256"}, b"\xff"),
        raw(b"7", claims()),
        raw({"alg": "HS256"}, b'{"iss": "https://id.test", "exp": ' + b"9" * 2000 + b"}"),
    ],
)
def test_nonsense_is_not_believed_and_ends_nothing(text: str) -> None:
    """Whatever it is, it is answered in one way."""
    with pytest.raises(BadToken):
        believers().judge(text)


def test_only_their_own_tokens_are_theirs() -> None:
    """A guest's, another issuer's and nonsense are somebody else's; with no issuers nothing is theirs."""
    believed = believers()
    assert believed.know(token())
    assert believed.know(token(SECRET[::-1]))
    for other in (
        token(iss="parley:guest"),
        token(iss=None),
        raw({"alg": "HS256"}, claims(iss=7)),
        "a.b.c",
        "\ud800",
    ):
        assert not believed.know(other)
    assert not Issuers([], now_ms=lambda: 0).know(token())


def test_each_issuer_is_checked_by_its_own_keys(tmp_path: Path) -> None:
    """One issuer's secret makes no tokens of another."""
    other = issuer(
        issuer="https://other.test",
        algorithms=["EdDSA"],
        secret=None,
        key_file=write_keys(tmp_path, pem("ed25519")),
    )
    believed = believers(issuer(), other)

    assert believed.judge(token(private_key("ed25519"), "EdDSA", iss="https://other.test"))
    for forged in (token(iss="https://other.test"), token(private_key("ed25519"), "EdDSA")):
        with pytest.raises(BadToken):
            believed.judge(forged)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"issuer": ""}, "at least 1 character"),
        ({"issuer": None}, "Field required"),
        ({"issuer": "parley:guest"}, "this server itself"),
        ({"audience": ""}, "at least 1 character"),
        ({"audience": None}, "Field required"),
        ({"algorithms": []}, "at least 1 item"),
        ({"algorithms": ["none"]}, "Input should be"),
        ({"algorithms": ["HS512"]}, "Input should be"),
        ({"secret": None}, "HS256 needs one"),
        ({"secret": "short"}, "32 bytes at least"),
        ({"algorithms": ["RS256"], "key_file": "x"}, "a secret belongs to HS256"),
        ({"algorithms": ["RS256"], "secret": None}, "a key_file belongs to RS256"),
        ({"key_file": "x"}, "a key_file belongs to RS256"),
        ({"leeway_s": -1}, "greater than or equal to 0"),
        ({"leeway_s": 601}, "less than or equal to 600"),
        ({"id_claim": ""}, "at least 1 character"),
        ({"role_claim": "groups"}, "go together"),
        ({"roles": {"a": "admin"}}, "go together"),
        ({"role_claim": "groups", "roles": {"a": "king"}}, "Input should be"),
        ({"secrets": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_issuer_are_refused(changes: dict[str, Any], problem: str) -> None:
    """With what is wrong, and never with the secret."""
    with pytest.raises(ValidationError, match=problem) as refused:
        issuer(**changes)
    assert SECRET not in str(refused.value)
