"""What the cluster shows of a rotation: which namespaces do not hold a root yet."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.parsing import parse_certificates
from signer.kube.answer import ApiUnavailable, Manifest, reason_of
from signer.kube.api import KubeApi
from signer.kube.listing import LIST_BYTES
from signer.trust.distribution.distributor import DistributionPlan
from signer.trust.distribution.objects import KEY, is_ending
from signer.trust.rotation.store import StoreUnusable

_SECONDS = 20.0
_PAGE = 500


async def lacking(api: KubeApi, plan: DistributionPlan, mark: str) -> Sequence[str]:
    """List the namespaces whose ConfigMap does not hold the root of this fingerprint.

    Raises:
        StoreUnusable: The cluster cannot be asked.
    """
    selector = {"labelSelector": plan.selector} if plan.selector else {}
    namespaces = await _all(api, "/api/v1/namespaces", selector)
    maps = await _all(api, "/api/v1/configmaps", {"fieldSelector": f"metadata.name={plan.config_map}"})
    holding = {item["metadata"]["namespace"] for item in maps if mark in map(fingerprint, _roots(item))}
    return [item["metadata"]["name"] for item in namespaces if not is_ending(item) and _name(item) not in holding]


def _name(item: Manifest) -> str:
    return str(item["metadata"]["name"])


def _roots(item: Manifest) -> list[x509.Certificate]:
    try:
        return parse_certificates(str((item.get("data") or {}).get(KEY, "")).encode())
    except ValueError:
        return []


async def _all(api: KubeApi, path: str, selector: dict[str, str]) -> list[Any]:
    items: list[Any] = []
    token = ""
    while True:
        query = urlencode({**selector, "limit": str(_PAGE), **({"continue": token} if token else {})})
        try:
            answer = await api.call("GET", f"{path}?{query}", _SECONDS, limit=LIST_BYTES)
        except ApiUnavailable as error:
            raise StoreUnusable(f"{path}: {error}") from None
        if answer.status != 200:
            raise StoreUnusable(f"{path}: HTTP {answer.status}: {reason_of(answer)}")
        items += answer.body.get("items") or []
        token = (answer.body.get("metadata") or {}).get("continue") or ""
        if not token:
            return items
