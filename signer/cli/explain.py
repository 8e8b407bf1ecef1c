"""``istio-signer explain``."""

import argparse
import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from signer.app.build import build_backends
from signer.app.policing import build_rules
from signer.app.routing import build_guards, build_router
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
)
from signer.cli.explain_assumed import ASSUMED
from signer.cli.explain_caller import granted
from signer.config.durations import parse_duration, show_duration
from signer.config.load import Loaded
from signer.core.errors import PolicyDenied, SignerError, meaning
from signer.core.events import NoMeter
from signer.core.types import Caller, Grant
from signer.core.validity import decide
from signer.issue.route import Route, Router
from signer.kube.no_cluster import NoCluster
from signer.runtime.clock import SystemClock


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
    who.add_argument(
        "--certificate-file", type=Path, metavar="FILE", help="PEM, a client certificate, leaf first, as on listen.mtls"
    )
    who.add_argument("--identity", metavar="SPIFFE_ID", help="as if this identity had been proven")
    parser.add_argument(
        "--roots-file", type=Path, metavar="FILE", help="PEM, the mesh's roots, with --certificate-file; else asked for"
    )
    parser.add_argument("--cluster-id", default="", help="the clusterid that the caller would send")
    parser.add_argument("--cert-signer", default="", help="the signer that the caller would name")
    parser.add_argument(
        "--impersonate", default="", metavar="SPIFFE_ID", help="the workload it would act for, with --token-file"
    )
    parser.add_argument("--ttl", default="0s", metavar="DURATION", help="the lifetime it would ask for")
    parser.add_argument(
        "--pod-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label that its pod would have, with --identity; may be given again",
    )
    parser.add_argument(
        "--proven-by",
        choices=["token-review", "offline", "client-certificate"],
        help="how it would have been proven, with --identity, for rules that look at that",
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
    grant = await granted(loaded, args)
    allowed, why = build_rules(loaded.config.rules).verdict(_as_proven(grant, args))
    if not allowed:
        raise PolicyDenied(why)
    route = _router(loaded).route(grant, args.cert_signer)
    now = datetime.now(UTC)
    validity = decide(_ttl(args.ttl), route.profile.validity, now, None, 0.0)
    return _Decision(grant, route, why, validity.not_after - now.replace(microsecond=0))


def _as_proven(grant: Grant, args: argparse.Namespace) -> Grant:
    """An assumed caller is proven by nothing, unless somebody says by what."""
    if args.proven_by is None:
        return grant
    if not args.identity:
        raise Failure("--proven-by goes with --identity; what is really judged is proven by what it is", USAGE)
    return dataclasses.replace(grant, caller=dataclasses.replace(grant.caller, method=args.proven_by))


def _router(loaded: Loaded) -> Router:
    clock = SystemClock()
    backends = build_backends(loaded, clock, lambda _: NoMeter())
    return build_router(loaded.config, build_guards(loaded.config, backends, clock))


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
    if caller.pod and caller.method == ASSUMED:
        return f"assumed, with {', '.join(f'{key}={value}' for key, value in caller.pod.labels or ())}"
    if caller.pod:
        return f"{caller.pod.name} (uid {caller.pod.uid}, node {caller.pod.node})"
    if caller.serial is not None:
        return f"none: a client certificate, serial {caller.serial:x}"
    return "assumed: no token was looked at" if caller.method == ASSUMED else "none: a token without a pod"
