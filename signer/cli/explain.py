"""``istio-signer explain``."""

import argparse
import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from signer.app.build import build_backends
from signer.app.callers import Callers, aliases_of, build_callers
from signer.app.one_cluster import domain_of
from signer.app.policing import build_rules
from signer.app.routing import build_guards, build_router
from signer.authn.clusters import ByCluster
from signer.authz.ambient import ForOthers
from signer.cli.common import (
    OK,
    REFUSED,
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
from signer.config.model import Config
from signer.core.errors import AuthenticationUnavailable, IdentityRejected, PolicyDenied, SignerError, meaning
from signer.core.events import NoMeter
from signer.core.identity import InvalidIdentity, SpiffeId
from signer.core.types import Caller, Credentials, Grant, PodRef, Secret
from signer.core.validity import decide
from signer.issue.route import Route, Router
from signer.kube.connect import NoCluster
from signer.runtime.clock import SystemClock

_ASSUMED = "assumed"
_SYNC_SECONDS = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Decision:
    """What the server would do: sign for whom, by which route, for how long at most."""

    grant: Grant
    route: Route
    rule: str
    lifetime: timedelta


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
    parser.add_argument(
        "--pod-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label that its pod would have, with --identity; may be given again",
    )
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Explain one call without signing anything.

    Raises:
        Failure: The call would be refused (1), or cannot be judged now (3).
    """
    loaded = load_config(args.config)
    try:
        decision = asyncio.run(_explain(loaded, args))
    except NoCluster as error:
        raise Failure(str(error), USAGE) from None
    except SignerError as error:
        return _refused(error, args.output)
    if args.output == "json":
        print_json(_facts(decision))
    else:
        for key, value in _lines(decision).items():
            print(f"{key:<10} {value}")
    return OK


def _refused(error: SignerError, output: str) -> int:
    told, kind = meaning(error), type(error).__name__
    exit_code = UNAVAILABLE if told.retryable else REFUSED
    if output != "json":
        raise Failure(f"refused with {told.code.value} ({kind}): {error.reason}", exit_code)
    print_json({"decision": "refused", "code": told.code.value, "error": kind, "reason": error.reason})
    return exit_code


async def _explain(loaded: Loaded, args: argparse.Namespace) -> _Decision:
    grant = await _grant(loaded, args)
    allowed, why = build_rules(loaded.config.rules).verdict(grant)
    if not allowed:
        raise PolicyDenied(why)
    route = _router(loaded).route(grant, args.cert_signer)
    now = datetime.now(UTC)
    validity = decide(_ttl(args.ttl), route.profile.validity, now, None, 0.0)
    return _Decision(grant, route, why, validity.not_after - now.replace(microsecond=0))


def _router(loaded: Loaded) -> Router:
    clock = SystemClock()
    backends = build_backends(loaded, clock, lambda _: NoMeter())
    return build_router(loaded.config, build_guards(loaded.config, backends, clock))


async def _grant(loaded: Loaded, args: argparse.Namespace) -> Grant:
    if args.identity:
        if args.impersonate:
            raise Failure("--impersonate goes with --token-file: the pod that a token names decides about it", USAGE)
        labels = _labels(args.pod_label)
        caller = await _assumed(loaded.config, _identity(args.identity), args.cluster_id, labels)
        return Grant(caller.identity, caller)
    if args.pod_label:
        raise Failure("--pod-label goes with --identity; a token's pod has its own labels, and they are read", USAGE)
    needed = any(route.match.pod_labels for route in loaded.config.routes)
    callers = await build_callers(loaded.config, SystemClock(), lambda _: None, None, lambda: needed)
    following = [asyncio.create_task(follow()) for follow in callers.services.values()]
    try:
        return await _granted(callers, args)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for close in callers.closers:
            await close()


async def _granted(callers: Callers, args: argparse.Namespace) -> Grant:
    token = Secret(read_text(args.token_file, "--token-file"))
    try:
        async with asyncio.timeout(_SYNC_SECONDS):
            await asyncio.gather(*(known.wait() for known in callers.synced))
    except TimeoutError:
        raise AuthenticationUnavailable("; ".join(note.text for note in callers.notes())) from None
    caller = await callers.authenticator.authenticate(Credentials(token, args.cluster_id))
    return await ForOthers(callers.proxies, SystemClock()).authorize(caller, args.impersonate)


class _Assume:
    """Takes an identity for proven, in place of a cluster's API server."""

    def __init__(self, identity: SpiffeId, cluster: str, pod: PodRef | None) -> None:
        self._caller = Caller(identity, _ASSUMED, cluster, pod)

    async def authenticate(self, credentials: Credentials) -> Caller:
        return self._caller


async def _assumed(config: Config, identity: SpiffeId, cluster: str, labels: dict[str, str]) -> Caller:
    """Assume an identity, but none that the server could not prove."""
    domains = {domain_of(cluster, config) for cluster in config.clusters}
    if identity.trust_domain not in domains:
        known = " or ".join(sorted(map(str, domains)))
        raise IdentityRejected(f"it is of trust domain {identity.trust_domain}; every caller here is of {known}")
    pod = PodRef(_ASSUMED, _ASSUMED, None, tuple(sorted(labels.items()))) if labels else None
    clusters = {c.id: _Assume(identity, c.id, pod) for c in config.clusters}
    by_cluster = ByCluster(config.clusters[0].id, clusters, aliases=aliases_of(config))
    return await by_cluster.authenticate(Credentials(None, cluster))


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


def _ttl(text: str) -> int:
    try:
        return int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise Failure(f"--ttl: {error}", USAGE) from None


def _facts(decision: _Decision) -> dict[str, Any]:
    """The decision for programs."""
    caller, route = decision.grant.caller, decision.route
    return {
        "decision": "would sign",
        "identity": str(decision.grant.identity),
        "caller": str(caller.identity),
        "proven_by": caller.method,
        "cluster": caller.cluster,
        "pod": dataclasses.asdict(caller.pod) if caller.pod else None,
        "impersonated": decision.grant.impersonated,
        "rule": decision.rule,
        "route": route.name,
        "backends": [backend.name for backend in route.backends],
        "lifetime_seconds": int(decision.lifetime.total_seconds()),
        "key_types": sorted(route.profile.key_types),
    }


def _lines(decision: _Decision) -> dict[str, str]:
    """The decision for people."""
    facts = _facts(decision)
    return {
        "identity": facts["identity"],
        "caller": facts["caller"],
        "proven by": facts["proven_by"],
        "cluster": facts["cluster"],
        "pod": _pod(decision.grant.caller),
        "rule": facts["rule"],
        "route": facts["route"],
        "backends": ", ".join(facts["backends"]),
        "lifetime": f"{show_duration(decision.lifetime)}, or less if the CA ends earlier",
        "keys": ", ".join(facts["key_types"]),
    }


def _pod(caller: Caller) -> str:
    if caller.pod and caller.method == _ASSUMED:
        return f"assumed, with {', '.join(f'{key}={value}' for key, value in caller.pod.labels or ())}"
    if caller.pod:
        return f"{caller.pod.name} (uid {caller.pod.uid}, node {caller.pod.node})"
    return "assumed: no token was looked at" if caller.method == _ASSUMED else "none: a token without a pod"
