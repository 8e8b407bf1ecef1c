"""The keys that say whom the mesh trusts, and how it learns of it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from signer.config.fields import DnsName, Duration, Fingerprint, KubeLabel, KubeName, PositiveDuration, Revision
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
    record_file: Path | None = None
    """Where ``rotate-root`` keeps its state for a signer without ``distribution``; the signer follows it."""
    client_interval: PositiveDuration | None = None
    """The longest time between two answers to one client, for root rotations; none means the longest lifetime."""
    settle: Duration = timedelta(minutes=3)
    """Until all replicas have noticed a change, for root rotations: mounted files take minutes."""


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

    @field_validator("lease_duration")
    @classmethod
    def _long_enough(cls, duration: timedelta) -> timedelta:
        # A Lease counts whole seconds.
        if duration < timedelta(seconds=1):
            raise ValueError("must be 1s or more")
        return duration


class Istiod(Section):
    """istiod's own certificate, for meshes where istiod's CA is off: one Secret, kept current by the leader."""

    enabled: bool = False
    """Whether the signer makes it. Off, nothing is read or written."""
    namespace: KubeLabel = "istio-system"
    """Where istiod runs."""
    secret: KubeName = "istiod-tls"  # noqa: S105  the name of a Secret, not one
    """The name that istiod's Deployment mounts."""
    revisions: list[Revision] = ["default"]
    """Istio revisions: ``default`` names ``istiod.NAMESPACE.svc``, any other R ``istiod-R.NAMESPACE.svc``."""
    dns_names: list[DnsName] = []
    """More names, such as that of a gateway in front of istiod."""
    ttl: PositiveDuration = timedelta(hours=24)
    """The lifetime to ask the backend for; renewed by ``certificates.grace_ratio``."""
    backend: str | None = None
    """Which backend signs it; none means the first one of the first route."""
    key_type: Literal["P-256", "RSA-2048"] = "P-256"
    """Of the private key, which is made anew at each renewal."""
    adopt: bool = False
    """Whether a Secret of that name that somebody else made is taken over. Else it is left alone, and an error."""

    @model_validator(mode="after")
    def _named(self) -> "Istiod":
        if not (self.revisions or self.dns_names):
            raise ValueError("name istiod: revisions or dns_names")
        return self
