"""CertificateRequests signed by real controllers of cert-manager."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from backends.cert_manager.backend import CertManagerBackend
from backends.cert_manager.request import Order, manifest
from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from backends.kube_requests import batches, service
from backends.kube_requests.kind import BACKEND, MANAGED_BY, MANAGER
from backends.kube_requests.text import derived_name
from signer.core.errors import BackendRefused, BackendTimeout, BackendUnavailable
from signer.core.events import BackendEvent
from signer.core.spec import BackendContext
from signer.core.types import SigningRequest
from tests.cluster.api import Kube
from tests.cluster.client import ApiError, Manifest
from tests.cluster.poll import until
from tests.cluster.rbac import grant
from tests.kube_backends.scene import CLOCK, IDENTITY, REQUESTS, access, left, make_issuer, proven, request, running
from tests.unit.backends.intermediate.test_backend import Counting

NewBackend = Callable[..., CertManagerBackend]


@pytest.fixture
def meter() -> Counting:
    """Counts what the backends of a test tell."""
    return Counting()


@pytest.fixture
def new_backend(kube: Kube, namespace: str, tmp_path: Path, meter: Counting) -> NewBackend:
    """A function that makes a backend for the Issuer `mesh` of the test's namespace, with the least rights."""
    make_issuer(kube, namespace)
    kubeconfig = access(kube, tmp_path, namespace)

    def make(issuer: IssuerRef = IssuerRef("mesh"), name: str = "cm", **more: object) -> CertManagerBackend:  # noqa: B008
        settings = CertManagerSettings(issuer, namespace, kubeconfig=kubeconfig, **more)  # type: ignore[arg-type]
        return CertManagerBackend(settings, BackendContext(name, CLOCK, meter=meter))

    return make


async def nothing_left(kube: Kube, namespace: str, deadline: float = 15.0) -> None:
    """Wait until no request is left."""
    await asyncio.to_thread(until, lambda: not left(kube, namespace), deadline=deadline, what="no request to be left")


@pytest.mark.parametrize("key_type", ["p256", "p384", "rsa2048"])
async def test_leaves_pass_the_validator(new_backend: NewBackend, key_type: str) -> None:
    backend = new_backend()
    async with running(backend):
        await proven(backend, request(key_type))


async def test_a_cluster_issuer(kube: Kube, namespace: str, new_backend: NewBackend) -> None:
    make_issuer(kube, namespace, namespace, "ClusterIssuer")
    backend = new_backend(IssuerRef(namespace, "ClusterIssuer"))
    async with running(backend):
        await proven(backend, request())


async def test_what_is_done_is_deleted(
    kube: Kube, namespace: str, new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "OPEN_SECONDS", 0.5)
    backend = new_backend()
    async with running(backend):
        await asyncio.gather(*(proven(backend, request()) for _ in range(10)))
        assert len(left(kube, namespace)) == 10
        await nothing_left(kube, namespace)


async def test_the_end_of_the_process_leaves_nothing(kube: Kube, namespace: str, new_backend: NewBackend) -> None:
    backend = new_backend()
    async with running(backend):
        await proven(backend, request())
    assert left(kube, namespace) == []


async def test_the_identity_is_annotated_for_approvers(kube: Kube, namespace: str, new_backend: NewBackend) -> None:
    backend = new_backend(annotations={"team": "mesh"}, preserve=True)
    async with running(backend):
        await proven(backend, request())
    (name,) = left(kube, namespace)
    stored = kube.get("cert-manager.io/v1", "CertificateRequest", name, namespace)
    annotations = stored["metadata"]["annotations"]
    assert annotations["istio.cert-manager.io/identities"] == str(IDENTITY)
    assert annotations["team"] == "mesh"


async def test_an_issuer_that_is_not_there_is_a_timeout_that_says_so(new_backend: NewBackend) -> None:
    backend = new_backend(IssuerRef("absent"), timeout=timedelta(seconds=2))
    async with running(backend):
        with pytest.raises(BackendTimeout, match="absent"):
            await backend.sign(request())


