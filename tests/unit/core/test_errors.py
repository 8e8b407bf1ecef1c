"""The table of failures: total, and true to what the Istio agent retries."""

import inspect
import re
from collections.abc import Iterator

import pytest

from signer.core import errors
from signer.core.errors import (
    BUG,
    CANCELLED,
    MEANINGS,
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    Code,
    ImpersonationDenied,
    Meaning,
    SignerError,
    meaning,
)
from signer.observe.metrics import SIGN_ERRORS

# istio: pkg/security/retry.go
RETRIED_BY_THE_AGENT = {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"}


def _all(base: type[SignerError]) -> Iterator[type[SignerError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _all(kind)


EVERY = sorted({kind for kind in _all(SignerError) if kind.__module__ == errors.__name__}, key=lambda k: k.__name__)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_total(kind: type[SignerError]) -> None:
    """Every failure has a row; only the bare base of backends' failures has none, for nobody raises it."""
    assert kind in MEANINGS or kind is BackendError


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_drawn(kind: type[SignerError]) -> None:
    """The tree in the module's docstring has it, and it says what it is."""
    assert re.search(rf"── {kind.__name__}\b", errors.__doc__ or "")
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("told", [*MEANINGS.values(), BUG, CANCELLED], ids=lambda told: told.public)
def test_retryable(told: Meaning) -> None:
    """The column says what the agent does with that code."""
    assert told.retryable is (told.code.value in RETRIED_BY_THE_AGENT)


def test_texts_promise_no_retry_in_vain() -> None:
    """A text says "try again" only where the agent does."""
    for told in MEANINGS.values():
        assert told.retryable or "try again" not in told.public


def test_authentication_texts_are_equal() -> None:
    """A caller must not learn which of its guesses was close."""
    assert MEANINGS[AuthenticationFailed] == MEANINGS[ImpersonationDenied]
    assert MEANINGS[AuthenticationFailed].code is Code.UNAUTHENTICATED


def test_labels_are_istios() -> None:
    """Only labels that Istio's dashboards know."""
    assert {told.citadel_error for told in [*MEANINGS.values(), BUG]} <= {None, *SIGN_ERRORS}


@pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), TimeoutError(), RecursionError()], ids=repr)
def test_foreign_exceptions_are_bugs(bug: Exception) -> None:
    """Retried, counted as unknown, and told without a word of theirs."""
    assert meaning(bug) is BUG
    assert BUG.code is Code.INTERNAL


def test_a_subclass_means_what_its_base_means() -> None:
    """A backend may refine its failures."""

    class Sealed(BackendUnavailable):
        """The far side is sealed."""

    assert meaning(Sealed("sealed")) is MEANINGS[BackendUnavailable]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_reason(kind: type[SignerError]) -> None:
    """The reason is kept for operators and is no part of the public text."""
    error = kind("secret detail")
    assert error.reason == str(error) == "secret detail"
    assert "secret" not in meaning(error).public
