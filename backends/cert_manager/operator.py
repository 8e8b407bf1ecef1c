"""A cluster as the operator of a rotation sees it: what may not be there, what may not be read, and all else told."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from cryptography import x509

from backends.cert_manager.settings import CertManagerSettings, IssuerRef
from backends.kube_requests.kind import conditions, is_true, words
from signer.core.parsing import UNPARSABLE, parse_certificates
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext
from signer.kube.answer import Answer, ApiUnavailable, reason_of
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.no_cluster import NoCluster

_SECONDS = 10.0
_MERGE = "application/merge-patch+json"
_GROUP = "cert-manager.io"
_PLURALS = {"Issuer": "issuers", "ClusterIssuer": "clusterissuers"}
# Of cluster-wide issuers: cert-manager's --cluster-resource-namespace.
_CLUSTER_SECRETS = "cert-manager"


class OperatorCluster:
    """Calls with the configuration's own access. All of them raise ``RotationRefused``."""

    def __init__(self, settings: CertManagerSettings, context: BackendContext) -> None:
        self._settings = settings
        self._context = context
        self._api: KubeApi | None = None

    async def get(self, path: str) -> dict[str, Any] | None:
        """Read an object; None where there is none."""
        answer = await self._call("GET", path)
        return None if answer.status == 404 else _body(answer, path)

    async def merge(self, path: str, body: dict[str, Any]) -> bool:
        """Lay this over an object; tell whether there is one."""
        answer = await self._call("PATCH", path, body)
        return answer.status != 404 and bool(_body(answer, path))

    async def create(self, path: str, body: dict[str, Any]) -> None:
        """Make an object."""
        _body(await self._call("POST", path, body), path)

    async def certificates(self, ref: IssuerRef) -> Sequence[x509.Certificate]:
        """Read a CA issuer's certificate and what is known above it, perhaps up to the root, from its Secret.

        Returns:
            None of them where it is another kind of issuer, or may not be read.

        Raises:
            RotationRefused: There is no such issuer, or it cannot sign.
        """
        if ref.group != _GROUP or ref.kind not in _PLURALS:
            return ()
        namespace = self._settings.namespace if ref.kind == "Issuer" else ""
        place = f"namespaces/{quote(namespace)}/" if namespace else ""
        issuer = await self._read(f"/apis/{_GROUP}/v1/{place}{_PLURALS[ref.kind]}/{quote(ref.name)}")
        if issuer is None:
            return ()
        _must_be_ready(issuer, ref)
        secret = ((issuer.get("spec") or {}).get("ca") or {}).get("secretName")
        where = f"/api/v1/namespaces/{quote(namespace or _CLUSTER_SECRETS)}/secrets/{quote(secret or '')}"
        found = await self._read(where) if secret else None
        return _parsed((found or {}).get("data") or {}, where)

    async def close(self) -> None:
        """Close the connections."""
        if self._api is not None:
            await self._api.close()

    async def _read(self, path: str) -> dict[str, Any] | None:
        """Read what must be there, if it may be read."""
        answer = await self._call("GET", path)
        return None if answer.status == 403 else _body(answer, path)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        try:
            if self._api is None:
                settings = self._settings
                self._api = await connect(*self._context.cluster(settings.kubeconfig, settings.kube_context))
            content = _MERGE if method == "PATCH" else "application/json"
            return await self._api.call(method, path, _SECONDS, body, content=content)
        except (ApiUnavailable, NoCluster) as error:
            raise RotationRefused(str(error)) from None


def _body(answer: Answer, path: str) -> dict[str, Any]:
    if answer.status not in (200, 201):
        raise RotationRefused(f"{path}: HTTP {answer.status}: {reason_of(answer)}")
    return answer.body


def _must_be_ready(issuer: dict[str, Any], ref: IssuerRef) -> None:
    """One that cert-manager has not accepted would sign nothing."""
    if not any(is_true(condition, "Ready") for condition in conditions(issuer)):
        told = "; ".join(map(words, conditions(issuer))) or "it has no status: does cert-manager run?"
        raise RotationRefused(f"{ref.kind} {ref.name} is not ready: {told}")


def _parsed(data: dict[str, str], where: str) -> list[x509.Certificate]:
    try:
        return [c for key in ("tls.crt", "ca.crt") if data.get(key) for c in parse_certificates(b64decode(data[key]))]
    except UNPARSABLE as error:
        raise RotationRefused(f"{where}: its certificates cannot be parsed ({type(error).__name__})") from None
