"""A small PKI and the answers that backends could give with it, from parts each of which may be wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509

from signer.core.chain import TrustBundle
from signer.core.csr_rules import own_server_csr
from signer.core.types import IssuedChain, ServerNames, SigningRequest
from signer.core.validity import Validity, Window
from tests.corpus.build import IDENTITY, URI, checked_csr
from tests.support.clock import HOUR, NOW
from tests.support.pki import PLAIN, Ca, Extension, Quirk, key, leaf_extensions, make_ca, make_leaf, spki

ASKED = Validity(NOW - timedelta(seconds=60), NOW + HOUR, 3600)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend returned, beside what it was asked and what is trusted.

    Attributes:
        intermediates: What a good answer must be laid out with, in this order.
    """

    issued: IssuedChain
    request: SigningRequest
    bundle: TrustBundle
    intermediates: tuple[x509.Certificate, ...] = ()
    now: datetime = NOW


def asked() -> SigningRequest:
    """The request that all of these answer."""
    return SigningRequest("r-1", IDENTITY, checked_csr(), ASKED)


def server_asked(names: ServerNames) -> SigningRequest:
    """The same, for a server's own certificate."""
    return SigningRequest("r-1", names, own_server_csr(checked_csr().parsed), ASKED)


@cache
def root() -> Ca:
    """root, self-signed."""
    return make_ca("root")


@cache
def intermediate() -> Ca:
    """root <- intermediate."""
    return make_ca("intermediate", root())


def leaf(
    issuer: Ca | None = None,
    extensions: Sequence[Extension] | None = None,
    *,
    public: bytes | None = None,
    subject: str = "",
    window: Window = (ASKED.not_before, ASKED.not_after),
    quirk: Quirk = PLAIN,
) -> x509.Certificate:
    """A leaf that is right in all that is not given."""
    return make_leaf(
        issuer or intermediate(),
        public or spki(key("p256/csr")),
        leaf_extensions(URI) if extensions is None else extensions,
        subject=subject,
        window=window,
        quirk=quirk,
    )


def answer(certificate: x509.Certificate, *issuers: Ca, roots: Sequence[Ca] | None = None) -> Answer:
    """An answer with these issuers, in this order; trusted is ``root`` unless others are given."""
    chain = IssuedChain(certificate, tuple(ca.certificate for ca in issuers))
    trusted = [root()] if roots is None else roots
    return Answer(chain, asked(), TrustBundle.of(ca.certificate for ca in trusted))


def through(certificate: x509.Certificate) -> Answer:
    """root <- intermediate <- the leaf given."""
    return answer(certificate, intermediate())


def laid_out(given: Answer, *intermediates: Ca) -> Answer:
    """Say which intermediates a good answer must come out with."""
    return replace(given, intermediates=tuple(ca.certificate for ca in intermediates))
