"""The ConfigMaps of a real API server: written, kept, left alone."""

import asyncio
import time
from pathlib import Path

import pytest

from signer.core.chain import TrustBundle
from signer.trust.distribution.objects import KEY
from tests.cluster.api import Kube
from tests.distribution.scene import NAME, Field, Switchable, bundle, until


@pytest.fixture
def place(kube: Kube, tmp_path: Path) -> Field:
    """Namespaces of the test's own."""
    return Field.of(kube, tmp_path)


async def test_old_and_new_namespaces(place: Field) -> None:
    """A new one has its roots within a second: its first pod waits for them."""
    wanted = bundle("a", "b")
    first = place.namespace()
    async with place.distributing(wanted) as scene:
        await until(lambda: place.text(first) == wanted.pem, 5, "the old namespace")
        before = time.monotonic()
        second = await asyncio.to_thread(place.namespace)
        await until(lambda: place.text(second) == wanted.pem, 5, "the new namespace")
        assert time.monotonic() - before < 1.0
        await until(lambda: scene.distributor.complete, 5, "completeness")
        await until(lambda: scene.tally.results == {"written": 2}, 2, "two writes")
    labels = place.map(first)["metadata"]["labels"]  # type: ignore[index]
    assert labels["istio.io/config"] == "true"


async def test_what_others_wrote_there_stays_and_drift_is_repaired(place: Field) -> None:
    wanted, name = bundle("a"), place.namespace()
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "labels": {"team": "x"}}}
    place.kube.apply({**theirs, "data": {"other": "stays", KEY: "not ours"}}, name)
    async with place.distributing(wanted):
        await until(lambda: place.text(name) == wanted.pem, 5, "the roots")
        found = place.map(name)
        assert found is not None
        assert (found["data"]["other"], found["metadata"]["labels"]["team"]) == ("stays", "x")
        found["data"][KEY] = "drift"
        path = place.kube.path("v1", "ConfigMap", NAME, name)
        await asyncio.to_thread(place.kube.call, "PUT", path, found)
        await until(lambda: place.text(name) == wanted.pem, 1, "the repair")
        await asyncio.to_thread(place.kube.delete, "v1", "ConfigMap", NAME, name)
        await until(lambda: place.text(name) == wanted.pem, 1, "the new one")


async def test_a_changed_bundle_goes_everywhere_and_costs_a_write_each(place: Field) -> None:
    names = [place.namespace() for _ in range(8)]
    first, second = bundle("a"), bundle("b")
    async with place.distributing(first) as scene:
        await until(lambda: scene.distributor.complete, 5, "the first")
        scene.change(second)
        assert not scene.distributor.complete
        await until(lambda: {place.text(n) for n in names} == {second.pem}, 5, "the second")
        await until(lambda: scene.distributor.complete, 5, "completeness")
        await until(lambda: scene.tally.results == {"written": 16}, 2, "a write each, twice")


async def test_a_restart_writes_only_what_is_missing(place: Field) -> None:
    names, wanted = [place.namespace() for _ in range(4)], bundle("a")
    async with place.distributing(wanted) as scene:
        await until(lambda: scene.distributor.complete, 5, "the first run")
    late = place.namespace()
    async with place.distributing(wanted) as scene:
        await until(lambda: scene.distributor.complete, 5, "the second run")
        await until(lambda: scene.tally.results == {"written": 1}, 2, "one write")
    assert {place.text(n) for n in [*names, late]} == {wanted.pem}


async def test_namespaces_that_end_are_left_alone(place: Field) -> None:
    ending, wanted = place.namespace(), bundle("a")
    place.kube.delete("v1", "Namespace", ending)
    async with place.distributing(wanted) as scene:
        await until(lambda: scene.distributor.complete, 5, "completeness")
        assert scene.tally.results == {}
        later = await asyncio.to_thread(place.namespace)
        await until(lambda: place.text(later) == wanted.pem, 5, "the other one")
        await asyncio.to_thread(place.kube.delete, "v1", "Namespace", later)
        scene.change(bundle("b"))
        await until(lambda: scene.distributor.complete, 5, "completeness")
    assert place.text(ending) is None


async def test_before_any_root_is_known_nothing_is_written(place: Field) -> None:
    """An empty ConfigMap would have every pod trust nobody."""
    name, wanted = place.namespace(), bundle("a")
    async with place.distributing(TrustBundle.of(())) as scene:
        await asyncio.sleep(1.0)
        assert scene.tally.results == {}
        scene.change(wanted)
        await until(lambda: place.text(name) == wanted.pem, 2, "the roots")


async def test_who_does_not_lead_writes_nothing(place: Field) -> None:
    name, wanted = place.namespace(), bundle("a")
    leads = Switchable(leads=False)
    async with place.distributing(wanted, leads) as scene:
        await asyncio.sleep(1.5)
        assert scene.tally.results == {}
        leads.leads = True
        await until(lambda: place.text(name) == wanted.pem, 2, "the roots")


async def test_a_late_leader_overwrites_nothing_newer(place: Field) -> None:
    """One that has not seen another's write yet: the version that it knows is not the one that is there."""
    name, old, new = place.namespace(), bundle("old"), bundle("new")
    async with place.distributing(old) as late:
        await until(lambda: late.distributor.complete, 5, "the first")
        held = late.distributor._ledger._places[name].held
        assert held is not None
        async with place.distributing(new) as leader:
            late.leads.leads = False
            await until(lambda: leader.distributor.complete, 5, "the newer one")
            pause = await late.distributor._write(name, held)
        assert pause > 0
        assert late.tally.results["conflict"] == 1
    assert place.text(name) == new.pem


async def test_two_writers_do_not_chase_each_other(place: Field, caplog: pytest.LogCaptureFixture) -> None:
    name = place.namespace()
    async with place.distributing(bundle("a")) as one, place.distributing(bundle("b")) as other:
        await asyncio.sleep(4)
        writes = one.tally.results.get("written", 0) + other.tally.results.get("written", 0)
        assert writes <= 12
    assert "somebody keeps overwriting" in caplog.text
    assert name in caplog.text


async def test_another_writer_is_named(place: Field, caplog: pytest.LogCaptureFixture) -> None:
    """As the API server knows it, so that whoever reads the line knows whom to stop."""
    name = place.namespace()
    path = f"{place.kube.path('v1', 'ConfigMap', NAME, name)}?fieldManager=pilot-discovery"

    def overwrite() -> bool:
        if place.text(name) == bundle_of_a.pem:
            place.kube.call("PUT", path, {**place.map(name), "data": {KEY: "theirs"}})  # type: ignore[dict-item]
        return "field managers: pilot-discovery" in caplog.text

    bundle_of_a = bundle("a")
    async with place.distributing(bundle_of_a):
        for _ in range(100):
            if await asyncio.to_thread(overwrite):
                break
            await asyncio.sleep(0.1)
    assert "somebody keeps overwriting istio-ca-root-cert in" in caplog.text
    assert "field managers: pilot-discovery" in caplog.text


async def test_a_missing_right_is_said_once(place: Field, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = place.namespace()
    place.kube.create_service_account(home, "nobody")
    poor = Field(place.kube, place.kube.write_kubeconfig(tmp_path / "nobody", home, "nobody"), place.label)
    async with poor.distributing(bundle("a")):
        await asyncio.sleep(1.0)
    assert caplog.text.count("cannot list resource") == 1
