"""``explain``'s question: who calls, and whose identity may it have? Proven as the server proves it, or assumed."""

import argparse
import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from signer.app.build import build_backends, build_bundle, build_deny
from signer.app.callers import Callers, build_authenticator, build_callers
from signer.authn.origins import Origins
from signer.authz.ambient import ForOthers
from signer.authz.deny_file import DenyFileUnusable
from signer.cli.common import USAGE, Failure, read_text
from signer.cli.explain_assumed import OF_TOKENS, assumed_grant
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.errors import AuthenticationUnavailable
from signer.core.events import NoMeter
from signer.core.parsing import parse_certificates
from signer.core.ports import Authenticator
from signer.core.types import Credentials, Grant, Secret
from signer.issue.denials import Denials, NoDenials, refuse
from signer.observe.health import Health
from signer.runtime.clock import SystemClock
from signer.trust.bundle import LiveBundle

# As the server, which then serves whom it can.
_SYNC_SECONDS = 10.0
_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 0.5
_ROOTS_SECONDS = 10.0


async def granted(loaded: Loaded, args: argparse.Namespace) -> Grant:
    """Prove or assume the caller, and grant what it asks for.

    Raises:
        Failure: The options do not fit together, or a file cannot be used.
        SignerError: It would be refused.
    """
    denials = await _denials(loaded.config)
    if args.identity:
        grant = await assumed_grant(loaded.config, args)
        refuse(denials.caller_fault(grant.caller))
    elif args.pod_label:
        raise Failure("--pod-label goes with --identity; a token's pod has its own labels, and they are read", USAGE)
    else:
        grant = await _proven_grant(loaded, args, denials)
    # Of the rest of the list nothing can be told without a CSR.
    refuse(denials.caller_fault(dataclasses.replace(grant.caller, identity=grant.identity)))
    return grant


async def _denials(config: Config) -> Denials:
    try:
        return await build_deny(config, SystemClock()) or NoDenials()
    except DenyFileUnusable as error:
        raise Failure(f"deny.file: {error}", USAGE) from None


async def _proven_grant(loaded: Loaded, args: argparse.Namespace, denials: Denials) -> Grant:
    credentials = _credentials(loaded.config, args)
    needed = any(route.match.pod_labels for route in loaded.config.routes)
    callers = await build_callers(loaded.config, SystemClock(), lambda _: None, None, lambda: needed)
    following = [asyncio.create_task(follow()) for follow in callers.services.values()]
    try:
        return await _proven(loaded, callers, credentials, args.impersonate, denials)
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
    if args.cluster_id:
        raise Failure("--cluster-id goes with a token: a certificate counts to the cluster it was issued in", USAGE)
    if args.impersonate:
        raise Failure(f"--impersonate {OF_TOKENS}", USAGE)
    return Credentials(None, "", _chain(args.certificate_file))


def _chain(path: Path) -> tuple[bytes, ...]:
    try:
        shown = parse_certificates(read_text(path, "--certificate-file").encode())
    except ValueError as error:
        raise Failure(f"--certificate-file {path}: {error}", USAGE) from None
    return tuple(certificate.public_bytes(Encoding.PEM) for certificate in shown)


async def _proven(
    loaded: Loaded, callers: Callers, credentials: Credentials, impersonated: str, denials: Denials
) -> Grant:
    clock = SystemClock()
    judge: Authenticator = callers.authenticator
    if credentials.chain:
        judge = build_authenticator(loaded.config, callers, await _roots(loaded), clock, Origins())

    async def ask() -> Grant:
        caller = await judge.authenticate(credentials)
        # Before anything else, as in the server: whoever is denied hears of nothing else.
        refuse(denials.caller_fault(caller))
        return await ForOthers(callers.proxies, clock).authorize(caller, impersonated)

    return await _patiently(ask, callers)


async def _patiently(ask: Callable[[], Awaitable[Grant]], callers: Callers) -> Grant:
    """Ask as a proxy would, which comes back: what follows the clusters has just begun.

    Another cluster that is down must not decide about this caller: where one is not known in time, it is asked all
    the same.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + (_PATIENCE_SECONDS if callers.services else 0.0)
    with suppress(TimeoutError):
        async with asyncio.timeout(_SYNC_SECONDS):
            await asyncio.gather(*(known.wait() for known in callers.synced))
    while True:
        try:
            return await ask()
        except AuthenticationUnavailable:
            if loop.time() >= end:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


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
