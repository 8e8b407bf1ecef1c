"""Renewal by certificate on the second port: the whole server, certificates that it has issued itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from tests.corpus.build import URI, good_csr
from tests.server import cas
from tests.server.calls import Call, Reply, send_over
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.verdicts import Marks, check_refusal, check_success, only_line
from tests.support.pki import Ca, key, key_pem, leaf_extensions, make_ca, make_leaf, spki

KEY = "p256/csr"


@dataclass
class Renewing:
    """A server with both ports."""

    server: Running
    deny: Path

    def denying(self, entry: str) -> None:
        """Have the server read a list of one entry."""
        mark = self.server.log.size()
        self.deny.write_text(f"[{entry}]")
        self.server.log.await_line(lambda line: "deny list in use" in str(line["message"]), mark, 10.0)

    def issue(self) -> list[str]:
        """A first certificate, by token."""
        reply = self.server.send(self.server.good())
        assert reply.code == "OK"
        return list(reply.chain)

    def renew(self, chain: list[str], call: Call | None = None, roots: bytes = b"") -> Reply:
        """By the certificate alone, over a connection of its own."""
        credentials = grpc.ssl_channel_credentials(
            roots or self.server.roots(), key_pem(key(KEY)), "".join(chain).encode()
        )
        assert self.server.server.mtls is not None
        with grpc.secure_channel(f"127.0.0.1:{self.server.server.mtls.port}", credentials) as channel:
            return send_over(channel, call or Call(good_csr()))


def _renewing(loops: LoopThread, place: Path, **over: Any) -> Iterator[Renewing]:
    deny = place / "deny.yaml"
    deny.write_text("[]")
    listen = {"mtls": "127.0.0.1:0"}
    config = configuration(cas.init(place / "ca"), deny={"file": str(deny)}, listen=listen, **over)
    with running(loops, place, config) as server:
        yield Renewing(server, deny)


_renewing_with = contextmanager(_renewing)


@pytest.fixture
def renewing(loops: LoopThread, tmp_path: Path) -> Iterator[Renewing]:
    yield from _renewing(loops, tmp_path)


def test_a_renewal(renewing: Renewing) -> None:
    """Of the same identity, and told as what it is."""
    chain = renewing.issue()
    marks = Marks.of(renewing.server)
    line = check_success(renewing.server, marks, Call(good_csr()), renewing.renew(chain[:-1]))
    assert (line["method"], line["caller"], line["identity"]) == ("client-certificate", URI, URI)
    assert line["caller_serial"] == only_serial(chain)


def only_serial(chain: list[str]) -> str:
    """Of the leaf, as the audit writes it."""
    return f"{x509.load_pem_x509_certificate(chain[0].encode()).serial_number:x}"


def test_not_of_another_identity(renewing: Renewing) -> None:
    """Nor for another."""
    chain = renewing.issue()[:-1]
    other = "spiffe://cluster.local/ns/payments/sa/other"
    acting = Call(good_csr(uri=other), hints={"ImpersonatedIdentity": other})
    for call, error, reason in (
        (Call(good_csr(uri=other)), "IdentityRejected", f"names: it asks for {other}, granted is {URI}"),
        (acting, "ImpersonationDenied", "payments/api is no trusted node account of cluster 'Kubernetes'"),
    ):
        marks = Marks.of(renewing.server)
        check_refusal(renewing.server, marks, call, renewing.renew(chain, call), error, reason)


def test_another_ca_gets_no_connection(renewing: Renewing) -> None:
    """The handshake ends there."""
    stranger = make_ca("stranger", window=cas.around_now())
    leaf = Ca(make_leaf(stranger, spki(key(KEY)), leaf_extensions(URI), window=cas.around_now()), key(KEY))
    assert renewing.renew([leaf.pem.decode()]).code == "UNAVAILABLE"


def test_a_denied_serial_renews_nothing(renewing: Renewing) -> None:
    """Once the list is read."""
    chain = renewing.issue()
    serial = only_serial(chain)
    renewing.denying(f"{{serial: '{serial}', reason: stolen}}")
    marks = Marks.of(renewing.server)
    reason = f"denied: serial {serial} (stolen)"
    check_refusal(renewing.server, marks, Call(good_csr()), renewing.renew(chain[:-1]), "PolicyDenied", reason)


def test_a_foreign_root_proves_nobody(loops: LoopThread, tmp_path: Path) -> None:
    """The mesh trusts it, for its own workloads; its CA can sign our names as well."""
    foreign, path = make_ca("federated", window=cas.around_now()), tmp_path / "roots.pem"
    path.write_bytes(foreign.pem)
    leaf = Ca(make_leaf(foreign, spki(key(KEY)), leaf_extensions(URI), window=cas.around_now()), key(KEY)).pem.decode()
    with _renewing_with(loops, tmp_path, trust={"roots": [{"file": str(path)}]}) as renewing:
        ours = renewing.issue()
        assert foreign.pem.decode().strip() in ours[-1], "it is among those that everybody is told to trust"
        for shown in ([leaf], [leaf, foreign.pem.decode()]):
            assert renewing.renew(shown).code == "UNAVAILABLE", "no handshake"
        assert renewing.renew(ours[:-1]).code == "OK"


def test_a_certificate_of_a_denied_pod_renews_nothing(renewing: Renewing) -> None:
    """The pod that its token was of; and what was renewed from it is the same pod's."""
    marks, first = Marks.of(renewing.server), renewing.server.good()
    chain = list(renewing.server.send(first).chain)
    uid = only_line(renewing.server, marks)["pod"]["uid"]
    renewed, other = list(renewing.renew(chain[:-1]).chain), renewing.issue()
    renewing.denying(f"{{pod_uid: {uid}, reason: stolen}}")
    for shown in (chain, renewed):
        marks = Marks.of(renewing.server)
        line = check_refusal(
            renewing.server,
            marks,
            Call(good_csr()),
            renewing.renew(shown[:-1]),
            "PolicyDenied",
            f"denied: pod_uid {uid} (stolen)",
        )
        assert line["method"] == "client-certificate"
    assert renewing.renew(other[:-1]).code == "OK", "another pod of the same identity"


