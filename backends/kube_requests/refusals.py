"""What an answer of the API server means for a certificate: pure."""

from signer.core.errors import BackendError, BackendRefused, BackendUnavailable
from signer.kube.answer import Answer, reason_of

# Trying again soon may help; everything else stays as it is.
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
# The object itself is at fault: the same one will be refused again.
_REFUSED = frozenset({400, 406, 413, 415, 422})
# Of webhooks (k8s.io/apiserver: webhook/errors) and of a ValidatingAdmissionPolicy (policy/validating/plugin.go); a
# missing right is told as "cannot create resource".
_DENIALS = ("admission webhook", "denied request")


def is_transient(answer: Answer) -> bool:
    """Tell whether the same call may work in a moment."""
    return answer.status in _TRANSIENT


def fault_of(answer: Answer, verb: str, resource: str) -> BackendError | None:
    """Say what an answer means, or None where it is a success.

    A missing right is told as unavailable: it is this signer's trouble and not the caller's, it heals when somebody
    mends it, and another backend may sign meanwhile. What an admission webhook or policy denies it denies for its
    contents.
    """
    if 200 <= answer.status < 300:
        return None
    told = f"{verb} {resource}: HTTP {answer.status} {reason_of(answer)}"
    denied = answer.status == 403 and any(words in str(answer.body.get("message", "")) for words in _DENIALS)
    if denied or answer.status in _REFUSED:
        return BackendRefused(told)
    if answer.status == 403:
        return BackendUnavailable(f"{told}: give this account the right; istio-signer check --live has the command")
    if answer.status == 404:
        return BackendUnavailable(f"{told}: is the namespace there, and is the kind installed?")
    return BackendUnavailable(told)
