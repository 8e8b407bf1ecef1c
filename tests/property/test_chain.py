"""Trust bundles are sets: the laws of sets hold, and equal sets are equal bytes."""

from hypothesis import given
from hypothesis import strategies as st

from signer.core.chain import TrustBundle
from tests.support.pki import make_ca

_ROOTS = [make_ca(f"root {number}").certificate for number in range(6)]
_NONE = TrustBundle.of(())
_LISTS = st.lists(st.sampled_from(_ROOTS), max_size=10)
BUNDLES = _LISTS.map(TrustBundle.of)


@given(_LISTS, st.randoms())
def test_order_and_repetition_do_not_count(roots: list[object], chance: object) -> None:
    """The same set, the same bytes and digest."""
    bundle = TrustBundle.of(roots)  # type: ignore[arg-type]
    shuffled = roots * 2
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert TrustBundle.of(shuffled) == bundle  # type: ignore[arg-type]
    assert bundle.pem.count("BEGIN CERTIFICATE") == len(set(roots))


@given(BUNDLES, BUNDLES, BUNDLES)
def test_union(a: TrustBundle, b: TrustBundle, c: TrustBundle) -> None:
    """Commutes, associates, is idempotent, has a neutral element."""
    assert a.union(b) == b.union(a)
    assert a.union(b).union(c) == a.union(b.union(c))
    assert a.union(a) == a.union(_NONE) == a


@given(BUNDLES, BUNDLES)
def test_difference(a: TrustBundle, b: TrustBundle) -> None:
    """What is left, put back, is what was there."""
    assert a.minus(b).union(b) == a.union(b)
    assert a.minus(a) == _NONE
    assert a.minus(_NONE) == a
    assert set(a.minus(b).roots).isdisjoint(b.roots)


@given(BUNDLES, BUNDLES)
def test_inclusion(a: TrustBundle, b: TrustBundle) -> None:
    """An order: reflexive, antisymmetric, and the union is above both."""
    assert a.covers(a)
    assert a.union(b).covers(a)
    assert a.covers(b) == (a.union(b) == a) == (b.minus(a) == _NONE)
    if a.covers(b) and b.covers(a):
        assert a == b


@given(BUNDLES, BUNDLES)
def test_digest_is_identity(a: TrustBundle, b: TrustBundle) -> None:
    """Equal digests, equal sets."""
    assert (a.digest == b.digest) == (set(a.roots) == set(b.roots)) == (a.pem == b.pem)
