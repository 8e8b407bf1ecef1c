"""A CA whose key this process holds, wherever it came from: its path to a root, proven before it signs."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from signer.core import keys
from signer.core.chain import TrustBundle, is_ca
from signer.core.errors import ChainRejected
from signer.core.keys import CaPrivateKey
from signer.core.parsing import UNPARSABLE
from signer.core.types import IssuedChain
from signer.core.validity import Window
from signer.core.verify import prove_path


class UnusableCa(Exception):
    """There is no usable CA; the message says where, what is wrong and what to do. Never quotes a key."""


@dataclass(frozen=True, slots=True)
class HeldCa:
    """A CA that may sign.

    Attributes:
        chain: The signing certificate and its issuers without the root; only the root itself where that signs.
        bundle: The trust anchors.
        window: The span inside which every CA certificate of the path is valid.
        notes: What was left out or is unwise, for the log.
    """

    certificate: x509.Certificate
    key: CaPrivateKey
    chain: tuple[x509.Certificate, ...]
    bundle: TrustBundle
    window: Window
    notes: tuple[str, ...] = ()

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The roots that its own path ends in: what its leaves need, whatever else is trusted beside them."""
        return tuple(root for root in self.bundle.roots if issued(self.chain[-1], root))


def climb(
    certificate: x509.Certificate,
    pool: list[x509.Certificate],
    roots: list[x509.Certificate],
    seen: list[x509.Certificate],
) -> tuple[x509.Certificate, ...] | None:
    """Find the way from a certificate up to, not including, a root; None where there is none.

    Depth first: a cross-signed CA has several ways up, and some lead nowhere.

    Whether a root can be reached from a certificate does not depend on the way to it, so each is looked at once.
    """
    seen.append(certificate)
    if any(issued(certificate, root) for root in roots):
        return (certificate,)
    for above in pool:
        if above not in seen and issued(certificate, above):
            found = climb(above, pool, roots, seen)
            if found is not None:
                return (certificate, *found)
    return None


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether ``issuer`` is a CA and signed ``certificate``."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except UNPARSABLE:
        return False
    return is_ca(issuer)


def prove(ca: HeldCa, now: datetime) -> None:
    """Sign a throw-away leaf and verify it as every answer will be: what fails here would fail every request.

    Raises:
        UnusableCa: The leaf would be refused.
    """
    key = keys.generate("p256")
    trial = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.window[0])
        .not_valid_after(ca.window[1])
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://trial")]), critical=True)
        .sign(ca.key, keys.signing_hash(ca.key))
    )
    try:
        prove_path(IssuedChain(trial, ca.chain), ca.bundle, now)
    except ChainRejected as error:
        raise UnusableCa(f"certificates of this CA would be refused: {error.reason}") from None
