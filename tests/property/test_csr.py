"""CSRs from strangers: whatever they send, they get a refusal of ours, or exactly their own identity."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer.core.csr import parse_csr
from signer.core.csr_rules import CSR_RULES, check_csr, requested_names
from signer.core.errors import SignerError
from signer.core.identity import SpiffeId
from tests.corpus import csr_good
from tests.corpus.build import IDENTITY, csr_der, parsed_csr, pem, wants, wants_raw
from tests.corpus.csrs import CSRS
from tests.property.strategies import IDENTITIES
from tests.support.refusals import is_one_line, refusal

# The library warns of odd name attributes before they are refused.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length must be")

_FRAMES = [case.make() for case in csr_good.CORPUS.cases]
_BASES = sorted({base64.b64decode("".join(text.split("-----")[2].split())) for text in _FRAMES}, key=len)
_ODD = [case.make() for case in CSRS]


def _refused_or_own(text: str) -> None:
    error = refusal(SignerError, lambda: check_csr(parse_csr(text), IDENTITY))
    if error is not None:
        assert is_one_line(error.reason)
        return
    assert [name.value for name in requested_names(parse_csr(text))] == [str(IDENTITY)]


@given(st.text() | st.binary(max_size=4000).map(lambda data: data.decode("latin-1")))
def test_any_text(text: str) -> None:
    """Not even a frame."""
    _refused_or_own(text)


@given(st.binary(max_size=2000).map(pem))
def test_any_bytes_in_a_frame(text: str) -> None:
    """A frame around anything."""
    _refused_or_own(text)


@settings(max_examples=1500)
@given(st.sampled_from(_BASES), st.data())
def test_flipped_bits(base: bytes, data: st.DataObject) -> None:
    """A good CSR with a few bits flipped, anywhere in its DER."""
    changed = bytearray(base)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(base) - 1))
        changed[place] ^= 1 << data.draw(st.integers(0, 7))
    _refused_or_own(pem(bytes(changed)))


@settings(max_examples=600)
@given(st.sampled_from(_BASES), st.data())
def test_cut_and_pasted(base: bytes, data: st.DataObject) -> None:
    """A part of it replaced by anything, or by a part of another one."""
    start = data.draw(st.integers(0, len(base)))
    end = data.draw(st.integers(start, min(len(base), start + 40)))
    other = data.draw(st.sampled_from(_BASES))
    patch = data.draw(st.binary(max_size=20) | st.integers(0, len(other)).map(lambda at: other[at : at + 20]))
    _refused_or_own(pem(base[:start] + patch + base[end:]))


@settings(max_examples=400)
@given(st.sampled_from(_ODD), st.data())
def test_odd_texts_changed(text: str, data: st.DataObject) -> None:
    """A character of a frame replaced, doubled or left out; bad CSRs of the corpus included."""
    place = data.draw(st.integers(0, len(text)))
    patch = data.draw(st.text(max_size=3))
    _refused_or_own(text[:place] + patch + text[place + data.draw(st.integers(0, 3)) :])


@settings(max_examples=500)
@given(st.data())
def test_resigned(data: st.DataObject) -> None:
    """Changed and then signed by its sender: only the rules stand between it and a certificate."""
    extensions = wants(str(IDENTITY)) + data.draw(st.binary(max_size=30))
    subject = data.draw(st.binary(max_size=20)) or b"\x30\x00"
    _refused_or_own(pem(csr_der(extensions, subject=subject)))


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=40) | IDENTITIES.map(lambda i: str(i).encode()), max_size=3))
def test_any_uris(uris: list[bytes]) -> None:
    """Names that its sender chose, properly signed."""
    _refused_or_own(pem(csr_der(wants_raw(*uris))))


@given(IDENTITIES, IDENTITIES)
def test_only_for_the_granted_identity(asked: SpiffeId, granted: SpiffeId) -> None:
    """The CSR of one identity is never good for another."""
    parsed = parsed_csr(uri=str(asked))
    faults = [rule.name for rule in CSR_RULES if rule.fault(parsed, granted) is not None]
    assert faults == ([] if asked == granted else ["names"])
