"""The serving certificate is renewed under constant requests: no handshake fails, no connection is cut."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509

from tests.cluster.poll import until
from tests.e2e.conftest import NewWorkload, StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.stream import BATCH, Stream

pytestmark = pytest.mark.timeout(180)

TTL = "6s"
RENEWALS = 4
RENEWAL_LIMIT = 45.0


def presented(signer: SignerProcess) -> int:
    """The serial number of the certificate that a verified handshake shows now."""
    context = ssl.create_default_context(cafile=str(signer.roots))
    context.set_alpn_protocols(["h2"])
    host, port = signer.grpc.split(":")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def test_several_renewals_under_load(start_signer: StartSigner, new_workload: NewWorkload) -> None:
    workload = new_workload()
    signer = start_signer(serving={"ttl": TTL})
    seen: set[int] = set()

    def renewed() -> bool:
        seen.add(presented(signer))
        return len(seen) > RENEWALS

    kept = Stream(lambda: workload.flood(signer, BATCH))
    fresh = Stream(lambda: workload.flood(signer, BATCH, "-fresh", "-warmup", "-1"))
    with ThreadPoolExecutor() as threads, kept, fresh:
        held = threads.submit(workload.ask, signer, "-hold", "12s")
        until(renewed, deadline=RENEWAL_LIMIT, what=f"{RENEWALS} renewals to be seen", interval=0.3)
        hold = held.result()["hold"]

    for stream in (kept, fresh):
        stream.check()
        assert stream.failures == {}, stream.first_error
        assert stream.sent > BATCH
    assert hold is not None
    assert not hold["disconnected"], hold["reason"]
    assert (hold["goaways"], hold["stream_code"]) == ([], "")
