"""The development issuer: judges what it minted, and nothing else."""

import json
from datetime import datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from signer.authn.development import ALGORITHM, ISSUER, DevelopmentIssuer
from signer.authn.shape import check_shape
from signer.core.errors import AuthenticationFailed
from signer.core.identity import InvalidIdentity, TrustDomain
from signer.core.types import PodRef
from tests.support.clock import HOUR, NOW, SECOND, FakeClock
from tests.support.fakes import IDENTITY
from tests.support.tokens import raw_token


def _issuer(clock: FakeClock | None = None, audience: str = "istio-ca") -> DevelopmentIssuer:
    return DevelopmentIssuer(TrustDomain("cluster.local"), "Kubernetes", audience, clock or FakeClock())


async def test_round_trip() -> None:
    """What it mints, it judges good, and the shape is that of a real token."""
    issuer = _issuer()
    token = issuer.mint("payments", "api", "api-0")
    caller = await issuer.judge(token)
    assert (caller.identity, caller.method, caller.cluster) == (IDENTITY, "development", "Kubernetes")
    assert caller.pod == PodRef("api-0", "development-api-0", "development", labels=())
    assert check_shape(token, ["istio-ca"], NOW).expires == NOW + HOUR


async def test_expiry_by_the_given_clock() -> None:
    """Good to the last second, and no longer."""
    clock = FakeClock()
    issuer = _issuer(clock)
    token = issuer.mint("payments", "api", "api-0", timedelta(minutes=5))
    clock.advance(timedelta(minutes=5) - SECOND)
    assert await issuer.judge(token)
    clock.advance(SECOND)
    with pytest.raises(AuthenticationFailed, match="expired"):
        await issuer.judge(token)


async def test_not_before_its_time() -> None:
    """When the clock is set back, a token is of the future."""
    clock = FakeClock()
    issuer = _issuer(clock)
    token = issuer.mint("payments", "api", "api-0")
    clock.set(NOW - SECOND)
    with pytest.raises(AuthenticationFailed, match="not valid yet"):
        await issuer.judge(token)


async def test_only_the_given_clock_counts() -> None:
    """A clock far ahead of the machine's mints tokens that are good by that clock."""
    clock = FakeClock(datetime.fromisoformat("2090-01-01T00:00:00+00:00"))
    issuer = _issuer(clock)
    assert await issuer.judge(issuer.mint("payments", "api", "api-0"))


@pytest.mark.parametrize(
    ("namespace", "account"), [("", "api"), ("Payments", "api"), ("payments", "a/b"), ("a.b", "c")]
)
def test_no_token_for_no_identity(namespace: str, account: str) -> None:
    """Not every text can be a workload."""
    with pytest.raises(InvalidIdentity):
        _issuer().mint(namespace, account, "pod")


_CLAIMS = {
    "iss": ISSUER,
    "aud": ["istio-ca"],
    "iat": 1,
    "nbf": 1,
    "exp": 4_000_000_000,
    "sub": "system:serviceaccount:payments:api",
    "kubernetes.io": {
        "namespace": "payments",
        "serviceaccount": {"name": "api"},
        "pod": {"name": "api-0", "uid": "uid"},
    },
}
_SECRET = "a secret that is long enough for any digest there is, at least it should be"
FORGED: dict[str, str] = {
    "another key": jwt.encode(_CLAIMS, ec.generate_private_key(ec.SECP256R1()), algorithm=ALGORITHM),
    "HS256": jwt.encode(_CLAIMS, _SECRET, algorithm="HS256"),
    "none": raw_token(json.dumps(_CLAIMS).encode(), b'{"alg":"none"}').rpartition(".")[0] + ".",
    "rubbish": "a.b.c",
    "empty": "",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
async def test_forged(token: str) -> None:
    """Nobody else's tokens, by no algorithm but its own."""
    with pytest.raises(AuthenticationFailed, match="development token: "):
        await _issuer().judge(token)


async def test_another_processs_token() -> None:
    """Its key dies with it."""
    with pytest.raises(AuthenticationFailed, match="InvalidSignatureError"):
        await _issuer().judge(_issuer().mint("payments", "api", "api-0"))


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat", "aud", "iss", "sub", "kubernetes.io"])
async def test_every_claim_is_needed(claim: str) -> None:
    """Even in a token under its own key."""
    issuer = _issuer()
    claims = {name: value for name, value in _CLAIMS.items() if name != claim}
    with pytest.raises(AuthenticationFailed, match="development token: "):
        await issuer.judge(jwt.encode(claims, issuer._key, algorithm=ALGORITHM))


@pytest.mark.parametrize(
    "change", [{"aud": "vault"}, {"iss": "https://x"}, {"kubernetes.io": "x"}, {"exp": 1}], ids=str
)
async def test_wrong_claims(change: dict[str, object]) -> None:
    """Nor with another audience, issuer, shape or time."""
    issuer = _issuer()
    with pytest.raises(AuthenticationFailed, match="development token: "):
        await issuer.judge(jwt.encode({**_CLAIMS, **change}, issuer._key, algorithm=ALGORITHM))
