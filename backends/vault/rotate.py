"""Replaces the root of a PKI mount: a second issuer is made, then becomes the mount's default one.

Source: Vault's API documentation of PKI, "Generate root", "Set issuers configuration", "Delete issuer".
"""

from typing import Any

from cryptography import x509

from backends.remote.parsing import certificates
from backends.remote.rotating import (
    Roots,
    believed_roots,
    check_before_retirement,
    check_before_switch,
    new_root,
    old_roots,
)
from backends.vault.operator import OperatorMount
from backends.vault.rotate_start import check_role, check_start
from backends.vault.settings import VaultSettings
from signer.core.errors import BackendUnavailable
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions

# Ten years; the mount's maximum may shorten it.
_ROOT_TTL = "87600h"
_SIGNS = "issuing-certificates"


class VaultRotator:
    """One PKI mount, with the operator's own token: the signer's must not be able to do this."""

    def __init__(self, settings: VaultSettings, context: BackendContext, options: RotateOptions) -> None:
        self._settings = settings
        self._context = context
        self._options = options
        self._mount = OperatorMount(settings)

    async def current(self) -> Roots:
        """See ``RootRotator``."""
        await check_start(self._settings, self._mount)
        if self._options.issuer:
            # Before anything is written down: one that is not there, or cannot sign, is found now.
            self._root_of(await self._named(self._options.issuer), self._options.issuer)
        shown = _chain(await self._mount.get("issuer/default"))
        roots = old_roots(shown, believed_roots(self._settings.roots_file, self._context))
        if not roots:
            raise RotationRefused(
                f"{self._mount.path} does not hold the root of its default issuer: name the file with the mesh's roots "
                f"in backends.{self._context.name}.roots_file"
            )
        return roots

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """See ``RootRotator``. Makes a root, or takes the issuer that ``--issuer`` names."""
        name = _issuer(rotation)
        found = await self._named(name) if rotation.handle else await self._made(name, rotation.id)
        return self._root_of(found, name)

    async def switch(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        await self._named(_issuer(rotation))
        check_before_switch(self._settings.roots_file, self._context, rotation)
        await check_role(self._settings, self._mount, await self._mount.get("config/issuers"))
        await self._mount.post("config/issuers", {"default": _issuer(rotation)})

    async def retire(self, rotation: Rotation) -> None:
        """See ``RootRotator``. The old issuer stays in the mount, for its CRL; it only must not sign any more."""
        await check_role(self._settings, self._mount, await self._mount.get("config/issuers"))
        name = _issuer(rotation)
        if not await self._is_default(await self._named(name)):
            raise RotationRefused(
                f"{self._mount.path} does not sign with the issuer {name}: somebody has made another one the default. "
                f"Make it {name} again, wait for the last leaves of the other one to end, then advance"
            )
        check_before_retirement(self._settings.roots_file, self._context, rotation)

    async def discard(self, rotation: Rotation) -> None:
        """See ``RootRotator``. An issuer that the operator named is theirs."""
        name = _issuer(rotation)
        if rotation.handle:
            return
        found = await self._mount.find(f"issuer/{name}")
        if found is not None and await self._is_default(found):
            raise RotationRefused(f"{self._mount.path} signs with {name}: make the old issuer its default one first")
        await self._mount.delete(f"issuer/{name}")
        await self._mount.delete(f"key/{name}")

    async def close(self) -> None:
        """See ``RootRotator``."""
        await self._mount.close()

    async def _made(self, name: str, mark: str) -> dict[str, Any]:
        """Make a root, unless it is there; a key that a try left behind which died in the middle is used."""
        found = await self._mount.find(f"issuer/{name}")
        if found is not None:
            return found
        wish = {"common_name": f"Root CA {mark}", "issuer_name": name, "ttl": _ROOT_TTL}
        if await self._mount.find(f"key/{name}") is None:
            await self._mount.post(
                "root/generate/internal", {**wish, "key_name": name, "key_type": "ec", "key_bits": 256}
            )
        else:
            await self._mount.post("root/generate/existing", {**wish, "key_ref": name})
        return await self._mount.get(f"issuer/{name}")

    async def _named(self, name: str) -> dict[str, Any]:
        """Look an issuer up that is to sign."""
        found = await self._mount.find(f"issuer/{name}")
        if found is None:
            raise RotationRefused(f"{self._mount.path} has no issuer {name!a:.80}")
        if not found.get("key_id") or _SIGNS not in str(found.get("usage", _SIGNS)):
            raise RotationRefused(f"issuer {name} of {self._mount.path} cannot sign: no key, or no usage {_SIGNS}")
        return found

    async def _is_default(self, issuer: dict[str, Any]) -> bool:
        config = await self._mount.get("config/issuers")
        return config.get("default") == issuer.get("issuer_id")

    def _root_of(self, issuer: dict[str, Any], name: str) -> x509.Certificate:
        return new_root(_chain(issuer), self._options.root_file, f"issuer {name}", self._context)


def _chain(issuer: dict[str, Any]) -> list[x509.Certificate]:
    """An issuer's certificate and those above it; a mount may hold an intermediate without its root."""
    texts = issuer.get("ca_chain") or [issuer.get("certificate")]
    try:
        return certificates("\n".join(text for text in texts if isinstance(text, str)), "the issuer's certificates")
    except BackendUnavailable as error:
        raise RotationRefused(error.reason) from None


def _issuer(rotation: Rotation) -> str:
    return rotation.handle or f"istio-signer-{rotation.id}"
