"""What a far side could do to an answer; `verify` must catch each. Real answers are bent: no real CA would do it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from signer.core import keys
from signer.core.types import IssuedChain, SigningRequest
from tests.corpus.build import URI
from tests.support.pki import changed, key, leaf_extensions, make_ca, make_leaf, spki

Tamper = Callable[[IssuedChain, SigningRequest, datetime], tuple[IssuedChain, SigningRequest]]


def _other_key(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """The answer to another CSR of the same workload."""
    leaf = _stranger(asked, now, public=spki(key("p256/other")))
    return IssuedChain(leaf, issued.issuers), asked


def _other_name(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """The real leaf, handed to somebody else: the request is another workload's."""
    return _forged(issued, asked, now, leaf_extensions(URI + "-other"))


def _second_name(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """One identity too many."""
    return _forged(issued, asked, now, leaf_extensions(URI, URI + "-other"))


def _ca_leaf(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """A leaf that could sign."""
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    return _forged(issued, asked, now, changed(leaf_extensions(URI), (constraints, True)))


def _longer_life(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """The real leaf beside a request for less."""
    less = replace(asked.validity, not_after=now + timedelta(minutes=5))
    return issued, replace(asked, validity=less)


def _wrong_root(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """Right in everything, by a CA that nobody trusts."""
    return _forged(issued, asked, now, leaf_extensions(URI))


def _broken_signature(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """The real issuer's name on somebody else's signature."""
    twin = replace(make_ca("stranger"), certificate=make_ca("stranger").certificate)
    leaf = make_leaf(twin, keys.spki(asked.csr.parsed.key), leaf_extensions(URI), window=_window(asked))
    return IssuedChain(leaf, issued.issuers), asked


def _forged(
    issued: IssuedChain, asked: SigningRequest, now: datetime, extensions: object
) -> tuple[IssuedChain, SigningRequest]:
    ca = make_ca("stranger", window=(now - timedelta(days=1), now + timedelta(days=30)))
    leaf = make_leaf(ca, keys.spki(asked.csr.parsed.key), extensions, window=_window(asked))  # type: ignore[arg-type]
    return IssuedChain(leaf, (*issued.issuers, ca.certificate)), asked


def _stranger(asked: SigningRequest, now: datetime, public: bytes) -> x509.Certificate:
    ca = make_ca("stranger", window=(now - timedelta(days=1), now + timedelta(days=30)))
    return make_leaf(ca, public, leaf_extensions(URI), window=_window(asked))


def _window(asked: SigningRequest) -> tuple[datetime, datetime]:
    return asked.validity.not_before, asked.validity.not_after


def _no_intermediates(issued: IssuedChain, asked: SigningRequest, now: datetime) -> tuple[IssuedChain, SigningRequest]:
    """What is needed to reach the root is left out; where the root itself signs, the leaf is another CA's."""
    if not any(c.subject != c.issuer for c in issued.issuers):
        return _wrong_root(issued, asked, now)
    return IssuedChain(issued.leaf), asked


TAMPERED: dict[str, Tamper] = {
    "another key": _other_key,
    "another name": _other_name,
    "a second name": _second_name,
    "a CA": _ca_leaf,
    "a longer life": _longer_life,
    "another root": _wrong_root,
    "another signature": _broken_signature,
    "no intermediates": _no_intermediates,
}
