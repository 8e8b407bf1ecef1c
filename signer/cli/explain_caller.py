"""``explain``'s question: who calls, and whose identity may it have? Proven as the server proves it, or assumed."""

import argparse
import asyncio
import dataclasses
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from signer.app.build import build_backends, build_bundle, build_deny
from signer.app.callers import Callers, aliases_of, build_authenticator, build_callers
from signer.app.one_cluster import domain_of
from signer.authn.clusters import ByCluster
from signer.authn.origins import Origins
from signer.authz.ambient import ForOthers
from signer.authz.deny_file import DenyFileUnusable
from signer.cli.common import USAGE, Failure, read_text
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, IdentityRejected
from signer.core.events import NoMeter
from signer.core.identity import InvalidIdentity, SpiffeId
from signer.core.parsing import parse_certificates
from signer.core.types import Caller, Credentials, Grant, PodRef, Secret
from signer.issue.denials import refuse
from signer.observe.health import Health
from signer.runtime.clock import SystemClock
from signer.trust.bundle import LiveBundle

ASSUMED = "assumed"
_SYNC_SECONDS = 20.0
_ROOTS_SECONDS = 10.0


async def granted(loaded: Loaded, args: argparse.Namespace) -> Grant:
    """Prove or assume the caller, and grant what it asks for.

    Raises:
        Failure: The options do not fit together, or a file cannot be used.
        SignerError: It would be refused.
    """
    if args.identity:
        grant = await _assumed_grant(loaded.config, args)
    elif args.pod_label:
        raise Failure("--pod-label goes with --identity; a token's pod has its own labels, and they are read", USAGE)
    else:
        grant = await _proven_grant(loaded, args)
    await _not_denied(loaded.config, grant)
    return grant


async def _not_denied(config: Config, grant: Grant) -> None:
    """Of the deny list what can be told without a CSR."""
    try:
        deny = await build_deny(config, SystemClock())
    except DenyFileUnusable as error:
        raise Failure(f"deny.file: {error}", USAGE) from None
    if deny is not None:
        refuse(deny.caller_fault(grant.caller))
        refuse(deny.caller_fault(dataclasses.replace(grant.caller, identity=grant.identity)))


async def _proven_grant(loaded: Loaded, args: argparse.Namespace) -> Grant:
    credentials = _credentials(loaded.config, args)
    needed = any(route.match.pod_labels for route in loaded.config.routes)
    callers = await build_callers(loaded.config, SystemClock(), lambda _: None, None, lambda: needed)
    following = [asyncio.create_task(follow()) for follow in callers.services.values()]
    try:
        return await _proven(loaded, callers, credentials, args.impersonate)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for close in callers.closers:
            await close()


def _credentials(config: Config, args: argparse.Namespace) -> Credentials:
    if args.token_file is not None:
        return Credentials(Secret(read_text(args.token_file, "--token-file")), args.cluster_id)
    if config.listen.mtls is None:
        raise Failure("--certificate-file: client certificates are judged on listen.mtls, which is not set", USAGE)
    return Credentials(None, args.cluster_id, _chain(args.certificate_file))


def _chain(path: Path) -> tuple[bytes, ...]:
    try:
        shown = parse_certificates(read_text(path, "--certificate-file").encode())
    except ValueError as error:
        raise Failure(f"--certificate-file {path}: {error}", USAGE) from None
    return tuple(certificate.public_bytes(Encoding.PEM) for certificate in shown)


async def _proven(loaded: Loaded, callers: Callers, credentials: Credentials, impersonated: str) -> Grant:
    clock = SystemClock()
    if credentials.chain:
        bundle = await _roots(loaded)
        caller = await build_authenticator(loaded.config, callers, bundle, clock, Origins()).authenticate(credentials)
    else:
        await _synced(callers)
        caller = await callers.authenticator.authenticate(credentials)
    return await ForOthers(callers.proxies, clock).authorize(caller, impersonated)


async def _synced(callers: Callers) -> None:
    try:
        async with asyncio.timeout(_SYNC_SECONDS):
            await asyncio.gather(*(known.wait() for known in callers.synced))
    except TimeoutError:
        raise AuthenticationUnavailable("; ".join(note.text for note in callers.notes())) from None


async def _roots(loaded: Loaded) -> LiveBundle:
    """What the backends say of their roots; nothing is signed."""
    clock = SystemClock()
    backends = build_backends(loaded, clock, lambda _: NoMeter())
    bundle = build_bundle(loaded.config, backends, Health(()), clock)
    try:
        async with asyncio.timeout(_ROOTS_SECONDS):
            await asyncio.gather(*(backend.start() for backend in backends.values()))
            await bundle.refresh()
    except TimeoutError:
        raise AuthenticationUnavailable(f"the backends' roots were not known within {_ROOTS_SECONDS:g} s") from None
    finally:
        for backend in backends.values():
            await backend.close()
    return bundle


async def _assumed_grant(config: Config, args: argparse.Namespace) -> Grant:
    if args.impersonate:
        raise Failure("--impersonate goes with --token-file: the pod that a token names decides about it", USAGE)
    labels = _labels(args.pod_label)
    caller = await _assumed(config, _identity(args.identity), args.cluster_id, labels)
    return Grant(caller.identity, caller)


class _Assume:
    """Takes an identity for proven, in place of a cluster's API server."""

    def __init__(self, identity: SpiffeId, cluster: str, pod: PodRef | None) -> None:
        self._caller = Caller(identity, ASSUMED, cluster, pod)

    async def authenticate(self, credentials: Credentials) -> Caller:
        return self._caller


async def _assumed(config: Config, identity: SpiffeId, cluster: str, labels: dict[str, str]) -> Caller:
    """Assume an identity, but none that the server could not prove."""
    pod = PodRef(ASSUMED, ASSUMED, None, tuple(sorted(labels.items()))) if labels else None
    clusters = {c.id: _Assume(identity, c.id, pod) for c in config.clusters}
    by_cluster = ByCluster(config.clusters[0].id, clusters, aliases=aliases_of(config))
    caller = await _of_configured(config, by_cluster, cluster)
    (own,) = (domain_of(c, config) for c in config.clusters if c.id == caller.cluster)
    if identity.trust_domain != own:
        raise IdentityRejected(
            f"it is of trust domain {identity.trust_domain}; every caller of cluster {caller.cluster} is of {own}"
        )
    return caller


async def _of_configured(config: Config, by_cluster: ByCluster, cluster: str) -> Caller:
    try:
        return await by_cluster.authenticate(Credentials(None, cluster))
    except AuthenticationFailed as error:
        more = "; those of remote secrets can be judged by --token-file only" if config.remote_secrets.enabled else ""
        raise AuthenticationFailed(f"{error.reason}{more}") from None


def _identity(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except InvalidIdentity as error:
        raise Failure(f"--identity: {error}", USAGE) from None


def _labels(texts: list[str]) -> dict[str, str]:
    labels = dict(text.partition("=")[::2] for text in texts if "=" in text)
    wrong = [text for text in texts if not text.partition("=")[0] or "=" not in text]
    if wrong:
        raise Failure(f"--pod-label: write KEY=VALUE; this is {wrong[0]!r:.80}", USAGE)
    return labels
