"""How the proofs are wired: which roots, ages, origins and clusters count for a client certificate; reserved names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from signer.app import callers, remote_wiring
from signer.app.callers import Callers, Memory, build_authenticator, build_callers
from signer.app.policing import Policing
from signer.authn.clusters import ByCluster
from signer.authz.rules import Rule, Rules
from signer.config.model import Config
from signer.core.errors import AuthenticationFailed
from signer.core.globs import Globs
from signer.core.ports import Authenticator
from signer.core.types import Caller, Credentials, Grant
from signer.issue.route import Match, Route, Router
from signer.observe.health import Health
from signer.trust.bundle import PART, LiveBundle
from signer.trust.extras import ExtraRoots, ExtraRule
from tests.support.clock import HOUR, NOW, FakeClock
from tests.support.fakes import CALLER, GRANT, PROFILE, FakeAuthenticator, FakeBackend, credentials
from tests.support.listing import list_into
from tests.support.pki import Ca, key, leaf_extensions, make_ca, make_leaf, spki
from tests.unit.app.test_build import FakeApi
from tests.unit.kube.test_remote_secrets import packed, secret

OURS, FOREIGN = make_ca("ours"), make_ca("federated")
MTLS = {"grpc": "127.0.0.1:0", "mtls": "127.0.0.1:0"}


def _config(**over: Any) -> Config:
    return Config.model_validate({"backends": {"local": {"type": "local"}}, "listen": MTLS, **over})


def _leaf(ca: Ca = OURS) -> bytes:
    private = key("p256/client")
    window = (NOW, NOW + HOUR)
    return Ca(make_leaf(ca, spki(private), leaf_extensions(str(CALLER.identity)), window=window), private).pem


@dataclass
class Desk:
    """A whole authenticator over fakes: clusters ``a`` and, for as long as it is put, ``far``."""

    judge: Authenticator
    clusters: ByCluster
    policing: Policing
    memory: Memory
    clock: FakeClock

    async def by_certificate(self, leaf: bytes) -> Caller:
        """Show it, and nothing else."""
        return await self.judge.authenticate(Credentials(None, "", (leaf,)))

    def issued(self, leaf: bytes) -> None:
        """Note that this process has issued it, to ``CALLER``."""
        self.memory.issued(GRANT, x509.load_pem_x509_certificate(leaf).serial_number)


async def _desk(place: Path, **over: Any) -> Desk:
    (place / "roots.pem").write_bytes(FOREIGN.pem)
    clock, config = FakeClock(), _config(**over)
    extras = ExtraRoots([ExtraRule(place / "roots.pem")], clock)
    bundle = LiveBundle([FakeBackend("local", OURS)], Health((PART,)), clock, extras=extras, interval=3600.0)
    await bundle.start()
    await bundle.refresh()
    assert len(bundle.current().roots) == 2
    clusters, memory = ByCluster("a", {"a": FakeAuthenticator()}), Memory.empty(clock)
    policing = Policing(Router(()), Rules(), lambda _: False)
    judge = build_authenticator(config, Callers(clusters), bundle.own, policing, memory)
    return Desk(judge, clusters, policing, memory, clock)


async def test_only_roots_of_our_own_prove_anybody(tmp_path: Path) -> None:
    """A federated mesh's CA can sign any name, ours too."""
    desk = await _desk(tmp_path)
    assert (await desk.by_certificate(_leaf())).identity == CALLER.identity
    with pytest.raises(AuthenticationFailed, match="client certificate: "):
        await desk.by_certificate(_leaf(FOREIGN))


async def test_the_age_of_the_last_token(tmp_path: Path) -> None:
    """As configured; a token starts it anew."""
    desk, leaf = await _desk(tmp_path, authentication={"certificate_age": "10m"}), _leaf()
    await desk.judge.authenticate(credentials())
    desk.clock.advance(600)
    await desk.by_certificate(leaf)
    desk.clock.advance(1)
    with pytest.raises(AuthenticationFailed, match="601 s ago, renewal is allowed for 600 s"):
        await desk.by_certificate(leaf)
    await desk.judge.authenticate(credentials())
    await desk.by_certificate(leaf)


async def test_without_an_age_any_will_do(tmp_path: Path) -> None:
    desk = await _desk(tmp_path)
    await desk.judge.authenticate(credentials())
    desk.clock.advance(3000)
    await desk.by_certificate(_leaf())


async def test_what_is_known_of_a_certificate(tmp_path: Path) -> None:
    """Its pod and its cluster, so that what is said of those holds for renewals; nothing of others'."""
    desk, leaf = await _desk(tmp_path, clusters=[{"id": "Kubernetes"}, {"id": "b"}]), _leaf()
    desk.clusters.put("Kubernetes", FakeAuthenticator())
    desk.issued(leaf)
    known, unknown = await desk.by_certificate(leaf), await desk.by_certificate(_leaf())
    assert CALLER.pod is not None
    assert (known.cluster, known.issued_to) == ("Kubernetes", CALLER.pod.uid)
    assert (unknown.cluster, unknown.issued_to) == ("", None)


ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "one": ({"clusters": [{"id": "a"}]}, "a"),
    "two": ({"clusters": [{"id": "a"}, {"id": "b"}]}, ""),
    "remote secrets": ({"clusters": [{"id": "a"}], "remote_secrets": {"enabled": True}}, ""),
}


