"""The development issuer: tokens for any workload, for a signer without a cluster. Never for production.

Its tokens have the claims of Kubernetes' bound tokens, so that what is tried with them carries over.
"""

import secrets
from datetime import timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from signer.core.errors import AuthenticationFailed
from signer.core.identity import InvalidIdentity, SpiffeId, TrustDomain, check_namespace, check_service_account
from signer.core.ports import Clock
from signer.core.types import Caller, PodRef

ISSUER = "https://development.istio-signer.invalid"
METHOD = "development"
ALGORITHM = "ES256"
NODE = "development"
_K8S = "kubernetes.io"
# Times are judged here, by the given clock; the library would take the machine's.
_OPTIONS: jwt.types.Options = {
    "require": ["exp", "nbf", "iat", "aud", "iss", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class DevelopmentIssuer:
    """Mints tokens and judges them. Its key lives as long as the process: nothing outlives a development server."""

    def __init__(self, trust_domain: TrustDomain, cluster: str, audience: str, clock: Clock) -> None:
        self._trust_domain = trust_domain
        self._cluster = cluster
        self._audience = audience
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())

    def mint(self, namespace: str, service_account: str, pod: str, ttl: timedelta = timedelta(hours=1)) -> str:
        """Make a token for a workload that need not exist.

        Raises:
            InvalidIdentity: The namespace or service account cannot be one.
        """
        check_namespace(namespace)
        check_service_account(service_account)
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": [self._audience],
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + ttl).timestamp()),
            "jti": secrets.token_hex(16),
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            _K8S: {
                "namespace": namespace,
                "serviceaccount": {"name": service_account},
                "pod": {"name": pod, "uid": f"development-{pod}"},
                "node": {"name": NODE},
            },
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    async def judge(self, token: str) -> Caller:
        """Prove the caller of a token that this issuer minted.

        Raises:
            AuthenticationFailed: It did not mint it, or it has expired.
        """
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=ISSUER,
                options=_OPTIONS,
            )
            return self._caller(claims)
        except jwt.InvalidTokenError as error:
            raise AuthenticationFailed(f"development token: {type(error).__name__}") from None
        except (InvalidIdentity, KeyError, TypeError) as error:
            raise AuthenticationFailed(f"development token: {type(error).__name__}") from None

    def _caller(self, claims: dict[str, object]) -> Caller:
        start, end, now = claims["nbf"], claims["exp"], self._clock.now().timestamp()
        if not (isinstance(start, int) and isinstance(end, int) and start <= now < end):
            raise AuthenticationFailed("development token: expired, or not valid yet")
        bound = claims[_K8S]
        if not isinstance(bound, dict):
            raise AuthenticationFailed("development token: no kubernetes.io claim")
        identity = SpiffeId(self._trust_domain, bound["namespace"], bound["serviceaccount"]["name"])
        pod = PodRef(bound["pod"]["name"], bound["pod"]["uid"], NODE, labels=())
        return Caller(identity, METHOD, self._cluster, pod)
