"""Proving a bound token: every rule of the header and the claims, each way to break it."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.authn.claim_rules import CLAIM_RULES, ClaimPolicy
from signer.authn.claims import ProvenToken, is_legacy, prove
from signer.authn.compact import HEADER_RULES, key_id, split
from signer.authn.jwk_set import VerifyKey
from signer.core.errors import AuthenticationFailed
from signer.core.types import PodRef
from tests.support.clock import NOW
from tests.support.tokens import NOW_SECONDS, raw_token, segment

KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = VerifyKey(KEY.public_key(), "ES256")
ISSUER = "https://kubernetes.default.svc"
POLICY = ClaimPolicy((ISSUER,), ("istio-ca", "other"))
HEADER = {"alg": "ES256", "kid": "a"}
BOUND: dict[str, Any] = {
    "namespace": "payments",
    "serviceaccount": {"name": "api", "uid": "sa-uid"},
    "pod": {"name": "api-0", "uid": "uid-0"},
    "node": {"name": "node-0", "uid": "node-uid"},
}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": ["istio-ca"],
    "exp": NOW_SECONDS + 3600,
    "nbf": NOW_SECONDS,
    "iat": NOW_SECONDS,
    "sub": "system:serviceaccount:payments:api",
    "kubernetes.io": BOUND,
}
ABSENT = object()


def signed(payload: bytes, header: bytes = json.dumps(HEADER).encode()) -> str:
    """Sign any bytes."""
    start = f"{segment(header)}.{segment(payload)}"
    verifier = jwt.get_algorithm_by_name("ES256")
    return f"{start}.{segment(verifier.sign(start.encode(), KEY))}"


def minted(**changes: object) -> str:
    """A good token but for these claims."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ABSENT}
    return signed(json.dumps(claims).encode())


def bound(**changes: object) -> str:
    """A good token but for these members of its kubernetes.io claim."""
    inner = {name: value for name, value in {**BOUND, **changes}.items() if value is not ABSENT}
    return minted(**{"kubernetes.io": inner})


def _prove(token: str, key: VerifyKey = GOOD) -> ProvenToken:
    unproven = split(token)
    key_id(unproven)
    return prove(unproven, key, POLICY, NOW)


def test_a_good_token() -> None:
    expires = datetime.fromtimestamp(NOW_SECONDS + 3600, UTC)
    pod = PodRef("api-0", "uid-0", "node-0")
    assert _prove(minted()) == ProvenToken("payments", "api", "sa-uid", pod, "node-0", expires)


@pytest.mark.parametrize(
    "token",
    [
        minted(aud="istio-ca"),
        minted(aud=["x", "other"]),
        minted(exp=NOW_SECONDS + 1),
        minted(nbf=NOW_SECONDS + 60),
        minted(iat=NOW_SECONDS + 60),
        minted(nbf=NOW_SECONDS - 600, iat=NOW_SECONDS - 600),
        bound(node=ABSENT),
        bound(warnafter=NOW_SECONDS),
        signed(json.dumps(CLAIMS).encode(), b'{"alg":"ES256","kid":"a","typ":"JWT"}'),
    ],
)
def test_other_good_ones(token: str) -> None:
    assert _prove(token).pod is not None


@pytest.mark.parametrize(
    "token", [bound(pod=ABSENT), bound(pod=ABSENT, node=ABSENT), bound(secret={"name": "s", "uid": "u"})]
)
def test_those_that_the_api_server_must_judge(token: str) -> None:
    assert _prove(token).pod is None


def _claim(name: str, *values: object) -> list[str]:
    return [minted(**{name: value}) for value in values]


def _member(name: str, *values: object) -> list[str]:
    return [bound(**{name: value}) for value in values]


CLAIM_FAULTS: list[tuple[str, list[str]]] = [
    ("iss", _claim("iss", ABSENT, None, [ISSUER], ISSUER + "/", "", 1)),
    ("aud", _claim("aud", ABSENT, "", [], ["x"], "x", ["istio-ca", 1], {"istio-ca": 1}, None)),
    (
        "exp",
        _claim(
            "exp",
            *(ABSENT, True, None, "9999999999", NOW_SECONDS + 3600.0, 10**12, 10**400),
            *(NOW_SECONDS - 60, NOW_SECONDS - 600, -1),
        ),
    ),
    ("nbf", _claim("nbf", ABSENT, True, 1.0, "1", NOW_SECONDS + 61, NOW_SECONDS + 600)),
    ("iat", _claim("iat", ABSENT, False, 1.0, "1", NOW_SECONDS + 61, NOW_SECONDS + 600)),
    (
        "sub",
        _claim(
            "sub",
            *(ABSENT, None, 1, "", "api", "system:serviceaccount:payments", "system:serviceaccount::api"),
            *("system:serviceaccount:payments:api:x", "system:node:payments:api"),
            *("system:serviceaccount:payments:api\n", "\nsystem:serviceaccount:payments:api"),
            *("system:serviceaccount:p\u00e4yments:api", "system:serviceaccount:payments:ap\u0456"),
            *("system:serviceaccount:payments/sa/root:api", "system:serviceaccount:payments:\ud800"),
        ),
    ),
    ("kubernetes.io", _claim("kubernetes.io", ABSENT, None, [], "x")),
    ("kubernetes.io namespace", _member("namespace", ABSENT, "kube-system", None, ["payments"])),
    (
        "kubernetes.io serviceaccount",
        _member(
            "serviceaccount",
            *(ABSENT, None, "api", {"name": "api"}, {"name": "api", "uid": ""}, {"name": "api", "uid": 1}),
            *({"name": "root", "uid": "sa-uid"}, {"uid": "sa-uid"}),
        ),
    ),
    (
        "kubernetes.io pod",
        _member(
            "pod",
            *(None, [], "api-0", {}, {"name": "api-0"}, {"uid": "u"}, {"name": "", "uid": "u"}),
            *({"name": "api-0", "uid": 1}, {"name": "a\n", "uid": "u"}, {"name": "\ud800", "uid": "u"}),
            {"name": "a" * 254, "uid": "u"},
        ),
    ),
    ("kubernetes.io node", _member("node", None, "node-0", ["node-0"], {}, {"name": 1})),
]


