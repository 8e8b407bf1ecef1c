"""One Outcome in, and what is counted, audited and logged of it."""

import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from signer.core import errors
from signer.core.errors import MEANINGS, Code, SignerError, meaning
from signer.core.types import Outcome, PodRef
from signer.observe.lines import LineSink
from signer.observe.logs import FIELDS
from signer.observe.metrics import Metrics
from signer.observe.recorder import Recorder, audit_event
from tests.support.clock import HOUR, NOW
from tests.support.fakes import CALLER, GRANT, IDENTITY, credentials
from tests.support.line import Line
from tests.support.sinks import ListSink

_PREFIX = "citadel_server_"
_TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"


def _signed() -> Outcome:
    return Outcome(
        request_id="r-1",
        time=NOW.isoformat(),
        peer="ipv4:1.2.3.4:5",
        stage="done",
        stages={"authn": 0.25, "backend": 0.5},
        seconds=0.8,
        code=Code.OK,
        caller=CALLER,
        grant=GRANT,
        requested_identity=str(IDENTITY),
        backend="first",
        route="only",
        key="P-256",
        serial="abc",
        not_before=NOW - timedelta(seconds=60),
        not_after=NOW + HOUR,
    )


def _refused(error: BaseException) -> Outcome:
    told = meaning(error)
    return Outcome("r-2", code=told.code, error=type(error).__name__, citadel_error=told.citadel_error, reason="why")


class Desk:
    """A recorder with its far sides in reach."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.sink = ListSink()
        self.recorder = Recorder(self.metrics, self.sink)

    def counted(self) -> dict[str, float]:
        """Istio's counters that are not zero, by their shortened name."""
        found: dict[str, float] = {}
        for metric in self.metrics.citadel.collect():
            for sample in metric.samples:
                name = ".".join([sample.name.removeprefix(_PREFIX), *sample.labels.values()])
                found |= {name: sample.value} if sample.value else {}
        return found


# What Istio's own server counts for each failure, beside csr_count (security/pkg/server/ca/server.go).
CITADEL: dict[str, set[str]] = {
    "AuthenticationFailed": {"authentication_failure_count"},
    "ImpersonationDenied": {"authentication_failure_count"},
    "AuthenticationUnavailable": set(),
    "Overloaded": set(),
    "QuotaExceeded": set(),
    "CsrMalformed": {"csr_parsing_err_count"},
    "CsrRejected": {"csr_sign_err_count.CSR_ERROR"},
    "IdentityRejected": {"id_extraction_err_count"},
    "ValidityRejected": {"csr_sign_err_count.TTL_ERROR"},
    "PolicyDenied": set(),
    "NoRoute": {"csr_sign_err_count.UNKNOWN"},
    "ChainRejected": {"csr_sign_err_count.CERT_GEN_ERROR"},
    "BackendUnavailable": {"csr_sign_err_count.CA_NOT_READY"},
    "BackendBusy": {"csr_sign_err_count.CA_NOT_READY"},
    "BackendRefused": {"csr_sign_err_count.CERT_GEN_ERROR"},
    "RefusedLocally": {"csr_sign_err_count.CERT_GEN_ERROR"},
    "BackendTimeout": {"csr_sign_err_count.CA_NOT_READY"},
    "Undecided": {"csr_sign_err_count.CA_NOT_READY"},
}


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.__name__)
def test_citadel_counters(kind: type[SignerError]) -> None:
    """Every failure counts as a CSR and where Istio's dashboards look for it."""
    desk = Desk()
    desk.recorder.record(_refused(kind("why")))
    assert desk.counted() == dict.fromkeys({"csr_count", *CITADEL[kind.__name__]}, 1)


def test_citadel_success_and_bug() -> None:
    """A certificate is a success; a bug is an unknown error."""
    desk = Desk()
    desk.recorder.record(_signed())
    assert desk.counted() == {"csr_count": 1, "success_cert_issuance_count": 1}
    desk.recorder.record(_refused(ValueError("x")))
    assert desk.counted()["csr_sign_err_count.UNKNOWN"] == 1


def test_own_metrics() -> None:
    """Requests by code, failure and backend; time as a whole and of the stages that wait."""
    desk = Desk()
    desk.recorder.record(_signed())
    desk.recorder.record(_refused(errors.Overloaded("full")))
    sample = desk.metrics.registry.get_sample_value
    assert sample("istio_signer_requests_total", {"code": "OK", "error": "", "backend": "first"}) == 1
    assert sample("istio_signer_requests_total", {"code": "RESOURCE_EXHAUSTED", "error": "Overloaded", "backend": ""})
    assert sample("istio_signer_request_seconds_sum", {"code": "OK"}) == 0.8
    assert sample("istio_signer_stage_seconds_sum", {"stage": "backend"}) == 0.5
    assert sample("istio_signer_stage_seconds_count", {"stage": "authn"}) == 1


