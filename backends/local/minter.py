"""Mints intermediates with the CA from files: a slow or well-kept key signs a few times a day, not every leaf."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from backends.held.ca import HeldCa
from backends.held.leaf import authority_key_id
from backends.held.usage import MINTED_CA
from backends.intermediate.minting import CaOrder, MintedCa
from backends.local.backend import LocalBackend
from signer.core import keys
from signer.core.errors import BackendRefused
from signer.core.ports import Clock
from signer.core.validity import backdate_for


class LocalMinter:
    """The upstream of an intermediate whose CA lies in files."""

    def __init__(self, files: LocalBackend, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        # Whoever wants to know when the files change is told by the backend that reads them.
        self.on_upstream_change = files.on_change
        self.start, self.run, self.close = files.start, files.run, files.close

    async def mint(self, order: CaOrder) -> MintedCa:
        """Sign an intermediate.

        Raises:
            BackendUnavailable: No usable CA was ever read.
            BackendRefused: The CA in the files may not make CAs.
        """
        ca = self._files.ca()
        fault = minting_fault(ca)
        if fault is not None:
            raise BackendRefused(fault)
        certificate = _sign(ca, order, self._clock.now().replace(microsecond=0))
        return MintedCa(certificate, ca.chain, ca.bundle.roots)


def minting_fault(ca: HeldCa) -> str | None:
    """Say why a CA may not make further CAs (RFC 5280 section 4.2.1.9), or None if it may."""
    length = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if length is None or length > 0:
        return None
    return "the CA's path length is 0: it may sign leaves only; use mode: direct, or a CA without that limit"


def _sign(ca: HeldCa, order: CaOrder, now: datetime) -> x509.Certificate:
    key = order.csr.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BackendRefused("an intermediate's key is P-256")
    end = min(now + order.ttl, ca.window[1])
    builder = (
        x509.CertificateBuilder()
        .subject_name(order.csr.subject)
        .issuer_name(ca.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(max(now - backdate_for(end - now), ca.window[0]), now))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(MINTED_CA, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(authority_key_id(ca.certificate), critical=False)
    )
    return builder.sign(ca.key, keys.signing_hash(ca.key))
