"""Trust bundles, and the layout of an answer that every kind of proxy can read.

The layout is what real clients rely on: leaf first, one intermediate per element, all roots as the one last element,
never under two elements, each ending in a newline, the same bytes on every replica (istio:
security/pkg/nodeagent/caclient/providers/citadel/client.go and cache/secretcache.go; ztunnel: tls/certificate.rs).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from signer.core.parsing import UNPARSABLE
from signer.core.validity import Window


def pem(certificate: x509.Certificate) -> str:
    """Encode one certificate canonically: 64 columns, LF, no text around it, a newline at the end (RFC 7468)."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, hexadecimal."""
    return certificate.fingerprint(SHA256()).hex()


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Tell a root by its look (RFC 5280 section 3.2); its signature is proven elsewhere."""
    return certificate.subject == certificate.issuer


def is_ca(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may issue others (RFC 5280 section 4.2.1.9).

    A certificate whose extensions cannot be parsed may not.
    """
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    except UNPARSABLE:
        return False


def window(certificates: Iterable[x509.Certificate]) -> Window:
    """The span in which all of the certificates are valid, UTC.

    Raises:
        ValueError: There are none.
    """
    spans = [(c.not_valid_before_utc, c.not_valid_after_utc) for c in certificates]
    if not spans:
        raise ValueError("no certificates, so no window")
    return max(s[0] for s in spans), min(s[1] for s in spans)


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """A set of trust anchors in one order that all replicas agree on: that of their fingerprints.

    Attributes:
        roots: The anchors.
        pem: All of them in canonical PEM, the last element of every answer.
        digest: SHA-256 of ``pem``, hexadecimal; equal digests mean equal bundles.
    """

    roots: tuple[x509.Certificate, ...]
    pem: str
    digest: str

    @classmethod
    def of(cls, roots: Iterable[x509.Certificate]) -> Self:
        """Build a bundle; duplicates collapse, order does not matter."""
        ordered = tuple(sorted(set(roots), key=fingerprint))
        text = "".join(map(pem, ordered))
        return cls(ordered, text, sha256(text.encode("ascii")).hexdigest())

    def union(self, other: "TrustBundle") -> "TrustBundle":
        """Trust what either trusts."""
        return TrustBundle.of((*self.roots, *other.roots))

    def minus(self, other: "TrustBundle") -> "TrustBundle":
        """Trust what only this bundle trusts."""
        return TrustBundle.of(set(self.roots) - set(other.roots))

    def covers(self, other: "TrustBundle") -> bool:
        """Tell whether whoever holds this bundle trusts all that the other one trusts."""
        return set(other.roots) <= set(self.roots)


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """An answer that passed verification: every link proven up to a root of the bundle it names.

    Attributes:
        leaf: The workload's certificate.
        intermediates: From the leaf's issuer upwards, roots left out.
        intermediate_pems: The same in canonical PEM.
        bundle: The trust bundle that it was verified against; its answer carries it, and perhaps more roots.
    """

    leaf: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    intermediate_pems: tuple[str, ...]
    bundle: TrustBundle


def layout(chain: VerifiedChain, bundle: TrustBundle) -> tuple[str, ...]:
    """Lay out ``cert_chain``: leaf, each intermediate, all roots together."""
    return (pem(chain.leaf), *chain.intermediate_pems, bundle.pem)
