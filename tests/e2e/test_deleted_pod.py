"""A token dies with its pod: at once, or as soon as the API server and the signer have forgotten their verdicts."""

import pytest

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.e2e.conftest import NewWorkload
from tests.e2e.process import SignerProcess
from tests.e2e.workload import Workload
from tests.goclient.run import AgentResult

pytestmark = pytest.mark.timeout(120)

REFUSAL_LIMIT = 25.0
"""Seconds: 10 that the API server remembers, 5 that the signer does, and room for a busy machine."""


def gone(kube: Kube, workload: Workload) -> None:
    """Delete the pod, and wait until the API server's own cache, which judges tokens, no longer has it."""
    kube.delete_pod(workload.namespace, workload.pod)
    path = kube.path("v1", "Pod", "", workload.namespace)
    until(
        lambda: not kube.call("GET", path, query={"resourceVersion": "0"})["items"],
        deadline=10,
        what="the API server's cache to lose the pod",
    )


def is_refused(result: AgentResult) -> bool:
    """Whether it is the one refusal that there may be; until then there are certificates, and nothing else."""
    assert result["code"] in {"OK", "Unauthenticated"}, result
    assert result["attempts"] == 1, "the agent does not try this code again"
    if result["code"] == "OK":
        return False
    assert result["text"].startswith("request authentication failure (request "), "a fixed text, and no reason"
    return True


def request_id(result: AgentResult) -> str:
    """The id that a refusal tells, and the audit has."""
    return result["text"].rpartition("(request ")[2].rstrip(")")


def test_token_never_seen_before_is_refused_at_once(
    signer: SignerProcess, kube: Kube, new_workload: NewWorkload
) -> None:
    workload = new_workload()
    gone(kube, workload)

    assert is_refused(workload.ask(signer))


def test_namesake_does_not_inherit_the_token(signer: SignerProcess, kube: Kube, new_workload: NewWorkload) -> None:
    workload = new_workload()
    gone(kube, workload)
    kube.create_pod(workload.namespace, workload.pod, workload.account)

    assert is_refused(workload.ask(signer))
    workload.write_token()
    assert not is_refused(workload.ask(signer)), "the namesake's own token is good"


def test_token_seen_before_is_refused_once_it_is_forgotten(
    signer: SignerProcess, kube: Kube, new_workload: NewWorkload
) -> None:
    workload = new_workload()
    assert not is_refused(workload.ask(signer))
    gone(kube, workload)

    until(
        lambda: is_refused(workload.ask(signer)),
        deadline=REFUSAL_LIMIT,
        what="the token of a deleted pod to be refused",
        interval=0.5,
    )


def test_reason_is_audited_and_not_told(signer: SignerProcess, kube: Kube, new_workload: NewWorkload) -> None:
    workload = new_workload()
    gone(kube, workload)
    result = workload.ask(signer)

    assert "TokenReview" not in result["text"]
    event = signer.decision(request=request_id(result))
    assert (event["code"], event["error"]) == ("UNAUTHENTICATED", "AuthenticationFailed")
    assert "TokenReview" in event["reason"]
