"""A JWK set: which keys are taken, and for which algorithm."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from signer.authn.jwk_set import MAX_KEYS, parse_jwks

RSA = rsa.generate_private_key(65537, 2048)
SHORT = rsa.generate_private_key(65537, 1024)


def _rsa(key: rsa.RSAPrivateKey = RSA, **more: object) -> dict[str, Any]:
    return {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "a", **more}


def _ec(curve: ec.EllipticCurve, **more: object) -> dict[str, Any]:
    return {**json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(curve).public_key())), "kid": "a", **more}


P256, P384, P521 = _ec(ec.SECP256R1()), _ec(ec.SECP384R1()), _ec(ec.SECP521R1())
PRIVATE = {**json.loads(RSAAlgorithm.to_jwk(RSA)), "kid": "a"}
OCT = {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode(), "kid": "a"}


def _doc(*kids: str) -> dict[str, Any]:
    return {"keys": [_rsa(kid=kid) for kid in kids]}


@pytest.mark.parametrize(
    ("jwk", "algorithm"),
    [
        (_rsa(), "RS256"),
        (_rsa(alg="RS384"), "RS384"),
        (_rsa(alg="RS512", use="sig"), "RS512"),
        (_rsa(crv="P-256"), "RS256"),
        (PRIVATE, "RS256"),
        (P256, "ES256"),
        (P384, "ES384"),
        (P521, "ES512"),
    ],
)
def test_the_algorithm_is_the_keys(jwk: dict[str, Any], algorithm: str) -> None:
    key = parse_jwks({"keys": [jwk]})["a"]
    assert key.algorithm == algorithm
    assert not hasattr(key.key, "sign")


@pytest.mark.parametrize(
    "jwk",
    [
        _rsa(SHORT),
        _rsa(alg="PS256"),
        _rsa(alg="ES256"),
        _rsa(alg="HS256"),
        _rsa(alg="none"),
        _rsa(alg=["RS256"]),
        _rsa(alg=None),
        _rsa(use="enc"),
        _rsa(kid=""),
        _rsa(kid=1),
        _rsa(n="!"),
        _rsa(n=1),
        _rsa(e="AA"),
        _rsa(kty="EC"),
        {"kty": "RSA", "kid": "a"},
        {name: value for name, value in _rsa().items() if name != "kid"},
        {**P256, "alg": "ES384"},
        {**P256, "crv": "P-384"},
        {**P256, "crv": "secp256k1"},
        {**P256, "crv": None},
        {**P256, "y": P256["x"]},
        OCT,
        {"kty": ["RSA"], "kid": "a"},
        "text",
        None,
    ],
)
def test_keys_that_are_skipped(jwk: object) -> None:
    """The others of the set are taken all the same."""
    assert list(parse_jwks({"keys": [jwk, {**P384, "kid": "good"}]})) == ["good"]


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": [None] * (MAX_KEYS + 1)}])
def test_what_is_no_key_set(document: object) -> None:
    with pytest.raises(ValueError, match="JWK set"):
        parse_jwks(document)


def test_the_first_of_two_with_one_id() -> None:
    assert parse_jwks({"keys": [P256, P384]})["a"].algorithm == "ES256"


def test_a_signature_of_another_key_or_algorithm() -> None:
    key = parse_jwks(_doc("a"))["a"]
    signed, _, signature = jwt.encode({}, RSA, algorithm="RS256").rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    assert key.verifies(signed.encode(), raw)
    assert not key.verifies(signed.encode() + b"x", raw)
    assert not key.verifies(signed.encode(), b"")
    assert not parse_jwks({"keys": [P256]})["a"].verifies(signed.encode(), raw)
