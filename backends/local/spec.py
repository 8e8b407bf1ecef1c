"""How the local backend introduces itself: in both of its modes."""

from datetime import timedelta

from backends.held.ca import HeldCa, UnusableCa
from backends.intermediate.backend import IntermediateBackend
from backends.intermediate.check import check_lifetime
from backends.local.backend import LocalBackend, LocalSettings
from backends.local.ca import load_ca
from backends.local.files import read_files
from backends.local.minter import LocalMinter, minting_fault
from backends.local.rotate import LocalRotator
from signer.core import keys
from signer.core.ports import Backend
from signer.core.spec import BackendContext, BackendSpec, Finding


def build(settings: LocalSettings, context: BackendContext) -> Backend:
    """Make the backend of the mode."""
    files = LocalBackend(settings, context)
    if settings.mode == "direct":
        return files
    return IntermediateBackend(LocalMinter(files, context.clock), settings.intermediate, context)


def check(settings: LocalSettings, context: BackendContext) -> list[Finding]:
    """Judge the files as ``serve`` would, and say what is unwise about them."""
    lifetime = check_lifetime(settings.intermediate, context) if settings.mode == "intermediate" else []
    return [*_files(settings, context), *lifetime]


def _files(settings: LocalSettings, context: BackendContext) -> list[Finding]:
    where = f"backends.{context.name}.directory"
    try:
        ca = load_ca(read_files(settings.directory, settings.key_password_file), context.clock.now())
    except UnusableCa as error:
        return [Finding("error", where, str(error))]
    fault = minting_fault(ca) if settings.mode == "intermediate" else None
    return [*_findings(settings, context, ca), *([Finding("error", where, fault)] if fault else [])]


def _findings(settings: LocalSettings, context: BackendContext, ca: HeldCa) -> list[Finding]:
    where = f"backends.{context.name}.directory"
    described = keys.describe(ca.key.public_key())
    end = ca.window[1]
    findings = [Finding("ok", where, f"{described} CA {ca.certificate.subject.rfc4514_string()}, to {end.isoformat()}")]
    findings += [Finding("warning", where, note) for note in ca.notes]
    if settings.mode == "direct" and described.startswith("RSA-") and int(described[4:]) > 3072:
        text = f"{described} takes about 1.8 ms a signature, P-256 0.05 ms: use mode: intermediate, or a P-256 CA"
        findings.append(Finding("warning", where, text))
    if end - context.clock.now() < timedelta(days=30):
        findings.append(Finding("warning", where, f"the CA ends at {end.isoformat()}: renew it"))
    return findings


SPEC = BackendSpec("local", LocalSettings, build, check, rotator=LocalRotator)
