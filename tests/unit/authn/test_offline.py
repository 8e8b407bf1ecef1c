"""The offline judge: whose keys it takes, what it asks of whom, and what it leaves to TokenReview."""

import json

import pytest
from jwt.algorithms import ECAlgorithm

from signer.authn.bearer import Judge
from signer.authn.key_set import KeySet
from signer.authn.offline import METHOD, LiveCheck, OfflineJudge, OfflinePolicy
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, SignerError
from signer.core.identity import TrustDomain
from signer.core.types import Caller, PodRef
from signer.kube.answer import ApiUnavailable
from tests.support.clock import NOW, SECOND, FakeClock
from tests.support.fakes import CALLER, IDENTITY, Switch
from tests.support.tokens import raw_token
from tests.unit.authn.test_claims import ABSENT, CLAIMS, ISSUER, KEY, bound, minted, signed

OTHER = "https://other.example"
LEGACY = raw_token(b'{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"payments"}', b"{}")
JWK = {**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "a"}


class Scene:
    """A judge over fakes: one issuer with a key, another one with none of its own."""

    def __init__(self) -> None:
        self.fetches, self.other, self.lives, self.reviews = Switch(), Switch(), Switch(), Switch()
        self.clock = FakeClock()
        self.asked: list[tuple[str, str, str, PodRef]] = []
        issuers = {ISSUER: KeySet("a", self._keys, self.clock), OTHER: KeySet("b", self._other_keys, self.clock)}
        policy = OfflinePolicy("Kubernetes", TrustDomain("cluster.local"), ["istio-ca"], issuers)
        live: LiveCheck = self
        fallback: Judge = Review(self.reviews)
        self.judge: Judge = OfflineJudge(policy, live, fallback, self.clock)

    async def _keys(self) -> object:
        await self.fetches.passing()
        return {"keys": [JWK]}

    async def _other_keys(self) -> object:
        await self.other.passing()
        return {"keys": [{**JWK, "kid": "b"}]}

    async def check(self, namespace: str, service_account: str, service_account_uid: str, pod: PodRef) -> PodRef:
        """Take every pod for one on node-9."""
        self.asked.append((namespace, service_account, service_account_uid, pod))
        await self.lives.passing()
        return PodRef(pod.name, pod.uid, "node-9")


class Review:
    """Stands in for TokenReview."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch

    async def judge(self, token: str) -> Caller:
        """Take anybody for the same caller."""
        await self.switch.passing()
        return CALLER


async def test_a_good_token() -> None:
    """Its pod is as the live check says; nobody else is asked."""
    scene = Scene()
    caller = await scene.judge.judge(minted())
    assert caller == Caller(IDENTITY, METHOD, "Kubernetes", PodRef("api-0", "uid-0", "node-9"))
    assert scene.asked == [("payments", "api", "sa-uid", PodRef("api-0", "uid-0", "node-0"))]
    assert (scene.fetches.calls, scene.other.calls, scene.reviews.calls) == (1, 0, 0)


async def test_one_fetch_for_a_flood_of_unknown_keys() -> None:
    scene = Scene()
    for number in range(1000):
        header = json.dumps({"alg": "ES256", "kid": f"junk-{number}"}).encode()
        with pytest.raises(AuthenticationFailed, match="kid: the issuer has no key 'junk-"):
            await scene.judge.judge(raw_token(json.dumps(CLAIMS).encode(), header))
    assert scene.fetches.calls == 1
    assert (await scene.judge.judge(minted())).method == METHOD


@pytest.mark.parametrize("token", [bound(pod=ABSENT), bound(secret={"name": "s", "uid": "u"}), LEGACY])
async def test_left_to_token_review(token: str) -> None:
    scene = Scene()
    assert await scene.judge.judge(token) == CALLER
    assert scene.reviews.calls == 1
    assert scene.asked == []


async def test_without_a_pod_a_bad_token_is_asked_nobody_about() -> None:
    """What offline refuses, TokenReview is not troubled with."""
    scene = Scene()
    payload = json.dumps({**CLAIMS, "kubernetes.io": {"namespace": "payments"}}).encode()
    with pytest.raises(AuthenticationFailed, match="signature"):
        await scene.judge.judge(raw_token(payload, b'{"alg":"ES256","kid":"a"}'))
    assert scene.reviews.calls == 0


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (minted(iss="https://evil.example"), "iss: 'https://evil.example' is not an accepted issuer"),
        (minted(iss=["x\n" * 99]), "iss: "),
        (minted(iss=ABSENT), "iss: 'None'"),
        (minted(iss=OTHER), "kid: the issuer has no key 'a'"),
        (minted(aud="x"), "aud: "),
        (bound(namespace="kube-system"), "kubernetes.io namespace: "),
        (signed(json.dumps(CLAIMS).encode(), b'{"alg":"none","kid":"a"}'), "alg: "),
        ("junk", "shape: "),
    ],
)
async def test_bad_tokens(token: str, reason: str) -> None:
    scene = Scene()
    with pytest.raises(AuthenticationFailed) as caught:
        await scene.judge.judge(token)
    assert caught.value.reason.startswith(f"offline token: {reason}")
    assert caught.value.reason.isprintable()
    assert scene.asked == []


@pytest.mark.parametrize(("seconds", "good"), [(-60, True), (-61, False), (3599, True), (3660, False)])
async def test_the_injected_clock_decides(seconds: int, good: bool) -> None:
    scene = Scene()
    scene.clock.set(NOW + seconds * SECOND)
    if good:
        assert (await scene.judge.judge(minted())).identity == IDENTITY
        return
    with pytest.raises(AuthenticationFailed, match=r"expired|future"):
        await scene.judge.judge(minted())


async def test_without_keys_there_is_no_verdict() -> None:
    scene = Scene()
    scene.fetches.fault = ApiUnavailable("down")
    with pytest.raises(AuthenticationUnavailable, match="down"):
        await scene.judge.judge(minted())


@pytest.mark.parametrize("fault", [AuthenticationFailed("gone"), AuthenticationUnavailable("unknown")])
async def test_the_live_checks_word_is_passed_on(fault: SignerError) -> None:
    scene = Scene()
    scene.lives.fault = fault
    with pytest.raises(type(fault), match=fault.reason):
        await scene.judge.judge(minted())
