"""What must hold after every call, good or bad: the code, the text, one line in the audit, and nothing leaked."""

import re
from dataclasses import dataclass
from typing import Any

from tests.cluster.poll import until
from tests.server.calls import Call, Client, Reply
from tests.server.lines import LIMIT
from tests.server.running import Running

ID = r" \(request ([0-9a-f]{16})\)"
PUBLIC: dict[str, tuple[str, str]] = {
    "AuthenticationFailed": ("UNAUTHENTICATED", "request authentication failure"),
    "ImpersonationDenied": ("UNAUTHENTICATED", "request authentication failure"),
    "AuthenticationUnavailable": ("UNAVAILABLE", "authentication is unavailable, try again"),
    "QuotaExceeded": ("RESOURCE_EXHAUSTED", "too many requests, try again later"),
    "Overloaded": ("RESOURCE_EXHAUSTED", "the server is overloaded, try again"),
    "CsrMalformed": ("INVALID_ARGUMENT", "the CSR is malformed"),
    "CsrRejected": ("INVALID_ARGUMENT", "the CSR is not acceptable"),
    "IdentityRejected": ("INVALID_ARGUMENT", "the CSR is not acceptable"),
    "ValidityRejected": ("INVALID_ARGUMENT", "the requested lifetime is not allowed"),
    "PolicyDenied": ("PERMISSION_DENIED", "denied by policy"),
    "NoRoute": ("FAILED_PRECONDITION", "no issuer is configured for this identity"),
    "ChainRejected": ("FAILED_PRECONDITION", "the issuer's answer was rejected"),
    "BackendUnavailable": ("UNAVAILABLE", "the issuer is unavailable, try again"),
    "BackendBusy": ("RESOURCE_EXHAUSTED", "the issuer is busy, try again"),
    "BackendRefused": ("FAILED_PRECONDITION", "the issuer refused the request"),
    "RefusedLocally": ("FAILED_PRECONDITION", "the issuer refused the request"),
    "BackendTimeout": ("DEADLINE_EXCEEDED", "the issuer did not answer in time"),
    "Undecided": ("DEADLINE_EXCEEDED", "the issuer did not answer in time"),
}
"""Error class -> code and text. Written out here: a change of what callers see must be seen."""
MAX_LINE = 8 * 1024
"""Bytes. A stranger must not fill a disk with one call."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where log and audit stood before a call."""

    log: int
    audit: int

    @classmethod
    def of(cls, server: Running) -> "Marks":
        """Now."""
        return cls(server.log.size(), server.audit.size())


def refused(server: Running, client: Client, call: Call, error: str, reason: str) -> dict[str, Any]:
    """Make a call, check that it is refused as it must be, and return its audit line."""
    marks = Marks.of(server)
    reply = client.send(call)
    return check_refusal(server, marks, call, reply, error, reason)


def check_refusal(server: Running, marks: Marks, call: Call, reply: Reply, error: str, *reasons: str) -> dict[str, Any]:
    """Check one refusal whole; see `refused`. The audit must hold one of the reasons, and none of them is empty."""
    line = only_line(server, marks)
    code, public = PUBLIC[error]
    assert (reply.code, reply.chain) == (code, ()), (reply, line)
    told = re.fullmatch(re.escape(public) + ID, reply.text)
    assert told, reply.text
    assert (line["request"], line["decision"], line["code"]) == (told[1], "refused", code)
    assert line["error"] == error, line
    assert all(reasons), "an empty reason holds for every refusal"
    assert any(reason in line["reason"] for reason in reasons), line["reason"]
    logged = server.log.await_line(lambda event: event.get("request") == told[1], marks.log)
    assert (logged["error"], logged["reason"]) == (error, line["reason"])
    check_secrets(server, marks, call, reply.text)
    return line


def check_success(server: Running, marks: Marks, call: Call, reply: Reply) -> dict[str, Any]:
    """Check one good answer's traces, and return its audit line."""
    line = only_line(server, marks)
    assert (reply.code, reply.text) == ("OK", ""), (reply, line)
    assert len(reply.chain) >= 2
    assert (line["decision"], line["code"], line.get("error")) == ("signed", "OK", None)
    logged = server.log.await_line(lambda event: event.get("request") == line["request"], marks.log)
    assert logged["message"] == "CSR signed"
    assert line["serial"] == logged["serial"]
    check_secrets(server, marks, call, "")
    return line


def only_line(server: Running, marks: Marks) -> dict[str, Any]:
    """The one audit line since a mark."""
    until(lambda: server.audit.since(marks.audit), deadline=LIMIT, what="an audit line", interval=0.005)
    (line,) = server.audit.since(marks.audit)
    return line


def check_secrets(server: Running, marks: Marks, call: Call, text: str) -> None:
    """Neither log nor audit nor status holds the token, the CSR or a private key, and no line is long."""
    for lines, mark in ((server.log, marks.log), (server.audit, marks.audit)):
        with lines.path.open("rb") as file:
            file.seek(mark)
            new = file.read()
        assert max(map(len, new.splitlines()), default=0) <= MAX_LINE, "a line is too long"
        text += new.decode()
    assert "PRIVATE KEY" not in text
    for secret in secrets_of(call):
        assert secret not in text, f"leaked: {secret}"


def secrets_of(call: Call) -> list[str]:
    """Pieces of a call that nobody may see again."""
    pieces = [line for line in call.csr.splitlines()[:2000] if len(line) >= 40 and not line.startswith("-----")]
    for value in call.authorization:
        token = value.rpartition(" ")[2]
        pieces += [token[at : at + 24] for at in (0, len(token) // 2, max(0, len(token) - 24)) if len(token) >= 24]
    return pieces


def still_serves(server: Running, client: Client) -> None:
    """The server answers a good call, whatever came before."""
    marks = Marks.of(server)
    call = server.good()
    check_success(server, marks, call, client.send(call))
