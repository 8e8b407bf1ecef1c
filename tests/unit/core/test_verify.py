"""Verifying answers: what is remembered, and for how long."""

from dataclasses import replace
from unittest import mock

import pytest
from cryptography import x509

from signer.core import verify
from signer.core.chain import TrustBundle
from signer.core.errors import ChainRejected
from signer.core.types import IssuedChain
from signer.core.validity import Validity
from signer.core.verify import ChainVerifier, prove_path
from tests.corpus.answers import Answer, answer, asked, intermediate, leaf, root, through
from tests.support.clock import DAY, HOUR, NOW
from tests.support.pki import CA_EXTENSIONS, CA_WINDOW, make_ca


def _verify(verifier: ChainVerifier, given: Answer) -> None:
    verifier.verify(given.issued, given.request, given.bundle, given.now)


def test_a_path_is_proven_once() -> None:
    """Per issuer and bundle; further leaves cost their own signature only."""
    verifier = ChainVerifier()
    with mock.patch.object(verify, "prove_path", wraps=prove_path) as proving:
        for _ in range(3):
            _verify(verifier, through(leaf()))
        assert proving.call_count == 1
        _verify(verifier, answer(leaf(), intermediate(), roots=(root(), make_ca("new root"))))
        assert proving.call_count == 2


def test_a_removed_root_is_forgotten_at_once() -> None:
    """The bundle is part of what was proven."""
    verifier = ChainVerifier()
    _verify(verifier, through(leaf()))
    with pytest.raises(ChainRejected, match="path: "):
        _verify(verifier, answer(leaf(), intermediate(), roots=(make_ca("new root"),)))


def test_a_remembered_path_ends_with_its_cas() -> None:
    """Proven yesterday is not valid today."""
    verifier = ChainVerifier()
    short = make_ca("two hours", root(), window=(CA_WINDOW[0], NOW + 2 * HOUR))
    _verify(verifier, answer(leaf(short), short))
    later = NOW + 2 * HOUR
    validity = Validity(later, later + HOUR, 3600)
    given = answer(leaf(short, window=(later, later + HOUR)), short)
    with pytest.raises(ChainRejected, match="not inside its CAs"):
        _verify(verifier, replace(given, now=later, request=replace(asked(), validity=validity)))


def test_a_remembered_path_starts_with_its_cas() -> None:
    """Nor is it when the clock is set back to before the CA."""
    verifier = ChainVerifier()
    young = make_ca("young", root(), window=(NOW - HOUR, CA_WINDOW[1]))
    _verify(verifier, answer(leaf(young), young))
    earlier = NOW - 2 * HOUR
    validity = Validity(earlier, earlier + HOUR, 3600)
    given = answer(leaf(young, window=(earlier, earlier + HOUR)), young)
    with pytest.raises(ChainRejected, match="not inside its CAs"):
        _verify(verifier, replace(given, now=earlier, request=replace(asked(), validity=validity)))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that changes its issuer all the time fills no memory."""
    monkeypatch.setattr(verify, "MAX_PATHS", 2)
    verifier = ChainVerifier()
    for number in range(4):
        issuer = make_ca(f"issuer {number}", root())
        _verify(verifier, answer(leaf(issuer), issuer))
    assert len(verifier._paths) == 2


def test_the_least_used_path_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in use stays."""
    monkeypatch.setattr(verify, "MAX_PATHS", 2)
    verifier = ChainVerifier()
    first, second, third = (make_ca(f"issuer {number}", root()) for number in range(3))
    with mock.patch.object(verify, "prove_path", wraps=prove_path) as proving:
        for issuer in (first, second, first, third, first):
            _verify(verifier, answer(leaf(issuer), issuer))
    assert proving.call_count == 3


def test_a_failed_proof_is_not_remembered() -> None:
    """A backend mended is a backend believed."""
    verifier = ChainVerifier()
    with pytest.raises(ChainRejected):
        _verify(verifier, answer(leaf()))
    _verify(verifier, through(leaf()))


def test_two_roots_of_one_name_alternate() -> None:
    """Both sign under one name: the remembered one must not stop the other's leaves."""
    verifier = ChainVerifier()
    twin = make_ca("root", kind="p384")
    for issuer in (root(), twin, root(), twin):
        _verify(verifier, answer(leaf(issuer), roots=(root(), twin)))


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_kinds_of_ca_keys(kind: str) -> None:
    """Every kind of CA key, fresh and remembered; a forged leaf under the same name never passes."""
    verifier = ChainVerifier()
    issuer, thief = make_ca("kind", root(), kind=kind), make_ca("kind", root(), kind=f"{kind}/thief")
    for _ in range(2):
        _verify(verifier, answer(leaf(issuer), issuer))
        with pytest.raises(ChainRejected):
            _verify(verifier, answer(leaf(thief), issuer))


def test_another_issuers_name_on_a_good_signature() -> None:
    """The signature alone is not enough: the leaf must name the CA that signed it."""
    verifier = ChainVerifier()
    _verify(verifier, through(leaf()))
    renamed = replace(intermediate(), certificate=make_ca("other", root()).certificate)
    with pytest.raises(ChainRejected, match="path: "):
        _verify(verifier, through(leaf(renamed)))


def test_name_constraints_hold_for_every_leaf() -> None:
    """A CA limited to other URIs: whatever was proven before, its leaves for us are refused."""
    limits = x509.NameConstraints([x509.UniformResourceIdentifier("other.example")], None)
    limited = make_ca("limited", root(), extensions=(*CA_EXTENSIONS, (limits, True)))
    verifier = ChainVerifier()
    for _ in range(2):
        with pytest.raises(ChainRejected, match="path: "):
            _verify(verifier, answer(leaf(limited), limited))


def test_prove_path_at_a_time() -> None:
    """The time is the one given."""
    bundle = TrustBundle.of([root().certificate])
    issued = IssuedChain(leaf(), (intermediate().certificate,))
    assert prove_path(issued, bundle, NOW).issuer == intermediate().certificate
    with pytest.raises(ChainRejected):
        prove_path(issued, bundle, NOW + 1000 * DAY)
