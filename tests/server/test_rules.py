"""Rules and quotas of a server at work: who is refused, what that looks like, and rules that come while it runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.config.load import Loaded
from tests.corpus.build import URI, good_csr
from tests.server import cas
from tests.server.calls import Call, bearer
from tests.server.conftest import NewServer
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, loaded, running
from tests.server.verdicts import Marks, check_refusal, check_success, refused

DENY = [{"name": "no-payments", "effect": "deny", "namespaces": ["payments"]}]
OTHERS = [{"name": "no-shop", "effect": "deny", "namespaces": ["shop"]}]
ONLY_SHOP = [{"name": "shop", "effect": "allow", "namespaces": ["shop"]}]
LIMIT = 15.0


class Rules:
    """A configuration that a test changes while its server runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changes: list[Loaded] = []

    def config(self, rules: list[dict[str, Any]]) -> dict[str, Any]:
        """With these rules."""
        return configuration(self._directory, rules=rules)

    def next(self) -> Loaded | None:
        """What the server reads."""
        return self._changes.pop() if self._changes else None

    def change(self, server: Running, rules: list[dict[str, Any]]) -> None:
        """Wait until the server says that it has them."""
        mark = server.log.size()
        self._changes.append(loaded(self.config(rules)))
        server.log.await_line(lambda line: "re-read and in use" in str(line["message"]), mark, LIMIT)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(cas.init(tmp_path / "ca"))


@pytest.fixture
def server(loops: LoopThread, tmp_path: Path, rules: Rules) -> Iterator[Running]:
    """Denies everybody whom these tests are."""
    with running(loops, tmp_path / "server", rules.config(DENY), read_again=rules.next) as at_work:
        yield at_work


def test_rules_count_from_one_call_to_the_next(server: Running, rules: Rules) -> None:
    """The same token, CSR and connection: denied, allowed by other rules, and not in a list of those who are."""
    call = server.good()
    with server.client() as client:
        line = refused(server, client, call, "PolicyDenied", f"rule 'no-payments' denies {URI}")
        assert (line["code"], line["caller"], line["stage"]) == ("PERMISSION_DENIED", URI, "policy")
        for changed in (OTHERS, []):
            rules.change(server, changed)
            marks = Marks.of(server)
            check_success(server, marks, call, client.send(call))
        rules.change(server, ONLY_SHOP)
        refused(server, client, call, "PolicyDenied", f"no rule allows {URI}")


def test_a_quota(new_server: NewServer) -> None:
    """One certificate for the identity; the next pod of it is told to come back, and other identities are served."""
    server = new_server(quotas={"enabled": True, "identity": {"rate": 0.001, "burst": 1}})
    assert server.issuer is not None
    with server.client() as client:
        marks, first = Marks.of(server), server.good()
        check_success(server, marks, first, client.send(first))
        second = Call(good_csr("p256/second"), bearer(server.mint()))
        line = refused(server, client, second, "QuotaExceeded", f"quota: identity '{URI}' has used up")
        assert (line["caller"], line["stage"]) == (URI, "policy")
        token = server.issuer.mint("payments", "web", "web-0")
        other = Call(good_csr("p256/web", uri=URI.replace("/api", "/web")), bearer(token))
        marks = Marks.of(server)
        check_success(server, marks, other, client.send(other))


def test_a_rule_on_how_callers_are_proven(new_server: NewServer) -> None:
    """Of the method that proves them here, and of another one."""
    for method, code in (("development", "PERMISSION_DENIED"), ("token-review", "OK")):
        server = new_server(rules=[{"effect": "deny", "methods": [method]}])
        marks, call = Marks.of(server), server.good()
        reply = server.send(call)
        assert reply.code == code
        if code != "OK":
            reason = f"rule '0' denies {URI} of cluster 'Kubernetes' by development"
            check_refusal(server, marks, call, reply, "PolicyDenied", reason)
