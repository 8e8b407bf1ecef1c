"""The keys that say which clusters' tokens are accepted, and how they are judged."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from signer.config.callers import NodeAccounts
from signer.config.fields import KubeLabel, TrustDomainName
from signer.config.section import Section
from signer.core.jwks_uri import check_jwks_uri


class Issuer(Section):
    """Who signs service-account tokens, where that is not the API server's own word."""

    issuer: Annotated[str, Field(min_length=1)]
    """The tokens' ``iss``, exactly."""
    jwks_uri: Annotated[str, AfterValidator(check_jwks_uri)] | None = None
    """The https URL of its keys; none means that the API server shows them."""
    ca_file: Path | None = None
    """PEM, whom to trust at ``jwks_uri`` in place of the system's CAs."""

    @model_validator(mode="after")
    def _ca_of_a_url(self) -> "Issuer":
        if self.ca_file is not None and self.jwks_uri is None:
            raise ValueError("ca_file is for jwks_uri: give that too")
        return self


class Cluster(Section):
    """An API server whose tokens are accepted; the first one is the local cluster."""

    id: str = Field(default="Kubernetes", min_length=1)
    """What proxies send as ``clusterid``; an empty one means the local cluster."""
    kubeconfig: Path | None = None
    """A kubeconfig file; none means the pod's own service account."""
    context: str | None = None
    """A context of that file; none means its current one."""
    tokens: Literal["review", "offline"] = "review"
    """``review`` asks the API server about each token (TokenReview), ``offline`` judges it by the issuer's keys and by
    a watch of pods and service accounts."""
    issuers: Annotated[list[Issuer], Field(max_length=16)] = []
    """For ``tokens: offline``, the accepted issuers; none given means the API server's own, which it is asked for."""
    aliases: list[Annotated[str, Field(min_length=1)]] = []
    """More values of ``clusterid`` that mean this cluster."""
    trust_domain: TrustDomainName | None = None
    """Of this cluster's callers; none means the mesh's."""
    audiences: list[Annotated[str, Field(min_length=1)]] = []
    """Its tokens must be for one of these; none given means ``authentication.audiences``."""
    trusted_node_accounts: NodeAccounts | None = None
    """Who acts for the workloads of a node here, in place of ``ambient.trusted_node_accounts``; an empty list trusts
    nobody."""

    @model_validator(mode="after")
    def _consistent(self) -> "Cluster":
        if self.context is not None and self.kubeconfig is None:
            raise ValueError("context is one of kubeconfig: give that too")
        if self.issuers and self.tokens != "offline":
            raise ValueError("issuers are for tokens: offline")
        twice = [name for name, count in Counter(i.issuer for i in self.issuers).items() if count > 1]
        if twice:
            raise ValueError(f"two issuers are the same: {', '.join(f'{name[:100]!a}' for name in twice)}")
        return self


class RemoteSecrets(Section):
    """More clusters, from Istio's remote secrets in the local one; their callers get the mesh's trust domain."""

    enabled: bool = False
    """Follow the Secrets labelled ``istio/multiCluster=true``: each key is a cluster's id, its value a kubeconfig."""
    namespace: KubeLabel = "istio-system"
    """Where they are."""
    tokens: Literal["review", "offline"] = "review"
    """How their tokens are judged, as ``clusters[].tokens``."""
    trusted_node_accounts: NodeAccounts | None = None
    """Who acts for the workloads of a node there, as ``clusters[].trusted_node_accounts``."""

    @model_validator(mode="after")
    def _said_whether(self) -> "RemoteSecrets":
        return self.switched()
