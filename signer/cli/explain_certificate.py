"""``explain``'s callers by client certificate: what was shown, and the roots and rules that judge it."""

import asyncio
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from signer.app.build import build_backends, build_bundle
from signer.app.callers import Callers, Memory, build_authenticator
from signer.app.policing import Policing, build_rules
from signer.app.routing import build_guards, build_router
from signer.cli.common import USAGE, Failure, read_text
from signer.config.load import Loaded
from signer.core.chain import TrustBundle
from signer.core.errors import AuthenticationUnavailable
from signer.core.events import NoMeter
from signer.core.parsing import parse_certificates
from signer.core.ports import Authenticator, Backend
from signer.observe.health import Health
from signer.runtime.clock import SystemClock
from signer.trust.bundle import LiveBundle

_ROOTS_SECONDS = 10.0


def shown_chain(path: Path) -> tuple[bytes, ...]:
    """Read what the caller would show: one PEM certificate each, leaf first.

    Raises:
        Failure: The file cannot be used.
    """
    return tuple(certificate.public_bytes(Encoding.PEM) for certificate in _read(path, "--certificate-file"))


async def by_certificate(loaded: Loaded, callers: Callers, roots_file: Path | None) -> Authenticator:
    """Make what judges certificates, for a process that has issued none: what origin one has, it does not know.

    Args:
        loaded: The configuration.
        callers: Judge tokens, and know the clusters.
        roots_file: PEM, the mesh's roots; None has the backends tell theirs.

    Raises:
        Failure: The file cannot be used, or a backend would have something signed to tell its roots.
        AuthenticationUnavailable: They were not known in time.
    """
    clock = SystemClock()
    backends = build_backends(loaded, clock, lambda _: NoMeter())
    bundle = build_bundle(loaded.config, backends, Health(()), clock)
    router = build_router(loaded.config, build_guards(loaded.config, backends, clock))
    policing = Policing(router, build_rules(loaded.config.rules), bundle.hangs_on_cluster)
    if roots_file is None:
        await _ask(loaded, backends, bundle)
        roots = bundle.own()
    else:
        roots = TrustBundle.of(_read(roots_file, "--roots-file"))
    return build_authenticator(loaded.config, callers, lambda: roots, policing, Memory.empty(clock))


async def _ask(loaded: Loaded, backends: dict[str, Backend], bundle: LiveBundle) -> None:
    for name, (_, settings) in loaded.backends.items():
        if getattr(settings, "mode", "") == "intermediate":
            text = f"backend {name} would have an intermediate signed to tell its roots, and explain signs nothing"
            raise Failure(f"--certificate-file: {text}: give them by --roots-file", USAGE)
    try:
        async with asyncio.timeout(_ROOTS_SECONDS):
            await asyncio.gather(*(backend.start() for backend in backends.values()))
            await bundle.refresh()
    except TimeoutError:
        raise AuthenticationUnavailable(f"the backends' roots were not known within {_ROOTS_SECONDS:g} s") from None
    finally:
        for backend in backends.values():
            await backend.close()


def _read(path: Path, option: str) -> list[x509.Certificate]:
    try:
        return parse_certificates(read_text(path, option).encode())
    except ValueError as error:
        raise Failure(f"{option} {path}: {error}", USAGE) from None
