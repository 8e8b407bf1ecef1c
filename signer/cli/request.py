"""``istio-signer request``: a full client."""

import argparse
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from signer.cli.common import (
    OK,
    REFUSED,
    UNAVAILABLE,
    USAGE,
    Failure,
    add_output,
    number_between,
    print_json,
    read_text,
)
from signer.client.call import (
    BadRoots,
    CallFailed,
    CertificateCall,
    Endpoint,
    ServerNotTrusted,
    create_certificate,
)
from signer.client.workload import Received, new_csr, write_files
from signer.config.durations import parse_duration, show_duration
from signer.core.identity import InvalidIdentity, SpiffeId
from signer.core.keys import KEY_TYPES
from signer.core.types import Secret
from signer.server.admin import TOKEN_PATH


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--address", default="127.0.0.1:15012", help="host:port (default: 127.0.0.1:15012)")
    parser.add_argument("--roots", type=Path, required=True, metavar="FILE", help="PEM roots of the signer")
    parser.add_argument("--server-name", default="", help="the name to expect in its certificate")
    who = parser.add_argument_group("who asks")
    who.add_argument("--token-file", type=Path, metavar="FILE", help="a service-account token")
    who.add_argument(
        "--development-token",
        metavar="URL",
        help="get a token from a development server's admin port, such as http://127.0.0.1:15014",
    )
    who.add_argument("--cluster-id", default="", help="sent as clusterid")
    what = parser.add_argument_group("what for")
    what.add_argument("--identity", metavar="SPIFFE_ID", help="spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    what.add_argument("--key-type", choices=KEY_TYPES, default="p256", help="of the new key (default: p256)")
    what.add_argument("--csr", type=Path, metavar="FILE", help="send this CSR instead of making a key and one")
    what.add_argument("--ttl", default="", metavar="DURATION", help="such as 1h (default: the server's)")
    what.add_argument("--cert-signer", default="", help="ask for a named signer")
    what.add_argument("--impersonate", default="", metavar="SPIFFE_ID", help="act for a workload, as ztunnel does")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="write key.pem, cert-chain.pem, root-cert.pem")
    parser.add_argument("--timeout", type=number_between(0, 3600), default=15.0, metavar="SECONDS", help="default: 15")
    parser.add_argument("--json", dest="output", action="store_const", const="json", help="same as -o json")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for one certificate.

    Raises:
        Failure: It was refused (1), or the signer is unavailable (3).
    """
    identity = _identity(args)
    key_pem, csr = _key_and_csr(args, identity)
    call = CertificateCall(
        csr=csr,
        token=_token(args, identity),
        ttl=_ttl(args.ttl),
        cluster=args.cluster_id,
        cert_signer=args.cert_signer,
        impersonate=args.impersonate,
        timeout=args.timeout,
    )
    received = _ask(Endpoint(args.address, args.roots, args.server_name), call)
    written = write_files(args.output_dir, key_pem, received) if args.output_dir else []
    if args.output == "json":
        print_json({**received.summary(), "written": written})
    else:
        print("\n".join(describe(received, datetime.now(UTC))))
        for path in written:
            print(f"wrote       {path}")
    return OK


def _identity(args: argparse.Namespace) -> SpiffeId | None:
    text = args.identity or args.impersonate
    if args.csr is None and not text:
        raise Failure("give --identity (or --csr)", USAGE)
    try:
        return SpiffeId.parse(text) if text else None
    except InvalidIdentity as error:
        raise Failure(f"--identity: {error}", USAGE) from None


def _key_and_csr(args: argparse.Namespace, identity: SpiffeId | None) -> tuple[bytes, str]:
    if args.csr is not None or identity is None:
        if args.output_dir:
            raise Failure("--output-dir needs the key, which --csr does not have", USAGE)
        return b"", read_text(args.csr, "--csr") + "\n"
    made = new_csr(identity, args.key_type)
    return made.key_pem, made.csr


def _ttl(text: str) -> int:
    try:
        return int(parse_duration(text).total_seconds()) if text else 0
    except ValueError as error:
        raise Failure(f"--ttl: {error}", USAGE) from None


def _token(args: argparse.Namespace, identity: SpiffeId | None) -> Secret | None:
    if args.token_file is not None:
        return Secret(read_text(args.token_file, "--token-file"))
    if args.development_token is None:
        return None
    if identity is None:
        raise Failure("--development-token needs --identity", USAGE)
    return development_token(args.development_token, identity)


def development_token(url: str, identity: SpiffeId, pod: str = "request") -> Secret:
    """Get a token from a development server.

    Raises:
        Failure: It is not there, or there is something else.
    """
    query = {"namespace": identity.namespace, "service_account": identity.service_account, "pod": pod}
    target = f"{url.rstrip('/')}{TOKEN_PATH}?{urllib.parse.urlencode(query)}"
    if not target.startswith("http://"):
        raise Failure("--development-token: give http://127.0.0.1:PORT", USAGE)
    try:
        # Never through a proxy of the environment: it is this machine that is meant.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(urllib.request.Request(target, method="POST"), timeout=5) as answer:  # noqa: S310
            return Secret(answer.read(16384).decode("ascii"))
    except urllib.error.HTTPError as error:
        raise Failure(f"{url}: no development token: HTTP {error.code}") from None
    except (OSError, ValueError) as error:
        raise Failure(f"{url}: no development server answers: {error}", UNAVAILABLE) from None


def _ask(endpoint: Endpoint, call: CertificateCall) -> Received:
    try:
        return Received.of(create_certificate(endpoint, call))
    except ServerNotTrusted as error:
        advice = f"TLS with {endpoint.address} failed: {error}; look at --roots and --server-name"
        raise Failure(advice) from None
    except CallFailed as error:
        raise Failure(str(error), UNAVAILABLE if error.retryable else REFUSED) from None
    except BadRoots as error:
        raise Failure(f"--roots {endpoint.roots_file}: {error}", USAGE) from None
    except ValueError as error:
        raise Failure(f"the answer cannot be used: {error}") from None


def describe(received: Received, now: datetime) -> list[str]:
    """Describe a certificate for people, a line a fact."""
    start, end = received.window
    names = [issuer.subject.rfc4514_string() for issuer in received.issuers]
    summary = received.summary()
    return [
        f"identity    {', '.join(received.identities)}",
        f"serial      {summary['serial']}",
        f"key         {summary['key']}",
        f"valid       {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC, {show_duration(end - now)} left",
        f"chain       {' <- '.join(['leaf', *names, *(r.subject.rfc4514_string() for r in received.roots[:1])])}",
        f"roots       {len(received.roots)}",
    ]
