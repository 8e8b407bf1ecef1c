"""Contract 4: errors, and what clients make of them."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from signer.core import errors
from signer.core.errors import BUG, MEANINGS, SignerError
from signer.core.keys import spki
from signer.core.types import IssuedChain, SigningRequest
from tests.goclient.run import AgentResult, agent
from tests.goclient.test_goclient import FINAL, RETRIED
from tests.server.bad_input import ROWS
from tests.server.conftest import NewServer
from tests.server.running import URI, Running
from tests.server.scripted import Script, script_of
from tests.server.verdicts import PUBLIC, Marks, only_line, refused, still_serves
from tests.support.pki import leaf_extensions, make_ca, make_leaf

SECRET = "https://vault.internal:8200/v1/pki: permission denied on /var/run/secrets/token s.abcdef"
"""What a backend may say of itself, and no proxy's log may hold."""


@pytest.fixture
def scripted(new_server: NewServer, scripted_type: str) -> Running:
    # These tests are about single answers: no second try, no breaker.
    guard = {"attempts": 1, "breaker_failures": 1000}
    return new_server(backends={"local": {"type": scripted_type, "guard": guard}})


@pytest.fixture
def script(scripted: Running) -> Script:
    return script_of(scripted)


def ask_as_agent(server: Running, roots: Path, token: Path, *more: str) -> AgentResult:
    return agent("-addr", server.address, "-root", roots, "-token-file", token, "-san", URI, *more)


def go_name(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_"))


@pytest.fixture
def files(scripted: Running, tmp_path: Path, token_file: Callable[[Running], Path]) -> tuple[Path, Path]:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(scripted.roots())
    return roots, token_file(scripted)


@pytest.mark.parametrize("kind", MEANINGS, ids=[kind.__name__ for kind in MEANINGS])
def test_4_1_what_passes_is_retried_and_what_lasts_is_not(
    scripted: Running, script: Script, files: tuple[Path, Path], kind: type[SignerError]
) -> None:
    """4.1: the agent's five attempts are load: only a fault that may pass is worth them."""
    script.error = kind(SECRET)
    marks = Marks.of(scripted)
    result = ask_as_agent(scripted, *files)
    code, public = PUBLIC[kind.__name__]
    assert result["attempt_codes"] == [go_name(code)] * (5 if code in RETRIED else 1)
    assert (code in RETRIED) is MEANINGS[kind].retryable
    assert re.fullmatch(re.escape(public) + r" \(request [0-9a-f]{16}\)", result["text"])
    assert scripted.audit.await_line(lambda line: line["reason"] == SECRET, marks.audit)["error"] == kind.__name__
    script.error = None
    with scripted.client() as client:
        still_serves(scripted, client)


def test_4_1_a_retry_after_a_hiccup_works(scripted: Running, script: Script, files: tuple[Path, Path]) -> None:
    """4.1: the same CSR comes again within 100 ms; the second attempt gets its certificate."""
    script.once = [errors.BackendUnavailable("once"), errors.BackendTimeout("twice")]
    result = ask_as_agent(scripted, *files)
    assert result["attempt_codes"] == ["Unavailable", "DeadlineExceeded", "OK"]


def test_4_2_a_refusal_does_not_cost_a_connection(developing: Running) -> None:
    """4.2: redialling is the client's choice; the server keeps the connection after any refusal."""
    mark = developing.audit.size()
    with developing.client() as client:
        good = developing.good()
        for call in (replace(good, csr="x"), good, replace(good, authorization=()), good):
            client.send(call)
    developing.audit.size()
    lines = developing.audit.since(mark)
    assert len(lines) == 4
    assert len({line["peer"] for line in lines}) == 1


# One row of the table for each code of a caller's fault; `test_bad_input` runs them all.
CODES = {
    "no token": "UNAUTHENTICATED",
    "impersonation": "UNAUTHENTICATED",
    "unknown cluster": "UNAUTHENTICATED",
    "CSR not_pem": "INVALID_ARGUMENT",
    "CSR dns": "INVALID_ARGUMENT",
    "CSR ed25519": "INVALID_ARGUMENT",
    "a signer without a route": "FAILED_PRECONDITION",
}


@pytest.mark.parametrize("name", CODES)
def test_4_5_codes_of_callers_faults(developing: Running, name: str) -> None:
    """4.5: a caller's fault has a code that nobody retries."""
    (row,) = [row for row in ROWS if row.name == name]
    code = developing.send(row.make(developing.good())).code
    assert code == CODES[name]
    assert code in FINAL


def test_4_5_a_bug_is_internal_never_unknown(scripted: Running, script: Script) -> None:
    """4.5: Python's default for an uncaught exception is UNKNOWN; here it is INTERNAL, with its frames in the log."""
    script.error = ZeroDivisionError(SECRET)
    marks = Marks.of(scripted)
    reply = scripted.send(scripted.good())
    assert reply.code == "INTERNAL"
    assert re.fullmatch(re.escape(BUG.public) + r" \(request [0-9a-f]{16}\)", reply.text)
    line = only_line(scripted, marks)
    assert (line["error"], line["reason"]) == ("ZeroDivisionError", "bug: ZeroDivisionError")
    logged = scripted.log.await_line(lambda event: event.get("request") == line["request"], marks.log)
    assert (logged["level"], "scripted.py" in str(logged)) == ("error", True)
    assert SECRET not in scripted.log.text() + scripted.audit.text()


def test_4_5_overload_is_resource_exhausted(new_server: NewServer, scripted_type: str) -> None:
    """4.5: over the cap a caller waits shortly, then is told to come back; nobody is told that its token is bad."""
    limits = {"in_flight": 1, "waiting": 1, "patience": "200ms"}
    server = new_server(backends={"local": {"type": scripted_type}}, limits=limits)
    script_of(server).pause(1.0)
    with server.client() as client, ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda _: client.send(server.good()), range(4)))
    assert sorted(reply.code for reply in replies) == ["OK"] + ["RESOURCE_EXHAUSTED"] * 3
    reasons = {line.get("reason", "") for line in server.audit.since(0)}
    assert {"1 requests are in flight and 1 wait", "no place came free within 0.2 s"} <= reasons


