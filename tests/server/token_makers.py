"""Makes the odd tokens of `tests.server.token_cases` with a real API server's key and objects.

Each is odd in the one thing its maker is told; all else in it is good, its signature above all.
"""

import json
import time
import uuid
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cluster import tokens
from tests.server.review import Review
from tests.server.running import ACCOUNT, NAMESPACE

_FOREIGN = rsa.generate_private_key(65537, 2048)
FOREIGN = _FOREIGN.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_N = tokens.base64url(_FOREIGN.public_key().public_numbers().n.to_bytes(256, "big"))
FOREIGN_JWK = {"kty": "RSA", "alg": "RS256", "use": "sig", "n": _N, "e": "AQAB"}


Make = Callable[[Review], str]


def claims(**changes: object) -> Make:
    """Other claims, signed with the cluster's key."""
    return lambda r: r.resigned(**changes)


def at(**offsets: int) -> Make:
    """Times, as seconds from now."""
    return lambda r: r.resigned(**{name: int(time.time()) + offset for name, offset in offsets.items()})


def bound(**changes: object) -> Make:
    """Another kubernetes.io claim, signed with the cluster's key."""

    def make(review: Review) -> str:
        token = review.pod_token()
        claim = {"kubernetes.io": tokens.in_bound(token, **changes)}
        return tokens.resign(token, review.cluster.service_account_key, **claim)

    return make


def header(**changes: object) -> Make:
    """Another header, signed with the cluster's key."""
    return lambda r: tokens.headed(r.pod_token(), r.cluster.service_account_key, **changes)


def foreign(**changes: object) -> Make:
    """Another header, and somebody else's signature."""
    return lambda r: tokens.headed(r.pod_token(), FOREIGN, **changes)


def text(change: Callable[[str], str]) -> Make:
    """The good token, bent after it was signed."""
    return lambda r: change(r.pod_token())


def payload(change: Callable[[str], str | bytes]) -> Make:
    """The JSON of the claims, bent before it is signed with the cluster's key."""

    def make(review: Review) -> str:
        token = review.pod_token()
        bent = change(json.dumps(tokens.unverified_claims(token)))
        data = bent if isinstance(bent, bytes) else bent.encode()
        return tokens.with_payload(token, review.cluster.service_account_key, data)

    return make


def header_text(bent: str) -> Make:
    """The JSON of the header, bent before it is signed; ``KID`` stands for the key's id."""

    def make(review: Review) -> str:
        first, second, _ = review.pod_token().split(".")
        kid = json.loads(tokens.base64url_decoded(first))["kid"]
        key = review.cluster.service_account_key
        return tokens.signed(bent.replace("KID", kid).encode(), tokens.base64url_decoded(second), key)

    return make


def secret_as_hmac(encoding: Encoding) -> Make:
    """Algorithm confusion."""
    return lambda r: tokens.with_public_key_as_secret(r.pod_token(), r.cluster.service_account_key, encoding)


def part(number: int, change: Callable[[str], str]) -> Make:
    """One of the three parts bent."""

    def bend(token: str) -> str:
        parts = token.split(".")
        parts[number] = change(parts[number])
        return ".".join(parts)

    return text(bend)


def payload_with_bits_left_over(review: Review, *, signed_so: bool) -> str:
    """Two readers, two texts: one verifies what was sent, the other what it encodes again."""
    key = review.cluster.service_account_key
    first, second, _ = payload(_uneven)(review).split(".")
    good, odd = (
        tokens.sealed(f"{first}.{second}", key),
        tokens.sealed(f"{first}.{tokens.with_bits_left_over(second)}", key),
    )
    return odd if signed_so else ".".join((first, odd.split(".")[1], good.split(".")[2]))


def _uneven(claims: str) -> str:
    return claims + " " * (1 if len(claims) % 3 == 0 else 0)


def account_token(review: Review, name: str = ACCOUNT) -> str:
    """Of an account, for istio-ca, bound to nothing."""
    review.kube.create_namespace(NAMESPACE)
    review.kube.create_service_account(NAMESPACE, name)
    return review.kube.service_account_token(NAMESPACE, name, ["istio-ca"])


def unpaired(review: Review) -> str:
    """Of an account without pods that was deleted since."""
    name = f"alone-{uuid.uuid4().hex[:8]}"
    token = account_token(review, name)
    review.kube.delete("v1", "ServiceAccount", name, NAMESPACE)
    return token


def of_remade_account(review: Review) -> str:
    """The pod is there, and an account of the name, but it is another one."""
    token = review.token_of_deleted_account()
    review.kube.create_service_account(NAMESPACE, tokens.unverified_claims(token)["sub"].rpartition(":")[2])
    return token


def bound_to(kind: str, *, gone: bool = False) -> Make:
    """Bound to a new Secret or Node and to no pod; the object is deleted again if it shall be gone."""

    def make(review: Review) -> str:
        name = f"bound-{uuid.uuid4().hex[:8]}"
        review.pod_token()
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        (made,) = review.kube.apply(manifest, NAMESPACE if kind == "Secret" else "")
        reference = {"apiVersion": "v1", "kind": kind, "name": name, "uid": made["metadata"]["uid"]}
        spec = {"audiences": ["istio-ca"], "expirationSeconds": 3600, "boundObjectRef": reference}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = review.kube.path("v1", "ServiceAccount", ACCOUNT, NAMESPACE)
        token = str(review.kube.call("POST", f"{path}/token", request)["status"]["token"])
        if gone:
            review.kube.delete("v1", kind, name, NAMESPACE if kind == "Secret" else "")
        return token

    return make


def legacy(audience: list[str] | None) -> Make:
    """A token as token controllers put them into Secrets, in such a Secret."""

    def make(review: Review) -> str:
        review.pod_token()
        account = review.kube.get("v1", "ServiceAccount", ACCOUNT, NAMESPACE)["metadata"]["uid"]
        name, prefix = f"legacy-{uuid.uuid4().hex[:8]}", "kubernetes.io/serviceaccount/"
        own = {"namespace": NAMESPACE, "secret.name": name, "service-account.name": ACCOUNT}
        own["service-account.uid"] = account
        changes: dict[str, object] = {"iss": "kubernetes/serviceaccount", "aud": audience, "kubernetes.io": None}
        changes |= dict.fromkeys(("exp", "nbf", "iat", "jti"))
        token = review.resigned(**changes, **{prefix + key: value for key, value in own.items()})
        metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": ACCOUNT}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}}
        review.kube.apply({**secret, "type": "kubernetes.io/service-account-token"}, NAMESPACE)
        return token

    return make


def of_finished_pod(review: Review) -> str:
    """Its containers have ended for good; it is there still."""
    name = f"done-{uuid.uuid4().hex[:8]}"
    token = review.pod_token(pod=name)
    path = review.kube.path("v1", "Pod", name, NAMESPACE) + "/status"
    merge = "application/merge-patch+json"
    review.kube.call("PATCH", path, {"status": {"phase": "Succeeded"}}, content_type=merge)
    return token


def with_pod_of_another_account(review: Review) -> str:
    """The account is right, and so is the pod, but they do not belong together."""
    name = f"others-{uuid.uuid4().hex[:8]}"
    review.kube.create_service_account(NAMESPACE, "other")
    pod = {"name": name, "uid": review.kube.create_pod(NAMESPACE, name, "other")}
    return bound(pod=pod)(review)
