"""Where a certificate was issued counts when it comes back."""

from dataclasses import replace

from signer.authn.origins import Origin, Origins
from signer.core.types import Caller, Grant
from tests.support.fakes import CALLER, GRANT, IDENTITY


def test_the_cluster_and_the_pod() -> None:
    """Of the caller that a token proved; and of a renewal, those of the first one."""
    origins = Origins()
    origins.issued(GRANT, 1)
    assert origins.of(1) == Origin("Kubernetes", "uid-0")
    renewing = Caller(IDENTITY, "client-certificate", "Kubernetes", serial=1, issued_to="uid-0")
    origins.issued(Grant(IDENTITY, renewing), 2)
    assert origins.of(2) == Origin("Kubernetes", "uid-0")
    assert origins.of(3) is None


def test_a_proxys_pod_is_not_its_workloads() -> None:
    """Whom it acts for is another."""
    origins = Origins()
    origins.issued(replace(GRANT, impersonated=True), 1)
    assert origins.of(1) == Origin("Kubernetes", "")


def test_what_is_not_known_stays_so() -> None:
    """Of a renewal without a cluster nothing is kept; of one in the only cluster, that and no pod."""
    origins = Origins()
    renewing = Caller(IDENTITY, "client-certificate", "", serial=1, issued_to=None)
    origins.issued(Grant(IDENTITY, renewing), 2)
    assert origins.of(2) is None
    origins.issued(Grant(IDENTITY, replace(renewing, cluster="Kubernetes")), 2)
    assert origins.of(2) == Origin("Kubernetes", None)


def test_the_oldest_go_first() -> None:
    """One that is issued again counts as new."""
    origins = Origins(size=2)
    for serial in (1, 2, 1, 3):
        origins.issued(Grant(IDENTITY, CALLER), serial)
    assert [serial for serial in (1, 2, 3) if origins.of(serial)] == [1, 3]
