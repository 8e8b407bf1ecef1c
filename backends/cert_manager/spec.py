"""How the cert-manager backend introduces itself."""

from backends.cert_manager.backend import CertManagerBackend
from backends.cert_manager.check import check, check_live
from backends.cert_manager.minter import CertManagerMinter
from backends.cert_manager.rotate import CertManagerRotator
from backends.cert_manager.settings import CertManagerSettings
from backends.intermediate.backend import IntermediateBackend
from signer.core.ports import Backend
from signer.core.spec import BackendContext, BackendSpec


def build(settings: CertManagerSettings, context: BackendContext) -> Backend:
    """Make the backend of the mode."""
    if settings.mode == "direct":
        return CertManagerBackend(settings, context)
    return IntermediateBackend(CertManagerMinter(settings, context), settings.intermediate, context, settings.timeout)


SPEC = BackendSpec("cert-manager", CertManagerSettings, build, check, check_live, rotator=CertManagerRotator)
