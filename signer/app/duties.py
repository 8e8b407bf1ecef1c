"""What replicas do for the whole cluster beside signing: roots in every namespace, and a memory that they share."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from signer.app.build import distribution_plan, first_backend
from signer.config.model import Config
from signer.core.chain import fingerprint
from signer.core.ports import Backend, Clock, Leads
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.lease import Elector, LeaseSettings
from signer.kube.no_cluster import NoCluster
from signer.observe.distribution import DistributionMetrics
from signer.observe.gauges import show_istiod
from signer.observe.health import Health, Note
from signer.observe.metrics import Metrics
from signer.trust.bundle import LiveBundle
from signer.trust.distribution.cluster_bundle import ClusterBundle
from signer.trust.distribution.distributor import Distributor
from signer.trust.distribution.record import RecordPlace, SharedRecord
from signer.trust.istiod.judge import Wanted
from signer.trust.istiod.mender import plan
from signer.trust.istiod.secret import Place
from signer.trust.istiod.secret import names as istiod_names
from signer.trust.istiod.service import IstiodCertificate
from signer.trust.istiod.store import SecretStore
from signer.trust.leading import Informed, while_leading
from signer.trust.rotation.store import FileStore, follow
from signer.trust.serving_sources import FromBackend

Service = Callable[[], Coroutine[Any, Any, None]]
RECORD_PART = "trust-record"
_PUBLISHED_TICK = 1.0


def parts(config: Config) -> tuple[str, ...]:
    """The parts of readiness that the duties add."""
    return (RECORD_PART,) if config.distribution.enabled or config.trust.record_file is not None else ()


@dataclass(frozen=True, slots=True)
class Duties:
    """Services beside the signing, by name, and what must be closed at the end.

    Attributes:
        remembered: Set once what replicas remember has been read; None where there is no such memory.
    """

    services: dict[str, Service] = field(default_factory=dict)
    remembered: asyncio.Event | None = None
    close: Callable[[], Coroutine[Any, Any, None]] = field(default=lambda: asyncio.sleep(0))


@dataclass(frozen=True, slots=True)
class Ground:
    """What all duties stand on."""

    config: Config
    bundle: LiveBundle
    backends: Mapping[str, Backend]
    clock: Clock
    metrics: Metrics
    health: Health


async def build_duties(ground: Ground) -> Duties:
    """Put the duties together; nothing is sent yet. Without any, nobody connects.

    Raises:
        NoCluster: There is no way to the local cluster.
    """
    config, known = ground.config, asyncio.Event()
    services = _record_file(ground, known)
    remembered = known if parts(config) else None
    if not (config.distribution.enabled or config.istiod.enabled):
        return Duties(services, remembered)
    local = config.clusters[0]
    try:
        api = await connect(local.kubeconfig, local.context)
    except NoCluster as error:
        raise NoCluster(f"distribution or istiod: {error}") from None
    elector = Elector(api, _lease(config), ground.clock, lambda leads: ground.metrics.leader.set(leads))
    ground.health.add_notes(lambda: [_lease_note(elector)])
    services["lease"] = elector.run
    leads: Leads = elector
    if config.distribution.enabled:
        leads, distribution = _distribution(ground, api, elector, known)
        services |= distribution
    if config.istiod.enabled:
        services["istiod-certificate"] = _istiod(ground, api, leads).run

    async def close() -> None:
        await elector.close()
        await api.close()

    return Duties(services, remembered, close)


def _record_file(ground: Ground, known: asyncio.Event) -> dict[str, Service]:
    path = ground.config.trust.record_file
    return {} if path is None else {"trust-record-file": lambda: follow(FileStore(path), ground.bundle, known)}


def _lease_note(elector: Elector) -> Note:
    if elector.fault:
        return Note(False, f"lease: {elector.fault}")
    return Note(True, "lease: this replica leads" if elector.leads else f"lease: held by {elector.holder or 'nobody'}")


def _lease(config: Config) -> LeaseSettings:
    settings = config.distribution
    duration = settings.lease_duration.total_seconds()
    return LeaseSettings(
        namespace=settings.lease_namespace,
        name=settings.lease,
        identity=f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{secrets.token_hex(4)}",
        duration=duration,
        renew=duration / 3,
        retry=min(2.0, duration / 6),
    )


def _istiod(ground: Ground, api: KubeApi, leads: Leads) -> IstiodCertificate:
    settings, config = ground.config.istiod, ground.config
    names = istiod_names(settings.namespace, settings.revisions, settings.dns_names)
    wanted = Wanted(names, config.certificates.grace_ratio, settings.key_type, settings.adopt)
    backend = ground.backends[settings.backend or first_backend(config)]
    source = FromBackend(backend, ground.bundle, plan(wanted, settings.ttl), ground.clock)
    place = Place(settings.namespace, settings.secret)
    store = SecretStore(api, place)
    return IstiodCertificate(
        store,
        source,
        ground.bundle,
        wanted,
        ground.clock,
        leads,
        lambda news: show_istiod(ground.metrics, str(place), news.result, news.end, news.due),
    )


def _distribution(
    ground: Ground, api: KubeApi, elector: Leads, known: asyncio.Event
) -> tuple[Leads, dict[str, Service]]:
    config, bundle = ground.config, ground.bundle
    settings, cluster = config.distribution, config.clusters[0].id
    place = RecordPlace(settings.lease_namespace, settings.record)

    async def inform() -> bool:
        if not await record.read():
            return False
        await bundle.refresh()
        return True

    leads = Informed(elector, inform)
    record = SharedRecord(api, place, bundle, leads, ground.clock, known)
    distributor = Distributor(
        api,
        distribution_plan(config),
        lambda name: bundle.extended(bundle.current(), cluster, name),
        leads,
        DistributionMetrics(ground.metrics),
    )
    bundle.on_change(distributor.bundle_changed)
    ground.health.add_notes(lambda: _distribution_notes(leads, distributor, record))
    services: dict[str, Service] = {
        "leadership": leads.run,
        "trust-record": record.run,
        "distribution": lambda: while_leading(leads, lambda: _distribute(bundle, distributor, record)),
    }
    if settings.cluster_trust_bundle:
        cluster_bundle = ClusterBundle(api, bundle.current, leads)
        bundle.on_change(cluster_bundle.bundle_changed)
        services["cluster-trust-bundle"] = lambda: while_leading(leads, cluster_bundle.run)
    return leads, services


def _distribution_notes(leads: Leads, distributor: Distributor, record: SharedRecord) -> list[Note]:
    notes = [Note(not record.fault, f"trust record: {record.fault or 'in step'}")]
    # Those who do not lead have not looked.
    return [*notes, Note(distributor.complete, f"distribution: {distributor.progress}")] if leads.leads else notes


async def _distribute(bundle: LiveBundle, distributor: Distributor, record: SharedRecord) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(distributor.run())
        group.create_task(_publish(bundle, distributor, record))


async def _publish(bundle: LiveBundle, distributor: Distributor, record: SharedRecord) -> None:
    try:
        while True:
            if distributor.complete:
                record.published(frozenset(map(fingerprint, bundle.current().roots)))
            await asyncio.sleep(_PUBLISHED_TICK)
    finally:
        # Whoever leads again must look before it says anything about the world.
        record.published(None)
