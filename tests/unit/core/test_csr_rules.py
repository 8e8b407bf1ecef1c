"""The table of CSR rules: each rule alone stops something, and nothing but the checker makes a CheckedCsr."""

import dataclasses

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from signer.core.csr import ParsedCsr, parse_csr
from signer.core.csr_rules import (
    CSR_RULES,
    CheckedCsr,
    Rule,
    check_csr,
    own_server_csr,
    requested_names,
)
from signer.core.errors import CsrRejected, IdentityRejected
from tests.corpus import csr_names
from tests.corpus.build import IDENTITY, URI, csr_der, good_csr, parsed_csr, pem
from tests.corpus.csrs import CSRS

# What the library raises beside ValueError for what it cannot read.
_ODD = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


def _unproven(text: str) -> ParsedCsr | None:
    """Parse without asking for the signature's proof, so that each rule is tried on what only it would stop."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        return dataclasses.replace(
            parsed_csr(),
            request=request,
            subject=request.subject,
            key=request.public_key(),
            extensions=request.extensions,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, *_ODD):
        return None


def _breaking(parsed: ParsedCsr) -> set[str]:
    return {rule.name for rule in CSR_RULES if rule.fault(parsed, IDENTITY) is not None}


@pytest.fixture(scope="module")
def broken_sets() -> list[set[str]]:
    """For each CSR of the corpus that can be read at all: the rules that it breaks."""
    # Of an empty CN the library warns.
    parsed = [_unproven(case.make()) for case in CSRS if case.name != "empty_common_name"]
    return [_breaking(each) for each in parsed if each is not None]


@pytest.mark.parametrize("rule", CSR_RULES, ids=lambda rule: rule.name)
def test_each_rule_alone_stops_a_case(rule: Rule, broken_sets: list[set[str]]) -> None:
    """Take a rule away, and a case of the corpus would pass."""
    assert {rule.name} in broken_sets


def test_rule_names_are_unique() -> None:
    """A reason points at one rule."""
    assert len({rule.name for rule in CSR_RULES}) == len(CSR_RULES)


def test_only_names_are_an_identity_matter() -> None:
    """Istio's identity counter counts refused names, nothing else."""
    assert [rule.name for rule in CSR_RULES if issubclass(rule.error, IdentityRejected)] == ["names"]


def test_the_granted_identity_decides() -> None:
    """The same CSR for another grant is refused."""
    other = dataclasses.replace(IDENTITY, service_account="admin")
    with pytest.raises(IdentityRejected, match=r"granted is spiffe://cluster\.local/ns/payments/sa/admin"):
        check_csr(parsed_csr(), other)


def test_checked_csr_cannot_be_made_elsewhere() -> None:
    """An unchecked CSR cannot be signed: the type is sealed."""
    for seal in (None, object(), "seal"):
        with pytest.raises(TypeError, match="check_csr"):
            CheckedCsr(parsed_csr(), IDENTITY, seal)


def test_checked_csr_cannot_be_re_addressed() -> None:
    """Neither by assignment nor with the seal of none."""
    checked = check_csr(parsed_csr(), IDENTITY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        checked.identity = None  # type: ignore[misc]


def test_own_server_csr() -> None:
    """The signer's own CSR names nobody; its key counts."""
    checked = own_server_csr(parse_csr(pem(csr_der())))
    assert checked.identity is None


def test_own_server_csr_with_a_weak_key() -> None:
    """P-521 is refused here too."""
    with pytest.raises(CsrRejected, match="key: the key is secp521r1"):
        own_server_csr(parse_csr(good_csr("p521")))


def test_requested_names() -> None:
    """All names are listed, unjudged."""
    assert requested_names(parsed_csr()) == [x509.UniformResourceIdentifier(URI)]
    assert len(requested_names(parse_csr(csr_names.two_uris()))) == 2
    assert requested_names(parse_csr(csr_names.no_san())) == []
