"""Every key of the configuration, with its unit, its default and why it is there. Unknown keys are refused."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from signer.config.callers import Ambient, QuotasSection, RuleSections
from signer.config.clusters import Cluster, RemoteSecrets
from signer.config.fields import (
    Address,
    CacheDuration,
    DnsName,
    Duration,
    Fingerprint,
    IpAddresses,
    PositiveDuration,
    Ratio,
    TrustDomainName,
)
from signer.config.section import Section
from signer.config.trust import Distribution, Istiod, Trust


class Listen(Section):
    """Where the server listens."""

    grpc: Address = "0.0.0.0:15012"
    """For proxies, TLS."""
    mtls: Address | None = None
    """For callers that show a client certificate of the mesh, TLS: renewals and machines; none means that there are
    none. A port of its own, since gRPC cannot ask for a certificate without demanding it."""
    http: Address = "0.0.0.0:15014"
    """For probes and metrics, plain HTTP."""

    @model_validator(mode="after")
    def _told_apart(self) -> "Listen":
        """Port 0 is another one each time."""
        given = [a for a in (self.grpc, self.mtls, self.http) if a is not None and int(a.rpartition(":")[2])]
        twice = [address for address, count in Counter(given).items() if count > 1]
        if twice:
            raise ValueError(f"two listeners have the same address: {', '.join(twice)}")
        return self


class Authentication(Section):
    """How callers are proven."""

    audiences: Annotated[list[str], Field(min_length=1)] = ["istio-ca"]
    """Tokens must be for one of these; ``istio-ca`` is what Istio projects."""
    cache: CacheDuration = timedelta(seconds=5)
    """How long a good TokenReview is remembered, at most 10 s: a deleted pod's token lives as much longer."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """For one TokenReview, its retries included, as for the first one at a cluster of a remote secret; with ``tokens:
    offline`` for one fetch of an issuer or of its keys; for reading one pod, where routes have ``pod_labels``."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 64
    """TokenReviews at once, for each cluster; twice as many tokens may wait for one, 2 s at most."""
    certificate_age: PositiveDuration | None = None
    """On ``listen.mtls``: how long after its last proof by a token an identity may renew by its certificate, where this
    replica knows of one; none means for as long as its certificates are good."""
    outage: Duration = timedelta(minutes=5)
    """How long pods and service accounts that are known are believed while their API server cannot be watched. Then
    those who act for others are told to come back, and with ``tokens: offline`` whoever has the token of a pod."""


class Deny(Section):
    """Who gets no more certificates, whatever else is right with the request."""

    file: Path | None = None
    """The deny list, YAML or JSON, re-read when it changes; a start without it is refused. None denies nobody."""


class MatchSection(Section):
    """Conditions of a route; all that are given must hold. Globs: ``*``, ``?``, ``[...]``."""

    namespaces: list[str] = []
    """Namespaces of the granted identity; none given means all."""
    service_accounts: list[str] = []
    """Service accounts of the granted identity; none given means all."""
    clusters: list[str] = []
    """Ids of the callers' clusters; none given means all."""
    trust_domains: list[str] = []
    """Trust domains of the granted identity; none given means all."""
    cert_signers: list[str] = []
    """Exact names that callers may ask for (``ISTIO_META_CERT_SIGNER``). Who names another finds no route here."""
    pod_labels: dict[str, str] = {}
    """Label -> glob for its value: labels of the caller's own pod. Never holds for who acts for another (ztunnel). A
    client certificate does not tell them: one of a pod is refused where they would decide, unless a token is beside."""


class ProfileSection(Section):
    """What a route changes of ``certificates``."""

    default_ttl: PositiveDuration | None = None
    """Instead of ``certificates.default_ttl``."""
    max_ttl: PositiveDuration | None = None
    """Instead of ``certificates.max_ttl``; a longer default is shortened to it."""
    over_max: Literal["clamp", "reject"] | None = None
    """Instead of ``certificates.over_max``."""
    ttl_jitter: Ratio | None = None
    """Instead of ``certificates.ttl_jitter``."""
    key_types: Annotated[list[Literal["RSA", "P-256", "P-384"]], Field(min_length=1)] = ["RSA", "P-256", "P-384"]
    """Key types that may be certified. Envoy before 1.33 loads no P-384 certificate."""


class Guard(Section):
    """What stands between the server and one backend."""

    concurrency: Annotated[int, Field(ge=1)] = 64
    """Requests that the backend works on at once."""
    waiting: Annotated[int, Field(ge=0)] = 256
    """Requests that may wait, half a second at most, for one of those places."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Requests a second, on average; none means no limit."""
    burst: Annotated[int, Field(ge=1)] | None = None
    """Requests at once after a pause, with ``rate``; none means one second's worth."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Tries of one request while the backend is unavailable; with a next backend in the route, two at most."""
    timeout: PositiveDuration | None = None
    """For one try; none means what the deadline leaves, half of it while another backend follows."""
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row (unavailable, too slow, a bug) after which the backend is left alone. Refusals are none."""
    breaker_open: PositiveDuration = timedelta(seconds=10)
    """For so long, up to a fifth more by chance; then one request tries it."""

    @model_validator(mode="after")
    def _burst_needs_rate(self) -> "Guard":
        if self.burst is not None and self.rate is None:
            raise ValueError("burst is for a rate: give rate too")
        return self


class BackendSection(Section):
    """What every backend may have; the rest of its keys are its type's own, and are checked by that."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    guard: Guard = Guard()
    pins: list[Fingerprint] = []
    """SHA-256 of the only roots that it may show; none given means any. For CAs that are believed on first use."""


