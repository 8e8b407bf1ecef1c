"""The trust bundle of now: roots of the backends in use, remembered and configured ones; and how each backend does."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from signer.core.anchors import Dropped
from signer.core.chain import TrustBundle, fingerprint
from signer.core.errors import BackendError
from signer.core.ports import AnnouncesChange, Backend, Clock
from signer.core.trust_record import TrustRecord
from signer.core.types import IssuerInfo
from signer.observe.health import BackendState, Health
from signer.observe.logs import frames_of
from signer.trust.compose import TrustPolicy, compose, vouched
from signer.trust.extras import ExtraRoots
from signer.trust.rounds import Rounds

_log = logging.getLogger("istio_signer.trust")
PART = "trust-bundle"
INTERVAL = 10.0
PATIENCE = 3.0
# Enough to know of a change at once; a signer that changes with each answer must not cost a look with each.
PAUSE = 0.2


class LiveBundle:
    """Holds the bundle that answers carry and are verified against.

    A backend that cannot be asked keeps the roots it had, and a root that no backend shows any more stays for the
    policy's retention: its leaves are out there, and somebody must verify them.

    Args:
        backends: All backends that sign.
        health: Told how each backend does, and when the first bundle is there.
        clock: Time.
        policy: The operator's word on roots.
        extras: Roots from files.
        interval: Seconds between two looks.
        patience: Seconds that one backend has to answer.
        pause: Seconds between two looks at least, however often changes are announced.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        health: Health,
        clock: Clock,
        policy: TrustPolicy | None = None,
        extras: ExtraRoots | None = None,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
        pause: float = PAUSE,
    ) -> None:
        self._backends = tuple(backends)
        self._health = health
        self._clock = clock
        self._policy = policy or TrustPolicy()
        self._extras = extras or ExtraRoots((), clock)
        self._interval = interval
        self._patience = patience
        self._pause = min(pause, interval)
        self._looks = Rounds(self._look_at_all, self._pause)
        self._known: dict[str, IssuerInfo] = {}
        self._record = TrustRecord()
        self.vouched: frozenset[str] = frozenset()
        """Fingerprints of the roots that backends vouch for now."""
        self._bundle = self._own = TrustBundle.of(())
        self._dropped: tuple[Dropped, ...] = ()
        self._told: object = None
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._extras.on_change(self._changed.set)
        for backend in self._backends:
            if isinstance(backend, AnnouncesChange):
                backend.on_change(self._changed.set)

    def current(self) -> TrustBundle:
        """The bundle as of the last look."""
        return self._bundle

    def own(self) -> TrustBundle:
        """The part of it that the signers vouch for, now or lately, without roots that only files bring: a federated
        mesh's CA proves its own workloads to ours, and must not prove ours to us."""
        return self._own

    def extended(self, base: TrustBundle, cluster: str, namespace: str) -> TrustBundle:
        """Add the roots that answers to one caller carry beyond those for everybody."""
        return self._extras.extended(base, cluster, namespace)

    def hangs_on_cluster(self, namespace: str) -> bool:
        """Tell whether these roots differ by the caller's cluster."""
        return self._extras.hang_on_cluster(namespace)

    def issuers(self) -> dict[str, IssuerInfo]:
        """What is known of each backend's CA, by backend name."""
        return dict(self._known)

    @property
    def record(self) -> TrustRecord:
        """What is remembered here, others' memory included."""
        return self._record

    @property
    def settled(self) -> bool:
        """Whether every backend has shown its roots. Before that nothing is forgotten: one that is down at our start
        has leaves out there too."""
        return len(self._known) == len(self._backends)

    def remember(self, record: TrustRecord) -> None:
        """Take over what other replicas remember, at once."""
        merged = self._record.merged(record)
        if merged != self._record:
            self._rebuild(merged)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, on the event loop, after each change of the bundle or of who vouches for what."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Read the files of the configuration.

        Raises:
            ExtraRootsUnusable: One of them gives no root.
        """
        await self._extras.load()

    async def refresh(self) -> TrustBundle:
        """Ask every backend now, side by side, each within its patience; who asks at once shares a look."""
        await self._looks.run()
        return self._bundle

    async def run(self) -> None:
        """Look for ever, at backends and at files: at intervals, and at once when one announces a change."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._extras.run())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self._changed.clear()
            await self.refresh()
            await asyncio.sleep(self._pause)
            try:
                async with asyncio.timeout(self._interval):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _look_at_all(self) -> None:
        states = await asyncio.gather(*map(self._look, self._backends))
        for backend, state in zip(self._backends, states, strict=True):
            self._health.backend(backend.name, state)
        self._rebuild(self._record)

    async def _look(self, backend: Backend) -> BackendState:
        try:
            async with asyncio.timeout(self._patience):
                info = await backend.issuer()
                # Roots that make no bundle must fail here, where it is this backend's fault alone.
                TrustBundle.of(info.roots)
                self._known[backend.name] = info
                await backend.probe()
            return BackendState(True, not_after=info.window[1].timestamp() if info.window else None)
        except TimeoutError:
            return BackendState(False, f"no answer within {self._patience} s")
        except BackendError as error:
            return BackendState(False, error.reason)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not keep the other backends from signing
            return self._bug(backend, error)

    def _bug(self, backend: Backend, error: Exception) -> BackendState:
        """Log a bug's frames, but once and not at each look; never its message, which may quote anything."""
        state = BackendState(False, f"bug: {type(error).__name__}")
        if self._health.backends().get(backend.name) != state:
            frames = frames_of(error)
            _log.error("backend %s: %s\n%s", backend.name, state.reason, frames)
        return state

    def _rebuild(self, record: TrustRecord) -> None:
        now, policy = self._clock.now(), self._policy
        roots, refused = vouched(self._known, policy, now)
        self.vouched = frozenset(fingerprint(root.certificate) for root in roots)
        noted = record.vouched(roots)
        self._record = noted.pruned(now) if self.settled else noted
        composed = compose(roots, self._record, self._extras.common, policy, now)
        self._own = compose(roots, self._record, (), policy, now).bundle
        self._say_dropped((*refused, *composed.dropped))
        if roots:
            self._health.done(PART)
        self._take(composed.bundle)
        self._tell()

    def _tell(self) -> None:
        told = (self._bundle.digest, self._record, {name: info.roots for name, info in self._known.items()})
        if told == self._told:
            return
        self._told = told
        for callback in self._callbacks:
            callback()

    def _take(self, fresh: TrustBundle) -> None:
        if fresh.digest == self._bundle.digest:
            return
        for root in self._bundle.minus(fresh).roots:
            _log.info("no longer trusted: %s (%.16s)", root.subject.rfc4514_string(), fingerprint(root))
        self._bundle = fresh
        _log.info("trust bundle is now %s with %d root(s)", fresh.digest[:16], len(fresh.roots))

    def _say_dropped(self, dropped: tuple[Dropped, ...]) -> None:
        for one in dropped:
            if one not in self._dropped:
                _log.warning("not trusted: %s", one)
        self._dropped = dropped
