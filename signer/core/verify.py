"""What a backend returned, proven before anybody may use it: its fields, its signature, its path to the bundle.

The path from issuer to root is proven once per issuer and bundle (about 170 us) and remembered; each further leaf
costs one signature check and the table in ``verify_leaf``.
Source: RFC 5280 section 6.1, by cryptography's verifier. Authority key identifiers are not required: a plugged-in CA
made without a subject key identifier is common and works with every proxy.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID

from signer.core import keys
from signer.core.chain import TrustBundle, VerifiedChain, pem, window
from signer.core.errors import ChainRejected
from signer.core.parsing import UNPARSABLE
from signer.core.types import IssuedChain, SigningRequest
from signer.core.validity import Window
from signer.core.verify_leaf import leaf_fault

MAX_PATHS = 64
MAX_DEPTH = 8

_CA_CRITICAL = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
    }
)


@dataclass(frozen=True, slots=True)
class Path:
    """A proven way from an issuer up to a root.

    Attributes:
        issuer: The certificate that signs leaves.
        intermediates: From ``issuer`` upwards without the root; empty where the root itself signs.
        pems: The intermediates in canonical PEM.
        window: The span in which every CA of the path, root included, is valid.
    """

    issuer: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    pems: tuple[str, ...]
    window: Window


class ChainVerifier:
    """Verifies returned chains; remembers at most ``MAX_PATHS`` proven paths."""

    def __init__(self) -> None:
        self._paths: OrderedDict[tuple[object, ...], Path] = OrderedDict()

    def verify(self, issued: IssuedChain, request: SigningRequest, bundle: TrustBundle, now: datetime) -> VerifiedChain:
        """Prove that an answer is what was asked for and leads to the bundle.

        Raises:
            ChainRejected: It does not; the reason names the check.
        """
        fault = leaf_fault(issued.leaf, request, now)
        if fault is not None:
            raise ChainRejected(f"leaf {fault}")
        path = self._path(issued, bundle, now)
        start, end = path.window
        # Clients never look at the expiry of intermediates, so the leaf must not outlive any of them.
        if issued.leaf.not_valid_after_utc > end or not start <= now < end:
            raise ChainRejected(f"path: the leaf is not inside its CAs, which are valid to {end.isoformat()}")
        return VerifiedChain(issued.leaf, path.intermediates, path.pems, bundle)

    def _path(self, issued: IssuedChain, bundle: TrustBundle, now: datetime) -> Path:
        key = (bundle.digest, *issued.issuers)
        known = self._paths.get(key)
        # Two roots may share a name; then the remembered issuer is not this leaf's, and the full proof decides.
        if known is not None and _signed_by(issued.leaf, known.issuer):
            self._paths.move_to_end(key)
            return known
        path = prove_path(issued, bundle, now)
        self._paths[key] = path
        if len(self._paths) > MAX_PATHS:
            self._paths.popitem(last=False)
        return path


def _signed_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Check names, algorithms inside and outside (RFC 5280 section 4.1.1.2) and signature."""
    try:
        leaf.verify_directly_issued_by(issuer)
    except UNPARSABLE:
        return False
    return True


def prove_path(issued: IssuedChain, bundle: TrustBundle, now: datetime) -> Path:
    """Find and prove a path from the leaf to a root of the bundle (RFC 5280 section 6.1).

    Raises:
        ChainRejected: There is none.
    """
    if not bundle.roots:
        raise ChainRejected("path: the trust bundle is empty")
    # A remote signer's clock may be a little ahead; how far is for the leaf's own checks to judge.
    at = max(now, issued.leaf.not_valid_before_utc)
    try:
        chain = _verifier(bundle, at).verify(issued.leaf, list(issued.issuers)).chain
    except verification.VerificationError as error:
        raise ChainRejected(f"path: {str(error)[:200]!a}") from None
    except UNPARSABLE as error:
        raise ChainRejected(f"path: it cannot be parsed ({type(error).__name__})") from None
    issuers = tuple(chain[1:])
    middle = issuers[:-1]
    return Path(issuers[0], middle, tuple(map(pem, middle)), window(issuers))


def _verifier(bundle: TrustBundle, now: datetime) -> verification.ClientVerifier:
    """The leaf's own fields are ``verify_leaf``'s business; here only the CAs are judged."""
    ca_policy = (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _check_ca)
        .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _check_key_usage)
    )
    return (
        verification.PolicyBuilder()
        .store(verification.Store(list(bundle.roots)))
        .time(now)
        .max_chain_depth(MAX_DEPTH)
        .extension_policies(ca_policy=ca_policy, ee_policy=verification.ExtensionPolicy.permit_all())
        .build_client_verifier()
    )


def _check_ca(_: verification.Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    """Refuse what webpki, OpenSSL or BoringSSL would refuse later, in the middle of somebody's handshake."""
    if not constraints.ca:
        raise ValueError("an issuer is not a CA")
    fault = keys.weakness(certificate.public_key())
    if fault is not None:
        raise ValueError(f"an issuer's key is not usable: {fault}")
    odd = [e.oid.dotted_string for e in certificate.extensions if e.critical and e.oid not in _CA_CRITICAL]
    if odd:
        raise ValueError(f"an issuer has critical extensions that proxies do not know: {odd}")


def _check_key_usage(_: verification.Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer's keyUsage lacks keyCertSign")
