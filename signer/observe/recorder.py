"""The one place where a request is counted, logged and audited."""

import json
import logging
from typing import Any

from signer.core import errors
from signer.core.errors import Code
from signer.core.types import Outcome
from signer.observe.lines import LineSink
from signer.observe.logs import FIELDS, frames_of
from signer.observe.metrics import Metrics

_log = logging.getLogger("istio_signer.request")

# Which of Istio's counters a failure belongs to; by class name, as an Outcome carries it.
CITADEL_FAILURES: dict[str, str] = {
    errors.AuthenticationFailed.__name__: "authentication",
    errors.ImpersonationDenied.__name__: "authentication",
    errors.CsrMalformed.__name__: "parsing",
    errors.IdentityRejected.__name__: "identity",
}
# The stages that may wait for somebody else; the others only compute, for a fraction of a millisecond.
STAGES_THAT_WAIT = ("authn", "backend")
_ENCODER = json.JSONEncoder(default=str)
# The codes for which an operator should look; the rest is somebody else's mistake.
_OURS = frozenset(
    {Code.INTERNAL, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED}
)


class Recorder:
    """Writes Outcomes to metrics, audit and log.

    Args:
        metrics: Where they are counted.
        audit: Gets one JSON line a decision.
    """

    def __init__(self, metrics: Metrics, audit: LineSink) -> None:
        self._metrics = metrics
        self._audit = audit
        self._children: dict[tuple[Any, ...], Any] = {}

    def record(self, outcome: Outcome) -> None:
        """Account for one finished request."""
        self._count(outcome)
        self._audit.write(_ENCODER.encode(audit_event(outcome)))
        if outcome.code is Code.OK:
            _log.info("CSR signed", extra={FIELDS: _success_fields(outcome)})
        else:
            level = logging.ERROR if outcome.bug else logging.WARNING if outcome.code in _OURS else logging.INFO
            _log.log(level, "CSR refused", extra={FIELDS: _failure_fields(outcome)})

    def _count(self, outcome: Outcome) -> None:
        metrics, code = self._metrics, outcome.code.value
        self._child(metrics.requests, code, outcome.error, outcome.backend).inc()
        self._child(metrics.request_seconds, code).observe(outcome.seconds)
        for stage in STAGES_THAT_WAIT:
            if stage in outcome.stages:
                self._child(metrics.stage_seconds, stage).observe(outcome.stages[stage])
        _count_citadel(metrics, outcome)

    def _child(self, metric: Any, *labels: str) -> Any:
        """Look a label set up once: that costs as much as the observation. Bounded as the labels are."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


def _count_citadel(metrics: Metrics, outcome: Outcome) -> None:
    counters = metrics.citadel
    counters.count("csr")
    if outcome.code is Code.OK:
        counters.count("success")
    elif outcome.error in CITADEL_FAILURES:
        counters.count(CITADEL_FAILURES[outcome.error])
    if outcome.citadel_error is not None:
        counters.count_sign_error(outcome.citadel_error)


def audit_event(outcome: Outcome) -> dict[str, Any]:
    """One decision, whole: who, from where, for whom, what was decided and exactly why. No token, key or CSR."""
    event: dict[str, Any] = {
        "event": "csr",
        "time": outcome.time,
        "request": outcome.request_id,
        "decision": "signed" if outcome.code is Code.OK else "refused",
        "code": outcome.code.value,
        "error": outcome.error,
        "reason": outcome.reason,
        "stage": outcome.stage,
        "peer": outcome.peer,
        "cluster": outcome.cluster,
        "requested_identity": outcome.requested_identity,
        "requested_ttl": outcome.requested_ttl,
        "cert_signer": outcome.signer_name,
        "route": outcome.route,
        "backend": outcome.backend,
        "passed_over": list(outcome.passed_over) or None,
        "coalesced": True if outcome.coalesced else None,
        "key": outcome.key,
        "csr_sha256": outcome.csr_digest,
        "serial": outcome.serial,
        "seconds": round(outcome.seconds, 6),
    }
    event.update(_who(outcome), **_window(outcome))
    return {key: value for key, value in event.items() if value not in ("", None)}


def _who(outcome: Outcome) -> dict[str, Any]:
    caller, grant = outcome.caller, outcome.grant
    if caller is None:
        return {}
    who: dict[str, Any] = {"caller": str(caller.identity), "method": caller.method, "cluster": caller.cluster}
    if caller.serial is not None:
        who["caller_serial"] = f"{caller.serial:x}"
    if caller.pod is not None:
        who["pod"] = {"name": caller.pod.name, "uid": caller.pod.uid, "node": caller.pod.node}
    if grant is not None:
        who |= {"identity": str(grant.identity), "impersonated": grant.impersonated}
    return who


def _window(outcome: Outcome) -> dict[str, Any]:
    if outcome.not_before is None or outcome.not_after is None:
        return {}
    return {"not_before": outcome.not_before.isoformat(), "not_after": outcome.not_after.isoformat()}


def _success_fields(outcome: Outcome) -> dict[str, Any]:
    lifetime = (outcome.not_after - outcome.not_before) if outcome.not_after and outcome.not_before else None
    return {
        "identity": str(outcome.grant.identity) if outcome.grant else "",
        "serial": outcome.serial,
        "lifetime": f"{lifetime.total_seconds():.0f}s" if lifetime else "",
        "backend": outcome.backend,
        "request": outcome.request_id,
        "seconds": f"{outcome.seconds:.4f}",
    }


def _failure_fields(outcome: Outcome) -> dict[str, Any]:
    fields = {
        "code": outcome.code.value,
        "error": outcome.error,
        "reason": outcome.reason,
        "stage": outcome.stage,
        "caller": str(outcome.caller.identity) if outcome.caller else "",
        "backend": outcome.backend,
        "peer": outcome.peer,
        "request": outcome.request_id,
    }
    if outcome.bug is not None:
        # Frames only: the message of a foreign exception may quote what it choked on.
        fields["frames"] = frames_of(outcome.bug)
    return fields
