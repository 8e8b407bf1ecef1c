"""The cluster by hand: `python -m tests.cluster up` in one shell, `... token` or kubectl in another."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster import build
from tests.cluster.api import ISTIO_AUDIENCE, SHORTEST_TOKEN, Kube
from tests.cluster.client import ApiError
from tests.cluster.process import Cluster, ClusterError

DEFAULT_EXPIRATION = 3600

_EXIT_CODES = "exit codes: 0 done, 1 it failed (the reason is on standard error), 2 wrong arguments"


class CommandError(Exception):
    """The command cannot be done; the text says what to do instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ApiError, build.BuildError, ClusterError, CommandError, OSError, ValueError) as error:
        print(f"tests.cluster: error: {error}", file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> int:
    # kill and a closed terminal end it in the same good order as Ctrl-C, which a shell takes from what it starts in the
    # background.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    cluster = Cluster(
        options.directory, cert_manager=options.cert_manager, audit=options.audit, port=options.port or None
    )
    try:
        cluster.start()
        print(_next_steps(cluster), flush=True)
        code = cluster.wait()
    except KeyboardInterrupt:
        cluster.stop()
        return 0
    raise ClusterError(f"the cluster ended with exit code {code}\n{cluster.tail()}")


def _next_steps(cluster: Cluster) -> str:
    example = f"--directory {cluster.directory} --namespace demo --service-account app --pod app-1"
    lines = [
        f"The API server listens on https://127.0.0.1:{cluster.port}; stop it with Ctrl-C. The data stays.",
        "",
        f"  export KUBECONFIG={cluster.kubeconfig.resolve()}",
        f"  python -m tests.cluster token {example}",
        "",
        f"Log: {cluster.log}" + (f", API calls: {cluster.audit_log}" if cluster.audit else ""),
    ]
    return "\n".join(lines)


def _token(options: argparse.Namespace) -> int:
    kubeconfig = options.directory / "kubeconfig"
    if not kubeconfig.exists():
        raise CommandError(
            f"no cluster runs in {options.directory}; start one with: "
            f"python -m tests.cluster up --directory {options.directory}"
        )
    with Kube.load(kubeconfig) as kube:
        print(_bound_token(kube, options))
    return 0


def _bound_token(kube: Kube, options: argparse.Namespace) -> str:
    kube.create_namespace(options.namespace)
    kube.create_service_account(options.namespace, options.service_account)
    kube.create_pod(options.namespace, options.pod, options.service_account, options.node)
    audiences = options.audience or ISTIO_AUDIENCE
    return kube.pod_token(options.namespace, options.service_account, options.pod, audiences, options.expiration)


def _build(options: argparse.Namespace) -> int:
    print(build.binary())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="A local Kubernetes control plane (etcd, kube-apiserver, cert-manager) without nodes.",
        epilog=_EXIT_CODES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="run a cluster in the foreground until Ctrl-C"))
    _add_token(commands.add_parser("token", help="print a token bound to a pod, making the pod if needed"))
    only_build = commands.add_parser("build", help="build the program that `up` runs, and print its path")
    only_build.set_defaults(command=_build)
    return parser


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="where the cluster lives")
    parser.epilog = _EXIT_CODES


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a cluster. It is ready once DIR/kubeconfig exists. A second run on DIR resumes its data."
    _add_directory(parser)
    parser.add_argument("--port", type=_port, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--cert-manager", action="store_true", help="run cert-manager's controllers too")
    parser.add_argument("--audit", action="store_true", help="note every API call in DIR/audit.log")
    parser.set_defaults(command=_up)


def _add_token(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print only a token. Namespace, service account and pod are made if they are missing."
    _add_directory(parser)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--service-account", required=True)
    parser.add_argument("--pod", required=True)
    parser.add_argument("--node", default="node-1", help="node of a pod that is made (default: %(default)s)")
    parser.add_argument("--audience", nargs="+", metavar="AUDIENCE", help=f"default: {' '.join(ISTIO_AUDIENCE)}")
    parser.add_argument(
        "--expiration",
        type=_expiration,
        default=DEFAULT_EXPIRATION,
        metavar="SECONDS",
        help=f"life of the token, at least {SHORTEST_TOKEN} (default: %(default)s)",
    )
    parser.set_defaults(command=_token)


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return port


def _expiration(text: str) -> int:
    if (seconds := int(text)) < SHORTEST_TOKEN:
        raise argparse.ArgumentTypeError(f"the API issues no token of less than {SHORTEST_TOKEN} seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
