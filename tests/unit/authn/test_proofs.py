"""When identities were last proven by a token."""

import pytest

from signer.authn import proofs
from signer.authn.proofs import Proofs
from signer.core.identity import SpiffeId
from tests.support.clock import FakeClock


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
