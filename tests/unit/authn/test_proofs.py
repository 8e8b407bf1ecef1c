"""When identities were last proven by a token."""

import pytest

from signer.authn import proofs
from signer.authn.proofs import Proofs
from signer.core.identity import SpiffeId
from signer.core.types import Grant
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER, IDENTITY


def test_few_proofs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not renewed for longest goes."""
    monkeypatch.setattr(proofs, "MAX_PROOFS", 2)
    clock = FakeClock()
    known = Proofs(clock)
    one, two, three = (SpiffeId.parse(f"spiffe://cluster.local/ns/a/sa/{n}") for n in ("one", "two", "three"))
    for identity in (one, two, one, three):
        known.proven(identity)
        clock.advance(1)
    assert (known.age(one), known.age(two), known.age(three)) == (2.0, None, 1.0)


def test_what_a_nodes_proxy_got_is_proven_by_its_token() -> None:
    """The workload has none of its own; what a caller got for itself is noted where its token is judged."""
    proofs = Proofs(FakeClock())
    proofs.issued(Grant(IDENTITY, CALLER))
    assert proofs.age(IDENTITY) is None
    proofs.issued(Grant(IDENTITY, CALLER, impersonated=True))
    assert proofs.age(IDENTITY) == 0
