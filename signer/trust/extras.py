"""Extra roots: of federated meshes, of tomorrow; for everybody, or for the callers of some clusters and namespaces.

They come from PEM files that are read again while the server runs. ztunnel takes roots from its answers only, so that
is where they have to be.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509

from signer.core.anchors import Dropped, Screened, read_anchors
from signer.core.chain import TrustBundle, fingerprint
from signer.core.globs import ANY, Globs
from signer.core.ports import Clock
from signer.core.recent import Recent

_log = logging.getLogger("istio_signer.trust")
INTERVAL = 2.0
MAX_BYTES = 1024 * 1024
MAX_ANSWERS = 64
_MAX_WHYS = 3


class ExtraRootsUnusable(Exception):
    """A file cannot be read, or holds no root; the message names it."""


@dataclass(frozen=True, slots=True)
class ExtraRule:
    """Whose answers carry the roots of one file; without conditions everybody's."""

    file: Path
    clusters: Globs = ANY
    namespaces: Globs = ANY

    @property
    def for_all(self) -> bool:
        """Whether there is no condition."""
        return not self.clusters.patterns and not self.namespaces.patterns

    def holds(self, cluster: str, namespace: str) -> bool:
        """Tell whether a caller's answers carry them."""
        return self.clusters.matches(cluster) and self.namespaces.matches(namespace)


@dataclass(slots=True)
class _Read:
    contents: bytes | None = None
    bundle: TrustBundle = field(default_factory=lambda: TrustBundle.of(()))
    fault: str = ""


class ExtraRoots:
    """The rules with the roots of their files, as of the last look."""

    def __init__(self, rules: Sequence[ExtraRule], clock: Clock, distrust: frozenset[str] = frozenset()) -> None:
        self._rules = tuple(rules)
        self._clock = clock
        self._distrust = distrust
        self._read = {rule.file: _Read() for rule in self._rules}
        self._answers: Recent[tuple[str, tuple[int, ...]], TrustBundle] = Recent(MAX_ANSWERS)
        self._callbacks: list[Callable[[], None]] = []

    def hang_on_cluster(self, namespace: str) -> bool:
        """Tell whether answers in a namespace carry more roots in some clusters than in others."""
        return any(not rule.clusters.all_match and rule.namespaces.matches(namespace) for rule in self._rules)

    @property
    def common(self) -> tuple[x509.Certificate, ...]:
        """The roots for everybody."""
        return tuple(root for rule in self._rules if rule.for_all for root in self._read[rule.file].bundle.roots)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the roots of a file change."""
        self._callbacks.append(callback)

    def extended(self, base: TrustBundle, cluster: str, namespace: str) -> TrustBundle:
        """Add what a caller's answers carry beyond the bundle for everybody."""
        held = tuple(i for i, r in enumerate(self._rules) if not r.for_all and r.holds(cluster, namespace))
        if not held:
            return base
        known = self._answers.get((base.digest, held))
        if known is None:
            more = [root for i in held for root in self._read[self._rules[i].file].bundle.roots]
            known = base.union(TrustBundle.of(more))
            self._answers.put((base.digest, held), known)
        return known

    async def load(self) -> None:
        """Read all files for the first time.

        Raises:
            ExtraRootsUnusable: One gives no root.
        """
        await self._look()
        faults = [read.fault for read in self._read.values() if read.fault]
        if faults:
            raise ExtraRootsUnusable("; ".join(faults))

    async def run(self) -> None:
        """Read the files for ever; one that becomes unusable keeps the roots it had."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self._look()

    async def _look(self) -> None:
        contents = await asyncio.to_thread(lambda: {path: contents_of(path) for path in self._read})
        changed = [self._take(path, found) for path, found in contents.items()]
        if any(changed):
            self._answers.clear()
            for callback in self._callbacks:
                callback()

    def _take(self, path: Path, found: bytes | OSError) -> bool:
        read = self._read[path]
        if found == read.contents:
            return False
        read.contents = found if isinstance(found, bytes) else None
        try:
            screened = judged(path, found, self._clock.now(), self._distrust)
        except ExtraRootsUnusable as error:
            return self._refuse(read, str(error))
        for dropped in screened.dropped:
            _log.warning("%s: not trusted: %s", path, dropped)
        changed = screened.bundle.digest != read.bundle.digest
        read.bundle, read.fault = screened.bundle, ""
        return changed

    def _refuse(self, read: _Read, fault: str) -> bool:
        if fault != read.fault:
            _log.error("extra roots: %s; %d from before stay", fault, len(read.bundle.roots))
        read.fault = fault
        return False


def judged(path: Path, found: bytes | OSError, now: datetime, distrust: frozenset[str] = frozenset()) -> Screened:
    """Say which roots a file gives. One whose roots are all distrusted gives none, and is good all the same.

    Raises:
        ExtraRootsUnusable: It cannot be read, or holds no root.
    """
    if isinstance(found, OSError):
        raise ExtraRootsUnusable(f"{path}: cannot be read: {found.strerror}")
    screened = read_anchors(found, now)
    if not screened.bundle.roots:
        whys = "".join(f"; {dropped}" for dropped in screened.dropped[:_MAX_WHYS])
        raise ExtraRootsUnusable(f"{path}: holds no certificate that can be a root{whys}")
    kept = TrustBundle.of(root for root in screened.bundle.roots if fingerprint(root) not in distrust)
    gone = [Dropped(fingerprint(root)[:16], "trust.distrust names it") for root in screened.bundle.minus(kept).roots]
    return Screened(kept, (*screened.dropped, *gone))


def contents_of(path: Path) -> bytes | OSError:
    """Read a file, or say why not; blocks."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        return error
