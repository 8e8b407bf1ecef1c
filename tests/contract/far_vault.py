"""The Vault backend: an OpenBao of the test's own."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from backends.intermediate.backend import IntermediateBackend
from backends.vault.settings import VaultAuth, VaultIntermediateSettings, VaultSettings
from backends.vault.spec import build
from signer.core.spec import BackendContext
from signer.runtime.clock import SystemClock
from tests.contract.far_side import PATIENCE, Stage
from tests.contract.waiting import Changes
from tests.vault.mounts import ISTIO_ROLE, intermediate_mount, policy_token, root_mount
from tests.vault.openbao import OpenBao

LEAVES, CAS = "pki/sign/istio-ca", "pki/root/sign-intermediate"


class VaultFarSide:
    """Either mode."""

    def __init__(self, stage: Stage, path: str, settings: VaultSettings) -> None:
        self.clock = SystemClock()
        self._path = path
        self._folder = stage.folder
        self._server: OpenBao = stage.fixture("openbao")
        own = replace(settings, address=self._server.address)
        self.backend = build(own, BackendContext("vault", self.clock))

    async def prepare(self) -> None:
        """A root mount with a right role."""
        await asyncio.to_thread(self._set_up)
        await self.backend.start()

    async def take_away(self) -> None:
        """No server at all."""
        await self.backend.start()

    async def mend(self) -> None:
        """Start it."""
        changes = Changes(self.backend, self.clock)
        await asyncio.to_thread(self._set_up)
        await changes.seen()

    async def change_issuer(self) -> None:
        """Another intermediate under the same root."""
        await self._change(self._sign_by_an_intermediate)

    async def change_root(self) -> None:
        """A new root in the mount, now its default."""
        await self._change(self._rotate)

    async def refuse(self) -> None:
        """Take the right away: what it asks for is not its to ask."""
        policy = {"policy": 'path "nothing/*" { capabilities = ["read"] }'}
        await asyncio.to_thread(self._server.call, "PUT", "sys/policies/acl/signer", policy)

    async def stall(self) -> None:
        """Freeze the server."""
        self._server.pause()

    async def left(self) -> int:
        """Roles that store nothing leave nothing."""
        return 0

    def _set_up(self) -> None:
        self._server.start()
        root_mount(self._server)
        policy_token(self._server, self._folder, self._path)

    async def _change(self, work: object) -> None:
        changes = Changes(self.backend, self.clock)
        await changes.note()
        await asyncio.to_thread(work)  # type: ignore[arg-type]
        if isinstance(self.backend, IntermediateBackend):
            self.backend.renew_early()
        await changes.seen()

    def _rotate(self) -> None:
        made = self._server.call("POST", "pki/root/rotate/internal", {"common_name": "second", "ttl": "8760h"})
        self._server.call("POST", "pki/config/issuers", {"default": made["data"]["issuer_id"]})

    def _sign_by_an_intermediate(self) -> None:
        """An intermediate that the mount's own root signed, imported into the mount."""
        if self._path == CAS:
            # What it mints is another intermediate each time.
            return
        intermediate_mount(self._server)
        self._server.call("POST", "pki/roles/istio-ca", ISTIO_ROLE)
        csr = self._server.call("POST", "pki/intermediate/generate/internal", {"common_name": "second CA"})
        wanted = {"csr": csr["data"]["csr"], "ttl": "43800h", "format": "pem"}
        signed = self._server.call("POST", "pki/root/sign-intermediate", wanted)["data"]
        chain = signed["certificate"] + "\n" + signed["issuing_ca"]
        made = self._server.call("POST", "pki/intermediate/set-signed", {"certificate": chain})["data"]
        self._server.call("POST", "pki/config/issuers", {"default": made["imported_issuers"][0]})


def _settings(stage: Stage) -> VaultSettings:
    auth = VaultAuth("token", token_file=stage.folder / "token")
    return VaultSettings("http://127.0.0.1:1", LEAVES, auth, timeout=PATIENCE)


def direct(stage: Stage) -> VaultFarSide:
    """Each leaf is signed by the server."""
    return VaultFarSide(stage, LEAVES, _settings(stage))


def intermediate(stage: Stage) -> VaultFarSide:
    """The server signs a CA."""
    plan = VaultIntermediateSettings(new_root_delay=timedelta(0), sign_path=CAS)
    return VaultFarSide(stage, CAS, replace(_settings(stage), mode="intermediate", intermediate=plan))
