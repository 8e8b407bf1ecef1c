"""An issuer's keys: which are taken, for which algorithm, and how often they are fetched."""

import asyncio
import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from signer.authn.jwk_set import COOLDOWN, MAX_KEYS, MAX_WAITING, KeySet, parse_jwks
from signer.core.errors import AuthenticationUnavailable
from signer.kube.answer import ApiUnavailable
from tests.support.clock import FakeClock
from tests.support.fakes import Switch
from tests.support.waiting import give_up, settle

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


class Source:
    """Publishes what it is told."""

    def __init__(self, document: object) -> None:
        self.document, self.switch, self.clock = document, Switch(), FakeClock()
        self.keys = KeySet(self.fetch, self.clock)

    async def fetch(self) -> object:
        """Give it."""
        await self.switch.passing()
        return self.document

    async def knows(self, kid: str) -> bool:
        """Whether the set does."""
        return await self.keys.key(kid) is not None


async def test_a_flood_of_unknown_ids_is_one_fetch() -> None:
    """And few wait for it: the others would take up the places of those whose keys are known."""
    source = Source(_doc("a"))
    flood = [source.keys.key(f"junk-{number}") for number in range(1000)]
    found = await asyncio.gather(*flood, return_exceptions=True)
    assert found[:MAX_WAITING] == [None] * MAX_WAITING
    assert all(isinstance(late, AuthenticationUnavailable) for late in found[MAX_WAITING:])
    assert source.switch.calls == 1
    source.clock.advance(COOLDOWN - 1)
    assert not await source.knows("more")
    assert source.switch.calls == 1
    source.clock.advance(1)
    assert not await source.knows("more")
    assert source.switch.calls == 2


async def test_known_ones_cost_nothing_and_new_ones_are_found() -> None:
    source = Source(_doc("a"))
    assert await source.knows("a")
    assert await source.knows("a")
    assert source.switch.calls == 1
    source.document = _doc("b")
    source.clock.advance(61)
    assert await source.knows("b")
    assert not await source.knows("a")


async def test_age_is_seen_to_in_the_background() -> None:
    """Nobody waits, and a key that was withdrawn goes."""
    source = Source(_doc("a"))
    assert await source.knows("a")
    source.clock.advance(3600)
    source.document, source.switch.held = _doc("b"), True
    assert await source.knows("a")
    await settle()
    assert source.switch.calls == 2
    source.switch.opened.set()
    await settle()
    assert not await source.knows("a")
    assert await source.knows("b")


@pytest.mark.parametrize("fault", [ApiUnavailable("down"), OSError("bug")])
async def test_trouble_is_unavailable_with_pauses_that_double(fault: Exception) -> None:
    source = Source(_doc("a"))
    source.switch.fault = fault
    for calls, pause in enumerate((1, 2, 4, 8, 10, 10), 1):
        for _ in range(2):
            with pytest.raises(AuthenticationUnavailable):
                await source.keys.key("a")
        source.clock.advance(pause - 0.5)
        with pytest.raises(AuthenticationUnavailable):
            await source.keys.key("a")
        assert source.switch.calls == calls, "too early"
        source.clock.advance(0.5)
    source.switch.fault = None
    assert await source.knows("a")
    source.switch.fault = fault
    source.clock.advance(COOLDOWN)
    for _ in range(2):
        with pytest.raises(AuthenticationUnavailable):
            await source.keys.key("b")
        source.clock.advance(1)
    assert source.switch.calls == 9, "after a good one the first pause is short again"


async def test_trouble_with_keys_known() -> None:
    """Known ones stay good; of an unknown one nobody knows."""
    source = Source(_doc("a"))
    assert await source.knows("a")
    source.clock.advance(3600)
    source.switch.fault = ApiUnavailable("down")
    assert await source.knows("a")
    with pytest.raises(AuthenticationUnavailable, match="down"):
        await source.keys.key("b")
    assert await source.knows("a")
    source.switch.fault = None
    source.clock.advance(1)
    assert not await source.knows("b")


@pytest.mark.parametrize("document", [{"keys": []}, {"keys": [OCT]}, "text", {}])
async def test_no_usable_key_is_no_verdict(document: object) -> None:
    source = Source(document)
    with pytest.raises(AuthenticationUnavailable):
        await source.keys.key("a")
    source.document = _doc("a")
    source.clock.advance(1)
    assert await source.knows("a")


async def test_the_first_asker_may_leave() -> None:
    source = Source(_doc("a"))
    source.switch.held = True
    first, second = (asyncio.create_task(source.knows("a")) for _ in range(2))
    await source.switch.entered.wait()
    await give_up(first)
    source.switch.opened.set()
    assert await second
    assert source.switch.calls == 1
    await source.keys.close()


async def test_closing_ends_a_fetch() -> None:
    source = Source(_doc("a"))
    await source.keys.close()
    source.switch.held = True
    asker = asyncio.create_task(source.knows("a"))
    await source.switch.entered.wait()
    await source.keys.close()
    with pytest.raises(asyncio.CancelledError):
        await asker
