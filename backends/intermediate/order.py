"""The two ends of minting: the order that goes out, and the judgement on what came back."""

import secrets
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from backends.held.ca import HeldCa, UnusableCa, climb, issued, prove
from backends.held.usage import MINTED_CA
from backends.intermediate.minting import CaOrder, IntermediateSettings, MintedCa
from signer.core import keys
from signer.core.chain import TrustBundle, is_ca, is_self_issued, window
from signer.core.keys import CaPrivateKey
from signer.core.parsing import UNPARSABLE
from signer.core.validity import MIN_REMAINING


def new_order(settings: IntermediateSettings) -> tuple[CaPrivateKey, CaOrder]:
    """Make a key, which stays in memory, and the order for its certificate: a CA that may sign leaves and no CA."""
    key = keys.generate("p256")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, settings.common_name)])
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(MINTED_CA, critical=True)
    )
    csr = builder.sign(key, keys.signing_hash(key))
    return key, CaOrder(f"intermediate-{secrets.token_hex(8)}", csr, settings.common_name, settings.ttl)


def accept(minted: MintedCa, key: CaPrivateKey, now: datetime) -> HeldCa:
    """Judge what an upstream returned; whatever passes may sign.

    Raises:
        UnusableCa: It is not this key's, not a CA for leaves, not valid now, or leads to none of its roots.
    """
    try:
        return _accept(minted, key, now)
    except UNPARSABLE as error:
        raise UnusableCa(f"what the upstream signed cannot be parsed ({type(error).__name__})") from None


def _accept(minted: MintedCa, key: CaPrivateKey, now: datetime) -> HeldCa:
    certificate = minted.certificate
    if certificate.public_key() != key.public_key():
        raise UnusableCa("the upstream signed another key than the one sent")
    fault = _signer_fault(certificate, now)
    if fault is not None:
        raise UnusableCa(f"the upstream's answer cannot sign leaves: {fault}")
    roots = [root for root in minted.roots if is_ca(root) and is_self_issued(root)]
    if not roots:
        raise UnusableCa(
            "the upstream gave no root that its certificate leads to: name the file with its roots (roots_file)"
        )
    chain = climb(certificate, [c for c in minted.issuers if c not in roots], roots, [])
    if chain is None:
        raise UnusableCa("the upstream's certificates do not lead from the new CA to a root")
    top = next(root for root in roots if issued(chain[-1], root))
    span = window((*chain, top))
    if not span[0] <= now < span[1] - MIN_REMAINING:
        raise UnusableCa(f"the new CA's path is valid from {span[0].isoformat()} to {span[1].isoformat()}: not now")
    ca = HeldCa(certificate, key, chain, TrustBundle.of(roots), span, _notes(certificate))
    prove(ca, now)
    return ca


def _signer_fault(certificate: x509.Certificate, now: datetime) -> str | None:
    if not is_ca(certificate):
        return "it is not a CA certificate: the upstream's role or issuer refuses to make CAs"
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value if _has_usage(certificate) else None
    if usage is not None and not usage.key_cert_sign:
        return "its keyUsage lacks keyCertSign"
    length = _path_length(certificate)
    if length is not None and length > 0:
        return f"its path length is {length}: it could make further CAs"
    if now < certificate.not_valid_before_utc - timedelta(minutes=1):
        return f"it starts at {certificate.not_valid_before_utc.isoformat()}"
    return None


def _has_usage(certificate: x509.Certificate) -> bool:
    return any(isinstance(e.value, x509.KeyUsage) for e in certificate.extensions)


def _path_length(certificate: x509.Certificate) -> int | None:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def _notes(certificate: x509.Certificate) -> tuple[str, ...]:
    """A missing path length is no danger, as only this process holds the key, but nobody should find it by chance."""
    if _path_length(certificate) is None:
        return ("the upstream left out the path length; 0 was asked for",)
    return ()
