"""How the Vault backend introduces itself."""

from backends.intermediate.backend import IntermediateBackend
from backends.vault.backend import VaultBackend
from backends.vault.check import check
from backends.vault.live import check_live
from backends.vault.minter import VaultMinter
from backends.vault.rotate import VaultRotator
from backends.vault.settings import VaultSettings
from signer.core.ports import Backend
from signer.core.spec import BackendContext, BackendSpec


def build(settings: VaultSettings, context: BackendContext) -> Backend:
    """Make the backend of the mode."""
    if settings.mode == "direct":
        return VaultBackend(settings, context)
    return IntermediateBackend(VaultMinter(settings, context), settings.intermediate, context, settings.timeout)


SPEC = BackendSpec("vault", VaultSettings, build, check, check_live, rotator=VaultRotator)
