"""A root rotation, put together from the configuration: where its state is, the CA's hands, what it waits for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from cryptography import x509

import backends as registry
from signer.app.build import backend_context, distribution_plan, first_backend, longest_ttl, trust_policy
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.events import NoMeter
from signer.core.parsing import parse_certificates
from signer.core.ports import Clock
from signer.core.rotation import Rotation
from signer.core.rotator import RootRotator, RotationRefused
from signer.core.spec import RotateOptions
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.trust.distribution.record import RecordPlace
from signer.trust.rotation.gates import AllGates, Gate, NamespaceGate, PolicyGate, ServingGate, TimeGate, Waits
from signer.trust.rotation.steps import Steps
from signer.trust.rotation.store import ConfigMapStore, FileStore, Store
from signer.trust.rotation.world import lacking


@asynccontextmanager
async def rotating(
    loaded: Loaded, clock: Clock, options: RotateOptions, backend: str = ""
) -> AsyncIterator[tuple[Steps, str]]:
    """Open what the steps need; give them, and the name of the backend that they are about.

    Args:
        loaded: The configuration.
        clock: Time.
        options: What the operator says of the issuer that comes.
        backend: Whose root; empty for that of the rotation under way, or of the first backend.

    Raises:
        RotationRefused: It cannot be done with this configuration.
        NoCluster: There is no way to the cluster.
        StoreUnusable: The state cannot be read.
    """
    config = loaded.config
    async with AsyncExitStack() as opened:
        api = await _api(config, opened)
        store = _store(config, api)
        under_way = _under_way((await store.read()).rotation)
        name = backend or (under_way.backend if under_way else first_backend(config))
        if under_way is not None:
            _check_same(under_way, name)
            handle = under_way.handle
            options = replace(options, issuer=options.issuer or handle, secret=options.secret or handle)
        rotator = _rotator(loaded, name, clock, options)
        opened.push_async_callback(rotator.close)
        yield Steps(store, rotator, _gate(loaded, name, api), clock), name


def _under_way(rotation: Rotation | None) -> Rotation | None:
    return None if rotation is None or rotation.over else rotation


def _check_same(under_way: Rotation, name: str) -> None:
    """Another backend's hands find nothing to do, and the record would say that all is done."""
    if name != under_way.backend:
        raise RotationRefused(
            f"rotation {under_way.id}, which is under way, is of backend {under_way.backend}: leave --backend out, or"
            " end it first"
        )


async def _api(config: Config, opened: AsyncExitStack) -> KubeApi | None:
    if not config.distribution.enabled:
        return None
    api = await connect(config.clusters[0].kubeconfig, config.clusters[0].context)
    opened.push_async_callback(api.close)
    return api


def _store(config: Config, api: KubeApi | None) -> Store:
    if api is not None:
        return ConfigMapStore(api, RecordPlace(config.distribution.lease_namespace, config.distribution.record))
    if config.trust.record_file is not None:
        return FileStore(config.trust.record_file)
    raise RotationRefused(
        "the rotation's state has no place: set distribution.enabled, or trust.record_file where there is no cluster"
    )


def _rotator(loaded: Loaded, name: str, clock: Clock, options: RotateOptions) -> RootRotator:
    if name not in loaded.backends:
        raise RotationRefused(f"there is no backend {name!r}; there are {', '.join(loaded.backends)}")
    type_name, settings = loaded.backends[name]
    new = registry.spec(type_name).rotator
    if new is None:
        raise RotationRefused(
            f"backends of type {type_name} cannot be rotated from here: add the new root to its roots_file, wait, have"
            " the signer change its CA, wait, take the old root away (docs/trust.md)"
        )
    return new(settings, backend_context(loaded.config, name, clock, NoMeter()), options)


def _gate(loaded: Loaded, name: str, api: KubeApi | None) -> Gate:
    config = loaded.config
    longest = longest_ttl(config)
    waits = Waits(
        config.trust.client_interval or longest,
        config.trust.settle,
        max(longest, _own_life(config)) + _intermediate_life(loaded, name),
        distributed=api is not None,
    )
    policy = trust_policy(config)
    gates: list[Gate] = [PolicyGate(name, policy.pins.get(name), policy.distrust), TimeGate(waits)]
    if config.serving.certificate_file is not None:
        gates.insert(0, ServingGate(partial(_served, config.serving.certificate_file)))
    if api is not None:
        gates.insert(0, NamespaceGate(partial(lacking, api, distribution_plan(config))))
    return AllGates(tuple(gates))


async def _served(path: Path) -> list[x509.Certificate]:
    try:
        return parse_certificates(await asyncio.to_thread(path.read_bytes))
    except (OSError, ValueError) as error:
        raise RotationRefused(f"serving.certificate_file {path}: cannot be read ({type(error).__name__})") from None


def _own_life(config: Config) -> timedelta:
    """Of the signer's own certificate and of istiod's: clients must not meet one whose root they no longer have."""
    own = timedelta(0) if config.serving.certificate_file is not None else config.serving.ttl
    return max(own, config.istiod.ttl if config.istiod.enabled else timedelta(0))


def _intermediate_life(loaded: Loaded, name: str) -> timedelta:
    """An intermediate under the old root may have been minted right before the switch."""
    settings = loaded.backends[name][1]
    life: timedelta = settings.intermediate.ttl if getattr(settings, "mode", "") == "intermediate" else timedelta(0)
    return life