@pytest.mark.parametrize(("rule", "token"), [(rule, token) for rule, tokens in CLAIM_FAULTS for token in tokens])
def test_each_claim(rule: str, token: str) -> None:
    """The reason names the rule, is short, and never has the token."""
    with pytest.raises(AuthenticationFailed) as caught:
        _prove(token)
    assert caught.value.reason.startswith(f"offline token: {rule}: ")
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) < 300
    assert token.split(".")[1] not in caught.value.reason


def test_every_rule_is_broken_above() -> None:
    assert [rule for rule, _ in CLAIM_RULES] == [rule for rule, _ in CLAIM_FAULTS]


HEADER_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("crit", {**HEADER, "crit": []}),
    ("crit", {**HEADER, "crit": ["exp"]}),
    ("typ", {**HEADER, "typ": "jwt+x"}),
    ("typ", {**HEADER, "typ": None}),
    ("alg", {"kid": "a"}),
    ("alg", {**HEADER, "alg": ["ES256"]}),
    ("kid", {"alg": "ES256"}),
    ("kid", {**HEADER, "kid": ""}),
    ("kid", {**HEADER, "kid": 1}),
]


@pytest.mark.parametrize(("rule", "header"), HEADER_FAULTS)
def test_each_header(rule: str, header: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationFailed, match=f"offline token: {rule}: "):
        _prove(signed(json.dumps(CLAIMS).encode(), json.dumps(header).encode()))


def test_every_header_rule_is_broken_above() -> None:
    assert {rule for rule, _ in HEADER_RULES} == {rule for rule, _ in HEADER_FAULTS}


RSA = rsa.generate_private_key(65537, 2048)
PAYLOAD = json.dumps(CLAIMS).encode()


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256 ", "ES384", "RS256", "PS256", "EdDSA", ""])
def test_the_token_does_not_choose_the_algorithm(algorithm: str) -> None:
    header = json.dumps({**HEADER, "alg": algorithm}).encode()
    with pytest.raises(AuthenticationFailed, match="alg: the key is for ES256 only"):
        _prove(signed(PAYLOAD, header))


def test_an_rsa_key_under_an_ec_header() -> None:
    with pytest.raises(AuthenticationFailed, match="alg: the key is for RS256 only"):
        _prove(minted(), VerifyKey(RSA.public_key(), "RS256"))


def test_the_public_key_as_a_shared_secret() -> None:
    secret = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    start = f"{segment(json.dumps({**HEADER, 'alg': 'HS256'}).encode())}.{segment(PAYLOAD)}"
    token = f"{start}.{segment(hmac.new(secret, start.encode(), hashlib.sha256).digest())}"
    with pytest.raises(AuthenticationFailed, match="alg"):
        _prove(token)


def test_another_keys_signature() -> None:
    other = VerifyKey(ec.generate_private_key(ec.SECP256R1()).public_key(), "ES256")
    with pytest.raises(AuthenticationFailed, match="signature: not by the issuer's key"):
        _prove(minted(), other)
    with pytest.raises(AuthenticationFailed, match="signature"):
        _prove(raw_token(PAYLOAD, json.dumps(HEADER).encode()))


@pytest.mark.parametrize(
    ("what", "token"),
    [
        ("header", signed(PAYLOAD, b'{"alg":"none","alg":"ES256","kid":"a"}')),
        ("payload", signed(b'{"sub":"x",' + PAYLOAD[1:])),
        ("payload", signed(PAYLOAD.replace(b'"namespace"', b'"namespace":"x","namesp\\u0061ce"'))),
        ("payload", signed(b"[]")),
        ("payload", signed(b"\xff")),
        ("payload", signed(PAYLOAD.decode().encode("utf-16"))),
        ("payload", signed(b"\xef\xbb\xbf" + PAYLOAD)),
        ("payload", signed(b'{"exp":NaN}')),
        ("payload", signed(b'{"exp":' + b"9" * 5000 + b"}")),
        ("payload", signed(b"[" * 9000)),
        ("payload", signed(b'{"a":' + b"[" * 20 + b"]" * 20 + b"}")),
        ("shape", minted(huge="x" * 20_000)),
        ("shape", ""),
        ("shape", "a.b"),
        ("shape", "a.b.c.d"),
        ("shape", "a.b.c"),
        ("shape", minted() + "\n"),
        ("shape", minted() + "="),
        ("shape", minted().rpartition(".")[0] + "."),
    ],
)
def test_what_is_no_token(what: str, token: str) -> None:
    with pytest.raises(AuthenticationFailed, match=f"offline token: {what}: "):
        split(token)


@pytest.mark.parametrize(
    ("claims", "legacy"),
    [
        ({"kubernetes.io/serviceaccount/namespace": "payments"}, True),
        ({"kubernetes.io/serviceaccount/namespace": "payments", "kubernetes.io": {}}, False),
        (CLAIMS, False),
        ({}, False),
    ],
)
def test_legacy_tokens(claims: dict[str, Any], legacy: bool) -> None:
    assert is_legacy(claims) is legacy
