"""``istio-signer serve``."""

import argparse
import asyncio
import logging
from pathlib import Path
from typing import Any

from signer.app.assemble import Server, Sinks, assemble
from signer.app.server import serve
from signer.authn.development import DevelopmentIssuer
from signer.authz.deny_file import DenyFileUnusable
from signer.cli import development
from signer.cli.common import OK, REFUSED, USAGE, Failure, add_config, load_config, settings_of
from signer.config.load import Loaded, load
from signer.config.model import Logging
from signer.core.identity import TrustDomain
from signer.kube.no_cluster import NoCluster, NotInPod
from signer.observe import logs
from signer.observe.lines import LineSink
from signer.runtime.clock import SystemClock
from signer.runtime.supervise import run as run_loop
from signer.runtime.supervise import stop_on_signals
from signer.trust.extras import ExtraRootsUnusable

_log = logging.getLogger("istio_signer.serve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_config(parser)
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the ports in use there once requests can come"
    )
    group = parser.add_argument_group("development", "Not for production: anybody on this machine gets any identity.")
    group.add_argument(
        "--development",
        action="store_true",
        help="no cluster: a self-signed CA, and tokens of a built-in issuer; loopback only",
    )
    development.add_arguments(group)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal.

    Raises:
        Failure: It cannot start.
    """
    if args.development:
        development.check_place()
    else:
        development.refuse_stray_options(args)
    base = development.base_config(args) if args.development else None
    loaded = load_config(args.config, base)
    if args.development:
        development.check_loopback(loaded.config)
        development.check_own_ca(loaded, args.directory)
        development.check_duties(loaded.config)
        development.prepare(args.directory, loaded.config.trust_domain)
    sinks = _open_sinks(loaded.config.logging)
    try:
        return run_loop(lambda: _serve(loaded, args, sinks, ChangedFile(args.config, base)))
    finally:
        sinks.log.close()
        sinks.audit.close()


def _open_sinks(settings: Logging) -> Sinks:
    try:
        sinks = Sinks(LineSink("stderr"), LineSink(settings.audit))
    except OSError as error:
        raise Failure(f"logging.audit: {settings.audit}: cannot be written: {error.strerror}") from None
    logs.configure(sinks.log, settings.format, settings.level)
    return sinks


class ChangedFile:
    """Reads the configuration again where the file's contents differ from the last time."""

    def __init__(self, path: Path | None, base: dict[str, Any] | None) -> None:
        self._path = path
        self._base = base
        self._seen = self._contents()

    def __call__(self) -> Loaded | None:
        """Give the configuration if it has changed.

        Raises:
            BadConfig: It has, and cannot be used.
        """
        contents = self._contents()
        if contents is None or contents == self._seen:
            return None
        self._seen = contents
        return load(self._path, settings_of, base=self._base)

    def _contents(self) -> bytes | None:
        """A file that is gone for a moment, as while a mounted ConfigMap is swapped, is no change."""
        try:
            return self._path.read_bytes() if self._path else None
        except OSError:
            return None


async def _serve(loaded: Loaded, args: argparse.Namespace, sinks: Sinks, changed: ChangedFile) -> int:
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        server = await _assemble(loaded, args.development, sinks, changed)
        await serve(server, stop, args.ready_file)
    except NotInPod as error:
        raise Failure(f"{error}, or use serve --development", USAGE) from None
    except NoCluster as error:
        raise Failure(str(error), USAGE) from None
    except DenyFileUnusable as error:
        raise Failure(f"deny.file: {error}", USAGE) from None
    except ExtraRootsUnusable as error:
        raise Failure(f"trust.roots: {error}") from None
    except OSError as error:
        raise Failure(str(error)) from None
    except ExceptionGroup as group:
        for failure in group.exceptions:
            _log.error("%s", failure, exc_info=None if isinstance(failure, OSError) else failure)
        return REFUSED
    return OK


async def _assemble(loaded: Loaded, developing: bool, sinks: Sinks, changed: ChangedFile) -> Server:
    clock, config = SystemClock(), loaded.config
    if not developing:
        return await assemble(loaded, clock, sinks, read_again=changed)
    _log.warning("DEVELOPMENT MODE: anybody on this machine can get any identity; never use this CA for real traffic")
    domain = TrustDomain(config.trust_domain)
    issuer = DevelopmentIssuer(domain, config.clusters[0].id, config.authentication.audiences[0], clock)
    return await assemble(loaded, clock, sinks, issuer, changed)
