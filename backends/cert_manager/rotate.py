"""Replaces the issuer that a cert-manager backend signs by: the ConfigMap that names it is changed, at run time.

The new issuer is made by whoever runs cert-manager; its root is read from a file, or from its Secret where that may be
read.
"""

from base64 import b64decode
from typing import Any
from urllib.parse import quote

from cryptography import x509

from backends.cert_manager.issuer import KEYS
from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from signer.core.anchors import read_anchors
from signer.core.chain import fingerprint
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi, connect
from signer.kube.connect import NoCluster
from signer.kube.watch import reason_of

_SECONDS = 10.0
_MERGE = "application/merge-patch+json"
# Of cluster-wide issuers: cert-manager's --cluster-resource-namespace.
_CLUSTER_SECRETS = "cert-manager"


class CertManagerRotator:
    """One backend's issuer."""

    def __init__(self, settings: CertManagerSettings, context: BackendContext, options: RotateOptions) -> None:
        self._settings = settings
        self._context = context
        self._options = options
        self._api: KubeApi | None = None

    async def current(self) -> tuple[x509.Certificate, ...]:
        """See ``RootRotator``."""
        place = self._place()
        if not self._options.issuer:
            raise RotationRefused("name the issuer that comes: --issuer KIND/NAME, such as --issuer ClusterIssuer/next")
        _issuer(self._options.issuer)
        data = (await self._call("GET", _path(place), missing=True) or {}).get("data") or {}
        found = {key: data[name] for key, name in KEYS.items() if data.get(name)}
        used = IssuerRef(**found) if "name" in found else self._settings.issuer
        return await self._roots(used)

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """See ``RootRotator``."""
        roots = self._from_file() or await self._roots(_issuer(rotation.handle))
        if len(roots) != 1:
            raise RotationRefused(f"issuer {rotation.handle} leads to {len(roots)} roots: give one with --root")
        return roots[0]

    async def switch(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        ref = _issuer(rotation.handle)
        data = {KEYS["name"]: ref.name, KEYS["kind"]: ref.kind, KEYS["group"]: ref.group}
        place = self._place()
        if await self._call("PATCH", _path(place), {"data": data}, missing=True) is None:
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": place.name}}
            await self._call("POST", _path(place).rsplit("/", 1)[0], {**head, "data": data})

    async def retire(self, rotation: Rotation) -> None:
        """See ``RootRotator``. The old issuer is its owner's; it only must not sign any more."""
        data = (await self._call("GET", _path(self._place())) or {}).get("data") or {}
        if data.get(KEYS["name"]) != _issuer(rotation.handle).name:
            raise RotationRefused(f"the ConfigMap names {data.get(KEYS['name'])!a}: somebody has changed it back")

    async def discard(self, rotation: Rotation) -> None:
        """See ``RootRotator``. Nothing was made."""

    async def close(self) -> None:
        """See ``RootRotator``."""
        if self._api is not None:
            await self._api.close()

    def _place(self) -> ConfigMapRef:
        if self._settings.runtime_config_map is None:
            raise RotationRefused(
                f"backends.{self._context.name}.runtime_config_map is not set: without it the issuer cannot be changed"
                " while the signer runs"
            )
        return self._settings.runtime_config_map

    def _from_file(self) -> tuple[x509.Certificate, ...]:
        path = self._options.root_file
        if path is None:
            return ()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RotationRefused(f"{path}: cannot be read: {error.strerror}") from None
        return read_anchors(data, self._context.clock.now()).bundle.roots

    async def _roots(self, ref: IssuerRef) -> tuple[x509.Certificate, ...]:
        """Of a CA issuer: from its Secret, which holds the CA's own certificate and perhaps its root."""
        namespace = self._settings.namespace if ref.kind == "Issuer" else ""
        place = f"namespaces/{quote(namespace)}/issuers" if namespace else f"{ref.kind.lower()}s"
        issuer = await self._call("GET", f"/apis/{quote(ref.group)}/v1/{place}/{quote(ref.name)}") or {}
        secret = ((issuer.get("spec") or {}).get("ca") or {}).get("secretName")
        if not secret:
            raise RotationRefused(f"{ref.kind} {ref.name} is no CA issuer: its root cannot be read; use --root")
        where = f"/api/v1/namespaces/{quote(namespace or _CLUSTER_SECRETS)}/secrets/{quote(secret)}"
        data = (await self._call("GET", where) or {}).get("data") or {}
        pems = b"\n".join(b64decode(data[key]) for key in ("ca.crt", "tls.crt") if data.get(key))
        roots = {fingerprint(root): root for root in read_anchors(pems, self._context.clock.now()).bundle.roots}
        return tuple(roots.values())

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, missing: bool = False
    ) -> dict[str, Any] | None:
        try:
            answer = await self._send(method, path, body)
        except (ApiUnavailable, NoCluster) as error:
            raise RotationRefused(str(error)) from None
        if missing and answer.status == 404:
            return None
        if answer.status not in (200, 201):
            raise RotationRefused(f"{path}: HTTP {answer.status}: {reason_of(answer)}")
        return answer.body

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        if self._api is None:
            self._api = await connect(*self._context.cluster(self._settings.kubeconfig, self._settings.kube_context))
        content = _MERGE if method == "PATCH" else "application/json"
        return await self._api.call(method, path, _SECONDS, body, content=content)


def _path(place: ConfigMapRef) -> str:
    return f"/api/v1/namespaces/{quote(place.namespace)}/configmaps/{quote(place.name)}"


def _issuer(text: str) -> IssuerRef:
    """Read ``KIND/NAME`` or ``KIND.GROUP/NAME``."""
    kind, _, name = text.rpartition("/")
    short, _, group = kind.partition(".")
    try:
        return IssuerRef(name, short or "Issuer", group or "cert-manager.io")
    except ValueError as error:
        raise RotationRefused(f"--issuer {text!a:.80}: {error}; write KIND/NAME, such as ClusterIssuer/next") from None
