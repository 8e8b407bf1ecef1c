"""Kubernetes' own verdict on a token: TokenReview (authentication.k8s.io/v1).

The rules are those of istiod (security/pkg/k8s/tokenreview/k8sauthn.go), made stricter: ``status.error`` first, then
``authenticated``, the audiences that the server confirms, the service accounts' group, a name of exactly four parts.
What the API server cannot say is told as "unavailable": an outage must never look like a bad token.
"""

import asyncio
import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from signer.authn.claims import check_form
from signer.authn.compact import PREFIX, split
from signer.authn.foreign import account_of, mapping
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.core.identity import InvalidIdentity, SpiffeId, TrustDomain
from signer.core.types import Caller, PodRef
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
METHOD = "token-review"
GROUP = "system:serviceaccounts"
_EXTRA = "authentication.kubernetes.io/"
_ATTEMPTS = 3
_MAX_REASON = 256
# The API server puts whatever went wrong into status.error, its own troubles too (kubernetes:
# pkg/registry/authentication/tokenreview/storage.go); these are what etcd, webhooks and Go's network say.
_TROUBLE = re.compile(
    r"etcdserver|timed? ?out|deadline exceeded|connection refused|connection reset|context canceled|too many requests"
    r"|internal error|service unavailable|no leader|EOF",
)


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """Which tokens of one cluster are good, and what they prove.

    Attributes:
        cluster: The cluster's id.
        trust_domain: The trust domain of its service accounts.
        audiences: The token must be for one of these.
        timeout: Seconds for the whole question, tries included.
    """

    cluster: str
    trust_domain: TrustDomain
    audiences: Collection[str]
    timeout: float = 5.0


def review_body(token: str, audiences: Collection[str] = ()) -> dict[str, Any]:
    """Make the question about a token; without audiences, the API server takes its own."""
    spec = {"token": token, "audiences": sorted(audiences)} if audiences else {"token": token}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}


async def try_review(api: KubeApi, timeout: float) -> Answer:
    """Have nobody's token reviewed, once: whether the API server is there, knows us, and lets us ask.

    Args:
        api: The API server.
        timeout: Seconds.

    Raises:
        ApiUnavailable: It gave no answer.
    """
    return await api.post(PATH, review_body("nobody"), timeout)


class TokenReviewer:
    """Asks one cluster's API server."""

    def __init__(self, api: KubeApi, policy: ReviewPolicy) -> None:
        self._api = api
        self._policy = policy

    async def judge(self, token: str) -> Caller:
        """Have a token judged.

        Raises:
            AuthenticationFailed: The API server refused it, or it is no service account's, or says two things at once.
            AuthenticationUnavailable: The API server gave no verdict.
        """
        _check_form(token)
        try:
            async with asyncio.timeout(self._policy.timeout):
                answer = await self._ask(token)
        except TimeoutError:
            raise AuthenticationUnavailable(f"TokenReview: no verdict within {self._policy.timeout} s") from None
        return caller_of(answer, self._policy, token)

    async def _ask(self, token: str) -> Answer:
        """Ask, and again where a connection broke or the server said so: agents drop what fails once."""
        body = review_body(token, self._policy.audiences)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._api.post(PATH, body, self._policy.timeout)
                if attempt == _ATTEMPTS or not _passing(answer.status):
                    return answer
            except ApiUnavailable as error:
                if error.final or attempt == _ATTEMPTS:
                    raise AuthenticationUnavailable(f"TokenReview: {error}") from None
            await asyncio.sleep(random.uniform(0.05, 0.15) * attempt)  # noqa: S311  spreads retries, hides nothing
        raise AssertionError("unreachable: the last attempt returns or raises")


def _check_form(token: str) -> None:
    """Refuse, as offline does, what the API server would overlook: clocks, keys and audiences are its business."""
    try:
        check_form(split(token))
    except AuthenticationFailed as error:
        raise AuthenticationFailed(f"TokenReview: not asked: {error.reason.removeprefix(PREFIX)}") from None


def _passing(status: int) -> bool:
    return status == 429 or status >= 500


def caller_of(answer: Answer, policy: ReviewPolicy, token: str) -> Caller:
    """Read the verdict.

    Args:
        answer: What the API server said.
        policy: What is asked of the token.
        token: The token, only to keep it out of the reasons.

    Raises:
        AuthenticationFailed: The verdict is no.
        AuthenticationUnavailable: There is no verdict in the answer.
    """
    status = _status(answer)
    error = status.get("error")
    if error:
        kind = AuthenticationUnavailable if _TROUBLE.search(str(error)) else AuthenticationFailed
        raise kind(f"TokenReview: {_safe(error, token)}")
    if status.get("authenticated") is not True:
        raise AuthenticationFailed("TokenReview: not authenticated")
    _check_audiences(status, policy)
    user = mapping(status.get("user"))
    return Caller(_identity(user, policy), METHOD, policy.cluster, _pod(mapping(user.get("extra"))))


def _status(answer: Answer) -> dict[str, Any]:
    """401 and 403 here are about the signer's own credentials and rights, so they say nothing of the caller's."""
    if answer.status not in (200, 201):
        hint = ": may this service account create tokenreviews?" if answer.status in (401, 403) else ""
        raise AuthenticationUnavailable(f"TokenReview: HTTP {answer.status}{hint}")
    status = answer.body.get("status")
    if answer.body.get("kind") != "TokenReview" or not isinstance(status, dict):
        raise AuthenticationUnavailable("TokenReview: the answer is not a TokenReview")
    return status


def _safe(error: object, token: str) -> str:
    """Keep a foreign text short, on one line and without the token."""
    return ascii(str(error).replace(token, "***")[:_MAX_REASON])


def _check_audiences(status: dict[str, Any], policy: ReviewPolicy) -> None:
    """An API server that does not know audiences returns none, and has checked none."""
    confirmed = status.get("audiences")
    if not isinstance(confirmed, list) or not set(map(str, confirmed)) & set(policy.audiences):
        raise AuthenticationFailed(f"TokenReview: none of the audiences {sorted(policy.audiences)} is confirmed")


def _identity(user: dict[str, Any], policy: ReviewPolicy) -> SpiffeId:
    username, groups = user.get("username"), user.get("groups")
    if not isinstance(groups, list) or GROUP not in groups:
        raise AuthenticationFailed(f"TokenReview: {ascii(username)[:100]} is not in group {GROUP}")
    try:
        namespace, account = account_of(username)
    except ValueError:
        raise AuthenticationFailed(f"TokenReview: {ascii(username)[:100]} is no service account") from None
    try:
        return SpiffeId(policy.trust_domain, namespace, account)
    except InvalidIdentity as error:
        raise AuthenticationFailed(f"TokenReview: {error}") from None


def _pod(extra: dict[str, Any]) -> PodRef | None:
    """The pod that the token is bound to; legacy tokens have none."""
    name, uid, node = (_only(extra.get(_EXTRA + key)) for key in ("pod-name", "pod-uid", "node-name"))
    return PodRef(name, uid, node) if name and uid else None


def _only(values: object) -> str | None:
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return None
