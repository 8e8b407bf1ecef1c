"""Every CSR of the corpus gets its verdict."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from signer.core.csr import parse_csr
from signer.core.csr_rules import check_csr
from signer.core.errors import SignerError
from tests.corpus import csr_good
from tests.corpus.build import IDENTITY, URI
from tests.corpus.case import Case
from tests.corpus.csrs import CSRS

_GOOD = [case for case in CSRS if case.verdict is None]
_BAD = [case for case in CSRS if case.verdict is not None]


def test_names_are_unique() -> None:
    """A case is called by its name."""
    assert len({case.name for case in CSRS}) == len(CSRS)


@pytest.mark.parametrize("case", CSRS, ids=str)
def test_docstring(case: Case[str]) -> None:
    """Each case says what it is and why."""
    assert case.make.__doc__


@pytest.mark.parametrize("case", _GOOD, ids=str)
def test_good(case: Case[str]) -> None:
    """It passes, for the identity that was granted."""
    checked = check_csr(parse_csr(case.make()), IDENTITY)
    assert checked.identity == IDENTITY


# The library warns of an empty CN, before it is refused.
@pytest.mark.filterwarnings("ignore:Attribute's length must be")
@pytest.mark.parametrize("case", _BAD, ids=str)
def test_bad(case: Case[str]) -> None:
    """It is refused as what it is, in one short line of ASCII."""
    with pytest.raises(SignerError) as refusal:
        check_csr(parse_csr(case.make()), IDENTITY)
    assert (type(refusal.value), case.reason in refusal.value.reason) == (case.verdict, True), refusal.value.reason
    assert refusal.value.reason.isascii()
    assert refusal.value.reason.isprintable()
    assert len(refusal.value.reason) < 400


@pytest.mark.parametrize("make", [csr_good.agent, csr_good.agent_by_a_library], ids=lambda make: make.__name__)
def test_agents_shape(make: Callable[[], str]) -> None:
    """The empty O is really there: the shape that strict signers choke on."""
    request = x509.load_pem_x509_csr(make().encode())
    (attribute,) = list(request.subject)
    assert (attribute.oid, attribute.value) == (NameOID.ORGANIZATION_NAME, "")
    extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert extension.critical
    assert extension.value.get_values_for_type(x509.UniformResourceIdentifier) == [URI]


def test_ztunnels_shape() -> None:
    """No RDN at all, and a SAN that is not critical."""
    request = x509.load_pem_x509_csr(csr_good.ztunnel().encode())
    assert not request.subject.rdns
    assert not request.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
