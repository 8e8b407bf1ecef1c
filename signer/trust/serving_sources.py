"""Where serving certificates come from: a backend of ours, or files that somebody else renews."""

import asyncio
import random
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from signer.core import keys
from signer.core.chain import TrustBundle
from signer.core.csr import parse_csr
from signer.core.csr_rules import own_server_csr
from signer.core.errors import ChainRejected
from signer.core.parsing import UNPARSABLE, parse_certificates
from signer.core.ports import Backend, BundleSource, Clock
from signer.core.types import IssuedChain, ServerNames, SigningRequest
from signer.core.validity import ValidityPolicy, decide
from signer.core.verify import ChainVerifier, prove_path
from signer.trust.serving import KeyPair, PairUnavailable, due_by_ratio

MAX_FILE_BYTES = 1024 * 1024
# Files are compared this often; somebody else decides when they change.
FILE_INTERVAL = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What to ask a backend for.

    Attributes:
        ttl: The lifetime.
        grace_ratio: The part of the lifetime left at which to renew.
        timeout: Seconds that the backend has.
        key_type: One of ``signer.core.keys.KEY_TYPES``.
        purpose: What requests' ids begin with, in logs and in names of remote objects.
    """

    names: ServerNames
    ttl: timedelta
    grace_ratio: float
    timeout: float = 8.0
    key_type: str = "p256"
    purpose: str = "serving"


class FromBackend:
    """Makes a key in memory and has a backend sign it."""

    def __init__(self, backend: Backend, bundle: BundleSource, plan: ServingPlan, clock: Clock) -> None:
        self._backend = backend
        self._bundle = bundle
        self._plan = plan
        self._clock = clock
        self._verifier = ChainVerifier()
        self._issued: IssuedChain | None = None
        self._proven: dict[str, bool] = {}

    async def obtain(self) -> KeyPair:
        """Issue a new pair; the answer is verified like anybody's.

        Raises:
            PairUnavailable: The backend did not answer in time.
            SignerError: It refused, is down, or answered wrongly.
        """
        key = await _new_key(self._plan.key_type)
        try:
            async with asyncio.timeout(self._plan.timeout):
                request = await self._request(key)
                issued = await self._backend.sign(request)
                bundle = await self._bundle.refresh()
        except TimeoutError:
            raise PairUnavailable(f"backend {self._backend.name}: no answer in {self._plan.timeout} s") from None
        chain = self._verifier.verify(issued, request, bundle, self._clock.now())
        self._issued, self._proven = issued, {bundle.digest: True}
        return KeyPair.of(key, chain.leaf, chain.intermediates)

    def due(self, pair: KeyPair) -> datetime:
        """By the grace ratio."""
        return due_by_ratio(pair, self._plan.grace_ratio)

    def stale(self, pair: KeyPair) -> bool:
        """Whether its root has left the bundle. A new CA under a root that stays is no reason: proxies that have not
        read the new roots yet must still get through."""
        bundle = self._bundle.current()
        if bundle.digest not in self._proven:
            self._proven = {bundle.digest: self._still_trusted(bundle)}
        return not self._proven[bundle.digest]

    def _still_trusted(self, bundle: TrustBundle) -> bool:
        if self._issued is None:
            return False
        try:
            prove_path(self._issued, bundle, self._clock.now())
        except ChainRejected:
            return False
        return True

    async def _request(self, key: keys.CaPrivateKey) -> SigningRequest:
        issuer = await self._backend.issuer()
        policy = ValidityPolicy(self._plan.ttl, self._plan.ttl)
        validity = decide(0, policy, self._clock.now(), issuer.window, random.random())  # noqa: S311
        return SigningRequest(
            id=f"{self._plan.purpose}-{secrets.token_hex(8)}",
            subject=self._plan.names,
            csr=own_server_csr(parse_csr(_csr(key, self._plan.names))),
            validity=validity,
        )


async def _new_key(key_type: str) -> keys.CaPrivateKey:
    """RSA keys take a tenth of a second and more, in which nobody else would be served."""
    if key_type.startswith("rsa"):
        return await asyncio.to_thread(keys.generate, key_type)
    return keys.generate(key_type)


def _csr(key: keys.CaPrivateKey, names: ServerNames) -> str:
    """With the names in it: remote signers take them from there."""
    san = x509.SubjectAlternativeName([*map(x509.DNSName, names.dns), *map(x509.IPAddress, names.ips)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(san, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")


class FromFiles:
    """Reads a chain and a key that something else, such as cert-manager, keeps fresh."""

    def __init__(self, certificate_file: Path, key_file: Path, clock: Clock) -> None:
        self._certificate_file = certificate_file
        self._key_file = key_file
        self._clock = clock

    async def obtain(self) -> KeyPair:
        """Read the files.

        Raises:
            PairUnavailable: They are missing, do not match, or are not valid now.
        """
        return await asyncio.to_thread(load_pair, self._certificate_file, self._key_file, self._clock.now())

    def due(self, pair: KeyPair) -> datetime:
        """Soon: files change when they change."""
        return self._clock.now() + FILE_INTERVAL

    def stale(self, pair: KeyPair) -> bool:
        """Never: whoever writes the files decides."""
        return False


def load_pair(certificate_file: Path, key_file: Path, now: datetime) -> KeyPair:
    """Read and judge a serving pair.

    Raises:
        PairUnavailable: The message names the file and the fault.
    """
    chain = _certificates(certificate_file)
    key = _key(key_file)
    leaf = chain[0]
    try:
        matching = key.public_key() == leaf.public_key()
    except UNPARSABLE as error:
        raise PairUnavailable(f"{certificate_file}: cannot be parsed ({type(error).__name__})") from None
    if not matching:
        raise PairUnavailable(f"{key_file} is not the key of {certificate_file}")
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise PairUnavailable(f"{certificate_file}: not valid now, it ends at {leaf.not_valid_after_utc.isoformat()}")
    return KeyPair.of(key, leaf, tuple(chain[1:]))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise PairUnavailable(f"{path}: cannot be read: {error.strerror}") from None


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return parse_certificates(_read(path))
    except ValueError:
        raise PairUnavailable(f"{path}: holds no PEM certificate, or a broken one") from None


def _key(path: Path) -> keys.CaPrivateKey:
    data = _read(path)
    try:
        return keys.load_private_key(data)
    except ValueError as error:
        raise PairUnavailable(f"{path}: {error}") from None
