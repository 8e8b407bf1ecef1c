"""The table of leaf checks: each check alone stops something."""

from ipaddress import ip_address

import pytest
from cryptography import x509

from signer.core.types import ServerNames
from signer.core.verify_leaf import LEAF_CHECKS, Leaf, expected_names, leaf_fault
from tests.corpus.answers import Answer, asked, leaf, server_asked
from tests.corpus.build import IDENTITY, URI
from tests.corpus.case import Case
from tests.corpus.chains_leaf import CORPUS
from tests.support.clock import NOW
from tests.support.pki import changed, leaf_extensions

_UNREADABLE = {"unknown_key_algorithm", "x400_name", "san_twice"}
_NAMES = ServerNames(("a.example", "b.example"), (ip_address("10.0.0.1"), ip_address("::1")))
_SERVER = [
    x509.DNSName("a.example"),
    x509.DNSName("b.example"),
    x509.IPAddress(ip_address("10.0.0.1")),
    x509.IPAddress(ip_address("::1")),
]


def _failing(case: Case[Answer]) -> set[str]:
    given = case.make()
    certificate = given.issued.leaf
    each = Leaf(certificate, {e.oid: e for e in certificate.extensions}, given.request, given.now)
    return {name for name, check in LEAF_CHECKS.items() if check(each) is not None}


@pytest.fixture(scope="module")
def failing_sets() -> list[set[str]]:
    """For each leaf of the corpus that can be read: the checks that it fails."""
    return [_failing(case) for case in CORPUS.cases if case.name not in _UNREADABLE]


@pytest.mark.parametrize("check", LEAF_CHECKS)
def test_each_check_alone_stops_a_case(check: str, failing_sets: list[set[str]]) -> None:
    """Take a check away, and a leaf of the corpus would pass."""
    assert {check} in failing_sets


def test_good() -> None:
    """A leaf as asked for has no fault."""
    assert leaf_fault(leaf(), asked(), NOW) is None


def _named(names: list[x509.GeneralName]) -> str | None:
    extensions = changed(leaf_extensions(URI), (x509.SubjectAlternativeName(names), True))
    return leaf_fault(leaf(extensions=extensions), server_asked(_NAMES), NOW)


def test_server_names() -> None:
    """A server's certificate must have exactly its names."""
    assert _named(_SERVER) is None


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(_SERVER[:-1], id="one missing"),
        pytest.param([*_SERVER, x509.DNSName("c.example")], id="one more"),
        pytest.param([x509.DNSName("c.example")], id="another"),
        pytest.param([x509.UniformResourceIdentifier(URI)], id="an identity"),
    ],
)
def test_other_server_names(names: list[x509.GeneralName]) -> None:
    """No more, no less, no others."""
    assert (_named(names) or "").startswith("names: it names")


def test_expected_names() -> None:
    """One URI for a workload."""
    assert expected_names(IDENTITY) == [x509.UniformResourceIdentifier(URI)]
    assert expected_names(_NAMES) == _SERVER