RULES: dict[str, dict[str, Any]] = {
    "cluster": {"clusters": ["Kubernetes"], "methods": ["client-certificate"]},
    "method": {"methods": ["client-certificate"]},
}


@pytest.mark.parametrize("conditions", RULES.values(), ids=RULES)
def test_rules_hold_for_renewals(conditions: dict[str, Any], loops: LoopThread, tmp_path: Path) -> None:
    """Of the cluster that the first token was of, where there are several; by token the caller gets on."""
    rules = [{"name": "no-renewals", "effect": "deny", **conditions}]
    clusters = [{"id": "Kubernetes"}, {"id": "far"}]
    with _renewing_with(loops, tmp_path, rules=rules, clusters=clusters) as renewing:
        chain = renewing.issue()
        renewing.server.audit.await_line(lambda line: line["decision"] == "signed", 0)
        marks = Marks.of(renewing.server)
        reply = renewing.renew(chain[:-1])
        check_refusal(
            renewing.server, marks, Call(good_csr()), reply, "PolicyDenied", f"rule 'no-renewals' denies {URI}"
        )
        renewing.issue()


def test_a_rule_on_another_cluster_does_not_hold(loops: LoopThread, tmp_path: Path) -> None:
    rules = [{"effect": "deny", "clusters": ["far"]}]
    clusters = [{"id": "Kubernetes"}, {"id": "far"}]
    with _renewing_with(loops, tmp_path, rules=rules, clusters=clusters) as renewing:
        assert renewing.renew(renewing.issue()[:-1]).code == "OK"


def test_renewals_end_with_the_age_of_the_last_token(loops: LoopThread, tmp_path: Path) -> None:
    """However good the certificate is; another token starts anew, and at once it is too old again."""
    with _renewing_with(loops, tmp_path, authentication={"certificate_age": "1ms"}) as renewing:
        chain = renewing.issue()
        renewing.server.audit.await_line(lambda line: line["decision"] == "signed", 0)
        marks = Marks.of(renewing.server)
        reply = renewing.renew(chain[:-1])
        reason = "client certificate: a token proved it 0 s ago, renewal is allowed for 0 s"
        check_refusal(renewing.server, marks, Call(good_csr()), reply, "AuthenticationFailed", reason)
