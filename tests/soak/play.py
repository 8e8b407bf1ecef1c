"""The play: many leaf renewals, serving certificates, intermediates, a root rotation, both signers restarted."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import Kube
from tests.e2e.balancer import Balancer
from tests.mesh.credential import Party
from tests.mesh.pair import MeshPair
from tests.soak.scene import Pace, Place, Pod, Renewal, Replica, eventually, rotate, served_serial


@dataclass(frozen=True, slots=True)
class Seen:
    """What the play has shown.

    Attributes:
        sent: Requests from Envoy to Envoy.
        failures: Those that failed.
        renewals: Answers to both sides.
        renewal_failures: Renewals that gave no certificate.
        issuers: Signing certificates that signed for both sides.
        serving: Serving certificates that were shown.
        roots: How many roots the namespace held at the start, and after each start and end of a rotation.
    """

    sent: int
    failures: list[str]
    renewals: int
    renewal_failures: list[str]
    issuers: int
    serving: int
    roots: list[int]


def play(kube: Kube, folder: Path, pace: Pace, rounds: int = 1) -> Seen:
    """Run everything, with as many root rotations as there are rounds."""
    place = Place(kube, folder, pace)
    config = place.prepare()
    namespace = place.namespace()
    roots = folder / "ca" / "root-cert.pem"
    with ExitStack() as running:
        one = running.enter_context(Replica(folder / "one", config, roots))
        other = running.enter_context(Replica(folder / "other", config, roots))
        balancer = running.enter_context(Balancer([one, other]))
        front = Pod(kube, namespace, "front", "agent", folder / "front", balancer)
        stock = Pod(kube, namespace, "stock", "ztunnel", folder / "stock", balancer)
        eventually(lambda: bool(front.roots()), 15, "the roots in the namespace")
        client = Party(front.spiffe_id, stock.spiffe_id, front.obtain())
        pair = running.enter_context(
            MeshPair(client, Party(stock.spiffe_id, front.spiffe_id, stock.obtain()), folder / "mesh")
        )
        load = running.enter_context(pair.constant_load(rate=40, seconds=24 * 3600))
        running.enter_context(Renewal(front, pair, "client", pace.leaf))
        running.enter_context(Renewal(stock, pair, "server", pace.leaf))
        load.wait_for(20)
        serving = {served_serial(one, front.roots())}
        counts = [front.roots().count("BEGIN")]
        for number in range(rounds):
            rotate(config, "start")
            eventually(lambda: front.roots().count("BEGIN") == 2, 15, "both roots in the namespace")
            counts.append(front.roots().count("BEGIN"))
            _restart(running, balancer, one, one := Replica(folder / f"one-{number}", config, roots))
            rotate(config, "advance", "--wait", seconds=60 + 6 * pace.leaf)
            before = front.issuers() | stock.issuers()
            serving |= {served_serial(one, front.roots()), served_serial(other, front.roots())}
            eventually(lambda b=before: bool(front.issuers() - b), 60 + pace.leaf, "a leaf of the new issuer")  # type: ignore[misc]
            time.sleep(pace.calm)
            _restart(running, balancer, other, other := Replica(folder / f"other-{number}", config, roots))
            rotate(config, "advance", "--wait", seconds=120 + 6 * (pace.leaf + pace.intermediate))
            eventually(lambda: front.roots().count("BEGIN") == 1, 15, "the new root alone in the namespace")
            counts.append(front.roots().count("BEGIN"))
            serving |= {served_serial(one, front.roots()), served_serial(other, front.roots())}
            time.sleep(pace.leaf)
            load.wait_for(20)
    return Seen(
        sent=load.sent,
        failures=load.failures,
        renewals=len(front.chains) + len(stock.chains),
        renewal_failures=[*front.failures, *stock.failures],
        issuers=len(front.issuers() | stock.issuers()),
        serving=len(serving),
        roots=counts,
    )


def _restart(running: ExitStack, balancer: Balancer, before: Replica, after: Replica) -> None:
    """One more stands up, then the old one is told to end; what it works on it finishes."""
    running.enter_context(after)
    balancer.replace(before, after)
    before.terminate()
