"""Defaults, pinned: changing one is a decision that users must be told of."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from signer.config.clusters import Cluster
from signer.config.model import BackendSection, Config, MatchSection, ProfileSection, RouteSection
from signer.config.section import Section
from tests.support.clock import DAY, SECOND

LOCAL = BackendSection.model_validate({"type": "local"})
CONFIG = Config(backends={"local": LOCAL})

DEFAULTS: dict[str, object] = {
    "trust_domain": "cluster.local",
    "listen.grpc": "0.0.0.0:15012",
    "listen.http": "0.0.0.0:15014",
    "clusters": [Cluster(id="Kubernetes", kubeconfig=None, context=None, tokens="review")],
    "authentication.audiences": ["istio-ca"],
    "authentication.cache": 5 * SECOND,
    "authentication.timeout": 5 * SECOND,
    "authentication.concurrency": 64,
    "remote_secrets.enabled": False,
    "remote_secrets.namespace": "istio-system",
    "remote_secrets.tokens": "review",
    "listen.mtls": None,
    "authentication.certificate_age": None,
    "authentication.outage": timedelta(minutes=5),
    "ambient.trusted_node_accounts": [],
    "remote_secrets.trusted_node_accounts": None,
    "rules": [],
    "quotas.enabled": False,
    "quotas.identity.rate": None,
    "quotas.identity.burst": None,
    "quotas.node.rate": None,
    "quotas.node.burst": None,
    "quotas.namespace.rate": None,
    "quotas.namespace.burst": None,
    "deny.file": None,
    "backends": {"local": LOCAL},
    "routes": [],
    "certificates.default_ttl": DAY,
    "certificates.max_ttl": DAY,
    "certificates.over_max": "clamp",
    "certificates.ttl_jitter": 0.0,
    "certificates.grace_ratio": 0.5,
    "trust.roots": [],
    "trust.distrust": [],
    "trust.retention": None,
    "trust.record_file": None,
    "trust.client_interval": None,
    "trust.settle": timedelta(minutes=3),
    "distribution.enabled": False,
    "distribution.config_map": "istio-ca-root-cert",
    "distribution.namespace_selector": "",
    "distribution.cluster_trust_bundle": False,
    "distribution.record": "istio-signer-trust",
    "distribution.lease": "istio-signer",
    "distribution.lease_namespace": "istio-system",
    "distribution.lease_duration": 15 * SECOND,
    "distribution.concurrency": 16,
    "serving.dns_names": ["istio-signer.istio-system.svc"],
    "serving.ip_addresses": [],
    "serving.ttl": DAY,
    "serving.backend": None,
    "serving.certificate_file": None,
    "serving.key_file": None,
    "istiod.enabled": False,
    "istiod.namespace": "istio-system",
    "istiod.secret": "istiod-tls",
    "istiod.revisions": ["default"],
    "istiod.dns_names": [],
    "istiod.ttl": DAY,
    "istiod.backend": None,
    "istiod.key_type": "P-256",
    "istiod.adopt": False,
    "limits.deadline": 8 * SECOND,
    "limits.in_flight": 512,
    "limits.waiting": 2048,
    "limits.patience": SECOND,
    "limits.max_connection_age": timedelta(minutes=30),
    "logging.format": "text",
    "logging.level": "info",
    "logging.audit": "-",
    "shutdown.delay": 2 * SECOND,
    "shutdown.grace": 10 * SECOND,
}


def _leaves(model: BaseModel, path: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def test_defaults() -> None:
    """All of them; a new key gets its line here."""
    assert dict(_leaves(CONFIG)) == DEFAULTS


def test_route_defaults() -> None:
    """A route says nothing that it was not told."""
    route = RouteSection(backends=["local"])
    assert (route.name, route.match, route.profile) == ("", MatchSection(), ProfileSection())
    assert route.profile.key_types == ["RSA", "P-256", "P-384"]
    others = {"default_ttl", "max_ttl", "over_max", "ttl_jitter"}
    assert {getattr(route.profile, name) for name in others} == {None}


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for section in model.__subclasses__():
        yield from _models(section)


@pytest.mark.parametrize("model", [*_models(Section)], ids=lambda model: model.__name__)
def test_every_knob_is_explained(model: type[BaseModel]) -> None:
    """And unknown keys are refused, of backends by their own types, and nothing changes after loading."""
    for name, field in model.model_fields.items():
        described = field.description or (isinstance(field.annotation, type) and field.annotation.__doc__)
        assert described, f"{model.__name__}.{name}"
    assert model.model_config.get("extra") == ("allow" if model is BackendSection else "forbid")
    assert model.model_config.get("frozen") is True


def test_trust_domain_as_istio_writes_it() -> None:
    """An ``@`` becomes a dot."""
    assert Config(trust_domain="a@b.c", backends={"x": LOCAL}).trust_domain == "a.b.c"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:15012", "localhost:65535", "*:1"])
def test_addresses(address: str) -> None:
    """host:port."""
    assert Config(backends={"x": LOCAL}, listen={"grpc": address}).listen.grpc == address  # type: ignore[arg-type]


@pytest.mark.parametrize("address", [":1", "a:", "a", "a:-1", "a:x", "a:65536", "a:1 ", "a:\u0661"])
def test_bad_addresses(address: str) -> None:
    """Nothing else."""
    with pytest.raises(ValidationError, match="write an address as host:port"):
        Config(backends={"x": LOCAL}, listen={"grpc": address})  # type: ignore[arg-type]
