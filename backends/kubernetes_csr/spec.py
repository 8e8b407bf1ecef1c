"""How the Kubernetes CSR backend introduces itself, and what ``istio-signer check`` says of it."""

from backends.kube_requests.rights import requests_rights
from backends.kubernetes_csr.backend import KubernetesCsrBackend
from backends.kubernetes_csr.settings import FLOOR, KubernetesCsrSettings
from backends.remote.roots import UnusableRoots, read_roots
from signer.core.spec import BackendContext, BackendSpec, Finding
from signer.kube.connect import connect
from signer.kube.no_cluster import NoCluster
from signer.kube.rights import Right, check_rights

# Source: cert-manager, internal/controller/feature/features.go; off by default.
_GATE = "ExperimentalCertificateSigningRequestControllers"
_CERT_MANAGER = ("issuers.cert-manager.io", "clusterissuers.cert-manager.io")
_GROUP, _PLURAL = "certificates.k8s.io", "certificatesigningrequests"


def check(settings: KubernetesCsrSettings, context: BackendContext) -> list[Finding]:
    """Judge the settings and the file they name; say what the API cannot do."""
    where = f"backends.{context.name}"
    who = settings.signer_name or f"{settings.signer_domain}/CertSigner"
    floor = f"lifetimes under {FLOOR.seconds} s are refused: the Kubernetes CSR API does not sign for less"
    findings = [Finding("ok", where, f"by {who}; {floor}")]
    if settings.signer_domain:
        text = "it signs for callers that name a signer only: let another backend sign serving (serving.backend)"
        findings.append(Finding("warning", f"{where}.signer_domain", text))
    if settings.roots_file is None:
        text = "the Kubernetes CSR API tells no roots: unless the signer adds its own to the chain, name a roots_file"
        return [*findings, Finding("warning", f"{where}.roots_file", text)]
    try:
        count = len(read_roots(settings.roots_file))
    except UnusableRoots as error:
        return [*findings, Finding("error", f"{where}.roots_file", str(error))]
    return [*findings, Finding("ok", f"{where}.roots_file", f"{count} root(s)")]


async def check_live(settings: KubernetesCsrSettings, context: BackendContext) -> list[Finding]:
    """Ask the API server what we may do; whether the signer answers only a request would show."""
    where = f"backends.{context.name}"
    try:
        api = await connect(*context.cluster(settings.kubeconfig, settings.kube_context))
    except NoCluster as error:
        return [Finding("error", where, str(error))]
    try:
        findings = await check_rights(api, _rights(settings), where, "istio-signer-kubernetes-csr")
    finally:
        await api.close()
    if (settings.signer_name or settings.signer_domain).split("/")[0] in _CERT_MANAGER:
        text = f"cert-manager signs these only with --feature-gates={_GATE}=true; whether it has that cannot be asked"
        key = "signer_name" if settings.signer_name else "signer_domain"
        findings.append(Finding("warning", f"{where}.{key}", text))
    if not settings.approve:
        text = "somebody else must approve each request: a controller, or set approve: true"
        findings.append(Finding("ok", f"{where}.approve", text))
    return findings


def _rights(settings: KubernetesCsrSettings) -> list[Right]:
    rights = [*requests_rights(_GROUP, _PLURAL)]
    if settings.approve:
        rights.append(Right("update", _GROUP, f"{_PLURAL}/approval"))
        rights.append(Right("approve", _GROUP, "signers", name=_signers(settings)))
    return rights


def _signers(settings: KubernetesCsrSettings) -> str:
    return settings.signer_name or f"{settings.signer_domain}/*"


SPEC = BackendSpec("kubernetes-csr", KubernetesCsrSettings, KubernetesCsrBackend, check, check_live)
