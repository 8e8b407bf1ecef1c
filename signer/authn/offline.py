"""Judges Kubernetes' bound service-account tokens by the issuer's public keys, without a TokenReview per token.

A signature says what was so when the token was made; whether its pod still lives is asked of ``live``. What cannot be
judged that way (tokens of Secrets, tokens without a pod) goes to TokenReview.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from signer.authn.bearer import Judge
from signer.authn.claim_rules import ClaimPolicy
from signer.authn.claims import ProvenToken, is_legacy, prove
from signer.authn.compact import Unproven, bad, key_id, split
from signer.authn.key_set import KeySet
from signer.core.errors import AuthenticationUnavailable
from signer.core.identity import SpiffeId, TrustDomain
from signer.core.ports import Clock
from signer.core.types import Caller, PodRef

METHOD = "offline"


class LiveCheck(Protocol):
    """Knows which pods live now."""

    async def check(self, namespace: str, service_account: str, service_account_uid: str, pod: PodRef) -> PodRef:
        """Give the pod as it is now, where it is that very one and runs as that very account.

        Raises:
            AuthenticationFailed: It is gone, is another one, or runs as another account.
            AuthenticationUnavailable: Nobody knows now.
        """
        ...


@dataclass(frozen=True, slots=True)
class OfflinePolicy:
    """Which tokens of one cluster are good, and what they prove.

    Attributes:
        cluster: The cluster's id.
        trust_domain: The trust domain of its service accounts.
        audiences: The token must be for one of these.
        issuers: The keys of each accepted issuer, by its ``iss``.
    """

    cluster: str
    trust_domain: TrustDomain
    audiences: Collection[str]
    issuers: Mapping[str, KeySet]


class OfflineJudge:
    """Judges the tokens of one cluster.

    Args:
        policy: Which are good.
        live: Asked about the pod of each token that is.
        fallback: Judges what cannot be judged offline.
        clock: Its wall clock says what has expired.
    """

    def __init__(self, policy: OfflinePolicy, live: LiveCheck, fallback: Judge, clock: Clock) -> None:
        self._policy = policy
        self._live = live
        self._fallback = fallback
        self._clock = clock

    async def judge(self, token: str) -> Caller:
        """Prove the caller.

        Raises:
            AuthenticationFailed: The token is bad, or its pod is gone.
            AuthenticationUnavailable: The issuer's keys, the pod's state or a TokenReview could not be had.
            Overloaded: Too many tokens wait for a TokenReview.
        """
        unproven = split(token)
        if is_legacy(unproven.claims):
            return await self._fallback.judge(token)
        proven = await self._prove(unproven)
        if proven.pod is None:
            return await self._fallback.judge(token)
        return await self._living(proven, proven.pod)

    async def _prove(self, token: Unproven) -> ProvenToken:
        """Verify on the event loop: a signature takes some 50 us, less than handing it to a thread."""
        if not self._policy.issuers:
            raise AuthenticationUnavailable("offline token: the cluster's issuer is not known yet")
        issuer = token.claims.get("iss")
        keys = self._policy.issuers.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise bad("iss", f"{str(issuer)[:100]!a} is not an accepted issuer")
        key = await keys.key(kid := key_id(token))
        if key is None:
            raise bad("kid", f"the issuer has no key {kid[:100]!a}")
        # Only the issuer whose key it was: another one's key must not vouch for it.
        return prove(token, key, ClaimPolicy((str(issuer),), self._policy.audiences), self._clock.now())

    async def _living(self, proven: ProvenToken, pod: PodRef) -> Caller:
        living = await self._live.check(proven.namespace, proven.service_account, proven.service_account_uid, pod)
        identity = SpiffeId(self._policy.trust_domain, proven.namespace, proven.service_account)
        return Caller(identity, METHOD, self._policy.cluster, living)
