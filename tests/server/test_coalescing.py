"""The same CSR again, over the wire: one signature while it is being made, and for a minute after."""

import threading
from dataclasses import replace

import pytest

from tests.cluster.poll import until
from tests.corpus.build import good_csr
from tests.server.conftest import NewServer
from tests.server.running import Running
from tests.server.scripted import script_of
from tests.server.test_failover import metric

LIMIT = 15.0


@pytest.fixture
def scripted(new_server: NewServer, scripted_type: str) -> Running:
    return new_server(backends={"local": {"type": scripted_type}})


def test_a_retry_gets_the_certificate_of_the_first_try(scripted: Running) -> None:
    """The first try's caller has gone, a second try waits with another: all is one signature."""
    script, gate = script_of(scripted), threading.Event()

    async def held() -> None:
        await scripted.loops.loop.run_in_executor(None, gate.wait, 10.0)

    script.before = held
    call = scripted.good()
    with scripted.client() as one, scripted.client() as two:
        gone, waiting = one.begin(call), two.begin(call)
        until(lambda: script.begun == 1, deadline=LIMIT, what="the first try at the backend")
        until(lambda: metric(scripted, "istio_signer_in_flight") == 2, deadline=LIMIT, what="both to be under way")
        gone.cancel()
        gate.set()
        chain = tuple(waiting.result().cert_chain)
        assert two.send(call).chain == chain
    assert (script.begun, script.cancelled) == (1, 0)
    assert metric(scripted, 'istio_signer_coalesced_total{source="in_flight"}') <= 1
    assert metric(scripted, 'istio_signer_coalesced_total{source="remembered"}') == 1
    line = scripted.audit.await_line(lambda line: "coalesced" in line and line["decision"] == "signed")
    assert (line["coalesced"], line["backend"]) == (True, "local")


def test_nobody_gets_another_ones(scripted: Running) -> None:
    """Another pod with the same CSR, or the same pod with another CSR, gets its own."""
    call = scripted.good()
    other_pod = replace(call, authorization=scripted.good().authorization)
    other_csr = replace(call, csr=good_csr("p256/other"))
    chains = {scripted.send(each).chain[0] for each in (call, other_pod, other_csr, replace(call, ttl=1800))}
    assert len(chains) == 4
    assert script_of(scripted).begun == 4


def test_a_caller_without_a_token_gets_nothing(scripted: Running) -> None:
    """However well the CSR is remembered."""
    call = scripted.good()
    assert scripted.send(call).code == "OK"
    assert scripted.send(replace(call, authorization=())).code == "UNAUTHENTICATED"


def test_a_real_ca_remembers_too(developing: Running) -> None:
    """Keys in memory sign without a task of their own, and remember all the same."""
    call = developing.good()
    assert developing.send(call).chain == developing.send(call).chain
