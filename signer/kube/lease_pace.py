"""How fast an elector asks: deadlines, pauses with jitter, and what is told of faults."""

import logging
import random

from signer.kube.answer import Answer, ApiUnavailable, reason_of
from signer.kube.lease_settings import LeaseSettings

_log = logging.getLogger("istio_signer.kube.lease")
CALL_SECONDS = 5.0
# Between tries where rights are missing: a person has to act first.
SLOW_SECONDS = 30.0


class Refused(Exception):
    """The API server's answer is no success."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}: {reason_of(answer)}")
        self.status = answer.status
        self.retry_after = answer.retry_after


class Pace:
    """Of one elector. ``left`` is always the seconds for which it still leads, 0 where it does not.

    Attributes:
        fault: What is wrong now and what to do; empty where all is well.
    """

    def __init__(self, settings: LeaseSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._told: int | str = ""
        self.fault = ""

    def deadline(self, left: float) -> float:
        """Seconds for a call. A leader keeps half of what is left: one dead connection must not cost it the lead."""
        limit = min(self._settings.renew, CALL_SECONDS)
        return min(limit, max(left / 2, limit / 5)) if left else limit

    def worked(self, left: float, taken: float, expires: float) -> float:
        """Seconds until the next step.

        Args:
            left: See above.
            taken: Seconds that the step took.
            expires: Seconds until we may take what another holds; 0 or less where that is no matter.
        """
        self._failures, self._told, self.fault = 0, "", ""
        retry = self._settings.retry
        if left:
            return max(retry / 10, self._settings.renew * _between(0.8, 1.0) - taken)
        pause = retry * _between(0.75, 1.0)
        return expires + retry * _between(0.0, 0.1) if 0 < expires < pause else pause

    def failed(self, error: Exception, left: float) -> float:
        """Tell of a fault once; seconds until the next step."""
        self._failures += 1
        self._tell(error)
        retry = self._settings.retry
        if left:
            # Rights go missing for a moment while an API server starts; a leader has no time for a slow pace.
            return _between(0.5, 1.0) * min(retry, max(left / 3, retry / 10))
        forbidden = isinstance(error, Refused) and error.status == 403
        ceiling = SLOW_SECONDS if forbidden else max(self._settings.renew, retry)
        asked = error.retry_after if isinstance(error, Refused | ApiUnavailable) else 0.0
        return min(asked, SLOW_SECONDS) + _between(0.5, 1.0) * min(ceiling, retry * 2.0 ** min(self._failures - 1, 10))

    def _tell(self, error: Exception) -> None:
        kind = error.status if isinstance(error, Refused) else type(error).__name__
        reason = str(error) if isinstance(error, ApiUnavailable | Refused | ValueError) else type(error).__name__
        self.fault = f"{self._settings.path}: {reason}{self._advice(kind)}"
        if kind != self._told:
            self._told = kind
            _log.warning("lease %s; it is tried again", self.fault)

    def _advice(self, status: int | str) -> str:
        namespace = self._settings.namespace
        if status == 403:
            return f"; grant get, create and update on leases (apiGroup coordination.k8s.io) in namespace {namespace}"
        return f"; is there a namespace {namespace}?" if status == 404 else ""


def _between(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311  spreads, hides nothing
