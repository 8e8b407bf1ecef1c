"""SPIFFE identities: one text, one identity, and no other text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.core.identity import InvalidIdentity, SpiffeId, TrustDomain
from tests.property.strategies import IDENTITIES
from tests.support.refusals import is_one_line, refusal

_ANY = st.text() | st.text(st.characters(codec="ascii"))


@given(IDENTITIES)
def test_round_trip(identity: SpiffeId) -> None:
    """What is written is read back."""
    assert SpiffeId.parse(str(identity)) == identity


@given(
    _ANY
    | _ANY.map("spiffe://{}".format)
    | st.tuples(_ANY, _ANY, _ANY).map(lambda p: "spiffe://{}/ns/{}/sa/{}".format(*p))
)
def test_only_the_exact_form(text: str) -> None:
    """Whatever parses is written exactly as it came: no two texts are one identity."""
    try:
        parsed = SpiffeId.parse(text)
    except InvalidIdentity:
        return
    assert str(parsed) == text
    assert text.isascii()
    assert text.isprintable()


@given(IDENTITIES, st.data())
def test_neighbours_are_others(identity: SpiffeId, data: st.DataObject) -> None:
    """One character more, less or another: another identity, or none."""
    uri = str(identity)
    place = data.draw(st.integers(0, len(uri)))
    width = data.draw(st.integers(0, 1))
    changed = uri[:place] + data.draw(st.text(max_size=1)) + uri[place + width :]
    if changed == uri:
        return
    error = refusal(InvalidIdentity, lambda: SpiffeId.parse(changed))
    if error is None:
        assert SpiffeId.parse(changed) != identity
    else:
        assert is_one_line(str(error))


@given(IDENTITIES, st.sampled_from(["upper", "title", "swapcase", "capitalize"]))
def test_no_case_folding(identity: SpiffeId, how: str) -> None:
    """Other letters, other text."""
    changed = getattr(str(identity), how)()
    if changed != str(identity):
        with pytest.raises(InvalidIdentity):
            SpiffeId.parse(changed)


@given(_ANY)
def test_configured_trust_domains(text: str) -> None:
    """Either a trust domain or InvalidIdentity, never another failure."""
    try:
        name = TrustDomain.configured(text).name
    except InvalidIdentity:
        return
    assert TrustDomain(name).name == name == text.replace("@", ".")
