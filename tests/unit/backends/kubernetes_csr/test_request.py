"""CertificateSigningRequests: what is written, what their conditions mean, whom we approve."""

from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest

from backends.kubernetes_csr.request import SigningRequests, seconds_of
from backends.kubernetes_csr.settings import KubernetesCsrSettings
from signer.core.chain import pem
from signer.core.errors import RefusedLocally
from tests.corpus.answers import leaf

PEM = pem(leaf())
TEXT = b64encode(PEM.encode()).decode()


def item(*kinds: str, **status: Any) -> dict[str, Any]:
    """A request with these conditions, all true."""
    conditions = [{"type": kind, "status": "True", "reason": "R", "message": "m"} for kind in kinds]
    return {"metadata": {"name": "x"}, "status": {"conditions": conditions, **status}}


@pytest.mark.parametrize("kinds", [("Denied",), ("Failed",), ("Approved", "Failed")])
def test_refusals_are_final_even_with_a_certificate(kinds: tuple[str, ...]) -> None:
    assert SigningRequests(True).verdict(item(*kinds, certificate=TEXT)).refused


def test_approved_is_not_signed() -> None:
    assert not SigningRequests(True).verdict(item("Approved")).final
    assert SigningRequests(True).verdict(item("Approved", certificate=TEXT)).certificate == PEM


def test_we_approve_once_and_only_where_we_are_told_to() -> None:
    body = SigningRequests(True).approval(item())
    assert body is not None
    assert [c["type"] for c in body["status"]["conditions"]] == ["Approved"]
    assert SigningRequests(False).approval(item()) is None


@pytest.mark.parametrize("kind", ["Approved", "Denied", "Failed"])
def test_what_somebody_has_decided_stays(kind: str) -> None:
    assert SigningRequests(True).approval(item(kind)) is None


@pytest.mark.parametrize(("asked", "seconds"), [(600, 600), (598, 600), (3600, 3600), (2**40, 2**31 - 1)])
def test_lifetimes_as_the_api_takes_them(asked: int, seconds: int) -> None:
    assert seconds_of(timedelta(seconds=asked)) == seconds


@pytest.mark.parametrize("asked", [-1, 0, 1, 300, 597])
def test_lifetimes_under_the_floor(asked: int) -> None:
    with pytest.raises(RefusedLocally, match="600 s at least"):
        seconds_of(timedelta(seconds=asked))


@pytest.mark.parametrize(
    "given", [{}, {"signer_name": "a/b", "signer_domain": "a"}, {"signer_name": "no-slash"}, {"signer_domain": "A B"}]
)
def test_settings_that_make_no_sense(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="signer_"):
        KubernetesCsrSettings(**given)  # type: ignore[arg-type]
