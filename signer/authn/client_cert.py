"""Callers that prove themselves by a certificate of the mesh: renewals, and machines without tokens.

The TLS library has judged the chain once, at the handshake; a connection outlives certificates and roots, so each call
is judged here again, by rules that leave no doubt about whose certificate it is.
Sources: RFC 5280 sections 4.2 and 6.1; the X509-SVID standard, sections 2-5; istio: security/pkg/server/ca/
authenticate/cert_authenticator.go, which looks at the names alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509

from signer.authn.client_leaf import identity_of, value_of
from signer.authn.origins import Origin, Origins
from signer.authn.proofs import Proofs
from signer.core.chain import TrustBundle
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, ChainRejected
from signer.core.identity import SpiffeId, TrustDomain
from signer.core.parsing import UNPARSABLE, parse_certificates
from signer.core.ports import Clock
from signer.core.recent import Recent
from signer.core.types import Caller, Credentials, IssuedChain
from signer.core.validity import Window
from signer.core.verify import Path, prove_path

METHOD = "client-certificate"
MAX_CERTIFICATES = 8
MAX_CHAIN_BYTES = 64 * 1024
MAX_PROVEN_CHAINS = 1024


@dataclass(frozen=True, slots=True)
class CertificatePolicy:
    """Which client certificates count.

    Attributes:
        trust_domain: Of their identities.
        cluster: The cluster that the callers of certificates belong to whose origin this process does not know; empty
            where there is more than one, so that no rule about a cluster holds for them.
        max_age: How long after its last proof by token an identity may renew by certificate, where that is known;
            None for as long as its certificates are good.
    """

    trust_domain: TrustDomain
    cluster: str
    max_age: timedelta | None = None


class ClientCertificates:
    """Authenticates by client certificate.

    Args:
        policy: Which ones count.
        bundle: Gives the roots in force.
        proofs: Noted by whoever judges tokens.
        clock: Time.
        origins: Noted by whoever issues.
        known: Tells whether there is a cluster of an id now.
        open_question: Says what of the configuration cannot be told for a caller and the ``CertSigner`` that it names;
            empty where all of it can. Such a caller is refused: to guess would give it another route, other roots or
            another verdict than its token.
    """

    def __init__(
        self,
        policy: CertificatePolicy,
        bundle: Callable[[], TrustBundle],
        proofs: Proofs,
        clock: Clock,
        origins: Origins,
        known: Callable[[str], bool],
        open_question: Callable[[Caller, str], str],
    ) -> None:
        self._policy = policy
        self._bundle = bundle
        self._proofs = proofs
        self._clock = clock
        self._origins = origins
        self._known = known
        self._open_question = open_question
        self._proven: Recent[tuple[bytes, str], Window] = Recent(MAX_PROVEN_CHAINS)

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller by the certificate of its connection; ``credentials.cluster`` plays no part.

        Raises:
            AuthenticationFailed: There is none, or it is bad, or does not tell what the configuration asks.
            AuthenticationUnavailable: No root is known now.
        """
        leaf, *others = _parse(credentials.chain)
        now = self._clock.now()
        identity = self._identity(leaf, now)
        key = sha256(b"".join(credentials.chain)).digest()
        start, end = self._path(key, IssuedChain(leaf, tuple(others)), now)
        if not start <= now < end:
            raise _failed(f"its CAs are valid from {start.isoformat()} to {end.isoformat()}")
        self._check_age(identity)
        origin = self._origin(leaf.serial_number)
        caller = Caller(identity, METHOD, origin.cluster, serial=leaf.serial_number, issued_to=origin.pod_uid)
        if asked := self._open_question(caller, credentials.signer_name):
            raise _failed(asked)
        return caller

    def _origin(self, serial: int) -> Origin:
        origin = self._origins.of(serial)
        if origin is None:
            return Origin(self._policy.cluster)
        if not self._known(origin.cluster):
            raise _failed(f"it was issued in cluster {origin.cluster[:100]!a}, which is there no more")
        return origin

    def _identity(self, leaf: x509.Certificate, now: datetime) -> SpiffeId:
        try:
            return identity_of(leaf, self._policy.trust_domain, now)
        except ValueError as error:
            raise _failed(str(error)) from None

    def _path(self, digest: bytes, shown: IssuedChain, now: datetime) -> Window:
        """The span in which the CAs above the leaf are valid; proven once per chain and bundle."""
        bundle = self._bundle()
        if not bundle.roots:
            raise AuthenticationUnavailable("client certificate: the trust bundle is empty")
        key = (digest, bundle.digest)
        window = self._proven.get(key) or _prove(shown, bundle, now)
        # Put again where it was known: the one unused for longest is to go.
        self._proven.put(key, window)
        return window

    def _check_age(self, identity: SpiffeId) -> None:
        age, limit = self._proofs.age(identity), self._policy.max_age
        if age is not None and limit is not None and age > limit.total_seconds():
            raise _failed(f"a token proved it {age:.0f} s ago, renewal is allowed for {limit.total_seconds():.0f} s")


def serial_of(chain: tuple[bytes, ...]) -> int | None:
    """Give the serial number of the certificate that was shown, good or bad; None where it cannot be read."""
    try:
        return _parse(chain)[0].serial_number
    except AuthenticationFailed:
        return None


def _failed(reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"client certificate: {reason}")


def _parse(chain: tuple[bytes, ...]) -> list[x509.Certificate]:
    """Read what was shown, within bounds; at least one certificate."""
    if not chain:
        raise _failed("none was shown")
    if len(chain) > MAX_CERTIFICATES or sum(map(len, chain)) > MAX_CHAIN_BYTES:
        raise _failed(f"the chain has over {MAX_CERTIFICATES} certificates or {MAX_CHAIN_BYTES} bytes")
    try:
        certificates = [parse_certificates(data) for data in chain]
    except ValueError as error:
        raise _failed(str(error)) from None
    if any(len(several) != 1 for several in certificates):
        raise _failed("the chain is not one certificate each")
    return [one for (one,) in certificates]


def _prove(shown: IssuedChain, bundle: TrustBundle, now: datetime) -> Window:
    _check_unconstrained(shown.issuers)
    try:
        path = prove_path(shown, bundle, now)
    except ChainRejected as error:
        raise _failed(error.reason) from None
    _check_unconstrained(_anchors(path, bundle))
    return path.window


def _anchors(path: Path, bundle: TrustBundle) -> Iterable[x509.Certificate]:
    """Every root that may be the end of a path: those of the name that its last certificate gives."""
    top = path.intermediates[-1] if path.intermediates else path.issuer
    return (root for root in bundle.roots if root.subject == top.issuer)


def _check_unconstrained(issuers: Iterable[x509.Certificate]) -> None:
    """The library does not judge URIs by name constraints, and proxies differ (RFC 5280 section 4.2.1.10)."""
    try:
        constrained = any(value_of(issuer, x509.NameConstraints) is not None for issuer in issuers)
    except UNPARSABLE as error:
        raise _failed(f"an issuer cannot be parsed ({type(error).__name__})") from None
    if constrained:
        raise _failed("an issuer has name constraints, which are not judged for URIs")
