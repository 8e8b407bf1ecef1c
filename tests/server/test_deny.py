"""The deny list of a server at work: a token that was good a moment ago, refused once the file has changed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from signer.core.deny import key_digest
from tests.cluster.poll import until
from tests.corpus.build import URI, good_csr, parsed_csr
from tests.server import cas
from tests.server.calls import Call, Client, bearer
from tests.server.conftest import NewServer
from tests.server.loop import LoopThread
from tests.server.review import Review, reviewing
from tests.server.running import Running
from tests.server.verdicts import Marks, check_success, refused

NOBODY = b"[]\n"
LIMIT = 15.0


@dataclass
class Place:
    """A mounted ConfigMap with the list."""

    directory: Path

    def write(self, text: bytes) -> Path:
        """Swap it as the kubelet does."""
        return cas.mount(self.directory, {"deny.yaml": text}) / "deny.yaml"

    def change(self, server: Running, text: bytes) -> None:
        """Swap it, and wait until the server says that it has it."""
        mark = server.log.size()
        self.write(text)
        server.log.await_line(lambda line: "deny list in use" in str(line["message"]), mark, LIMIT)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Denies nobody."""
    made = Place(tmp_path / "deny")
    made.write(NOBODY)
    return made


@pytest.fixture
def server(loops: LoopThread, review: Review, place: Place, tmp_path: Path) -> Iterator[Running]:
    """Asks the real API server."""
    with reviewing(loops, tmp_path / "server", review, deny={"file": str(place.directory / "deny.yaml")}) as at_work:
        yield at_work


def succeeds(server: Running, client: Client, call: Call) -> dict[str, Any]:
    """Make a good call, and return its audit line."""
    marks = Marks.of(server)
    return check_success(server, marks, call, client.send(call))


def test_a_live_token_is_refused_once_it_is_denied(server: Running, place: Place) -> None:
    """The same token, CSR and connection; not even the answer that is remembered is given. And back again."""
    call = server.good()
    with server.client() as client:
        succeeds(server, client, call)
        assert succeeds(server, client, call)["coalesced"] is True
        place.change(server, f'- {{identity: "{URI}", reason: "stolen node"}}\n'.encode())
        line = refused(server, client, call, "PolicyDenied", f"denied: identity {URI} (stolen node)")
        assert line["reason"] == f"denied: identity {URI} (stolen node)"
        assert (line["code"], line["caller"], line["stage"]) == ("PERMISSION_DENIED", URI, "authn")
        place.change(server, NOBODY)
        succeeds(server, client, call)


def test_a_bad_list_lets_nobody_through(server: Running, place: Place) -> None:
    """The old one stays; log and metrics say so."""
    place.change(server, f"- {{identity: {URI}}}\n".encode())
    assert 'istio_signer_deny_entries{kind="identity"} 1.0' in server.http("/metrics")[1]
    assert "istio_signer_deny_file_refused 0.0" in server.http("/metrics")[1]
    place.write(b"- {identity: [}\n")
    told = server.log.await_message("the deny file is refused, the old list stays:")
    assert f"{place.directory}/deny.yaml: line 1: not valid YAML" in told["message"]
    with server.client() as client:
        refused(server, client, server.good(), "PolicyDenied", f"denied: identity {URI}")
    assert "istio_signer_deny_file_refused 1.0" in server.http("/metrics")[1]


def test_the_other_kinds(new_server: NewServer, place: Place) -> None:
    """A pod, a key, a serial: each denies its own, and the next pod with a new key gets through."""
    server = new_server(deny={"file": str(place.directory / "deny.yaml")})
    here, there = server.good(), Call(good_csr("p256/another"), bearer(server.mint()))
    with server.client() as client:
        line = succeeds(server, client, here)
        succeeds(server, client, there)
        entries = {
            f"pod_uid {line['pod']['uid']}": f"- {{pod_uid: {line['pod']['uid']}}}",
            f"key sha256:{key_digest(parsed_csr().key)}": f"- {{key: 'sha256:{key_digest(parsed_csr().key)}'}}",
            f"serial {line['serial']}, issued to {URI}": f"- {{serial: '0{line['serial']}'}}",
        }
        for told, entry in entries.items():
            place.change(server, entry.encode())
            refused(server, client, here, "PolicyDenied", f"denied: {told}")
            succeeds(server, client, there)
        place.change(server, f"- {{identity: {URI}, until: '{_in_seconds(3)}'}}".encode())
        assert client.send(here).code == "PERMISSION_DENIED"
        until(lambda: client.send(here).code == "OK", deadline=LIMIT, what="the entry's end")


def _in_seconds(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds + 1))