class RouteSection(Section):
    """Who is signed by which backend; the first match decides."""

    name: str = ""
    """For logs and ``explain``, no two alike; its position where empty."""
    match: MatchSection = MatchSection()
    backends: Annotated[list[str], Field(min_length=1)]
    """In order of preference; the next one is asked only where the last did not answer. A refusal is an answer."""
    profile: ProfileSection = ProfileSection()


class Certificates(Section):
    """Lifetimes of workload certificates."""

    default_ttl: PositiveDuration = timedelta(hours=24)
    """Where the caller asks for nothing."""
    max_ttl: PositiveDuration = timedelta(hours=24)
    """The longest lifetime."""
    over_max: Literal["clamp", "reject"] = "clamp"
    """What a longer wish gets."""
    ttl_jitter: Ratio = 0.0
    """The largest part of a lifetime that chance may take off it, so that renewals spread."""
    grace_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """The part of the lifetime left at which the signer renews certificates of its own."""

    @model_validator(mode="after")
    def _ordered(self) -> "Certificates":
        if self.default_ttl > self.max_ttl:
            raise ValueError("default_ttl is longer than max_ttl")
        return self


class Serving(Section):
    """The server's own certificate: from a backend, or from files."""

    dns_names: list[DnsName] = ["istio-signer.istio-system.svc"]
    """The host part of ``caAddress`` must be among them."""
    ip_addresses: IpAddresses = []
    """For proxies whose ``CA_ADDR`` is an address."""
    ttl: PositiveDuration = timedelta(hours=24)
    """The lifetime to ask the backend for."""
    backend: str | None = None
    """Which backend signs it; none means the first one of the first route."""
    certificate_file: Path | None = None
    """PEM, leaf first; instead of a backend. Re-read when it changes."""
    key_file: Path | None = None
    """PEM, not encrypted; belongs to ``certificate_file``."""

    @model_validator(mode="after")
    def _one_source(self) -> "Serving":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.certificate_file is not None and self.backend is not None:
            raise ValueError("give either backend, or certificate_file and key_file")
        if self.certificate_file is None and not (self.dns_names or self.ip_addresses):
            raise ValueError("name the server: dns_names or ip_addresses")
        return self


class Limits(Section):
    """Bounds on what callers can make the server do."""

    deadline: PositiveDuration = timedelta(seconds=8)
    """For each request, since no Istio client sets one."""
    in_flight: Annotated[int, Field(ge=1)] = 512
    """Requests at once."""
    waiting: Annotated[int, Field(ge=0)] = 2048
    """Requests that may wait for a place."""
    patience: PositiveDuration = timedelta(seconds=1)
    """How long one waits before it is told to come back."""
    max_connection_age: PositiveDuration = timedelta(minutes=30)
    """After which a connection is told to go elsewhere, give or take 10 %."""


class Logging(Section):
    """The log, to standard error, and the audit."""

    format: Literal["text", "json"] = "text"
    """``text`` for people, ``json`` for programs; one event a line either way."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe event that is logged. ``CSR signed`` and most refusals are ``info``."""
    audit: str = "-"
    """A file for one JSON line a decision; ``-`` is standard output."""


class Shutdown(Section):
    """How the server ends."""

    delay: Duration = timedelta(seconds=2)
    """Between being unready and refusing connections, so that load balancers notice."""
    grace: PositiveDuration = timedelta(seconds=10)
    """For requests in flight."""


class Config(Section):
    """The whole configuration."""

    trust_domain: TrustDomainName = "cluster.local"
    """Must be MeshConfig.trustDomain."""
    listen: Listen = Listen()
    clusters: Annotated[list[Cluster], Field(min_length=1)] = [Cluster()]
    """The API servers whose tokens are accepted; the first one is the local cluster."""
    remote_secrets: RemoteSecrets = RemoteSecrets()
    authentication: Authentication = Authentication()
    ambient: Ambient = Ambient()
    rules: RuleSections = []
    """Which callers are served; the first match decides. None means all that are proven."""
    quotas: QuotasSection = QuotasSection()
    deny: Deny = Deny()
    backends: Annotated[dict[str, BackendSection], Field(min_length=1)]
    """Name -> its settings; ``type`` says which kind."""
    routes: list[RouteSection] = []
    """None means: the only backend signs for everybody."""
    certificates: Certificates = Certificates()
    trust: Trust = Trust()
    distribution: Distribution = Distribution()
    serving: Serving = Serving()
    istiod: Istiod = Istiod()
    limits: Limits = Limits()
    logging: Logging = Logging()
    shutdown: Shutdown = Shutdown()

    @field_validator("routes")
    @classmethod
    def _told_apart(cls, routes: list[RouteSection]) -> list[RouteSection]:
        """Logs, the audit and ``explain`` know a route by its name alone."""
        names = Counter(route.name or str(i) for i, route in enumerate(routes))
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"two routes have the same name: {', '.join(twice)}")
        return routes

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if not self.routes and len(self.backends) > 1:
            raise ValueError("with several backends, routes must say which one signs for whom")
        if self.distribution.enabled and self.trust.record_file is not None:
            raise ValueError(
                "trust.record_file is for signers without distribution: with it the record is in the ConfigMap"
                " distribution.record"
            )
        return self
