"""SPIFFE identities: one spelling is accepted, no other."""

import pytest

from signer.core.identity import (
    InvalidIdentity,
    SpiffeId,
    TrustDomain,
    check_namespace,
    check_service_account,
)
from tests.corpus.csr_names import ODD_URIS

URI = "spiffe://cluster.local/ns/payments/sa/api"
_BAD_LABELS = ["", "-a", "a-", "A", "a b", "a\n", "a/b", "\u0430pi", "a_b", "."]


def test_parse() -> None:
    """Each part ends up in its place."""
    parsed = SpiffeId.parse(URI)
    assert parsed == SpiffeId(TrustDomain("cluster.local"), "payments", "api")
    assert str(parsed) == URI


@pytest.mark.parametrize("uri", ODD_URIS.values(), ids=ODD_URIS.keys())
def test_odd_uris(uri: str) -> None:
    """Nothing is folded, trimmed, decoded or cut; the message quotes a bounded part, safely."""
    with pytest.raises(InvalidIdentity) as refusal:
        SpiffeId.parse(uri)
    message = str(refusal.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("name", ["a", "a" * 63, "0", "a-b", "kube-system"])
def test_namespace(name: str) -> None:
    """RFC 1123 labels pass."""
    assert check_namespace(name) == name


@pytest.mark.parametrize("name", [*_BAD_LABELS, "a" * 64, "a.b"])
def test_bad_namespace(name: str) -> None:
    """Everything else does not."""
    with pytest.raises(InvalidIdentity, match="not a valid namespace"):
        check_namespace(name)


@pytest.mark.parametrize("name", ["a", "a.b", "a-b.c", ".".join(["a" * 63] * 3) + ".a" * 30])
def test_service_account(name: str) -> None:
    """RFC 1123 subdomains pass."""
    assert check_service_account(name) == name


@pytest.mark.parametrize("name", [*_BAD_LABELS, "a..b", ".a", "a.", "a" * 64, "a." * 127])
def test_bad_service_account(name: str) -> None:
    """Everything else does not."""
    with pytest.raises(InvalidIdentity, match="not a valid service account"):
        check_service_account(name)


@pytest.mark.parametrize("name", ["cluster.local", "a", "td_1-x.example", "a" * 255])
def test_trust_domain(name: str) -> None:
    """Lower-case letters, digits, dots, dashes and underscores."""
    assert str(TrustDomain(name)) == name


@pytest.mark.parametrize("name", ["", "A", "a/b", "a:1", "a@b", "a\n", "spiffe://a", "a b", "\u0430", "a" * 256])
def test_bad_trust_domain(name: str) -> None:
    """Nothing else."""
    with pytest.raises(InvalidIdentity, match="not a valid trust domain"):
        TrustDomain(name)


def test_configured_trust_domain() -> None:
    """The operator's ``@`` is written as Istio writes it."""
    assert TrustDomain.configured("me@example.com").name == "me.example.com"


def test_constructor_is_as_strict() -> None:
    """No way around the parser: the parts are checked too."""
    with pytest.raises(InvalidIdentity):
        SpiffeId(TrustDomain("cluster.local"), "payments", "api/../admin")


def test_compares_exactly() -> None:
    """Identities are equal when every part is."""
    assert SpiffeId.parse(URI) == SpiffeId.parse(URI)
    assert SpiffeId.parse(URI) != SpiffeId.parse(URI + "s")
    assert hash(SpiffeId.parse(URI)) == hash(SpiffeId.parse(URI))
