"""``istio-signer explain``."""

import argparse
import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from signer.app.build import build_backends, build_callers, build_router
from signer.authz.own import OwnIdentity
from signer.cli.common import (
    OK,
    UNAVAILABLE,
    USAGE,
    Failure,
    add_config,
    add_output,
    load_config,
    print_json,
    read_text,
)
from signer.config.durations import parse_duration, show_duration
from signer.config.load import Loaded
from signer.core.errors import SignerError, meaning
from signer.core.identity import InvalidIdentity, SpiffeId
from signer.core.types import Caller, Credentials, Grant, Secret
from signer.core.validity import decide
from signer.issue.route import Route
from signer.kube.api import NoCluster
from signer.runtime.clock import SystemClock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_config(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--token-file", type=Path, metavar="FILE", help="a service-account token; it is really judged")
    who.add_argument("--identity", metavar="SPIFFE_ID", help="as if this identity had been proven")
    parser.add_argument("--cluster-id", default="", help="the clusterid that the caller would send")
    parser.add_argument("--cert-signer", default="", help="the signer that the caller would name")
    parser.add_argument("--impersonate", default="", metavar="SPIFFE_ID", help="the workload it would act for")
    parser.add_argument("--ttl", default="0s", metavar="DURATION", help="the lifetime it would ask for")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Explain one call without signing anything.

    Raises:
        Failure: The call would be refused (1), or cannot be judged now (3).
    """
    loaded = load_config(args.config)
    try:
        facts = asyncio.run(_explain(loaded, args))
    except NoCluster as error:
        raise Failure(str(error), USAGE) from None
    except SignerError as error:
        told = meaning(error)
        text = f"refused with {told.code.value} ({type(error).__name__}): {error.reason}"
        raise Failure(text, UNAVAILABLE if told.retryable else 1) from None
    if args.output == "json":
        print_json(facts)
    else:
        for key, value in facts.items():
            print(f"{key:<10} {value}")
    return OK


async def _explain(loaded: Loaded, args: argparse.Namespace) -> dict[str, Any]:
    caller = await _caller(loaded, args)
    grant = await OwnIdentity().authorize(caller, args.impersonate)
    backends = build_backends(loaded, SystemClock())
    route = build_router(loaded.config, backends).route(grant, args.cert_signer)
    return _facts(grant, route, _ttl(args.ttl))


async def _caller(loaded: Loaded, args: argparse.Namespace) -> Caller:
    if args.identity:
        return Caller(_identity(args.identity), "assumed", args.cluster_id or loaded.config.clusters[0].id)
    callers = await build_callers(loaded.config, SystemClock(), lambda _: None, None)
    try:
        token = Secret(read_text(args.token_file, "--token-file"))
        return await callers.authenticator.authenticate(Credentials(token, args.cluster_id))
    finally:
        for close in callers.closers:
            await close()


def _identity(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except InvalidIdentity as error:
        raise Failure(f"--identity: {error}", USAGE) from None


def _ttl(text: str) -> int:
    try:
        return int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise Failure(f"--ttl: {error}", USAGE) from None


def _facts(grant: Grant, route: Route, ttl: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    validity = decide(ttl, route.profile.validity, now, None, 0.0)
    pod = grant.caller.pod
    return {
        "identity": str(grant.identity),
        "caller": str(grant.caller.identity),
        "proven by": grant.caller.method,
        "cluster": grant.caller.cluster,
        "pod": f"{pod.name} (uid {pod.uid}, node {pod.node})" if pod else "none: a token without a pod",
        "route": route.name,
        "backends": ", ".join(backend.name for backend in route.backends),
        "lifetime": f"{show_duration(validity.not_after - now.replace(microsecond=0))}, or less if the CA ends earlier",
        "keys": ", ".join(sorted(route.profile.key_types)),
    }
