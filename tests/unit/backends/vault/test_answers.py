"""What Vault says, and what it means."""

import pytest

from backends.vault.answers import Reply, fault, signed
from signer.core.chain import pem
from signer.core.errors import BackendError, BackendRefused, BackendUnavailable
from tests.corpus.answers import intermediate, leaf, root

MEANINGS: dict[int, type[BackendError] | None] = {
    200: None,
    204: None,
    301: BackendUnavailable,
    307: BackendUnavailable,
    400: BackendRefused,
    403: BackendRefused,
    404: BackendRefused,
    405: BackendRefused,
    408: BackendUnavailable,
    412: BackendUnavailable,
    425: BackendUnavailable,
    429: BackendUnavailable,
    472: BackendUnavailable,
    473: BackendUnavailable,
    500: BackendUnavailable,
    502: BackendUnavailable,
    503: BackendUnavailable,
}


@pytest.mark.parametrize("status", MEANINGS)
def test_each_status_has_one_meaning_and_vaults_words(status: int) -> None:
    found = fault(Reply(status, {"errors": ["no role"]}), "pki/sign/x")
    assert (type(found) if found else None) is MEANINGS[status]
    assert found is None or ("no role" in found.reason and "pki/sign/x" in found.reason)


@pytest.mark.parametrize("body", [{}, {"errors": "not found"}, {"message": "no Route matched"}])
def test_a_404_that_vault_has_not_written_is_a_proxys(body: dict[str, object]) -> None:
    """As while a route is set up anew: a retry, or the next backend, may do better."""
    assert isinstance(fault(Reply(404, body), "path"), BackendUnavailable)


@pytest.mark.parametrize("body", [{"errors": []}, {"errors": ["no handler for route"]}])
def test_a_404_of_vault_is_a_refusal(body: dict[str, object]) -> None:
    """As where the path or the role is misspelt."""
    assert isinstance(fault(Reply(404, body), "path"), BackendRefused)


@pytest.mark.parametrize("body", [{}, {"errors": "text"}, {"errors": [7]}, {"errors": ["x" * 9999 + "\n"]}])
def test_whatever_the_words_are_the_reason_is_short_and_one_line(body: dict[str, object]) -> None:
    found = fault(Reply(400, body), "path")
    assert found is not None
    assert len(found.reason) < 500
    assert "\n" not in found.reason


def _answer(**more: object) -> Reply:
    return Reply(200, {"data": {"certificate": pem(leaf(intermediate())), **more}})


def test_the_issuer_comes_once_however_often_it_is_given() -> None:
    chain = [pem(intermediate().certificate), pem(root().certificate)]
    answer = signed(_answer(issuing_ca=pem(intermediate().certificate), ca_chain=chain))
    assert answer.issuers() == [intermediate().certificate, root().certificate]


@pytest.mark.parametrize("more", [{}, {"issuing_ca": None}, {"ca_chain": "text"}, {"ca_chain": [7, ""]}])
def test_an_answer_without_its_ca_is_still_one(more: dict[str, object]) -> None:
    assert signed(_answer(**more)).issuers() == []


@pytest.mark.parametrize("body", [{}, {"data": 7}, {"data": {}}, {"data": {"certificate": "no PEM"}}])
def test_an_answer_without_a_certificate_is_none(body: dict[str, object]) -> None:
    """And no refusal either: ``{}`` stands for a page of a proxy, or for an answer cut short."""
    with pytest.raises(BackendUnavailable):
        signed(Reply(200, body))


def test_broken_ca_certificates_are_no_refusal() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be parsed"):
        signed(_answer(issuing_ca="-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----")).issuers()
