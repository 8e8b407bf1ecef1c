"""``istio-signer init``."""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from backends.local.files import CACERTS
from backends.local.init import AlreadyThere, CaPlan, init_ca
from signer.cli.common import OK, USAGE, Failure, add_output, print_json, read_text, whole_number
from signer.config.durations import parse_duration
from signer.core.identity import InvalidIdentity, TrustDomain
from signer.core.keys import KEY_TYPES

_CERTIFICATES = {"root": CACERTS.roots, "intermediate": CACERTS.certificate}


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "--directory",
        type=Path,
        required=True,
        help="gets ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem: what the signer needs",
    )
    parser.add_argument(
        "--root-directory", type=Path, help="gets the root's key, to be taken offline (default: DIRECTORY/offline)"
    )
    parser.add_argument("--trust-domain", default="cluster.local", help="the subjects' O (default: cluster.local)")
    parser.add_argument("--key-type", choices=KEY_TYPES, default="p256", help="of both keys (default: p256)")
    parser.add_argument("--root-ttl", type=_duration, default=timedelta(days=3650), help="default: 3650d")
    parser.add_argument("--intermediate-ttl", type=_duration, default=timedelta(days=365), help="default: 365d")
    parser.add_argument(
        "--path-length",
        type=whole_number(0, 8),
        default=0,
        help="CAs that may stand below the intermediate: 1 for mode: intermediate (default: 0)",
    )
    parser.add_argument("--password-file", type=Path, help="encrypt both keys with the password in this file")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Make the CA.

    Raises:
        Failure: Files exist, or cannot be written.
    """
    plan = _plan(args)
    try:
        written = init_ca(plan, datetime.now(UTC))
    except AlreadyThere as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    ends = {name: _end(plan.directory / file) for name, file in _CERTIFICATES.items()}
    if args.output == "json":
        print_json({"written": written, "root_key": written[0], "not_after": ends})
    else:
        _tell(written, ends)
    return OK


def _end(path: Path) -> str:
    """When the certificate that was written really ends: an intermediate's end is that of its root at the latest."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.isoformat()


def _plan(args: argparse.Namespace) -> CaPlan:
    try:
        domain = TrustDomain.configured(args.trust_domain)
    except InvalidIdentity as error:
        raise Failure(f"--trust-domain: {error}", USAGE) from None
    password = read_text(args.password_file, "--password-file").encode() if args.password_file else None
    if args.password_file and not password:
        raise Failure(f"--password-file {args.password_file}: the file is empty", USAGE)
    return CaPlan(
        directory=args.directory,
        root_directory=args.root_directory or args.directory / "offline",
        organization=domain.name,
        key_type=args.key_type,
        root_ttl=args.root_ttl,
        intermediate_ttl=args.intermediate_ttl,
        password=password,
        path_length=args.path_length,
    )


def _tell(written: list[Path], ends: dict[str, str]) -> None:
    for path in written:
        print(f"wrote {path}")
    print(", ".join(f"{name} valid to {end}" for name, end in ends.items()))
    print(f"now take {written[0]} offline: the signer never needs the root's key")
