"""Replaces the issuer that a cert-manager backend signs by: the ConfigMap that names it is changed, at run time.

The new issuer is made by whoever runs cert-manager; its root is read from a file, or from its Secret where that may be
read.
"""

from urllib.parse import quote

from cryptography import x509

from backends.cert_manager.issuer import KEYS
from backends.cert_manager.operator import OperatorCluster
from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from backends.remote.rotating import (
    Roots,
    believed_roots,
    check_before_retirement,
    check_before_switch,
    new_root,
    old_roots,
)
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions


class CertManagerRotator:
    """One backend's issuer."""

    def __init__(self, settings: CertManagerSettings, context: BackendContext, options: RotateOptions) -> None:
        self._settings = settings
        self._context = context
        self._options = options
        self._cluster = OperatorCluster(settings, context)

    async def current(self) -> Roots:
        """See ``RootRotator``."""
        place = self._place()
        if not self._options.issuer:
            raise RotationRefused("name the issuer that comes: --issuer KIND/NAME, such as --issuer ClusterIssuer/next")
        # Before anything is written down: a wrong name, or one that cannot sign, is found now.
        comes = _issuer(self._options.issuer)
        fresh = await self._root_of(comes)
        used = await self._named(place) or self._settings.issuer
        if used == comes:
            raise RotationRefused(f"{used.kind} {used.name} signs already: there is nothing to rotate")
        believed = believed_roots(self._settings.roots_file, self._context)
        shown = await self._cluster.certificates(used)
        roots = old_roots(shown, tuple(root for root in believed if shown or root != fresh))
        if not roots:
            raise RotationRefused(
                f"the root of {used.kind} {used.name} cannot be read (no CA issuer, or its Secret is closed or lacks "
                f"it): name the file with the mesh's roots in backends.{self._context.name}.roots_file"
            )
        return roots

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """See ``RootRotator``."""
        return await self._root_of(_issuer(rotation.handle))

    async def switch(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        check_before_switch(self._settings.roots_file, self._context, rotation)
        ref, place = _issuer(rotation.handle), self._place()
        data = {KEYS["name"]: ref.name, KEYS["kind"]: ref.kind, KEYS["group"]: ref.group}
        if not await self._cluster.merge(_path(place), {"data": data}):
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": place.name}}
            await self._cluster.create(_path(place).rsplit("/", 1)[0], {**head, "data": data})

    async def retire(self, rotation: Rotation) -> None:
        """See ``RootRotator``. The old issuer is its owner's; it only must not sign any more."""
        place = self._place()
        named, wanted = await self._named(place), _issuer(rotation.handle)
        if named != wanted:
            found = f"names {named.kind} {named.name}" if named else "names no issuer"
            raise RotationRefused(
                f"ConfigMap {place.namespace}/{place.name} {found}: somebody has changed it. Make it name {wanted.kind}"
                f" {wanted.name} again, wait for the last leaves of the other one to end, then advance"
            )
        check_before_retirement(self._settings.roots_file, self._context, rotation)

    async def discard(self, rotation: Rotation) -> None:
        """See ``RootRotator``. Nothing was made."""

    async def close(self) -> None:
        """See ``RootRotator``."""
        await self._cluster.close()

    async def _root_of(self, ref: IssuerRef) -> x509.Certificate:
        shown = await self._cluster.certificates(ref)
        return new_root(shown, self._options.root_file, f"{ref.kind} {ref.name}", self._context)

    def _place(self) -> ConfigMapRef:
        if self._settings.runtime_config_map is None:
            raise RotationRefused(
                f"backends.{self._context.name}.runtime_config_map is not set: without it the issuer cannot be changed"
                " while the signer runs. Set it to {name: istio-issuer, namespace: "
                f"{self._settings.namespace}}}, apply deploy/rbac/runtime-config-map.yaml, restart the signer; the "
                "ConfigMap need not be there yet"
            )
        return self._settings.runtime_config_map

    async def _named(self, place: ConfigMapRef) -> IssuerRef | None:
        """Read which issuer the ConfigMap names, as the signer does."""
        data = (await self._cluster.get(_path(place)) or {}).get("data") or {}
        given = {key: str(data.get(name) or "").strip() for key, name in KEYS.items()}
        try:
            return IssuerRef(**{key: value for key, value in given.items() if value}) if given["name"] else None
        except ValueError as error:
            raise RotationRefused(f"ConfigMap {place.namespace}/{place.name}: {error}") from None


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
