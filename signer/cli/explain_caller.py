"""``explain``'s question: who calls, and whose identity may it have? Proven as the server proves it, or assumed."""

import argparse
import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from signer.app.build import build_deny
from signer.app.callers import Callers, build_callers
from signer.app.one_cluster import all_set
from signer.authz.ambient import ForOthers
from signer.authz.deny_file import DenyFileUnusable
from signer.cli.common import USAGE, Failure, read_text
from signer.cli.explain_assumed import OF_TOKENS, assumed_grant
from signer.cli.explain_certificate import by_certificate, shown_chain
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.errors import AuthenticationUnavailable
from signer.core.ports import Authenticator
from signer.core.types import Credentials, Grant, Secret
from signer.issue.denials import Denials, NoDenials, refuse
from signer.runtime.clock import SystemClock

# As the server, which then serves whom it can.
_SYNC_SECONDS = 10.0
_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 0.5


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
    # A certificate proves what it proves without any cluster.
    services = {} if credentials.chain else callers.services
    following = [asyncio.create_task(follow()) for follow in services.values()]
    try:
        return await _proven(loaded, callers, credentials, args, denials)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for close in callers.closers:
            await close()


def _credentials(config: Config, args: argparse.Namespace) -> Credentials:
    if args.roots_file is not None and args.certificate_file is None:
        raise Failure("--roots-file goes with --certificate-file", USAGE)
    if args.token_file is not None:
        return Credentials(Secret(read_text(args.token_file, "--token-file")), args.cluster_id)
    if config.listen.mtls is None:
        raise Failure("--certificate-file: client certificates are judged on listen.mtls, which is not set", USAGE)
    if args.cluster_id:
        raise Failure("--cluster-id goes with a token: a certificate counts to the cluster it was issued in", USAGE)
    if args.impersonate:
        raise Failure(f"--impersonate {OF_TOKENS}", USAGE)
    return Credentials(None, "", shown_chain(args.certificate_file), args.cert_signer)


async def _proven(
    loaded: Loaded, callers: Callers, credentials: Credentials, args: argparse.Namespace, denials: Denials
) -> Grant:
    judge: Authenticator = callers.authenticator
    if credentials.chain:
        judge = await by_certificate(loaded, callers, args.roots_file)

    async def ask() -> Grant:
        caller = await judge.authenticate(credentials)
        # Before anything else, as in the server: whoever is denied hears of nothing else.
        refuse(denials.caller_fault(caller))
        return await ForOthers(callers.proxies, SystemClock()).authorize(caller, args.impersonate)

    return await (ask() if credentials.chain else _patiently(ask, callers))


async def _patiently(ask: Callable[[], Awaitable[Grant]], callers: Callers) -> Grant:
    """Ask as a proxy would, which comes back: what follows the clusters has just begun.

    Another cluster that is down must not decide about this caller: where one is not known in time, it is asked all
    the same.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + (_PATIENCE_SECONDS if callers.services else 0.0)
    await all_set(callers.synced, _SYNC_SECONDS)
    while True:
        try:
            return await ask()
        except AuthenticationUnavailable:
            if loop.time() >= end:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)
