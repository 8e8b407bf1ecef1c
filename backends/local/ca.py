"""A CA's files, judged: a pair that does not match, an expired or non-CA certificate never gets into use."""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from backends.held.ca import HeldCa, UnusableCa, climb, issued, prove
from backends.local.files import Files
from signer.core import keys
from signer.core.chain import TrustBundle, is_ca, is_self_issued, window
from signer.core.keys import CaPrivateKey
from signer.core.parsing import UNPARSABLE, parse_certificates


def load_ca(files: Files, now: datetime) -> HeldCa:
    """Judge the files and make a CA of them.

    Args:
        files: What was read.
        now: The time, UTC.

    Raises:
        UnusableCa: They do not make a CA that may sign now.
    """
    certificate = _certificates(files, files.names.certificate)[0]
    key = _private_key(files)
    try:
        if key.public_key() != certificate.public_key():
            raise UnusableCa(f"{files.names.key} is not the key of {files.names.certificate}: replace both together")
        _check_signer(certificate, files.names.certificate, now)
    except UNPARSABLE as error:
        raise UnusableCa(f"{files.names.certificate}: cannot be parsed ({type(error).__name__})") from None
    roots, notes = _roots(files, certificate, now)
    chain = _chain(certificate, files, roots)
    top = next(root for root in roots if issued(chain[-1], root))
    ca = HeldCa(certificate, key, chain, TrustBundle.of(roots), window((*chain, top)), notes)
    prove(ca, now)
    return ca


def _certificates(files: Files, name: str) -> list[x509.Certificate]:
    data = files.contents.get(name)
    if data is None:
        raise UnusableCa(f"{name}: the file is missing")
    try:
        return parse_certificates(data)
    except ValueError:
        raise UnusableCa(f"{name}: holds no PEM certificate, or a broken one") from None


def _private_key(files: Files) -> CaPrivateKey:
    name = files.names.key
    try:
        key = load_pem_private_key(files.contents[name], files.password)
    except TypeError:
        state = "not encrypted but a password is given" if files.password else "encrypted: set key_password_file"
        raise UnusableCa(f"{name}: the key is {state}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableCa(f"{name}: holds no usable private key, or the password is wrong") from None
    if not keys.is_ca_private_key(key):
        raise UnusableCa(f"{name}: the key must be RSA (2048 bits or more), P-256 or P-384")
    return key  # type: ignore[return-value]  # narrowed by is_ca_private_key


def _check_signer(certificate: x509.Certificate, name: str, now: datetime) -> None:
    if not is_ca(certificate):
        raise UnusableCa(f"{name}: not a CA certificate (basicConstraints CA:TRUE is missing)")
    if not _may_sign(certificate):
        raise UnusableCa(f"{name}: its keyUsage lacks keyCertSign")
    if now >= certificate.not_valid_after_utc:
        raise UnusableCa(f"{name}: expired at {certificate.not_valid_after_utc.isoformat()}")
    if now < certificate.not_valid_before_utc:
        raise UnusableCa(f"{name}: valid only from {certificate.not_valid_before_utc.isoformat()}")


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _roots(
    files: Files, certificate: x509.Certificate, now: datetime
) -> tuple[list[x509.Certificate], tuple[str, ...]]:
    """The usable anchors; one bad anchor must not take the good ones from the mesh, so it is left out and said."""
    if files.names.roots not in files.contents and is_self_issued(certificate):
        return [certificate], ()
    roots, notes = [], []
    for root in _certificates(files, files.names.roots):
        fault = _root_fault(root, now)
        if fault is None:
            roots.append(root)
        else:
            notes.append(f"{files.names.roots}: left out {root.subject.rfc4514_string()!a}: {fault}")
    if not roots:
        raise UnusableCa(f"{files.names.roots}: holds no usable root. {' '.join(notes)}")
    return roots, tuple(notes)


def _root_fault(root: x509.Certificate, now: datetime) -> str | None:
    if not is_ca(root):
        return "not a CA certificate"
    if now >= root.not_valid_after_utc:
        return f"expired at {root.not_valid_after_utc.isoformat()}"
    try:
        return keys.weakness(root.public_key())
    except UNPARSABLE as error:
        return f"its key cannot be parsed ({type(error).__name__})"


def _chain(certificate: x509.Certificate, files: Files, roots: list[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Find the way from the signing certificate up to, not including, a root; files may hold them in any order."""
    pool = _certificates(files, files.names.chain) if files.names.chain in files.contents else []
    seen: list[x509.Certificate] = []
    chain = climb(certificate, pool, roots, seen)
    if chain is None:
        missing = seen[-1].issuer.rfc4514_string()
        raise UnusableCa(f"{files.names.chain}: no certificate of {missing!a} leads on to {files.names.roots}")
    return chain
