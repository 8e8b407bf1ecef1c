"""``istio-signer check`` for Vault, without asking it: the settings, and the files they name."""

from urllib.parse import urlsplit

from backends.intermediate.check import check_lifetime
from backends.remote.roots import check_roots
from backends.vault.settings import VaultSettings
from signer.core.spec import BackendContext, Finding


def check(settings: VaultSettings, context: BackendContext) -> list[Finding]:
    """Judge the settings and the files they name."""
    where = f"backends.{context.name}"
    findings = [Finding("ok", where, f"{settings.mode} at {settings.path} of {settings.address}")]
    if urlsplit(settings.address).scheme == "http":
        text = "plain http: tokens and CSRs can be read on the way; only for tests on one machine"
        findings.append(Finding("warning", f"{where}.address", text))
    if settings.is_verbatim:
        text = (
            "sign-verbatim copies what stands in the CSR: ztunnel's names are not marked critical there, and without a "
            "subject such a certificate is not valid (RFC 5280 section 4.2.1.6), so it is not given out. For ambient "
            "meshes name a role: MOUNT/sign/ROLE"
        )
        findings.append(Finding("warning", f"{where}.sign_path", text))
    if settings.mode == "intermediate":
        findings += [*_mints(settings, where), *check_lifetime(settings.intermediate, context)]
    return [*findings, *check_roots(settings.roots_file, context.name), *_missing_files(settings, where)]


def _mints(settings: VaultSettings, where: str) -> list[Finding]:
    if not settings.makes_leaves_only:
        return []
    text = f"{settings.path} signs leaves, never a CA: name a path such as pki/root/sign-intermediate"
    return [Finding("error", f"{where}.{settings.path_key}", text)]


def _missing_files(settings: VaultSettings, where: str) -> list[Finding]:
    auth = settings.auth
    files = {
        "ca_file": settings.ca_file,
        "auth.certificate_file": auth.certificate_file,
        "auth.key_file": auth.key_file,
    }
    if auth.method == "approle":
        files["auth.secret_id_file"] = auth.secret_id_file
    if auth.method in ("kubernetes", "jwt", "token"):
        files["auth.token_file"] = auth.token_path
    missing = {key: path for key, path in files.items() if path is not None and not path.is_file()}
    return [Finding("error", f"{where}.{key}", f"{path}: no such file") for key, path in missing.items()]
