"""Replaces the root of a PKI mount: a second issuer is made, then becomes the mount's default one.

Source: Vault's API documentation of PKI, "Generate root", "Set issuers configuration", "Delete issuer".
"""

import os
from pathlib import Path
from typing import Any

from cryptography import x509

from backends.vault.answers import Reply
from backends.vault.http import VaultHttp
from backends.vault.live import TOKEN_VARIABLE
from backends.vault.settings import VaultSettings
from signer.core.anchors import read_anchors
from signer.core.chain import fingerprint
from signer.core.errors import BackendError
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions
from signer.core.types import Secret

_SECONDS = 10.0
# Ten years; the mount's maximum may shorten it.
_ROOT_TTL = "87600h"


class VaultRotator:
    """One PKI mount, with the operator's own token: the signer's must not be able to do this."""

    def __init__(self, settings: VaultSettings, context: BackendContext, options: RotateOptions) -> None:
        self._settings = settings
        self._context = context
        self._options = options
        self._http = VaultHttp(settings)

    async def current(self) -> tuple[x509.Certificate, ...]:
        """See ``RootRotator``."""
        if self._settings.issuer not in ("", "default"):
            raise RotationRefused(
                f"the path {self._settings.path} names an issuer: make the new one, then change the path to name it"
            )
        data = await self._get("config/issuers")
        if data.get("default_follows_latest_issuer"):
            raise RotationRefused(
                "a new issuer would sign at once (default_follows_latest_issuer): vault write "
                f"{self._mount}/config/issuers default={data.get('default')} default_follows_latest_issuer=false"
            )
        return self._roots(await self._get("issuer/default"))

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """See ``RootRotator``. Makes a root, or takes the issuer that ``--issuer`` names."""
        name = self._issuer(rotation)
        found = await self._call("GET", f"issuer/{name}", missing=True)
        if found is None:
            if rotation.handle:
                raise RotationRefused(f"{self._mount} has no issuer {rotation.handle!r}")
            wish = {"common_name": f"Root CA {rotation.id}", "issuer_name": name, "key_name": name}
            more = {"ttl": _ROOT_TTL, "key_type": "ec", "key_bits": 256}
            await self._call("POST", "root/generate/internal", {**wish, **more})
            found = await self._get(f"issuer/{name}")
        roots = _file_roots(self._options.root_file, self._context) if self._options.root_file else self._roots(found)
        if len(roots) != 1:
            raise RotationRefused(f"issuer {name} leads to {len(roots)} roots; name its one root with --root")
        return roots[0]

    async def switch(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        await self._call("POST", "config/issuers", {"default": self._issuer(rotation)})

    async def retire(self, rotation: Rotation) -> None:
        """See ``RootRotator``. The old issuer stays in the mount, for its CRL; it only must not sign any more."""
        data = await self._get("config/issuers")
        used = self._roots(await self._get(f"issuer/{data['default']}"))
        if not {fingerprint(root) for root in used}.isdisjoint(map(fingerprint, rotation.old)):
            raise RotationRefused(f"{self._mount} signs with the old root: somebody has made it the default again")

    async def discard(self, rotation: Rotation) -> None:
        """See ``RootRotator``. An issuer that the operator named is theirs."""
        if not rotation.handle:
            await self._call("DELETE", f"issuer/{self._issuer(rotation)}", missing=True)
            await self._call("DELETE", f"key/{self._issuer(rotation)}", missing=True)

    async def close(self) -> None:
        """See ``RootRotator``."""
        await self._http.close()

    @property
    def _mount(self) -> str:
        mount = self._settings.mount
        if mount is None:
            raise RotationRefused(f"the path {self._settings.path} does not tell which PKI mount it belongs to")
        return mount

    def _issuer(self, rotation: Rotation) -> str:
        return rotation.handle or f"istio-signer-{rotation.id}"

    def _roots(self, issuer: dict[str, Any]) -> tuple[x509.Certificate, ...]:
        """The roots that an issuer leads to; a mount may hold an intermediate without its root."""
        chain = issuer.get("ca_chain") or [issuer.get("certificate", "")]
        return read_anchors("\n".join(map(str, chain)).encode(), self._context.clock.now()).bundle.roots

    async def _get(self, path: str) -> dict[str, Any]:
        found = await self._call("GET", path)
        assert found is not None  # noqa: S101  only missing=True gives None
        return found

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, missing: bool = False
    ) -> dict[str, Any] | None:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise RotationRefused(f"export {TOKEN_VARIABLE} with a token that may change {self._mount}'s issuers")
        try:
            reply = await self._http.call(method, f"{self._mount}/{path}", _SECONDS, body, Secret(token))
        except BackendError as error:
            raise RotationRefused(error.reason) from None
        if missing and _is_missing(reply):
            return None
        if reply.status >= 300:
            raise RotationRefused(f"{self._mount}/{path}: HTTP {reply.status}: {reply.words}")
        data = reply.body.get("data")
        return data if isinstance(data, dict) else {}


def _is_missing(reply: Reply) -> bool:
    """Vault answers 500 for an issuer or key of an unknown name, in older versions, and 404 in newer ones."""
    return reply.status == 404 or (reply.status >= 400 and "unable to find PKI" in reply.words)


def _file_roots(path: Path, context: BackendContext) -> tuple[x509.Certificate, ...]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RotationRefused(f"{path}: cannot be read: {error.strerror}") from None
    return read_anchors(data, context.clock.now()).bundle.roots