def denied(kube: Kube, namespace: str, name: str) -> bool:
    """Deny a request as an issuer does; False where cert-manager's own controllers wrote at the same time."""
    path = kube.path("cert-manager.io/v1", "CertificateRequest", name, namespace)
    stored = kube.call("GET", path)
    ready = {"type": "Ready", "status": "False", "reason": "Denied", "message": "not for you"}
    ready["lastTransitionTime"] = stored["metadata"]["creationTimestamp"]
    others = [c for c in stored.get("status", {}).get("conditions", []) if c["type"] != "Ready"]
    stored["status"] = {**stored.get("status", {}), "conditions": [*others, ready]}
    try:
        kube.call("PUT", f"{path}/status", stored)
    except ApiError as error:
        if error.status != 409:
            raise
        return False
    return True


async def test_a_denial_is_a_refusal(kube: Kube, namespace: str, new_backend: NewBackend) -> None:
    backend = new_backend(IssuerRef("absent"), timeout=timedelta(seconds=10))
    async with running(backend):
        signing = asyncio.create_task(backend.sign(request()))
        (name,) = await asyncio.to_thread(until, lambda: left(kube, namespace), deadline=10, what="the request")
        await asyncio.to_thread(
            until, lambda: denied(kube, namespace, name), deadline=10, what="the denial to be stored"
        )
        with pytest.raises(BackendRefused, match="'Denied' 'not for you'"):
            await signing


async def test_a_retry_adopts_the_first_trys_request_here_and_elsewhere(
    kube: Kube, namespace: str, new_backend: NewBackend, meter: Counting
) -> None:
    asked = request()
    first, second = new_backend(IssuerRef("late")), new_backend(IssuerRef("late"))
    async with running(first), running(second):
        signing = asyncio.create_task(first.sign(asked))
        await asyncio.to_thread(until, lambda: left(kube, namespace), deadline=10, what="the request")
        signing.cancel()
        again = asyncio.create_task(first.sign(asked))
        elsewhere = asyncio.create_task(second.sign(asked))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(make_issuer, kube, namespace, "late")
        serials = {(await task).leaf.serial_number for task in (again, elsewhere)}
        assert (len(serials), len(left(kube, namespace))) == (1, 1)
    assert meter.events.count(BackendEvent.OBJECT_ADOPTED) == 2


def forged(asked: SigningRequest, labels: dict[str, str]) -> Manifest:
    """Somebody else's question under the name of ours."""
    name = derived_name("cm", str(IDENTITY), asked.csr.parsed.digest, "cert-manager.io", "Issuer", "mesh", "3600")
    order = Order(request().csr.parsed.request, timedelta(hours=1), ["client auth"], IssuerRef("mesh"))
    made = manifest(order, labels, {})
    return {**made, "metadata": {**made["metadata"], "name": name}}


async def test_another_question_under_our_name_makes_way(
    kube: Kube, namespace: str, new_backend: NewBackend, meter: Counting
) -> None:
    asked, backend = request(), new_backend()
    kube.apply(forged(asked, {MANAGED_BY: MANAGER, BACKEND: "cm"}), namespace)
    async with running(backend):
        await proven(backend, asked)
    assert BackendEvent.OBJECT_ADOPTED not in meter.events


async def test_an_object_that_is_not_ours_is_left_alone_and_said(
    kube: Kube, namespace: str, new_backend: NewBackend
) -> None:
    asked, backend = request(), new_backend()
    (stored,) = kube.apply(forged(asked, {}), namespace)
    async with running(backend):
        with pytest.raises(BackendUnavailable, match="exists and is not ours"):
            await backend.sign(asked)
    assert left(kube, namespace) == [stored["metadata"]["name"]]


async def test_what_a_crash_left_is_swept(
    kube: Kube, namespace: str, new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch, meter: Counting
) -> None:
    monkeypatch.setattr(service, "ORPHAN_SECONDS", 1.0)
    crashed = new_backend(preserve=True)
    async with running(crashed):
        await asyncio.gather(*(proven(crashed, request()) for _ in range(5)))
    assert len(left(kube, namespace)) == 5
    async with running(new_backend()):
        await nothing_left(kube, namespace)
    assert meter.events.count(BackendEvent.ORPHAN_DELETED) == 5


