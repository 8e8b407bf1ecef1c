"""The keys that say whom the mesh trusts, and how it learns of it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from signer.config.fields import Duration, Fingerprint, KubeName, PositiveDuration
from signer.config.section import Section


class ExtraRootsSection(Section):
    """Roots to trust beside those of the backends; without conditions in everybody's answers."""

    file: Path
    """PEM. Re-read when it changes; certificates that can be no root are left out and said."""
    clusters: list[str] = []
    """Only for callers of these clusters (globs); none given means all."""
    namespaces: list[str] = []
    """Only for identities of these namespaces (globs); none given means all."""


class Trust(Section):
    """Which roots the mesh trusts, beside those that the backends show."""

    roots: list[ExtraRootsSection] = []
    """Roots of federated meshes, or of tomorrow."""
    distrust: list[Fingerprint] = []
    """SHA-256 of roots that nobody is to trust, whoever vouches for them. At once, so that their leaves are dead."""
    retention: Duration | None = None
    """How long a root that a signer has shown of itself stays after it was shown last; none means the longest lifetime
    of a certificate. A root that is taken out of a file goes at once."""


class Distribution(Section):
    """Roots in every namespace, where proxies look for them; one replica at a time does it."""

    enabled: bool = False
    """Needed where istiod's own CA is off, since nobody else does it then: without it no pod starts."""
    config_map: KubeName = "istio-ca-root-cert"
    """The ConfigMap that proxies mount."""
    namespace_selector: str = ""
    """Labels of the namespaces that get it, as for kubectl -l; empty means all of them."""
    cluster_trust_bundle: bool = False
    """Write ClusterTrustBundle ``istio.io:istiod-ca:root-cert`` too, where the API server has the kind."""
    record: KubeName = "istio-signer-trust"
    """The ConfigMap, beside the lease, in which replicas remember roots."""
    lease: KubeName = "istio-signer"
    """The Lease by which replicas agree on who writes."""
    lease_namespace: KubeName = "istio-system"
    """Where both are."""
    lease_duration: PositiveDuration = timedelta(seconds=15)
    """How long the others wait for a writer that has gone silent."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 16
    """Writes at once, so that other users of the API server get their turn."""
