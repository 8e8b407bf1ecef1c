"""OpenSSL's verdict: what it accepts, what it refuses, and that the refusal says why."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.mesh.pki import Authority
from tests.mesh.x509_strict import Purpose, verify_strict

pytestmark = pytest.mark.timeout(60)

SPIFFE_ID = "spiffe://cluster.local/ns/shop/sa/front"


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.root("Mesh root")


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_sound_chain_passes(root: Authority, purpose: Purpose, depth: int) -> None:
    issuer = root
    for level in range(depth):
        issuer = issuer.intermediate(f"Mesh issuer {level}")
    verify_strict(issuer.workload(SPIFFE_ID).chain, purpose)


def test_all_roots_of_the_last_element_count(root: Authority) -> None:
    *chain, own = root.intermediate("Mesh issuer").workload(SPIFFE_ID).chain
    verify_strict([*chain, Authority.root("Other root").chain()[0] + own], "sslserver")


def test_the_time_may_be_given(root: Authority) -> None:
    chain = root.workload(SPIFFE_ID, lifetime=timedelta(hours=1)).chain
    with pytest.raises(AssertionError, match="certificate has expired"):
        verify_strict(chain, "sslclient", at=datetime.now(UTC) + timedelta(hours=2))


def test_another_root_is_refused(root: Authority) -> None:
    chain = [*root.workload(SPIFFE_ID).chain[:-1], *Authority.root("Mesh root").chain()]
    with pytest.raises(AssertionError, match=r"unable to get local issuer certificate|signature failure"):
        verify_strict(chain, "sslserver")


def test_a_missing_intermediate_is_refused(root: Authority) -> None:
    leaf, _, last = root.intermediate("Mesh issuer").workload(SPIFFE_ID).chain
    with pytest.raises(AssertionError, match="unable to get local issuer certificate"):
        verify_strict([leaf, last], "sslserver")


def test_strictness_is_on(root: Authority) -> None:
    """RFC 5280 wants a name in the SAN; without -x509_strict OpenSSL lets an empty one pass."""
    with pytest.raises(AssertionError, match="Empty Subject Alternative Name"):
        verify_strict(root.leaf([]).chain, "sslserver")


def test_a_lone_leaf_is_refused(root: Authority) -> None:
    with pytest.raises(AssertionError, match="no leaf, or no root"):
        verify_strict(root.leaf([x509.DNSName("localhost")]).chain[:1], "sslserver")


def test_without_openssl_the_skip_is_loud(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"NOT TESTED.*openssl"):
        verify_strict(root.workload(SPIFFE_ID).chain, "sslserver")