async def test_others_requests_are_never_touched(
    kube: Kube, namespace: str, new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "ORPHAN_SECONDS", 0.5)
    other = new_backend(name="other", preserve=True)
    async with running(other):
        await proven(other, request())
    backend = new_backend()
    async with running(backend):
        await proven(backend, request())
        await asyncio.to_thread(until, lambda: len(left(kube, namespace)) == 1, deadline=15, what="ours to go")
        await asyncio.sleep(2.0)
        assert len(left(kube, namespace)) == 1


async def test_without_the_right_it_is_unavailable_and_heals_when_given(
    kube: Kube, namespace: str, new_backend: NewBackend
) -> None:
    backend = new_backend()
    async with running(backend):
        await proven(backend, request())
        reading = {**REQUESTS, "verbs": ["list", "watch"]}
        await asyncio.to_thread(grant, kube, namespace, "signer", (reading,))

        async def refused() -> bool:
            try:
                await backend.sign(request())
            except BackendUnavailable as error:
                return "403" in error.reason
            return False

        for _ in range(50):
            if await refused():
                break
            await asyncio.sleep(0.1)
        with pytest.raises(BackendUnavailable, match=r"create certificaterequests.*HTTP 403 Forbidden"):
            await backend.sign(request())
        await asyncio.to_thread(grant, kube, namespace, "signer", (REQUESTS,))
        await proven(backend, request())


async def test_a_config_map_changes_the_issuer_at_run_time(
    kube: Kube, namespace: str, tmp_path: Path, new_backend: NewBackend
) -> None:
    reading = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["runtime"], "verbs": ["list", "watch"]}
    grant(kube, namespace, "signer", (REQUESTS, reading))
    make_issuer(kube, namespace, "second")
    backend = new_backend(runtime_config_map=ConfigMapRef("runtime", namespace))
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "runtime"}}
    async with running(backend):
        before = (await proven(backend, request())).leaf.issuer
        kube.apply({**config, "data": {"issuer-name": "second", "issuer-kind": "Issuer"}}, namespace)
        await _signed_by(backend, "second root")
        kube.delete("v1", "ConfigMap", "runtime", namespace)
        await _signed_by(backend, "mesh root")
        assert (await proven(backend, request())).leaf.issuer == before


async def test_what_the_config_map_says_is_known_once_the_backend_has_started(
    kube: Kube, namespace: str, new_backend: NewBackend
) -> None:
    """A server's own certificate is asked for before anything runs."""
    reading = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["runtime"], "verbs": ["list", "watch"]}
    grant(kube, namespace, "signer", (REQUESTS, reading))
    make_issuer(kube, namespace, "second")
    data = {"issuer-name": "second", "issuer-kind": "Issuer"}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "runtime"}, "data": data}, namespace)
    backend = new_backend(runtime_config_map=ConfigMapRef("runtime", namespace))
    await backend.start()
    assert "second root" in (await proven(backend, request())).leaf.issuer.rfc4514_string()
    await backend.close()


async def test_without_the_right_to_the_config_map_nothing_is_signed(namespace: str, new_backend: NewBackend) -> None:
    """The configured issuer may be another CA than the one that signs now."""
    backend = new_backend(runtime_config_map=ConfigMapRef("runtime", namespace))
    async with running(backend):
        with pytest.raises(BackendUnavailable, match=r"it has not been read yet .*HTTP 403"):
            await backend.sign(request())


async def _signed_by(backend: CertManagerBackend, name: str) -> None:
    for _ in range(50):
        if name in (await proven(backend, request())).leaf.issuer.rfc4514_string():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"nothing was signed by {name}")


async def test_the_ca_is_replaced_under_load_and_nothing_fails(
    kube: Kube, namespace: str, new_backend: NewBackend
) -> None:
    backend = new_backend()
    issuers: set[int] = set()
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await proven(backend, request())
            issuers.add((await backend.issuer()).chain[0].serial_number)

    async with running(backend):
        work = [asyncio.create_task(load()) for _ in range(4)]
        await asyncio.sleep(1.0)
        await asyncio.to_thread(make_issuer, kube, namespace)
        await asyncio.sleep(3.0)
        stop.set()
        await asyncio.gather(*work)
        assert len((await backend.issuer()).roots) == 2
    assert len(issuers) == 2
