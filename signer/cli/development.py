"""Development mode: what it changes, and every way in which it refuses to happen by accident."""

import argparse
import os
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from backends.held.ca import UnusableCa
from backends.local.ca import load_ca
from backends.local.files import read_files
from backends.local.init import AlreadyThere, CaPlan, init_ca
from signer.cli.common import USAGE, Failure
from signer.config.load import Loaded
from signer.config.model import Config

DIRECTORY = Path("istio-signer-development")
GRPC, HTTP = "127.0.0.1:15012", "127.0.0.1:15014"
# An agent that dials a name with "localhost" in it checks istiod's name instead (istio: security/pkg/nodeagent/
# caclient/providers/citadel/tls.go).
DNS_NAMES = ["localhost", "istiod.istio-system.svc", "istio-signer.istio-system.svc"]
_POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_OPTIONS = {"directory": DIRECTORY, "grpc": GRPC, "http": HTTP}


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options that only development mode has."""
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help=f"keeps the CA (default: ./{DIRECTORY})")
    parser.add_argument("--grpc", default=GRPC, metavar="ADDRESS", help=f"for proxies (default: {GRPC})")
    parser.add_argument("--http", default=HTTP, metavar="ADDRESS", help=f"for probes and tokens (default: {HTTP})")


def refuse_stray_options(args: argparse.Namespace) -> None:
    """Refuse development's options without its flag: somebody meant something else.

    Raises:
        Failure: One was given.
    """
    for name, default in _OPTIONS.items():
        if getattr(args, name) != default:
            raise Failure(f"--{name} belongs to --development; otherwise the configuration says it", USAGE)


def check_place() -> None:
    """Refuse to run inside a cluster.

    Raises:
        Failure: This is a pod.
    """
    if os.environ.get("KUBERNETES_SERVICE_HOST") or _POD_TOKEN.exists():
        raise Failure("--development is refused inside a cluster: it would give anybody any identity", USAGE)


def check_loopback(config: Config) -> None:
    """Refuse to listen where other machines can call.

    Raises:
        Failure: An address is not a loopback address.
    """
    for key, address in (("listen.grpc", config.listen.grpc), ("listen.http", config.listen.http)):
        host = address.rpartition(":")[0].strip("[]")
        try:
            loopback = ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise Failure(f"{key}: {address}: --development listens on 127.0.0.1 or [::1] only", USAGE)


def check_own_ca(loaded: Loaded, directory: Path) -> None:
    """Refuse any CA but development's own: a file made for production would lend its key to anybody on this machine.

    Raises:
        Failure: A backend is something else, or lies elsewhere.
    """
    for name, (type_name, settings) in loaded.backends.items():
        place = getattr(settings, "directory", None)
        if type_name != "local" or place is None or not place.resolve().is_relative_to(directory.resolve()):
            raise Failure(f"backends.{name}: --development signs with a CA in {directory} (--directory) only", USAGE)


def check_duties(config: Config) -> None:
    """Refuse what needs a cluster: left out without a word, it would be taken for tested.

    Raises:
        Failure: Something of that kind is switched on.
    """
    for key, enabled in (("distribution", config.distribution.enabled), ("istiod", config.istiod.enabled)):
        if enabled:
            raise Failure(f"{key}.enabled: this needs a cluster, and --development has none", USAGE)


def base_config(args: argparse.Namespace) -> dict[str, Any]:
    """The embedded defaults of development mode; a file and the environment go over them."""
    return {
        "listen": {"grpc": args.grpc, "http": args.http},
        "backends": {"local": {"type": "local", "directory": str(args.directory)}},
        "serving": {"dns_names": DNS_NAMES, "ip_addresses": ["127.0.0.1", "::1"]},
        "logging": {"audit": str(args.directory / "audit.jsonl")},
        "shutdown": {"delay": "0s", "grace": "2s"},
    }


def prepare(directory: Path, trust_domain: str) -> None:
    """Make the CA where there is none.

    Raises:
        Failure: The directory holds a CA that cannot be used, or cannot be written.
    """
    now = datetime.now(UTC)
    try:
        load_ca(read_files(directory, None), now)
    except UnusableCa as unusable:
        plan = CaPlan(directory, directory / "offline", trust_domain)
        try:
            init_ca(plan, now)
        except AlreadyThere as there:
            raise Failure(f"{directory}: no usable CA ({unusable}), and none can be made over it: {there}") from None
        except OSError as error:
            raise Failure(f"{directory}: no CA can be made there: {error.strerror}") from None
