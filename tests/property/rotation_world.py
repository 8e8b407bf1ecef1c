"""A mesh in miniature around a root rotation: replicas that notice late, namespaces that are written late, clients.

Everything that decides is the real thing: the steps, the gates, the record, what a bundle is made of, the CA's files.
Time goes by the minute, and at every minute each living leaf must be trusted wherever its peers look.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from backends.held.ca import HeldCa, UnusableCa, issued
from backends.local.ca import load_ca
from backends.local.files import CACERTS, Files
from signer.config.trust import Trust
from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import TrustRecord
from signer.core.types import IssuerInfo
from signer.trust.compose import TrustPolicy, compose, vouched
from signer.trust.rotation.gates import AllGates, Gate, NamespaceGate, TimeGate, Waits
from signer.trust.rotation.steps import Steps
from tests.property.rotation_hands import Contents, DyingPlace, DyingStore, Fate, HandsOnPlace, first_ca
from tests.support.clock import NOW, FakeClock

MINUTE = timedelta(minutes=1)
# Every CA of a test is valid then; so the verdict on the same files is always the same.
_JUDGED_AT = NOW + timedelta(days=100)

_FIRST = first_ca()
Marks = frozenset[str]


@dataclass(frozen=True, slots=True)
class Scene:
    """How slow everything is, in minutes.

    Attributes:
        lags: Of each replica: until it notices the record, and until it notices the CA's files.
        delays: Of each namespace: until the leader has written its ConfigMap; none where there is no cluster.
        clients: Of each: between two answers, and the lifetime of its leaves.
    """

    settle: int
    interval: int
    longest: int
    lags: tuple[tuple[int, int], ...]
    delays: tuple[int, ...]
    clients: tuple[tuple[int, int], ...]

    @property
    def waits(self) -> Waits:
        """What an operator who knows all that has configured."""
        spans = (self.interval * MINUTE, self.settle * MINUTE, self.longest * MINUTE)
        return Waits(*spans, distributed=bool(self.delays))


@dataclass(slots=True)
class Replica:
    """One process that signs."""

    record_lag: timedelta
    ca_lag: timedelta
    record: TrustRecord = field(default_factory=TrustRecord)
    ca: HeldCa | None = None
    bundle: Marks = frozenset()
    noticed: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Client:
    """One workload: its last answer, and when it comes back."""

    every: timedelta
    life: timedelta
    roots: Marks = frozenset()
    until: datetime = NOW
    due: datetime = NOW
    turn: int = 0


@dataclass(slots=True)
class Namespace:
    """One ConfigMap, and for how long it has not been what it should be."""

    delay: int
    held: Marks | None = None
    behind: int = 0


class World:
    """All of it."""

    def __init__(self, scene: Scene, offline: Path) -> None:
        self.scene = scene
        self.clock = FakeClock()
        self.fate = Fate()
        self.store = DyingStore(self.fate, self.clock)
        # As the application has it.
        self.policy = TrustPolicy(grace=Trust().settle if scene.delays else timedelta(0))
        self.place = DyingPlace(self.fate, self.clock, _FIRST)
        self.replicas = [Replica(a * MINUTE, b * MINUTE) for a, b in scene.lags]
        self.leader = 0
        self.namespaces = {f"ns-{number}": Namespace(delay) for number, delay in enumerate(scene.delays)}
        self.clients = [Client(e * MINUTE, li * MINUTE, turn=n) for n, (e, li) in enumerate(scene.clients)]
        self.leaves: dict[str, datetime] = {}
        self.steps = Steps(self.store, self.rotator(offline), self.gate(), self.clock)
        for _ in range(scene.longest + max((0, *scene.delays)) + 2):
            self.tick()

    def rotator(self, offline: Path) -> HandsOnPlace:
        """The CA's hands."""
        return HandsOnPlace(self.place, self.clock, offline)

    def gate(self) -> Gate:
        """As the application puts it together."""
        time = TimeGate(self.scene.waits)
        return AllGates((NamespaceGate(self._lacking), time)) if self.namespaces else time

    @property
    def rotation(self) -> Rotation | None:
        """The one that is written down."""
        return self.store.history.now.rotation

    def lacking(self, mark: str) -> list[str]:
        """Namespaces that do not hold a root."""
        return [name for name, n in self.namespaces.items() if mark not in (n.held or frozenset())]

    async def _lacking(self, mark: str) -> Sequence[str]:
        return self.lacking(mark)

    def tick(self) -> None:
        """Let a minute go by."""
        self.clock.advance(MINUTE)
        for replica in self.replicas:
            self._notice(replica)
        if self.scene.delays:
            self._distribute(self.replicas[self.leader])
            for number, replica in enumerate(self.replicas):
                self._remember(replica, number == self.leader)
        for client in self.clients:
            if client.due <= self.clock.now():
                self._answer(client)
        self.check()

    def restart(self, number: int) -> None:
        """A process begins anew, and reads before it answers."""
        fresh = replace(self.replicas[number], record=TrustRecord(), ca=None)
        self.replicas[number] = fresh
        self._catch_up(fresh)

    def appear(self, delay: int) -> None:
        """A namespace is made; for a while it has no ConfigMap, and no pod of it starts."""
        self.namespaces[f"ns-{len(self.namespaces)}"] = Namespace(delay)

    def overwrite(self) -> None:
        """Somebody writes old roots over ConfigMaps, as istiod does; while the new one signs that breaks a mesh."""
        if self.rotation is not None and self.rotation.phase is Phase.TRUSTING:
            for namespace in self.namespaces.values():
                namespace.held, namespace.behind = frozenset(map(fingerprint, self.rotation.old)), 0

    def lead(self, number: int) -> None:
        """Another one leads; it reads before it writes."""
        self.leader = number
        self._catch_up(self.replicas[number])

    def _catch_up(self, replica: Replica) -> None:
        replica.noticed = (self.store.history.newest, self.place.history.newest)
        self._notice(replica)

    def _notice(self, replica: Replica) -> None:
        """As ``LiveBundle`` does; the backend keeps a CA that its files have replaced by half of one."""
        now, (record, files) = self.clock.now(), replica.noticed
        record = max(record, self.store.history.version(now - replica.record_lag))
        files = max(files, self.place.history.version(now - replica.ca_lag))
        replica.noticed = (record, files)
        replica.ca = _usable(self.place.history[files]) or replica.ca
        shown = {} if replica.ca is None else {"local": IssuerInfo(replica.ca.bundle.roots, configured=True)}
        roots, _ = vouched(shown, self.policy, now)
        noted = replica.record.merged(self.store.history[record]).vouched(roots)
        replica.record = noted.pruned(now) if shown else noted
        replica.bundle = frozenset(map(fingerprint, compose(roots, replica.record, (), self.policy, now).bundle.roots))

    def _distribute(self, leader: Replica) -> None:
        for namespace in self.namespaces.values():
            namespace.behind = namespace.behind + 1 if namespace.held != leader.bundle else 0
            if namespace.behind > namespace.delay:
                namespace.held, namespace.behind = leader.bundle, 0

    def _remember(self, replica: Replica, leads: bool) -> None:
        """As ``SharedRecord`` does; whoever has not seen the newest is refused by its version.

        Times are left to the leader: noted by all at every minute they would keep a slow leader from ever writing.
        """
        stored = self.store.history.now
        if replica.noticed[0] != self.store.history.newest:
            return
        wanted = replica.record.merged(stored)
        if leads:
            wanted = wanted.pruned(self.clock.now())
            if all(n.held == replica.bundle for n in self.namespaces.values()):
                wanted = wanted.published(replica.bundle, self.clock.now())
        if wanted != stored and (leads or wanted.roots.keys() != stored.roots.keys()):
            self.store.history.put(wanted)
            replica.noticed = (self.store.history.newest, replica.noticed[1])

    def _answer(self, client: Client) -> None:
        now = self.clock.now()
        client.turn += 1
        for offset in range(len(self.replicas)):
            replica = self.replicas[(client.turn + offset) % len(self.replicas)]
            if replica.ca is not None:
                mark = _root_of(replica.ca)
                client.roots, client.until, client.due = replica.bundle, now + client.life, now + client.every
                self.leaves[mark] = max(self.leaves.get(mark, now), client.until)
                return

    def check(self) -> None:
        """No living leaf has a root that one of its peers does not hold."""
        now = self.clock.now()
        self.leaves = {mark: until for mark, until in self.leaves.items() if now < until}
        for mark in self.leaves:
            lacking = [n for n, namespace in self.namespaces.items() if mark not in (namespace.held or {mark})]
            assert not lacking, f"a leaf lives under a root that {lacking} do not hold"
            blind = [n for n, c in enumerate(self.clients) if now < c.until and mark not in c.roots]
            assert not blind, f"a leaf lives under a root that clients {blind} were never told of"


def _usable(contents: Contents) -> HeldCa | None:
    return _judged(tuple(sorted((name, contents[name]) for name in contents if name in vars_of_cacerts())))


def vars_of_cacerts() -> tuple[str, ...]:
    """The names that the backend reads."""
    return CACERTS.certificate, CACERTS.key, CACERTS.chain, CACERTS.roots


@cache
def _judged(contents: tuple[tuple[str, bytes], ...]) -> HeldCa | None:
    try:
        return load_ca(Files(CACERTS, dict(contents), None), _JUDGED_AT)
    except (UnusableCa, KeyError):
        return None


@cache
def _mark_of(chain_end: object, roots: tuple[object, ...]) -> str:
    return next(fingerprint(root) for root in roots if issued(chain_end, root))  # type: ignore[arg-type]


def _root_of(ca: HeldCa) -> str:
    return _mark_of(ca.chain[-1], ca.bundle.roots)