def _forged(issued: IssuedChain, identity: str) -> IssuedChain:
    """The caller's key certified by a CA that nobody trusts."""
    window = (issued.leaf.not_valid_before_utc, issued.leaf.not_valid_after_utc)
    ca = make_ca("another CA", window=window)
    leaf = make_leaf(ca, spki(issued.leaf.public_key()), leaf_extensions(identity), window=window)
    return IssuedChain(leaf, (ca.certificate,))


def _other_ca(_: SigningRequest, issued: IssuedChain) -> IssuedChain:
    return _forged(issued, URI)


def _somebody_else(_: SigningRequest, issued: IssuedChain) -> IssuedChain:
    return _forged(issued, "spiffe://cluster.local/ns/payments/sa/admin")


@pytest.mark.parametrize(("bend", "reason"), [(_other_ca, "path: "), (_somebody_else, "leaf names: ")])
def test_4_5_a_wrong_answer_of_a_backend_is_refused(
    scripted: Running, script: Script, bend: Callable[[SigningRequest, IssuedChain], IssuedChain], reason: str
) -> None:
    """4.5: what a backend signs wrongly lasts, and never reaches a proxy."""
    script.bend = bend
    with scripted.client() as client:
        refused(scripted, client, scripted.good(), "ChainRejected", reason)
        script.bend = None
        still_serves(scripted, client)


def test_4_5_every_kind_of_failure_has_a_row() -> None:
    """4.5: the table is total, and as written down here: code, text and whether it is retried."""
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SignerError)}
    assert kinds - set(MEANINGS) == {SignerError, errors.BackendError}
    table = {kind.__name__: (told.code.value, told.public) for kind, told in MEANINGS.items()}
    assert table == PUBLIC
    assert all(hasattr(grpc.StatusCode, code) for code, _ in PUBLIC.values())


def test_4_6_a_slow_backend_is_not_waited_for(new_server: NewServer, scripted_type: str) -> None:
    """4.6: the agent's mutex is held across the call: a CSR that hangs blocks the whole proxy, so it ends here."""
    server = new_server(backends={"local": {"type": scripted_type}}, limits={"deadline": "1s"})
    script = script_of(server)
    script.hang()
    with server.client() as client:
        refused(server, client, server.good(), "BackendTimeout", "backend local: no answer within")
        assert script.cancelled == 1
        script.before = None
        still_serves(server, client)


def test_4_7_texts_hold_nothing_of_ours(developing: Running) -> None:
    """4.7: status texts end in proxies' logs: no URL, path, address, name or number of ours."""
    texts = {public for _, public in PUBLIC.values()} | {BUG.public}
    for text in texts:
        assert re.fullmatch(r"[A-Za-z', ]{5,60}", text), text
    told = developing.send(replace(developing.good(), csr="x")).text
    assert re.fullmatch(r"the CSR is malformed \(request [0-9a-f]{16}\)", told)