def test_audit_of_a_success() -> None:
    """Who, from where, for whom, what."""
    event = audit_event(_signed())
    assert event["decision"] == "signed"
    assert (event["caller"], event["identity"], event["impersonated"]) == (str(IDENTITY), str(IDENTITY), False)
    assert event["pod"] == {"name": "api-0", "uid": "uid-0", "node": "node-0"}
    assert (event["serial"], event["backend"], event["peer"]) == ("abc", "first", "ipv4:1.2.3.4:5")
    assert (event["not_before"], event["not_after"]) == ("2025-06-01T11:59:00+00:00", "2025-06-01T13:00:00+00:00")


def test_audit_has_these_keys_and_no_others() -> None:
    """A new one is a decision: what is written there is kept for years."""
    assert set(audit_event(_signed())) == {
        *("event", "time", "request", "decision", "code", "stage", "peer", "cluster", "caller", "method", "pod"),
        *("identity", "impersonated", "requested_identity", "requested_ttl", "route", "backend", "key", "serial"),
        *("seconds", "not_before", "not_after"),
    }


def test_audit_of_a_refusal() -> None:
    """With the exact reason; what is not known is not there."""
    event = audit_event(_refused(errors.CsrMalformed("why")))
    assert (event["decision"], event["error"], event["reason"]) == ("refused", "CsrMalformed", "why")
    assert event["code"] == "INVALID_ARGUMENT"
    assert not {"caller", "pod", "serial", "not_after", "identity"} & set(event)


def test_audit_is_one_json_line() -> None:
    """Whatever strangers put into it."""
    desk = Desk()
    outcome = _signed()
    outcome.requested_identity = 'x\n{"event":"csr"}\u2028\ud800'
    desk.recorder.record(outcome)
    (line,) = desk.sink.lines
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["requested_identity"] == outcome.requested_identity


@pytest.mark.parametrize("pod", [None, PodRef("p", "u")])
async def test_no_secrets(pod: PodRef | None, caplog: pytest.LogCaptureFixture) -> None:
    """Through the whole pipeline: neither the token, nor the CSR, nor a key is in audit or log."""
    desk, line = Desk(), Line()
    caplog.set_level(logging.DEBUG)
    await line.issue(credentials=credentials(_TOKEN))
    with pytest.raises(SignerError):
        await line.issue(credentials=replace(credentials(_TOKEN), signer_name="nobody"))
    for outcome in line.witness.outcomes:
        desk.recorder.record(outcome)
    written = "\n".join([*desk.sink.lines, *(f"{r.getMessage()} {r.__dict__}" for r in caplog.records)])
    assert len(desk.sink.lines) == 2
    for secret in (_TOKEN, "BEGIN", "MII"):
        assert secret not in written


def test_log_of_a_success(caplog: pytest.LogCaptureFixture) -> None:
    """The line that the guide tells people to look for."""
    caplog.set_level(logging.INFO)
    Desk().recorder.record(_signed())
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("istio_signer.request", "INFO", "CSR signed")
    fields = getattr(record, FIELDS)
    assert (fields["identity"], fields["serial"], fields["lifetime"]) == (str(IDENTITY), "abc", "3660s")


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (errors.AuthenticationFailed("x"), "INFO"),
        (errors.CsrRejected("x"), "INFO"),
        (errors.Overloaded("x"), "WARNING"),
        (errors.BackendUnavailable("x"), "WARNING"),
        (errors.ChainRejected("x"), "WARNING"),
        (errors.BackendTimeout("x"), "WARNING"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_log_of_a_refusal(error: SignerError, level: str, caplog: pytest.LogCaptureFixture) -> None:
    """Loud only where an operator should look."""
    caplog.set_level(logging.INFO)
    Desk().recorder.record(_refused(error))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, "CSR refused")
    assert getattr(record, FIELDS)["reason"] == "why"


def test_log_of_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """Frames, since somebody must mend it; not the message, which may quote a secret."""
    outcome = _refused(ValueError("x"))
    try:
        raise ValueError(f"choked on {_TOKEN}")
    except ValueError as error:
        outcome.bug = error
    Desk().recorder.record(outcome)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    frames = getattr(record, FIELDS)["frames"]
    assert "test_recorder.py" in frames
    assert _TOKEN not in frames


def test_sinks_are_interchangeable() -> None:
    """The fake sink stands for the real one."""
    assert issubclass(ListSink, LineSink)