@pytest.mark.parametrize(("over", "cluster"), ALONE.values(), ids=ALONE)
async def test_the_cluster_of_a_certificate_that_is_not_known(
    over: dict[str, Any], cluster: str, tmp_path: Path
) -> None:
    """Only where there is no other that it could be of."""
    assert (await (await _desk(tmp_path, **over)).by_certificate(_leaf())).cluster == cluster


async def test_a_cluster_that_is_gone_renews_nothing(tmp_path: Path) -> None:
    """Its tokens are refused, so are the certificates that they were good for."""
    desk, leaf = await _desk(tmp_path), _leaf()
    desk.clusters.put("Kubernetes", FakeAuthenticator())
    desk.issued(leaf)
    await desk.by_certificate(leaf)
    desk.clusters.drop("Kubernetes")
    with pytest.raises(AuthenticationFailed, match="issued in cluster 'Kubernetes', which is there no more"):
        await desk.by_certificate(leaf)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Who follows the remote secrets, once that was built; nothing is connected."""
    made: list[Any] = []

    class Watch:
        fault = ""

        async def run(self) -> None:
            """Never."""

    def watch_secrets(api: object, namespace: str, follower: object) -> Watch:
        made.append(follower)
        return Watch()

    async def connect(*_: object) -> FakeApi:
        return FakeApi()

    monkeypatch.setattr(remote_wiring, "watch_secrets", watch_secrets)
    monkeypatch.setattr(callers, "connect", connect)
    return made


@asynccontextmanager
async def _built(config: Config) -> AsyncIterator[Callers]:
    built = await build_callers(config, FakeClock(), lambda _: None, None)
    try:
        yield built
    finally:
        for close in built.closers:
            await close()


@pytest.mark.parametrize("name", ["a", "b", "old-a", "old-b"])
async def test_no_secret_takes_a_configured_name(name: str, secrets: list[Any]) -> None:
    """Neither an id nor an alias: whoever may write Secrets would prove callers of that cluster."""
    clusters = [{"id": "a", "aliases": ["old-a"]}, {"id": "b", "aliases": ["old-b"]}]
    async with _built(_config(clusters=clusters, remote_secrets={"enabled": True})):
        (follower,) = secrets
        list_into(follower, [secret("one", {name: packed(1)})])
        await follower.catch_up()
        assert follower.faults == (f"secret 'one': cluster {name!a}: the configuration has this id",)
        assert follower._good == {}


async def test_a_renewed_certificate_of_unknown_origin_renews_again(tmp_path: Path) -> None:
    """What is not known stays so: it is no cluster that is gone."""
    desk, first, second = await _desk(tmp_path, clusters=[{"id": "a"}, {"id": "b"}]), _leaf(), _leaf()
    caller = await desk.by_certificate(first)
    desk.memory.issued(Grant(caller.identity, caller), x509.load_pem_x509_certificate(second).serial_number)
    assert (await desk.by_certificate(second)).cluster == ""


async def test_what_a_certificate_does_not_tell_is_not_guessed(tmp_path: Path) -> None:
    """Where routes, rules or roots ask for it, unless this process has issued the certificate; from call to call."""
    desk, leaf = await _desk(tmp_path, clusters=[{"id": "Kubernetes"}, {"id": "b"}]), _leaf()
    desk.clusters.put("Kubernetes", FakeAuthenticator())
    await desk.by_certificate(leaf)
    desk.policing.rules = Rules([Rule("far", allow=False, clusters=Globs(("far",)))])
    with pytest.raises(AuthenticationFailed, match="rule 'far' looks at the cluster"):
        await desk.by_certificate(leaf)
    desk.policing.rules, desk.policing.roots_differ = Rules(), lambda namespace: namespace == "payments"
    with pytest.raises(AuthenticationFailed, match=r"trust\.roots look at the cluster"):
        await desk.by_certificate(leaf)
    desk.policing.roots_differ = lambda namespace: namespace == "other"
    await desk.by_certificate(leaf)
    desk.policing.router = Router([Route("gold", Match(pod_labels=(("tier", Globs(("gold",))),)), (), PROFILE)])
    with pytest.raises(AuthenticationFailed, match="route 'gold' looks at the pod's labels"):
        await desk.by_certificate(leaf)
    desk.policing.router = Router([Route("b", Match(clusters=Globs(("b",))), (), PROFILE)])
    with pytest.raises(AuthenticationFailed, match="route 'b' looks at the cluster"):
        await desk.by_certificate(leaf)
    desk.issued(leaf)
    desk.policing.roots_differ = lambda _: True
    assert (await desk.by_certificate(leaf)).cluster == "Kubernetes"
