"""Every returned chain of the corpus gets its verdict, from a verifier that knows nothing and from one that does."""

import pytest

from signer.core.chain import layout, pem
from signer.core.errors import SignerError
from signer.core.types import IssuedChain
from signer.core.verify import ChainVerifier
from tests.corpus.answers import Answer, asked, intermediate, leaf, root
from tests.corpus.case import Case
from tests.corpus.chains import CHAINS
from tests.support.clock import NOW

_GOOD = [case for case in CHAINS if case.verdict is None]
_BAD = [case for case in CHAINS if case.verdict is not None]


def experienced(answer: Answer) -> ChainVerifier:
    """A verifier that has proven good leaves under the very issuers that the answer comes with."""
    verifier = ChainVerifier()
    for issuer in (root(), intermediate()):
        try:
            verifier.verify(IssuedChain(leaf(issuer), answer.issued.issuers), asked(), answer.bundle, NOW)
        except SignerError:
            continue
    return verifier


def test_names_are_unique() -> None:
    """A case is called by its name."""
    assert len({case.name for case in CHAINS}) == len(CHAINS)


@pytest.mark.parametrize("case", CHAINS, ids=str)
def test_docstring(case: Case[Answer]) -> None:
    """Each case draws its chain and says why."""
    assert case.make.__doc__


@pytest.mark.parametrize("case", _GOOD, ids=str)
def test_good(case: Case[Answer]) -> None:
    """It passes, and is laid out as proxies need it."""
    answer = case.make()
    for verifier in (ChainVerifier(), experienced(answer)):
        chain = verifier.verify(answer.issued, answer.request, answer.bundle, answer.now)
        if answer.intermediates or case.name.startswith("self_signed"):
            assert chain.intermediates == answer.intermediates
        elements = layout(chain, chain.bundle)
        assert elements == (pem(answer.issued.leaf), *map(pem, chain.intermediates), answer.bundle.pem)
        assert all(element.endswith("\n") for element in elements)


@pytest.mark.parametrize("case", _BAD, ids=str)
def test_bad(case: Case[Answer]) -> None:
    """It is refused, with a reason in one line of ASCII."""
    answer = case.make()
    for verifier in (ChainVerifier(), experienced(answer)):
        with pytest.raises(SignerError) as refusal:
            verifier.verify(answer.issued, answer.request, answer.bundle, answer.now)
        assert (type(refusal.value), case.reason in refusal.value.reason) == (case.verdict, True), refusal.value.reason
        assert refusal.value.reason.isascii()
        assert refusal.value.reason.isprintable()


def test_self_signed_is_two_elements() -> None:
    """A CA without intermediates: exactly the leaf and the root."""
    case = next(case for case in CHAINS if case.name == "self_signed_ca")
    answer = case.make()
    chain = ChainVerifier().verify(answer.issued, answer.request, answer.bundle, answer.now)
    assert layout(chain, chain.bundle) == (pem(answer.issued.leaf), pem(root().certificate))
